"""A job from a torch model of one's own: found by name, converted, compared, drafted.

What integers stand for a model is `potnode.torchmodel`'s. torch is loaded only when a function here
is called, since it takes seconds.
"""

from __future__ import annotations

import importlib
import sys
import traceback
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from potnode.config import nearest
from potnode.data.catalog import WEIGHTS_SUFFIX
from potnode.data.dataset import Dataset
from potnode.engine import state as states
from potnode.errors import JobFileError
from potnode.jobfile import JobFile
from potnode.jobmodel import Built, input_shape
from potnode.jobs import JobDraft, draft
from potnode.spec.manifest import Imported, NextByte, check_manifest

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True, slots=True)
class TorchJob:
    """A job whose initial weights are a torch model's.

    weights: the file the manifest names. float_accuracy, accuracy: share 0..1 of held-out samples
    that the model and its integers are right on.
    """

    draft: JobDraft
    weights: bytes
    float_accuracy: float
    accuracy: float

    @property
    def file_name(self) -> str:
        """What nodes and auditors look for in their folder of datasets."""
        return sha256(self.weights).hexdigest() + WEIGHTS_SUFFIX

    def save(self, folder: Path | None) -> Path:
        """Write the file of initial weights to the folder of datasets. JobFileError."""
        if folder is None:
            raise JobFileError(
                "the model's weights are kept among the datasets: set datasets.path to a folder"
            )
        path = folder / self.file_name
        temporary = path.with_name(path.name + ".new")
        try:
            temporary.write_bytes(self.weights)
            temporary.replace(path)
        except OSError as error:
            raise JobFileError(f"can't write {path}: {error.strerror}") from error
        return path


def find_model(where: str) -> nn.Module:
    """The model that `module:function` returns; modules are looked for in this folder as well.

    Raises:
        JobFileError: there is no such module or function, it fails, or gives something else.
    """
    from torch import nn

    module_name, _, function = where.partition(":")
    if not module_name or not function:
        raise JobFileError(f"--from-torch takes module:function, not {where!r}")
    here = str(Path.cwd())
    sys.path.insert(0, here)
    try:
        try:
            module = importlib.import_module(module_name)
        except ImportError as error:
            raise JobFileError(f"--from-torch: can't import {module_name}: {error}") from error
        except Exception as error:  # whatever a user's own file does
            raise JobFileError(f"--from-torch: {module_name}: {_fault(error)}") from error
        make = getattr(module, function, None)
        if not callable(make):
            known = [name for name in vars(module) if callable(getattr(module, name))]
            raise JobFileError(
                f"--from-torch: {module_name} has no function {function!r}"
                f"{nearest(function, known)}"
            )
        try:
            model = make()
        except Exception as error:  # whatever a user's own function does
            raise JobFileError(f"--from-torch: {where}: {_fault(error)}") from error
    finally:
        sys.path.remove(here)
    if not isinstance(model, nn.Module):
        raise JobFileError(f"--from-torch: {where} gives a {type(model).__name__}, not a model")
    return model


def _fault(error: Exception) -> str:
    """What went wrong in a user's own code, and in which line, in one line."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    place = f" ({last.filename}, line {last.lineno})"
    told = "".join(traceback.format_exception_only(error)).strip().splitlines()[-1]
    return told if isinstance(error, SyntaxError) else told + place


def draft_from_torch(
    model: nn.Module, file: JobFile, dataset: Dataset, *, owner: bytes, operator: bytes
) -> TorchJob:
    """A job that begins with a model's weights.

    Args:
        file: its model table may have `input`, `train`, `input_scale` and `output_scale` only.

    Raises:
        TorchModelError: the model has a part no job can have. JobFileError, InvalidJob: the file.
    """
    from potnode.torchmodel.accuracy import float_accuracy, integer_accuracy
    from potnode.torchmodel.convert import convert
    from potnode.torchmodel.integers import IntegerModel

    for key in sorted(file.model.model_fields_set):
        if key not in ("input", "train", "input_scale", "output_scale"):
            raise JobFileError(f"model.{key}: the model comes from torch, leave this out")
    task = file.task.of(dataset.header)
    if isinstance(task, NextByte):
        raise JobFileError("a model of text can't come from torch: see the preset char-gru")
    shape = input_shape(file.model, dataset.header)
    scales = {
        "input_scale": file.model.input_scale,
        "output_scale": file.model.output_scale,
    }
    converted = convert(model, dataset, shape, task, **scales)
    weights = converted.to_bytes()
    built = Built(shape, converted.layers, converted.names, (), ())
    manifest = file.of_layers(built, dataset, Imported(sha256(weights).digest()))
    check_manifest(manifest)
    forward = [states.forward_weights(m, manifest.weights) for m in converted.masters]
    made = draft(file, dataset, owner=owner, operator=operator, manifest=manifest, imported=weights)
    return TorchJob(
        made,
        weights,
        float_accuracy(model, dataset, shape, task, **scales),
        integer_accuracy(IntegerModel(manifest, forward), dataset, manifest),
    )
