"""The one byte string of a manifest: canonical ASCII JSON (docs/protocol.md section 1).

Sorted keys, no spaces, strings without escapes, integers below 2^53. One byte string has one
meaning and one meaning one byte string, so its SHA-256 in the params binds it all. What a manifest
may say is `potnode.spec.manifest`'s.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from typing import Any

from potnode.spec import layers
from potnode.spec.errors import InvalidJob
from potnode.spec.hashing import sha256
from potnode.spec.layers import Layer
from potnode.spec.manifest import (
    MAX_SHIFT,
    MAX_SIZE,
    NAME,
    PROTOCOL_VERSION,
    RULES,
    Classes,
    Evolution,
    Greedy,
    Imported,
    Manifest,
    NextByte,
    Pairs,
    Seeded,
    Strategy,
    Task,
    Values,
    Weights,
    check_manifest,
    max_loss,
)
from potnode.spec.params import JobParams, check_params

MAX_INT = 1 << 53
LIMIT_LOSS_SUM = 1 << 40  # losses are recorded as u40

LAYER_TYPES: dict[str, type[Layer]] = {
    "linear": layers.Linear,
    "conv2d": layers.Conv2d,
    "depthwise": layers.Depthwise,
    "maxpool": layers.MaxPool,
    "avgpool": layers.AvgPool,
    "relu": layers.Relu,
    "add": layers.Add,
    "norm": layers.Norm,
    "embedding": layers.Embedding,
    "gru": layers.Gru,
}
_NAMES = {layer: name for name, layer in LAYER_TYPES.items()}
# What a layer's fields are called in JSON where it is not their own name.
_KEYS = {"source": "from"}


def encode_manifest(manifest: Manifest) -> bytes:
    """The one byte string of a manifest. Raises InvalidJob where its layers can't follow."""
    document = {
        "dataset": manifest.dataset,
        "initial": _initial_document(manifest.initial),
        "input": list(manifest.input),
        "model": [_layer_document(layer) for layer in manifest.layers],
        "perturbation": list(manifest.perturbation),
        "potnode": PROTOCOL_VERSION,
        "strategy": _strategy_document(manifest.strategy),
        "task": _task_document(manifest.task),
        "tensors": [list(shape) for shape in manifest.tensors],
        "train": list(manifest.train),
        "weights": {"levels": manifest.weights.levels, "shift": manifest.weights.shift},
    }
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode(
        "ascii"
    )


def decode_manifest(data: bytes) -> Manifest:
    """Parse and check a manifest.

    Raises:
        InvalidJob: not canonical JSON, an unknown or missing key (the nearest known one is named),
            a value out of range, or a network whose sums would pass their bound.
    """
    try:
        document = json.loads(data.decode("ascii"), parse_float=_no_float, parse_constant=_no_float)
    except (ValueError, RecursionError) as error:  # ValueError: not ASCII, not JSON, a huge integer
        raise InvalidJob(f"manifest is not ASCII JSON: {error}") from error
    top = _object(
        document,
        "manifest",
        (
            "dataset", "initial", "input", "model", "perturbation", "potnode", "strategy", "task",
            "tensors", "train", "weights",
        ),
    )  # fmt: skip
    if top["potnode"] != PROTOCOL_VERSION:
        raise InvalidJob(
            f"manifest.potnode is {top['potnode']!r}, this version knows {PROTOCOL_VERSION}"
        )
    weights = _object(top["weights"], "manifest.weights", ("levels", "shift"))
    model = top["model"]
    if not isinstance(model, list):
        raise InvalidJob("manifest.model must be a list of layers")
    manifest = Manifest(
        dataset=_name(top["dataset"], "manifest.dataset"),
        task=_task(top["task"]),
        input=_integers(top["input"], "manifest.input", 1, MAX_SIZE),
        layers=tuple(read_layer(item, f"manifest.model[{i}]") for i, item in enumerate(model)),
        train=_integers(top["train"], "manifest.train", 0, MAX_INT),
        initial=_initial(top["initial"]),
        weights=Weights(
            _integer(weights["levels"], "manifest.weights.levels", 1, 127),
            _integer(weights["shift"], "manifest.weights.shift", 8, 14),
        ),
        perturbation=_two(top["perturbation"], "manifest.perturbation"),
        strategy=_strategy(top["strategy"]),
    )
    check_manifest(manifest)
    if encode_manifest(manifest) != data:
        raise InvalidJob(
            "manifest is not canonical: keys sorted, no spaces, tensors as the model has them"
        )
    return manifest


