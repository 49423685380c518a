"""The manifest: everything of a job that evaluators need and the contract does not (section 1).

Canonical ASCII JSON: sorted keys, no spaces, strings without escapes, integers below 2^53. One byte
string has one meaning and one meaning one byte string, so its SHA-256 in the params binds it all.
Responsible also for the bounds that make the arithmetic exact everywhere (section 3).
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from potnode.spec.errors import InvalidJob
from potnode.spec.hashing import sha256
from potnode.spec.params import JobParams, check_params

PROTOCOL_VERSION = 1
MAX_INT = 1 << 53
LIMIT_FLOAT32 = 1 << 24  # every partial sum below it is exact in float32
LIMIT_ACCUMULATOR = 1 << 31  # chunks are summed in int32
LIMIT_LOGIT = 1 << 23
LIMIT_LOSS_SUM = 1 << 40  # losses are recorded as u40
MAX_ETA = (1 << 15) - 1
MAX_STD = 5439  # 1530 * std >> 8 must stay within the clip of the masters, 32512
MAX_SHIFT = 24
MAX_PERTURBATION_SHIFT = 6
MAX_CLASSES = 256
ACTIVATIONS = ("relu", "clip", "none")
RULES = ("momentum", "sign_momentum")
_TEXT = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


@dataclass(frozen=True, slots=True)
class Linear:
    """One linear layer: `out` x `inputs` int8 weights and `out` biases, then acc >> shift.

    activation: "relu" clips to 0..127, "clip" to -127..127, "none" leaves logits (last layer).
    """

    inputs: int
    out: int
    shift: int
    activation: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """A job's model, search and schedule.

    layers: in order. tensors: shapes in order, (out, in) matrix then (out,) bias for every layer.
    train: indices of the tensors that are perturbed and updated, ascending. seed: 32 bytes that the
    initial weights are drawn from. std: one integer a tensor, standard deviation of its initial
    masters in units of M (256 is one weight step); 0 for biases. perturbation_shift: e. rule: one
    of RULES. eta0, eta1: step sizes at the first step and at the step limit, below 2^15.
    dataset: its name.
    """

    dataset: str
    layers: tuple[Linear, ...]
    train: tuple[int, ...]
    seed: bytes
    std: tuple[int, ...]
    perturbation_shift: int
    rule: str
    eta0: int
    eta1: int

    @property
    def tensors(self) -> tuple[tuple[int, ...], ...]:
        """Shape of every tensor in order: (out, in) for a matrix, (out,) for a bias."""
        return tuple(s for layer in self.layers for s in ((layer.out, layer.inputs), (layer.out,)))

    @property
    def classes(self) -> int:
        """Number of logits."""
        return self.layers[-1].out

    @property
    def parameters(self) -> int:
        """Number of weights and biases."""
        return sum(layer.out * (layer.inputs + 1) for layer in self.layers)


def encode_manifest(manifest: Manifest) -> bytes:
    """The one byte string of a manifest."""
    document = {
        "dataset": manifest.dataset,
        "initial": {"seed": manifest.seed.hex(), "std": list(manifest.std)},
        "model": [
            {
                "activation": layer.activation,
                "in": layer.inputs,
                "out": layer.out,
                "shift": layer.shift,
                "type": "linear",
            }
            for layer in manifest.layers
        ],
        "perturbation": manifest.perturbation_shift,
        "potnode": PROTOCOL_VERSION,
        "tensors": [list(shape) for shape in manifest.tensors],
        "train": list(manifest.train),
        "update": {"eta": [manifest.eta0, manifest.eta1], "rule": manifest.rule},
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
        ("dataset", "initial", "model", "perturbation", "potnode", "tensors", "train", "update"),
    )
    if top["potnode"] != PROTOCOL_VERSION:
        raise InvalidJob(
            f"manifest.potnode is {top['potnode']!r}, this version knows {PROTOCOL_VERSION}"
        )
    initial = _object(top["initial"], "manifest.initial", ("seed", "std"))
    update = _object(top["update"], "manifest.update", ("eta", "rule"))
    eta = _integers(update["eta"], "manifest.update.eta", 0, MAX_ETA)
    if len(eta) != 2:
        raise InvalidJob("manifest.update.eta must be two integers: first step, step limit")
    seed = initial["seed"]
    if not isinstance(seed, str) or not re.fullmatch(r"[0-9a-f]{64}", seed):
        raise InvalidJob("manifest.initial.seed must be 64 lower-case hex digits")
    manifest = Manifest(
        dataset=_text(top["dataset"], "manifest.dataset"),
        layers=_layers(top["model"]),
        train=_integers(top["train"], "manifest.train", 0, MAX_INT),
        seed=bytes.fromhex(seed),
        std=_integers(initial["std"], "manifest.initial.std", 0, MAX_STD),
        perturbation_shift=_integer(
            top["perturbation"], "manifest.perturbation", 0, MAX_PERTURBATION_SHIFT
        ),
        rule=_text(update["rule"], "manifest.update.rule"),
        eta0=eta[0],
        eta1=eta[1],
    )
    check_manifest(manifest)
    if encode_manifest(manifest) != data:
        raise InvalidJob(
            "manifest is not canonical: keys sorted, no spaces, tensors as the model has them"
        )
    return manifest


def check_manifest(manifest: Manifest) -> None:
    """Raise InvalidJob where parts contradict each other or a sum may pass its bound."""
    tensors = manifest.tensors
    if not _TEXT.fullmatch(manifest.dataset):
        raise InvalidJob("manifest.dataset must be 1..64 of a-z 0-9 . _ -")
    if len(manifest.std) != len(tensors):
        raise InvalidJob(
            f"manifest.initial.std needs one integer for each of {len(tensors)} tensors"
        )
    if not manifest.train or list(manifest.train) != sorted(
        {t for t in manifest.train if t < len(tensors)}
    ):
        raise InvalidJob("manifest.train must be ascending indices of tensors, at least one")
    for shape, std, t in zip(tensors, manifest.std, range(len(tensors)), strict=True):
        if len(shape) == 1 and std != 0:
            raise InvalidJob(f"manifest.initial.std[{t}] must be 0: biases start at 0")
    if manifest.rule not in RULES:
        raise InvalidJob(
            f"manifest.update.rule must be one of {', '.join(RULES)}"
            + _nearest(manifest.rule, RULES)
        )
    if manifest.eta1 > manifest.eta0:
        raise InvalidJob("manifest.update.eta must not rise: second above first")
    _check_layers(manifest)


def _check_layers(manifest: Manifest) -> None:
    for i, (layer, after) in enumerate(
        zip(manifest.layers, [*manifest.layers[1:], None], strict=True)
    ):
        if (layer.activation == "none") != (after is None):
            raise InvalidJob(
                f"manifest.model[{i}].activation: the last layer, and only it, has 'none'"
            )
        if after is not None and layer.out != after.inputs:
            raise InvalidJob(
                f"manifest.model[{i + 1}].in is {after.inputs}, the layer before gives {layer.out}"
            )
        if accumulator_bound(layer.inputs, manifest.perturbation_shift) >= LIMIT_ACCUMULATOR:
            raise InvalidJob(
                f"manifest.model[{i}]: a dot product of {layer.inputs} passes its sum's bound, 2^31"
            )
    if not 2 <= manifest.classes <= MAX_CLASSES:
        raise InvalidJob(f"the model must have 2..{MAX_CLASSES} classes, not {manifest.classes}")
    if logit_bound(manifest) >= LIMIT_LOGIT:
        raise InvalidJob("logits may reach 2^23: raise the last layer's shift")


def check_job(params: JobParams, manifest_bytes: bytes) -> Manifest:
    """The manifest, decoded, after checking params, manifest and the bounds that need both.

    Not checked, since it takes the work of a node: that `initial_root` is the root of the initial
    state, and that the dataset has the counts, the input size, the classes and the root named.

    Raises:
        InvalidJob: at the first rule that is broken.
    """
    check_params(params)
    if sha256(manifest_bytes) != params.manifest_hash:
        raise InvalidJob("params.manifest_hash is not the SHA-256 of the manifest")
    manifest = decode_manifest(manifest_bytes)
    largest_sum = max(params.batch_size, params.held_out_count) * max_loss(manifest)
    if largest_sum >= LIMIT_LOSS_SUM:
        raise InvalidJob(
            "a sum of losses may reach 2^40: fewer samples, or a larger shift of the last layer"
        )
    return manifest


def accumulator_bound(length: int, perturbation_shift: int) -> int:
    """Largest |accumulator| of a dot product of `length` under a candidate, bias included."""
    e = perturbation_shift
    return length * 127 * (127 + (1 << e)) + 127 * 32 + (1 << (5 + e))


def chunk_length(perturbation_shift: int) -> int:
    """Longest dot product whose partial sums all stay below 2^24: 1031 at e = 0, 1008 at e = 2."""
    fixed = accumulator_bound(0, perturbation_shift)
    return (LIMIT_FLOAT32 - 1 - fixed) // (127 * (127 + (1 << perturbation_shift)))


def logit_bound(manifest: Manifest) -> int:
    """Largest |z| a logit can have."""
    last = manifest.layers[-1]
    return (accumulator_bound(last.inputs, manifest.perturbation_shift) >> last.shift) + 1


def max_loss(manifest: Manifest) -> int:
    """Upper bound of one sample's loss in 1/256 bit: the logits' spread and log2 of the classes."""
    return 2 * logit_bound(manifest) + 256 * (MAX_CLASSES.bit_length() + 1)


def _no_float(text: str) -> Any:
    raise InvalidJob(f"manifest holds {text}: only integers are allowed")


def _nearest(name: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""


def _object(value: object, where: str, keys: Sequence[str]) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise InvalidJob(f"{where} must be an object")
    for key in value:
        if key not in keys:
            raise InvalidJob(f"{where} has the unknown key {key!r}{_nearest(key, keys)}")
    for key in keys:
        if key not in value:
            raise InvalidJob(f"{where} lacks the key {key!r}")
    return value


def _integer(value: object, where: str, low: int, high: int) -> int:
    if (
        not isinstance(value, int)
        or isinstance(value, bool)
        or not low <= value <= min(high, MAX_INT - 1)
    ):
        raise InvalidJob(
            f"{where} must be an integer {low}..{min(high, MAX_INT - 1)}, not {value!r}"
        )
    return value


def _integers(value: object, where: str, low: int, high: int) -> tuple[int, ...]:
    if not isinstance(value, list):
        raise InvalidJob(f"{where} must be a list of integers")
    return tuple(_integer(v, f"{where}[{i}]", low, high) for i, v in enumerate(value))


def _text(value: object, where: str) -> str:
    if not isinstance(value, str) or not _TEXT.fullmatch(value):
        raise InvalidJob(f"{where} must be 1..64 of a-z 0-9 . _ -")
    return value


def _layers(value: object) -> tuple[Linear, ...]:
    if not isinstance(value, list) or not 1 <= len(value) <= 64:
        raise InvalidJob("manifest.model must be a list of 1..64 layers")
    layers = []
    for i, item in enumerate(value):
        where = f"manifest.model[{i}]"
        layer = _object(item, where, ("activation", "in", "out", "shift", "type"))
        if layer["type"] != "linear":
            raise InvalidJob(f"{where}.type must be 'linear'")
        if layer["activation"] not in ACTIVATIONS:
            raise InvalidJob(f"{where}.activation must be one of {', '.join(ACTIVATIONS)}")
        layers.append(
            Linear(
                inputs=_integer(layer["in"], f"{where}.in", 1, 1 << 24),
                out=_integer(layer["out"], f"{where}.out", 1, 1 << 24),
                shift=_integer(layer["shift"], f"{where}.shift", 0, MAX_SHIFT),
                activation=layer["activation"],
            )
        )
    return tuple(layers)
