"""A model as a safetensors file: weights to use, and all that proves where they come from.

Every tensor has its name (`potnode.spec.manifest.names`, such as `layers.0.weight`) and its shape:
int8 forward weights; the same with `.master` and `.momentum`, int32. Metadata: protocol, job, step,
state_root, manifest. The state root covers masters and momenta, so the file alone can be checked
against the chain.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors import numpy as safetensors

from potnode.engine import state as states
from potnode.engine.errors import BadModelFile
from potnode.engine.state import EngineState
from potnode.spec.errors import InvalidJob
from potnode.spec.manifest import PROTOCOL_VERSION, Manifest, names
from potnode.spec.manifest_json import decode_manifest, encode_manifest

_PROTOCOL = f"potnode/{PROTOCOL_VERSION}"
_HEADER_LENGTH = 8  # little-endian length of the JSON that follows (safetensors format)


@dataclass(frozen=True, slots=True)
class Model:
    """A model of a job after `step` steps.

    job_id: 32 bytes. step: steps done, 0 for the initial weights.
    """

    job_id: bytes
    step: int
    manifest: Manifest
    state: EngineState


def encode_model(model: Model) -> bytes:
    """The bytes of the file; the same for the same model."""
    weights = model.manifest.weights
    tensors: dict[str, npt.NDArray[np.int8 | np.int32]] = {}
    for name, shape, master, momentum in zip(
        names(model.manifest),
        model.manifest.tensors,
        model.state.masters,
        model.state.momenta,
        strict=True,
    ):
        tensors[name] = states.forward_weights(master, weights).reshape(shape)
        tensors[f"{name}.master"] = master.reshape(shape)
        tensors[f"{name}.momentum"] = momentum.reshape(shape)
    metadata = {
        "job": model.job_id.hex(),
        "manifest": encode_manifest(model.manifest).decode("ascii"),
        "protocol": _PROTOCOL,
        "state_root": states.root(model.state, weights).hex(),
        "step": str(model.step),
    }
    return _sorted_header(safetensors.save(tensors, metadata))


def decode_model(data: bytes) -> Model:
    """Read a file made by `encode_model` and check it against its own state root.

    Raises:
        BadModelFile: not such a file, or its weights don't have the state root it states.
    """
    try:
        tensors = safetensors.load(data)
        metadata = _split(data)[0]["__metadata__"]
        if metadata["protocol"] != _PROTOCOL:
            raise BadModelFile(f"the model is of {metadata['protocol']!r}, this is {_PROTOCOL}")
        manifest = decode_manifest(metadata["manifest"].encode("ascii"))
        state = EngineState(
            tuple(_flat(tensors, f"{name}.master") for name in names(manifest)),
            tuple(_flat(tensors, f"{name}.momentum") for name in names(manifest)),
        )
        root = bytes.fromhex(metadata["state_root"])
        model = Model(bytes.fromhex(metadata["job"]), int(metadata["step"]), manifest, state)
    except (SafetensorError, InvalidJob, KeyError, ValueError) as error:
        raise BadModelFile(f"not a potnode model file: {error}") from error
    for name, shape, master in zip(names(manifest), manifest.tensors, state.masters, strict=True):
        forward = tensors.get(name)
        expected = states.forward_weights(master, manifest.weights)
        if forward is None or forward.shape != shape or not np.array_equal(forward.flat, expected):
            raise BadModelFile(f"tensor {name} is not what its masters round to")
    if states.root(state, manifest.weights) != root:
        raise BadModelFile(f"the weights don't have the state root the file states, {root.hex()}")
    return model


def _sorted_header(data: bytes) -> bytes:
    """The same file with its header's keys sorted: the library's order changes from run to run."""
    header, rest = _split(data)
    text = json.dumps(header, sort_keys=True, separators=(",", ":")).encode("ascii")
    text += b" " * (-len(text) % 8)  # tensors start at a multiple of 8 bytes (safetensors format)
    return len(text).to_bytes(_HEADER_LENGTH, "little") + text + rest


def _split(data: bytes) -> tuple[Any, bytes]:
    """The header's JSON and the bytes of the tensors."""
    end = _HEADER_LENGTH + int.from_bytes(data[:_HEADER_LENGTH], "little")
    return json.loads(data[_HEADER_LENGTH:end]), data[end:]


def _flat(tensors: dict[str, npt.NDArray[np.generic]], name: str) -> npt.NDArray[np.int32]:
    values = tensors[name]
    if values.dtype != np.int32:
        raise BadModelFile(f"tensor {name} is {values.dtype}, not int32")
    return values.reshape(-1).astype(np.int32)