def check_job(params: JobParams, manifest_bytes: bytes) -> Manifest:
    """The manifest, decoded, after checking params, manifest and the bounds that need both.

    Not checked, since it takes the work of a node: that `initial_root` is the root of the initial
    state, and that the dataset has the counts, the input size, the outputs and the root named.

    Raises:
        InvalidJob: at the first rule that is broken.
    """
    check_params(params)
    if sha256(manifest_bytes) != params.manifest_hash:
        raise InvalidJob("params.manifest_hash is not the SHA-256 of the manifest")
    manifest = decode_manifest(manifest_bytes)
    if manifest.strategy.batch_start > params.batch_size:
        raise InvalidJob(
            f"manifest.strategy.batch_start is {manifest.strategy.batch_start}, "
            f"beyond params.batch_size, {params.batch_size}"
        )
    largest_sum = max(params.batch_size, params.held_out_count) * max_loss(manifest)
    if largest_sum >= LIMIT_LOSS_SUM:
        raise InvalidJob(
            "a sum of losses may reach 2^40: fewer samples, or a larger shift of the last layer"
        )
    return manifest


def read_layer(value: object, where: str) -> Layer:
    """One layer of a model. Raises InvalidJob, naming `where` and the nearest known key."""
    kind = LAYER_TYPES[_type_of(value, where, tuple(LAYER_TYPES))]
    keys = {_KEYS.get(f.name, f.name): f.name for f in fields(kind)}
    known = _object(value, where, ("type", *keys))
    read = {field: _FIELDS[field](known[key], f"{where}.{key}") for key, field in keys.items()}
    return kind(**read)


def _layer_document(layer: Layer) -> dict[str, object]:
    document: dict[str, object] = {"type": _NAMES[type(layer)]}
    for f in fields(layer):
        value = getattr(layer, f.name)
        document[_KEYS.get(f.name, f.name)] = list(value) if isinstance(value, tuple) else value
    return document


def _task(value: object) -> Task:
    where = "manifest.task"
    match _type_of(value, where, ("classes", "bytes", "values", "pairs")):
        case "bytes":
            known = _object(value, where, ("type", "warmup", "window"))
            return NextByte(
                _integer(known["window"], f"{where}.window", 1, MAX_INT),
                _integer(known["warmup"], f"{where}.warmup", 0, MAX_INT),
            )
        case "values":
            known = _object(value, where, ("tolerance", "type"))
            return Values(_integer(known["tolerance"], f"{where}.tolerance", 0, MAX_INT))
        case name:
            _object(value, where, ("type",))
            return Classes() if name == "classes" else Pairs()


def _task_document(task: Task) -> dict[str, object]:
    match task:
        case Classes():
            return {"type": "classes"}
        case NextByte(window, warmup):
            return {"type": "bytes", "warmup": warmup, "window": window}
        case Values(tolerance):
            return {"type": "values", "tolerance": tolerance}
        case Pairs():
            return {"type": "pairs"}


def _initial(value: object) -> Seeded | Imported:
    where = "manifest.initial"
    if isinstance(value, dict) and "file" in value:
        known = _object(value, where, ("file",))
        return Imported(_hash(known["file"], f"{where}.file"))
    known = _object(value, where, ("mean", "seed", "std"))
    return Seeded(
        _hash(known["seed"], f"{where}.seed"),
        _integers(known["std"], f"{where}.std", 0, MAX_INT),
        _integers(known["mean"], f"{where}.mean", -MAX_INT, MAX_INT),
    )


def _initial_document(initial: Seeded | Imported) -> dict[str, object]:
    if isinstance(initial, Imported):
        return {"file": initial.sha256.hex()}
    return {"seed": initial.seed.hex(), "std": list(initial.std), "mean": list(initial.mean)}


