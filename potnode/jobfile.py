"""Job files: a researcher's TOML description of a training job, and the job it stands for.

    dataset = "digits"                      # a name the data catalogue knows
    [model]                                 # layers by width; the dataset gives both ends
    hidden = [32]
    hidden_shift = 8
    output_shift = 4
    init_std = 16                           # standard deviation of initial weights, in weight steps
    [search]
    population = 64
    ...

Unknown keys are refused with the nearest known name. What the rules allow is `potnode.spec`'s
affair.
"""

from __future__ import annotations

import tomllib
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from potnode.config import nearest
from potnode.data.dataset import Dataset
from potnode.errors import JobFileError
from potnode.spec.manifest import Linear, Manifest

UInt = Annotated[int, Field(ge=0)]
Positive = Annotated[int, Field(ge=1)]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Model(_Table):
    """A multilayer perceptron on the dataset's inputs and classes."""

    hidden: list[Positive] = []
    hidden_shift: UInt = 8
    output_shift: UInt = 4
    init_std: Positive = 16
    seed: str | None = Field(None, pattern=r"^[0-9a-f]{64}$")


class Search(_Table):
    """The search of strategy `evolution`."""

    population: Positive = 64
    batch_size: Positive = 512
    perturbation_shift: UInt = 0
    rule: Literal["momentum", "sign_momentum"] = "momentum"
    eta: tuple[UInt, UInt] = (80, 10)
    steps: Positive = 625
    validate_every: Positive = 25
    min_bits: UInt = 14
    window: UInt = 64


class Pay(_Table):
    """What is escrowed on chain; amounts in wei or token units."""

    pot_per_step: UInt = 0
    operator_fee: UInt = 0
    token: str = Field("0x" + "00" * 20, pattern=r"^0x[0-9a-fA-F]{40}$")
    challenge_window: UInt = 0
    stall_timeout: UInt = 86_400


class JobFile(_Table):
    """A whole job file."""

    dataset: str
    model: Model = Model()
    search: Search = Search()
    pay: Pay = Pay()

    def manifest(self, dataset: Dataset, seed: bytes) -> Manifest:
        """The manifest on `dataset`; `seed` (32 bytes) is used where the file names none."""
        widths = [dataset.header.input_size, *self.model.hidden, dataset.header.classes]
        layers = (
            *(Linear(i, o, self.model.hidden_shift, "relu") for i, o in pairwise(widths[:-1])),
            Linear(widths[-2], widths[-1], self.model.output_shift, "none"),
        )
        return Manifest(
            dataset=self.dataset,
            layers=layers,
            train=tuple(range(2 * len(layers))),
            seed=bytes.fromhex(self.model.seed) if self.model.seed else seed,
            std=(self.model.init_std * 256, 0) * len(layers),
            perturbation_shift=self.search.perturbation_shift,
            rule=self.search.rule,
            eta0=self.search.eta[0],
            eta1=self.search.eta[1],
        )


def read_job_file(path: Path) -> JobFile:
    """Read and check a job file; JobFileError says which key is wrong and what it may be."""
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise JobFileError(f"{path}: cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise JobFileError(f"{path}: is not TOML: {error}") from error
    if "search" in document and isinstance(document["search"], dict):
        eta = document["search"].get("eta")
        if isinstance(eta, list):  # TOML has no tuples, the strict model wants one
            document["search"]["eta"] = tuple(eta)
    try:
        return JobFile.model_validate(document)
    except ValidationError as error:
        mistakes = error.errors(include_input=False, include_url=False)
        # A misspelt key is often why another is missing.
        first = min(mistakes, key=lambda mistake: mistake["type"] != "extra_forbidden")
        name = ".".join(str(part) for part in first["loc"])
        hint = ""
        if first["type"] == "extra_forbidden":
            hint = nearest(name, _known())
            raise JobFileError(f"{path}: unknown key {name}{hint}") from None
        raise JobFileError(f"{path}: {name}: {first['msg']}") from None


def _known() -> list[str]:
    names: list[str] = []
    for key, field_info in JobFile.model_fields.items():
        table: Any = field_info.annotation
        names.append(key)
        if isinstance(table, type) and issubclass(table, _Table):
            names += [f"{key}.{inner}" for inner in table.model_fields]
    return names
