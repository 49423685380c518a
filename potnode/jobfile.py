"""Job files: a researcher's TOML description of a training job, and the job it stands for.

    dataset = "digits"                      # a name the data catalogue knows
    [model]                                 # layers by width, or one by one (`potnode.jobmodel`)
    hidden = [32]
    [search]
    population = 64
    ...

`preset = "mnist-conv"` stands for the job file of that name; what the file says itself goes before
it. Unknown keys are refused with the nearest known name. What the rules allow is `potnode.spec`'s
affair.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import BeforeValidator, Field, ValidationError

from potnode.config import nearest
from potnode.data.dataset import Dataset
from potnode.errors import JobFileError
from potnode.jobmodel import (
    LAYER_TABLES,
    WEIGHTS,
    Built,
    Model,
    Positive,
    Table,
    UInt,
    both,
    build,
    trained,
)
from potnode.presets import preset
from potnode.spec.dataset import DatasetHeader
from potnode.spec.manifest import (
    Classes,
    Evolution,
    Greedy,
    Imported,
    Manifest,
    NextByte,
    Pairs,
    Seeded,
    Values,
)
from potnode.spec.manifest import Task as SpecTask
from potnode.spec.manifest_json import LAYER_TYPES

_LAYER_KEY = 5  # parts of a place such as model, layers, 3, conv2d, kernel
_MUST = {
    "missing": "is missing",
    "int_type": "must be a whole number",
    "string_type": "must be text in quotes",
    "list_type": "must be a list",
    "model_type": "must be a table",
}
# Fields of parameters and manifest as messages of `potnode.spec` name them, and the file's keys.
_FIELDS = (
    (r"manifest\.strategy\.batch_start", "search.batch_size at the first step"),
    (r"params\.population_start", "search.population at the first step"),
    (r"params\.step_limit", "search.steps"),
    (r"params\.(?=pot_|operator_|token|challenge_|stall_)", "pay."),
    (r"params\.", "search."),
    (r"manifest\.strategy\.", "search."),
    (r"manifest\.(?=perturbation)", "search."),
    (r"manifest\.model\b", "model.layers"),
    (r"manifest\.initial\b", "model.init_std"),
    (r"manifest\.", ""),
)

# At the first step and at the last.
UInts = Annotated[tuple[UInt, UInt], BeforeValidator(both)]
Positives = Annotated[tuple[Positive, Positive], BeforeValidator(both)]


class Task(Table):
    """What the model is to learn; the dataset's kind by default."""

    type: Literal["classes", "bytes", "values", "pairs"] | None = None
    tolerance: UInt = 16
    warmup: UInt | None = None

    def of(self, header: DatasetHeader) -> SpecTask:
        """The task on a dataset. JobFileError where it is not what the dataset is for."""
        if self.type not in (None, header.kind):
            raise JobFileError(
                f"task.type: the dataset is for {header.kind!r}, not for {self.type!r}"
            )
        match header.kind:
            case "bytes":
                window = header.input_size - 1
                return NextByte(window, window // 8 if self.warmup is None else self.warmup)
            case "values":
                return Values(self.tolerance)
            case "pairs":
                return Pairs()
            case _:
                return Classes()


class Search(Table):
    """How candidates change the weights. Two numbers: at the first step and at the last."""

    strategy: Literal["evolution", "greedy"] = "evolution"
    population: Positives = (64, 64)
    candidates_per_share: Positive = 1
    batch_size: Positives = (512, 512)
    perturbation: UInts = (0, 0)
    rule: Literal["momentum", "sign_momentum"] = "momentum"
    eta: UInts = (80, 10)
    margin: UInt = 0
    steps: Positive = 625
    validate_every: Positive = 25
    min_bits: UInt = 14
    window: UInt = 64


class Pay(Table):
    """What is escrowed on chain; amounts in wei or token units."""

    pot_per_step: UInt = 0
    operator_fee: UInt = 0
    token: str = Field("0x" + "00" * 20, pattern=r"^0x[0-9a-fA-F]{40}$")
    challenge_window: UInt = 0
    stall_timeout: UInt = 86_400


class JobFile(Table):
    """A whole job file, with what its preset says."""

    dataset: str
    preset: str | None = None
    model: Model = Model()
    task: Task = Task()
    search: Search = Search()
    pay: Pay = Pay()

    def manifest(self, dataset: Dataset, seed: bytes) -> Manifest:
        """The manifest on `dataset`; `seed` (32 bytes) is used where the file names none."""
        built = build(self.model, dataset)
        chosen = bytes.fromhex(self.model.seed) if self.model.seed else seed
        return self.of_layers(built, dataset, Seeded(chosen, built.std, built.mean))

    def of_layers(self, built: Built, dataset: Dataset, initial: Seeded | Imported) -> Manifest:
        """The manifest of layers that are there already. JobFileError, InvalidJob."""
        search = self.search
        strategy: Evolution | Greedy = Greedy(search.margin, search.batch_size[0])
        if search.strategy == "evolution":
            strategy = Evolution(search.rule, *search.eta, search.batch_size[0])

        def of(train: tuple[int, ...]) -> Manifest:
            return Manifest(
                dataset=self.dataset,
                task=self.task.of(dataset.header),
                input=built.input,
                layers=built.layers,
                train=train,
                initial=initial,
                weights=WEIGHTS[self.model.weights],
                perturbation=search.perturbation,
                strategy=strategy,
            )

        return of(trained(of(()), built.names, self.model.train))


def read_job_file(path: Path) -> JobFile:
    """Read and check a job file; JobFileError says which key is wrong and what it may be."""
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise JobFileError(f"{path}: cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise JobFileError(f"{path}: is not TOML: {error}") from error
    return job_file(document, str(path))


def job_file(document: dict[str, Any], where: str) -> JobFile:
    """A job file from its tables, its preset put below them.

    Args:
        where: what messages begin with.

    Raises:
        JobFileError: which key is wrong and what it may be.
    """
    name = document.get("preset")
    if isinstance(name, str):
        try:
            document = _over(preset(name).document, document)
        except JobFileError as error:
            raise JobFileError(f"{where}: {error}") from None
    try:
        return JobFile.model_validate(document)
    except ValidationError as error:
        mistakes = error.errors(include_input=False, include_url=False)
        # A misspelt key is often why another is missing.
        first = min(mistakes, key=lambda mistake: mistake["type"] != "extra_forbidden")
        raise JobFileError(f"{where}: {_told(first)}") from None


def preset_job(name: str, dataset: str | None = None) -> JobFile:
    """The job file that a preset alone stands for, on its own dataset or on another."""
    document = {"preset": name} | ({} if dataset is None else {"dataset": dataset})
    return job_file(document, f"preset {name}")


def _over(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """`above`, and of `below` what it does not say; tables are laid over one another key by key."""
    layers = [key for key in ("hidden", "layers") if key in _table(above.get("model"))]
    if layers:
        raise JobFileError(f"model.{layers[0]}: the preset has a model, leave one of them out")
    result = dict(below)
    for key, value in above.items():
        both_tables = isinstance(value, dict) and isinstance(below.get(key), dict)
        result[key] = below[key] | value if both_tables else value
    return result


def _table(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def file_words(message: str) -> str:
    """A message about a job's parameters or manifest, with a job file's keys for their fields."""
    for field_, key in _FIELDS:
        message = re.sub(rf"\b{field_}", key, message)
    return message


def _told(mistake: Any) -> str:
    """A mistake of pydantic's in a user's words, with the nearest known name for an unknown one."""
    kind, place = mistake["type"], tuple(mistake["loc"])
    for i, part in enumerate(place):
        if part in ("from", "train") and i < len(place) - 1 and kind != "list_type":
            return f"{_path(place[: i + 1])}: names and indices of layers, nothing else"
    name = _path(place)
    if kind == "extra_forbidden":
        return f"unknown key {name}{_meant(place)}"
    if kind == "union_tag_invalid":
        return f"{name}.type must be one of {', '.join(LAYER_TYPES)}"
    if kind == "union_tag_not_found":
        return f"{name} needs a type: one of {', '.join(LAYER_TYPES)}"
    if kind in ("too_long", "tuple_type") or (kind == "missing" and isinstance(place[-1], int)):
        whole = place[:-1] if isinstance(place[-1], int) else place
        return f"{_path(whole)} must be a whole number, or a list of two"
    return f"{name} {_MUST[kind]}" if kind in _MUST else f"{name}: {mistake['msg']}"


def _path(place: tuple[int | str, ...]) -> str:
    """Where it is in the file: pydantic names the type of a layer as well."""
    name = ""
    for i, part in enumerate(place):
        if i and isinstance(place[i - 1], int) and part in LAYER_TYPES:
            continue
        name += f"[{part}]" if isinstance(part, int) else f".{part}" if name else part
    return name


def _meant(place: tuple[int | str, ...]) -> str:
    """What an unknown key may have been meant for."""
    for table in LAYER_TABLES:
        kinds = get_args(table.model_fields["type"].annotation)
        if len(place) == _LAYER_KEY and place[3] in kinds:
            keys = [f.alias or n for n, f in table.model_fields.items() if n != "type"]
            return f": {place[3]} has {', '.join(sorted(keys))}"
    return nearest(".".join(str(part) for part in place), _known())


def _known() -> list[str]:
    names: list[str] = []
    for key, field_info in JobFile.model_fields.items():
        table: Any = field_info.annotation
        names.append(key)
        if isinstance(table, type) and issubclass(table, Table):
            names += [f"{key}.{inner}" for inner in table.model_fields]
    return names