def _strategy(value: object) -> Strategy:
    where = "manifest.strategy"
    if _type_of(value, where, ("evolution", "greedy")) == "greedy":
        known = _object(value, where, ("batch_start", "margin", "type"))
        return Greedy(
            _integer(known["margin"], f"{where}.margin", 0, MAX_INT),
            _integer(known["batch_start"], f"{where}.batch_start", 1, MAX_INT),
        )
    known = _object(value, where, ("batch_start", "eta", "rule", "type"))
    return Evolution(
        _choice(known["rule"], f"{where}.rule", RULES),
        *_two(known["eta"], f"{where}.eta"),
        _integer(known["batch_start"], f"{where}.batch_start", 1, MAX_INT),
    )


def _strategy_document(strategy: Strategy) -> dict[str, object]:
    if isinstance(strategy, Greedy):
        return {
            "batch_start": strategy.batch_start,
            "margin": strategy.margin,
            "type": "greedy",
        }
    return {
        "batch_start": strategy.batch_start,
        "eta": [strategy.eta0, strategy.eta1],
        "rule": strategy.rule,
        "type": "evolution",
    }


def nearest(name: str, known: Sequence[str] | Mapping[str, object]) -> str:
    """What the user may have meant, as the end of a message."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""


def _no_float(text: str) -> Any:
    raise InvalidJob(f"manifest holds {text}: only integers are allowed")


def _type_of(value: object, where: str, known: Sequence[str]) -> str:
    if not isinstance(value, dict) or "type" not in value:
        raise InvalidJob(f"{where} must be an object with a type: {', '.join(known)}")
    return _choice(value["type"], f"{where}.type", known)


def _choice(value: object, where: str, known: Sequence[str]) -> str:
    if not isinstance(value, str) or value not in known:
        hint = nearest(value, known) if isinstance(value, str) else ""
        raise InvalidJob(f"{where} must be one of {', '.join(known)}{hint}")
    return value


def _object(value: object, where: str, keys: Sequence[str]) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise InvalidJob(f"{where} must be an object")
    for key in value:
        if key not in keys:
            raise InvalidJob(f"{where} has the unknown key {key!r}{nearest(key, keys)}")
    for key in keys:
        if key not in value:
            raise InvalidJob(f"{where} lacks the key {key!r}")
    return value


def _integer(value: object, where: str, low: int, high: int) -> int:
    high = min(high, MAX_INT - 1)
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise InvalidJob(f"{where} must be an integer {low}..{high}, not {value!r}")
    return value


def _integers(value: object, where: str, low: int, high: int) -> tuple[int, ...]:
    if not isinstance(value, list):
        raise InvalidJob(f"{where} must be a list of integers")
    return tuple(_integer(v, f"{where}[{i}]", low, high) for i, v in enumerate(value))


def _two(value: object, where: str) -> tuple[int, int]:
    both = _integers(value, where, 0, MAX_INT)
    if len(both) != 2:
        raise InvalidJob(f"{where} must be two integers: at the first step, at the step limit")
    return both


def _extent(value: object, where: str, low: int) -> tuple[int, int]:
    both = _integers(value, where, low, MAX_SIZE)
    if len(both) != 2:
        raise InvalidJob(f"{where} must be two integers: vertical, horizontal")
    return both


def _name(value: object, where: str) -> str:
    if not isinstance(value, str) or not NAME.fullmatch(value):
        raise InvalidJob(f"{where} must be 1..64 of a-z 0-9 . _ -")
    return value


def _hash(value: object, where: str) -> bytes:
    if not isinstance(value, str) or not re.fullmatch(r"[0-9a-f]{64}", value):
        raise InvalidJob(f"{where} must be 64 lower-case hex digits")
    return bytes.fromhex(value)


_FIELDS: dict[str, Callable[[object, str], Any]] = {
    "out": lambda v, where: _integer(v, where, 1, MAX_SIZE),
    "shift": lambda v, where: _integer(v, where, 0, MAX_SHIFT),
    "activation": lambda v, where: _choice(v, where, layers.ACTIVATIONS),
    "kernel": lambda v, where: _extent(v, where, 1),
    "stride": lambda v, where: _extent(v, where, 1),
    "pad": lambda v, where: _extent(v, where, 0),
    "source": lambda v, where: _integer(v, where, 0, MAX_INT),
}
