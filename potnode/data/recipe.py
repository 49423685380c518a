"""From what a source holds to a frozen dataset and its manifest, so that anyone can repeat it.

Responsible for choosing kind, classes, scale and split; the rules of scaling are
`potnode.data.scaling`'s, the bytes of the file `potnode.data.freeze`'s.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np
import numpy.typing as npt

from potnode.data.dataset import Dataset
from potnode.data.errors import CannotFreeze, DataError
from potnode.data.freeze import freeze, freeze_bytes, freeze_pairs, freeze_values, shuffled_order
from potnode.data.scaling import (
    INPUT_RULES,
    TARGET_RULES,
    Scale,
    input_scale,
    scaled_inputs,
    scaled_targets,
    target_scale,
    whole_numbers,
)
from potnode.data.source import Arrays, Numbers

SUFFIX, MANIFEST_SUFFIX = ".potdata", ".json"
_VERSION = 1
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")  # what a job's manifest takes as a name
_TRAIN_SHARE = (4, 5)  # of the samples train where nobody says how many

Order = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Recipe:
    """What may be chosen; None leaves it to the source.

    kind: "classes" or "values", where there are targets. train_count: samples that train. scale:
    of inputs, target_scale: of target values, see `potnode.data.scaling`. classes: how many there
    are, where the highest may be missing. attribution: whose data they are, for the manifest.
    """

    kind: str | None = None
    train_count: int | None = None
    scale: str | None = None
    target_scale: str | None = None
    classes: int | None = None
    attribution: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Frozen:
    """A dataset ready to be written: checked, as a file's bytes, and with its manifest."""

    dataset: Dataset
    data: bytes
    document: dict[str, object]


def prepare(name: str, arrays: Arrays, recipe: Recipe) -> Frozen:
    """Freeze what a source holds.

    Args:
        name: the dataset's, 1 to 64 of `a-z 0-9 . _ -`, the first a letter or a digit.

    Raises:
        CannotFreeze: the name, the numbers or the wishes don't fit the format or each other.
    """
    if not _NAME.fullmatch(name):
        raise CannotFreeze(
            f"a dataset's name is 1 to 64 of a-z 0-9 . _ -, the first a letter or a digit, "
            f"not {name!r}"
        )
    if 0 in arrays.inputs.shape:
        raise CannotFreeze(f"the source has nothing in it: its inputs are {arrays.inputs.shape}")
    kind = _kind(arrays, recipe)
    order, train_count, split = _split(arrays, recipe)
    plan = _Plan(recipe, order, train_count, arrays.maximum)
    inputs = arrays.inputs.reshape(len(arrays.inputs), -1)[order]
    details: dict[str, object] = {}
    if arrays.other is not None:
        other = arrays.other.reshape(len(arrays.other), -1)[order]
        data, details = _pairs(plan, inputs, other)
    elif arrays.targets is None:
        data = freeze_bytes(inputs, train_count=train_count)
    elif kind == "classes":
        data, details = _classes(plan, inputs, arrays.targets)
    else:
        data, details = _values(plan, inputs, arrays.targets)
    dataset = Dataset.from_bytes(name, data)
    header = dataset.header
    document: dict[str, object] = {
        "potnode_dataset": _VERSION,
        "name": name,
        "kind": kind,
        "root": dataset.root.hex(),
        "sha256": sha256(data).hexdigest(),
        "train_count": header.train_count,
        "held_out_count": header.held_out_count,
        "input_size": header.input_size,
        "outputs": header.outputs,
        "shape": list(arrays.inputs.shape[1:]),
        "sources": [origin.document() for origin in arrays.origins],
        "reader": arrays.reader,
        **details,
        "split": split,
    }
    if recipe.attribution is not None:
        document["attribution"] = recipe.attribution
    return Frozen(dataset, data, document)


def write(frozen: Frozen, folder: Path) -> Path:
    """Write NAME.potdata and NAME.json, each whole or not at all; the path of the first.

    Raises:
        CannotFreeze: there is another dataset of this name.
        DataError: the folder can't be written to.
    """
    path = folder / (frozen.dataset.name + SUFFIX)
    try:
        if path.exists() and path.read_bytes() != frozen.data:
            raise CannotFreeze(
                f"{path} is another dataset, and jobs may need it: choose another name, or remove "
                "it"
            )
        _replace(path, frozen.data)
        _replace(path.with_name(frozen.dataset.name + MANIFEST_SUFFIX), encode(frozen.document))
    except OSError as error:
        raise DataError(f"can't write to {folder}: {error.strerror}") from error
    return path


def encode(document: dict[str, object]) -> bytes:
    """A manifest as it is written: one key a line."""
    lines = (f"  {json.dumps(key)}: {json.dumps(value)}" for key, value in document.items())
    return ("{\n" + ",\n".join(lines) + "\n}\n").encode("ascii")


