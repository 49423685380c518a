"""`Search`: a job's training loop without the job, by ask and tell. It minimises.

Responsible for the order of things, schedules, and going on exactly where a saved search stopped.
Losses, updates and roots are `potnode.engine`'s, draws `potnode.search.draws`'.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from potnode.data.dataset import Dataset
from potnode.engine.engine import Engine
from potnode.engine.state import EngineState, from_bytes
from potnode.jobfile import JobFile, preset_job
from potnode.search import saved
from potnode.search.candidates import Candidates
from potnode.search.draws import seed_bytes, step_keys, step_work
from potnode.search.errors import BadSearchFile, SearchError
from potnode.search.score import Score
from potnode.spec.hashing import sha256
from potnode.spec.manifest import Greedy, Manifest, Seeded
from potnode.spec.manifest_json import check_job, decode_manifest, encode_manifest
from potnode.spec.params import JobParams
from potnode.spec.schedule import StepTerms, step_terms

_NOBODY = bytes(20)


@dataclass(frozen=True, slots=True)
class Step:
    """A step that was taken.

    losses: of every candidate, as they were told. coefficients: what each weighed, -127..127.
    evaluations: candidates evaluated in all steps so far.
    """

    terms: StepTerms
    losses: tuple[int, ...]
    coefficients: tuple[int, ...]
    evaluations: int


class Search:
    """The training of one model on one dataset.

    The same manifest, dataset, numbers and seed give the same state roots everywhere, on any device
    and however often it was stopped and resumed. Not to be used from several threads at once.
    """

    def __init__(
        self,
        manifest: Manifest,
        dataset: Dataset,
        *,
        population: int | tuple[int, int] = 64,
        batch_size: int = 512,
        steps: int = 625,
        candidates_per_share: int = 1,
        seed: int | bytes = 0,
        device: str = "cpu",
        threads: int | None = None,
        imported: bytes | None = None,
    ) -> None:
        """Prepare a search at its first step; the first time on a machine, compile for seconds.

        Args:
            manifest: model, task, strategy and its schedules; `potnode.search` trains every model
                that a job can.
            population: candidates a step; two numbers for the first step and the last.
            batch_size: samples of a batch at the last step; the manifest's strategy has those at
                the first. steps: that the schedules stretch over.
            candidates_per_share: as in a job. It changes the draws and, from 513 candidates on, has
                to be above 1.
            seed: of all draws and batches; 0..2^64-1 or 32 bytes. Not of the initial weights,
                which are the manifest's.
            device: "cpu" or a torch device such as "cuda". threads: of the CPU, one a core by
                default. Neither changes a result.
            imported: the file of initial weights that the manifest names, if it does.

        Raises:
            InvalidJob: manifest or numbers break a rule. EngineError: model and dataset don't fit,
                or the device can't be used. ValueError: no seed can be made of `seed`.
        """
        first, last = population if isinstance(population, tuple) else (population, population)
        encoded = encode_manifest(manifest)
        header = dataset.header
        self._params = JobParams(
            owner=_NOBODY,
            operator=_NOBODY,
            manifest_hash=sha256(encoded),
            initial_root=bytes(32),
            data_root=dataset.root,
            train_count=header.train_count,
            held_out_count=header.held_out_count,
            population=last,
            population_start=first,
            candidates_per_share=candidates_per_share,
            batch_size=batch_size,
            min_bits=0,
            window=0,
            step_limit=steps,
            validate_every=1,
        )
        check_job(self._params, encoded)
        self.manifest = manifest
        self.dataset = dataset
        self.seed = seed_bytes(seed)
        self._engine = Engine(manifest, dataset, device, threads, imported)
        self._state = self._engine.initial()
        self._steps = self._evaluations = 0
        self._asked: Candidates | None = None

    @classmethod
    def of_preset(
        cls,
        name: str,
        dataset: Dataset,
        *,
        seed: int | bytes = 0,
        steps: int | None = None,
        device: str = "cpu",
        threads: int | None = None,
    ) -> Self:
        """A search as a preset describes it, its initial weights drawn from the same seed.

        Args:
            name: such as "mnist-mlp" (`potnode.presets`). steps: other than the preset's.

        Raises:
            JobFileError: there is no such preset, or it doesn't fit the dataset. Otherwise as for
                the constructor.
        """
        return cls.of_job_file(
            preset_job(name, dataset.name),
            dataset,
            seed=seed,
            steps=steps,
            device=device,
            threads=threads,
        )

    @classmethod
    def of_job_file(
        cls,
        file: JobFile,
        dataset: Dataset,
        *,
        seed: int | bytes = 0,
        steps: int | None = None,
        device: str = "cpu",
        threads: int | None = None,
    ) -> Self:
        """A search as a job file describes it (`potnode.jobfile.read_job_file`).

        Args and errors are those of `of_preset`. A seed in the file is that of the weights.
        """
        key = seed_bytes(seed)
        numbers = file.search
        return cls(
            file.manifest(dataset, sha256(b"potnode/1/search/weights" + key)),
            dataset,
            population=numbers.population,
            batch_size=numbers.batch_size[1],
            steps=numbers.steps if steps is None else steps,
            candidates_per_share=numbers.candidates_per_share,
            seed=key,
            device=device,
            threads=threads,
        )

    @property
    def steps_done(self) -> int:
        """Steps taken so far."""
        return self._steps

    @property
    def steps_left(self) -> int:
        """Steps until the schedules end, and with them the search."""
        return self._params.step_limit - self._steps

    @property
    def evaluations(self) -> int:
        """Candidates evaluated in all steps so far, one loss over one batch each."""
        return self._evaluations

    @property
    def state(self) -> EngineState:
        """Masters and momenta now."""
        return self._state

    @property
    def root(self) -> bytes:
        """State root now, 32 bytes: equal roots are equal models, to the bit."""
        return self._engine.root(self._state)

    def ask(self) -> Candidates:
        """The candidates of the next step; the same ones until `tell` takes the step.

        Raises:
            SearchError: all steps are done.
        """
        if self._asked is None:
            if self.steps_left == 0:
                raise SearchError(
                    f"all {self._steps} steps are done: start a search with more steps"
                )
            terms = step_terms(self.manifest, self._params, self._steps)
            keys = step_keys(
                self.seed, self._steps, terms.population, self._params.candidates_per_share
            )
            work = step_work(self.seed, self._steps)
            batch = self._engine.batch(work, terms.batch_size)
            self._asked = Candidates(terms, tuple(keys), batch, self.manifest, self._state)
        return self._asked

    def losses(self) -> list[int]:
        """The manifest's own loss of every candidate asked for, summed over its batch, exact."""
        asked = self.ask()
        return self._engine.losses(self._state, asked.keys, asked.batch, asked.terms)

    def tell(self, losses: Sequence[int]) -> Step:
        """Take the step, away from high losses and towards low ones.

        Args:
            losses: one a candidate in the order of `Candidates.keys`. Any loss of your own will do
                if it is an integer, so that every machine takes the same step: scale a float by,
                say, 2^20 and round it. Only differences count, in units of their own deviation.

        Raises:
            SearchError: there is not one for each candidate, one is no integer, or the strategy is
                greedy and they are not `losses()`: it compares with losses it computes itself.
        """
        asked = self.ask()
        told = [_integer(loss) for loss in losses]
        if len(told) != len(asked):
            raise SearchError(f"{len(told)} losses were told for {len(asked)} candidates")
        if isinstance(self.manifest.strategy, Greedy) and told != self.losses():
            raise SearchError(
                "the greedy strategy takes the manifest's own losses alone: tell what `losses()` "
                "gives, or use the strategy evolution"
            )
        self._state, factors = self._engine.advance(
            self._state, asked.keys, told, step_work(self.seed, self._steps), asked.terms
        )
        self._steps += 1
        self._evaluations += len(asked)
        self._asked = None
        return Step(asked.terms, tuple(told), tuple(factors), self._evaluations)

    def step(self) -> Step:
        """Ask, compute the manifest's losses, tell."""
        return self.tell(self.losses())

    def run(
        self, steps: int | None = None, callback: Callable[[Step], object] | None = None
    ) -> Score:
        """Take so many steps, all that are left by default, and validate.

        Args:
            callback: called after every step; when it returns True, this was the last one.
        """
        for _ in range(self.steps_left if steps is None else min(steps, self.steps_left)):
            taken = self.step()
            if callback is not None and callback(taken) is True:
                break
        return self.validate()

    def validate(self) -> Score:
        """Loss and hits over all held-out samples, with the weights as they are now.

        Raises:
            SearchError: the dataset holds none out.
        """
        count = self.dataset.header.held_out_count
        if count == 0:
            raise SearchError(f"dataset {self.dataset.name!r} holds no samples out")
        result = self._engine.validate(self._state)
        return Score(result.loss, result.hits, count * self.manifest.predictions)

    def save(self, path: str | Path) -> None:
        """Write all that is needed to go on; the file is whole or as it was before.

        Candidates that were asked for and not told are asked for again after `load`.

        Raises:
            SearchError: the file can't be written.
        """
        params = self._params
        header = saved.Header(
            manifest=encode_manifest(self.manifest).decode("ascii"),
            data_root=self.dataset.root.hex(),
            seed=self.seed.hex(),
            population=(params.population_start, params.population),
            candidates_per_share=params.candidates_per_share,
            batch_size=params.batch_size,
            steps=params.step_limit,
            steps_done=self._steps,
            evaluations=self._evaluations,
            state_root=self.root.hex(),
        )
        saved.write(Path(path), header, self._state.to_bytes())

    @classmethod
    def load(
        cls, path: str | Path, dataset: Dataset, *, device: str = "cpu", threads: int | None = None
    ) -> Self:
        """Go on with a saved search, to the bit as if it had never stopped.

        Args:
            dataset: that it was saved on.

        Raises:
            BadSearchFile: the file is damaged or none, or was saved on another dataset.
            SearchError: it can't be read.
        """
        header, data = saved.read(Path(path))
        if header.data_root != dataset.root.hex():
            raise BadSearchFile(
                f"{path} was saved on the dataset with the root {header.data_root}, "
                f"{dataset.name!r} has {dataset.root.hex()}"
            )
        manifest = decode_manifest(header.manifest.encode("ascii"))
        # The saved state replaces initial weights, so those of a file need not be here any more.
        seeded = replace(manifest, initial=_no_weights(manifest))
        search = cls(
            seeded,
            dataset,
            population=header.population,
            batch_size=header.batch_size,
            steps=header.steps,
            candidates_per_share=header.candidates_per_share,
            seed=bytes.fromhex(header.seed),
            device=device,
            threads=threads,
        )
        search._resume(manifest, header, from_bytes(manifest, data))
        if search.root.hex() != header.state_root:
            raise BadSearchFile(f"{path} is damaged: its state does not have the root it names")
        return search

    def _resume(self, manifest: Manifest, header: saved.Header, state: EngineState) -> None:
        self.manifest, self._state = manifest, state
        self._steps, self._evaluations = header.steps_done, header.evaluations


def _no_weights(manifest: Manifest) -> Seeded:
    zeros = (0,) * len(manifest.tensors)
    return Seeded(bytes(32), zeros, zeros)


def _integer(loss: int) -> int:
    try:
        return loss.__index__()  # numpy's integers are integers too
    except AttributeError:
        raise SearchError(
            f"losses are integers, not {loss!r}: scale them, by 2^20 say, and round"
        ) from None
