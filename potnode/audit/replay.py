"""The replay of a job: what is true before each step, and whether a record follows from it.

Responsible for everything inside a record: its form, its work, shares counted twice, losses,
update, validation and root. Where records come from, and what the contract says of them, is the
auditor's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from potnode.audit.parents import Parents
from potnode.audit.report import Finding
from potnode.audit.slow import recompute
from potnode.data.dataset import Dataset
from potnode.data.feedback import NONE, Feedback, missing_part
from potnode.engine.engine import Engine
from potnode.engine.state import EngineState
from potnode.spec import work
from potnode.spec.draw import candidate_keys
from potnode.spec.errors import InvalidRecord
from potnode.spec.feedback import NO_FEEDBACK
from potnode.spec.hashing import be32
from potnode.spec.manifest import Pairs
from potnode.spec.params import JobParams
from potnode.spec.record import (
    VERSION,
    StepRecord,
    Validation,
    decode_record,
    entry_header,
    verify_work,
)
from potnode.spec.schedule import step_terms


@dataclass(frozen=True, slots=True)
class Rules:
    """What a job's steps are recomputed with.

    slow_steps: those the specification does as well. feedback: all that is known here, which the
    engine has, too; folders: where more of it belongs.
    """

    job_id: bytes
    params: JobParams
    engine: Engine
    dataset: Dataset
    slow_steps: frozenset[int]
    feedback: Feedback = NONE
    folders: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True)
class Truth:
    """What follows from a record's shares: H of each, ascending, and the state after the step.

    pairs: how many of the feedback it uses.
    """

    record: StepRecord
    hashes: list[bytes]
    state: EngineState
    root: bytes
    validation: Validation | None
    pairs: int


class Replay:
    """Where a job stands before `step`, all of it recomputed from the first step on.

    head, state, root: before `step`. validation: the last one recorded, None before the first.
    parents: of the shares of all steps before.
    """

    def __init__(self, rules: Rules, state: EngineState, root: bytes) -> None:
        """Begin with the initial state and its root."""
        self._rules = rules
        self.step = 0
        self.state = state
        self.root = root
        self.validation: Validation | None = None
        self.spec_steps = 0
        self.parents = Parents()
        self._pairs = 0  # of feedback, in the step before
        self._heads: dict[int, bytes] = {0: work.head_zero(rules.job_id)}
        self._counted: dict[bytes, int] = {}

    @property
    def head(self) -> bytes:
        """The head before `step`."""
        return self._heads[self.step]

    def check(self, step_data: bytes) -> tuple[Truth | None, list[Finding]]:
        """Hold a record against the truth.

        Returns:
            What follows from its shares (None where they are no shares), and every difference.

        Raises:
            MissingPart: it names feedback that is not here, or none that ever was.
        """
        rules, step = self._rules, self.step
        for field, at, expected in (
            ("version", 0, bytes([VERSION])),
            ("job", 1, rules.job_id),
            ("step", 33, be32(step)),
        ):
            named = step_data[at : at + len(expected)]
            if named != expected:
                problem = f"the record has {named.hex()}, not {expected.hex()}"
                return None, [Finding(step, field, problem)]
        try:
            record = decode_record(step_data, rules.params)
        except InvalidRecord as error:
            return None, [Finding(step, error.field, error.problem)]
        try:
            hashes = verify_work(record, self._work_of_age)
        except InvalidRecord as error:
            rows = _rows_without_work(record, self._work_of_age)
            found = [
                (error.field, error.problem),
                *((r, "no entry of it is a share") for r in rows),
            ]
            return None, [Finding(step, *each) for each in found]
        truth, differences = self._recompute(record, hashes)
        differences = [*self._counted_twice(hashes), *differences]
        return truth, [Finding(step, *each) for each in differences]

    def pairs_named(self, step_data: bytes) -> int:
        """How many pairs of feedback a later record names; 0 where that can't be told.

        Raises:
            InvalidRecord: it is no record.
        """
        record = decode_record(step_data, self._rules.params)
        return self._rules.feedback.count_of(record.data_root) or 0

    def advance(self, truth: Truth, head: bytes) -> None:
        """Move past a step that is right; `head` is the head after it."""
        self._counted.update(dict.fromkeys(truth.hashes, self.step))
        self.parents.count(truth.record, truth.hashes)
        self.step += 1
        self.state, self.root = truth.state, truth.root
        self.validation = truth.validation or self.validation
        self._pairs = truth.pairs
        self._heads[self.step] = head
        # A share counts within `window` steps of the one it commits to, so neither heads nor shares
        # of steps before `oldest` can matter again.
        oldest = self.step - self._rules.params.window
        self._heads = {s: h for s, h in self._heads.items() if s >= oldest}
        self._counted = {h: s for h, s in self._counted.items() if s >= oldest}

    def _work_of_age(self, age: int) -> bytes:
        step = self.step - age
        return work.work_id(self._rules.job_id, step, self._heads[step])

    def _counted_twice(self, hashes: list[bytes]) -> Iterator[tuple[str, str]]:
        for i, hash_ in enumerate(hashes):
            if hash_ in self._counted:
                yield (
                    f"entries[{i}].hash",
                    f"{hash_[::-1].hex()} was counted in step {self._counted[hash_]} already",
                )

    def _recompute(
        self, record: StepRecord, hashes: list[bytes]
    ) -> tuple[Truth, list[tuple[str, str]]]:
        """What the shares lead to, and every number of the record that is another."""
        rules, engine, step = self._rules, self._rules.engine, self.step
        commitment = self._work_of_age(0)
        terms = step_terms(engine.manifest, rules.params, step)
        candidates = rules.params.candidates_per_share
        keys = candidate_keys(hashes, candidates)
        pairs, differences = self._pairs_of(record)
        batch = engine.batch(commitment, terms.batch_size, pairs)
        losses = engine.losses(self.state, keys, batch, terms)
        state, _ = engine.advance(self.state, keys, losses, commitment, terms, pairs)
        figures = engine.validate(state) if record.validation is not None else None
        root = engine.root(state)

        compared: list[tuple[str, object, object]] = [
            (f"entries[{i}].losses[{j}]", loss, losses[candidates * i + j])
            for i, entry in enumerate(record.entries)
            for j, loss in enumerate(entry.losses)
        ]
        if record.validation is not None and figures is not None:
            compared += [
                ("validation.loss", record.validation.loss, figures.loss),
                ("validation.hits", record.validation.hits, figures.hits),
            ]
        compared.append(("state_root", record.state_root.hex(), root.hex()))
        differences += [
            (field, f"recorded {recorded}, recomputed {recomputed}")
            for field, recorded, recomputed in compared
            if recorded != recomputed
        ]
        if step in rules.slow_steps:
            self.spec_steps += 1
            specified = recompute(
                engine.manifest,
                rules.dataset,
                rules.params,
                self.state.to_spec(),
                keys,
                work=commitment,
                terms=terms,
                feedback=rules.feedback,
                pairs=pairs,
            )
            names = ("losses", "validation", "state root")
            computed = (losses, figures, root)
            wrong = [n for n, a, b in zip(names, computed, specified, strict=True) if a != b]
            if wrong:
                problem = (
                    f"this machine's engine and the specification disagree: {', '.join(wrong)}"
                )
                differences.append(("engine", problem))
        return Truth(record, hashes, state, root, figures, pairs), differences

    def _pairs_of(self, record: StepRecord) -> tuple[int, list[tuple[str, str]]]:
        """How many pairs of feedback a record says its step uses, and what is wrong with that."""
        rules, data_root = self._rules, record.data_root
        if not isinstance(rules.engine.manifest.task, Pairs):
            if data_root == NO_FEEDBACK:
                return 0, []
            problem = f"recorded {data_root.hex()}, must be zero: only preferences have feedback"
            return 0, [("data_root", problem)]
        pairs = rules.feedback.count_of(data_root)
        if pairs is None:
            raise missing_part(rules.job_id, len(rules.feedback), rules.folders)
        if pairs < self._pairs:
            problem = f"is that of {pairs} pairs, the step before used {self._pairs}"
            return pairs, [("data_root", problem)]
        return pairs, []


def _rows_without_work(record: StepRecord, work_of_age: Callable[[int], bytes]) -> Iterator[str]:
    """Rows of which no entry is a share: a part of the row was changed, rather than of each."""
    templates: dict[int, bool] = {}
    miners: dict[int, bool] = {}
    for i, entry in enumerate(record.entries):
        try:
            hash_ = work.share_hash(entry_header(record, i, work_of_age))
            good = work.meets(hash_, record.miners[entry.miner].bits)
        except InvalidRecord:  # with its miner's script the coinbase is too long or too short
            good = False
        templates[entry.template] = templates.get(entry.template, False) or good
        miners[entry.miner] = miners.get(entry.miner, False) or good
    for name, rows in (("templates", templates), ("miners", miners)):
        yield from (f"{name}[{i}]" for i, good in sorted(rows.items()) if not good)