def _replace(path: Path, data: bytes) -> None:
    new = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        with new.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
    finally:
        new.unlink(missing_ok=True)


def _kind(arrays: Arrays, recipe: Recipe) -> str:
    if arrays.targets is not None:
        several = arrays.targets.dtype.kind == "f" or arrays.targets.ndim > 1
        kind, possible = "values" if several else "classes", ["classes", "values"]
    else:
        kind = "bytes" if arrays.other is None else "pairs"
        possible = [kind]
    kind = recipe.kind or kind
    if kind not in possible:
        raise CannotFreeze(
            f"this source makes a dataset of kind {' or '.join(possible)}, not {kind}"
        )
    if recipe.classes is not None and kind != "classes":
        raise CannotFreeze(f"a dataset of kind {kind} has no classes to count")
    if recipe.target_scale is not None and kind != "values":
        raise CannotFreeze(f"a dataset of kind {kind} has no target values to scale")
    if recipe.scale is not None and kind == "bytes":
        raise CannotFreeze("bytes are not scaled")
    return kind


def _split(arrays: Arrays, recipe: Recipe) -> tuple[Order, int, dict[str, object]]:
    """Order of the samples, how many train, and that in words."""
    count = len(arrays.inputs)
    if arrays.train_count is not None:
        if recipe.train_count not in (None, arrays.train_count):
            raise CannotFreeze(
                f"the source itself says that {arrays.train_count} samples train, "
                f"not {recipe.train_count}"
            )
        return np.arange(count), arrays.train_count, {"rule": "as the source has it"}
    train_count = recipe.train_count
    if train_count is None:
        train_count = max(1, count * _TRAIN_SHARE[0] // _TRAIN_SHARE[1])
    if not 1 <= train_count <= count:
        raise CannotFreeze(f"{train_count} of {count} samples can't train")
    rule = "the first of numpy.random.RandomState(0).permutation(count) train"
    return shuffled_order(count), train_count, {"rule": rule, "count": count}


@dataclass(frozen=True, slots=True, eq=False)
class _Plan:
    """What is settled before samples are looked at. order: of all samples, [n]."""

    recipe: Recipe
    order: Order
    train_count: int
    maximum: int | None

    def scale(self, training: Numbers) -> Scale:
        return input_scale(self.recipe.scale, training, self.maximum)


def _pairs(plan: _Plan, inputs: Numbers, other: Numbers) -> tuple[bytes, dict[str, object]]:
    """inputs, other: [n, size], in order."""
    training = np.concatenate([side[: plan.train_count] for side in (inputs, other)])
    scale = plan.scale(training)
    data = freeze_pairs(
        scaled_inputs(scale, inputs), scaled_inputs(scale, other), train_count=plan.train_count
    )
    return data, {"inputs": scale.document(INPUT_RULES)}


def _classes(plan: _Plan, inputs: Numbers, targets: Numbers) -> tuple[bytes, dict[str, object]]:
    """inputs: [n, size], in order. targets: [n], as the source has them."""
    if targets.ndim != 1:
        raise CannotFreeze(f"classes are one number a sample, targets are {targets.shape}")
    details: dict[str, object] = {}
    if targets.dtype.kind == "U":
        names, targets = np.unique(targets, return_inverse=True)
        details["targets"] = {"labels": names.tolist()}
    targets = whole_numbers(targets, "classes")
    classes = plan.recipe.classes
    if classes is None:
        classes = int(targets.max()) + 1
    wrong = (targets < 0) | (targets >= classes)
    if wrong.any():
        sample = int(wrong.argmax())
        raise CannotFreeze(
            f"sample {sample} of the source has the class {targets[sample]}, classes are numbered "
            f"from 0 to {classes - 1}: renumber them, or name them by text"
        )
    scale = plan.scale(inputs[: plan.train_count])
    data = freeze(
        scaled_inputs(scale, inputs),
        targets[plan.order],
        train_count=plan.train_count,
        classes=classes,
    )
    return data, {"inputs": scale.document(INPUT_RULES), **details}


def _values(plan: _Plan, inputs: Numbers, targets: Numbers) -> tuple[bytes, dict[str, object]]:
    """inputs: [n, size], in order. targets: [n, ...], as the source has them."""
    if targets.dtype.kind == "U":
        raise CannotFreeze("text can't be target values: leave the kind away, or name numbers")
    targets = targets.reshape(len(targets), -1)[plan.order]
    scale = plan.scale(inputs[: plan.train_count])
    unit = target_scale(plan.recipe.target_scale, targets[: plan.train_count])
    data = freeze_values(
        scaled_inputs(scale, inputs),
        scaled_targets(unit, targets),
        train_count=plan.train_count,
    )
    return data, {
        "inputs": scale.document(INPUT_RULES),
        "targets": unit.document(TARGET_RULES),
    }
