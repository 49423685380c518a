"""The manifest: everything of a job that evaluators need and the contract does not (section 1).

Responsible for what a manifest says, and for the bounds that make the arithmetic exact everywhere
(section 3). Its one byte string is `potnode.spec.manifest_json`'s.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod

from potnode.spec.errors import InvalidJob
from potnode.spec.layers import (
    ACTIVATIONS,
    NONE,
    VOCABULARY,
    Conv2d,
    Depthwise,
    Embedding,
    Gru,
    Layer,
    Linear,
    Norm,
    Shape,
    fan_in,
    out_shape,
    tensor_shapes,
)
from potnode.spec.params import MAX_BATCH

PROTOCOL_VERSION = 1
LIMIT_FLOAT32 = 1 << 24  # every partial sum below it is exact in float32
LIMIT_ACCUMULATOR = 1 << 31  # chunks are summed in int32
LIMIT_LOGIT = 1 << 23
MASTER_LIMIT = 127 * 256
MAX_ETA = (1 << 15) - 1
MAX_INITIAL = 1530  # |s| of an initial weight's two sums (section 1)
MAX_STD = 5439  # 1530 * std >> 8 must stay within the clip of the masters, 32512
MAX_SHIFT = 24
MAX_PERTURBATION_SHIFT = 6
MAX_OUTPUTS = 256
MAX_LAYERS = 64
MAX_SIZE = 1 << 24  # values of an input, of a layer's output, of a tensor
MAX_WINDOW = 65_536
MAX_VALUE_ERROR = 32_767  # of a regression's output; beyond it the loss does not grow
WEIGHT_LIMIT = 127
RULES = ("momentum", "sign_momentum")
NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


@dataclass(frozen=True, slots=True)
class Classes:
    """Classification: cross-entropy over 2 to 256 classes."""


@dataclass(frozen=True, slots=True)
class NextByte:
    """Language modelling: each of `window` bytes predicts the next, by 256 outputs.

    A sample is window + 1 bytes, read from a state of zero. The first `warmup` predictions bear no
    loss: there is little to predict from.
    """

    window: int
    warmup: int


@dataclass(frozen=True, slots=True)
class Values:
    """Regression: squared error of each output to an int16; a hit is within `tolerance`."""

    tolerance: int


@dataclass(frozen=True, slots=True)
class Pairs:
    """Preferences: one output, a score, is to be higher for the preferred input of a pair."""


Task = Classes | NextByte | Values | Pairs

# The kind of dataset file a task takes (`potnode.spec.dataset`).
DATASET_KINDS: dict[type[Task], str] = {
    Classes: "classes",
    NextByte: "bytes",
    Values: "values",
    Pairs: "pairs",
}


@dataclass(frozen=True, slots=True)
class Weights:
    """How masters become forward weights: W = clip((M + 2^(s-1)) >> s, -levels, levels) << (s-8).

    int8 is (127, 8), int4 (7, 12), ternary (1, 13). levels << (shift - 8) is at most 127.
    """

    levels: int = 127
    shift: int = 8


@dataclass(frozen=True, slots=True)
class Seeded:
    """Initial masters from a seed of 32 bytes: mean + rs(s * std, 8), one of each for a tensor.

    In units of M: 256 is one weight step.
    """

    seed: bytes
    std: tuple[int, ...]
    mean: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Imported:
    """Initial masters from a file of le32, tensor by tensor; sha256: its 32 bytes."""

    sha256: bytes


@dataclass(frozen=True, slots=True)
class Evolution:
    """All candidates, weighted by their losses, make the step.

    rule: one of RULES. eta0, eta1: step sizes at the first step and at the step limit, below 2^15.
    batch_start: samples of the first step's batch; the params have those at the step limit.
    """

    rule: str
    eta0: int
    eta1: int
    batch_start: int


@dataclass(frozen=True, slots=True)
class Greedy:
    """The best candidate is the step, if it is better than none on this batch and on another.

    margin: by how much, in 1/256 bit summed over a batch. batch_start: as in `Evolution`.
    """

    margin: int
    batch_start: int


Strategy = Evolution | Greedy


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """A job's model, task, search and schedule.

    dataset: its name. input: shape of one input; () for a byte. train: indices of the tensors that
    are perturbed and updated, ascending. perturbation: e at the first step and at the step limit; a
    candidate moves a weight by 2^e steps.
    """

    dataset: str
    task: Task
    input: Shape
    layers: tuple[Layer, ...]
    train: tuple[int, ...]
    initial: Seeded | Imported
    weights: Weights = Weights()
    perturbation: tuple[int, int]
    strategy: Strategy

    @cached_property
    def shapes(self) -> tuple[Shape, ...]:
        """Shape of every layer's output. Raises InvalidJob where a layer can't follow."""
        shapes: tuple[Shape, ...] = ()
        shape = self.input
        for i, layer in enumerate(self.layers):
            try:
                shape = out_shape(layer, shape, shapes)
            except InvalidJob as error:
                raise InvalidJob(f"manifest.model[{i}]: {error}") from None
            shapes = (*shapes, shape)
        return shapes

    @cached_property
    def tensors_by_layer(self) -> tuple[tuple[Shape, ...], ...]:
        """Shapes of every layer's tensors."""
        inputs = (self.input, *self.shapes[:-1])
        return tuple(tensor_shapes(layer, x) for layer, x in zip(self.layers, inputs, strict=True))

    @cached_property
    def tensors(self) -> tuple[Shape, ...]:
        """Shape of every tensor in order: (m, n) for a matrix, (n,) for a vector."""
        return tuple(shape for shapes in self.tensors_by_layer for shape in shapes)

    @cached_property
    def _first_tensors(self) -> tuple[int, ...]:
        counts = [len(shapes) for shapes in self.tensors_by_layer]
        return tuple(sum(counts[:i]) for i in range(len(counts)))

    def first_tensor(self, layer: int) -> int:
        """Index of a layer's first tensor, or of the next layer's where it has none."""
        return self._first_tensors[layer]

    @property
    def outputs(self) -> int:
        """Values the last layer gives: classes, 256 for bytes, targets, or one score."""
        return prod(self.shapes[-1])

    @property
    def parameters(self) -> int:
        """Number of weights and biases."""
        return sum(prod(shape) for shape in self.tensors)

    @property
    def predictions(self) -> int:
        """Predictions of one sample that bear loss and may be hits."""
        task = self.task
        return task.window - task.warmup if isinstance(task, NextByte) else 1

    @property
    def input_size(self) -> int:
        """`input_size` of its dataset's header: values of one input, or bytes of a text."""
        if isinstance(self.task, NextByte):
            return self.task.window + 1
        return prod(self.input)


def check_manifest(manifest: Manifest) -> None:
    """Raise InvalidJob where parts contradict each other or a sum may pass its bound."""
    if not NAME.fullmatch(manifest.dataset):
        raise InvalidJob("manifest.dataset must be 1..64 of a-z 0-9 . _ -")
    if not 1 <= len(manifest.layers) <= MAX_LAYERS:
        raise InvalidJob(f"manifest.model must be a list of 1..{MAX_LAYERS} layers")
    _check_input(manifest)
    _check_layers(manifest)
    _check_task(manifest)
    tensors = manifest.tensors
    if not manifest.train or list(manifest.train) != sorted(
        {t for t in manifest.train if 0 <= t < len(tensors)}
    ):
        raise InvalidJob("manifest.train must be ascending indices of tensors, at least one")
    _check_initial(manifest.initial, len(tensors))
    weights = manifest.weights
    if not (
        8 <= weights.shift <= 14
        and weights.levels >= 1
        and weights.levels << (weights.shift - 8) <= WEIGHT_LIMIT
    ):
        raise InvalidJob("manifest.weights: levels << (shift - 8) must be 1..127, shift 8..14")
    first, last = manifest.perturbation
    if not 0 <= last <= first <= MAX_PERTURBATION_SHIFT:
        raise InvalidJob(
            f"manifest.perturbation must be 0..{MAX_PERTURBATION_SHIFT} and must not rise"
        )
    _check_strategy(manifest.strategy)


def _check_input(manifest: Manifest) -> None:
    expected = (0,) if isinstance(manifest.task, NextByte) else (1, 3)
    if len(manifest.input) not in expected:
        raise InvalidJob(
            "manifest.input must be [] for the task bytes, else [n] or [channels, height, width]"
        )
    if any(size < 1 for size in manifest.input) or prod(manifest.input) > MAX_SIZE:
        raise InvalidJob(f"manifest.input must have 1..{MAX_SIZE} values")


def _check_layers(manifest: Manifest) -> None:
    e = manifest.perturbation[0]
    inputs = (manifest.input, *manifest.shapes[:-1])
    for i, (layer, shape) in enumerate(zip(manifest.layers, inputs, strict=True)):
        where = f"manifest.model[{i}]"
        if isinstance(layer, Linear | Conv2d | Depthwise):
            if layer.activation not in ACTIVATIONS:
                raise InvalidJob(f"{where}.activation must be one of {', '.join(ACTIVATIONS)}")
            last = i == len(manifest.layers) - 1
            if (layer.activation == NONE) != last or (last and not isinstance(layer, Linear)):
                raise InvalidJob(
                    f"{where}: the last layer, and only it, is linear with the activation 'none'"
                )
        for size in (*manifest.tensors_by_layer[i], manifest.shapes[i]):
            if prod(size) > MAX_SIZE:
                raise InvalidJob(f"{where} has more than {MAX_SIZE} values")
        terms = fan_in(layer, shape)
        if accumulator_bound(terms, e) >= LIMIT_ACCUMULATOR:
            raise InvalidJob(f"{where}: a dot product of {terms} passes its sum's bound, 2^31")
    last_layer = manifest.layers[-1]
    if not isinstance(last_layer, Linear):
        raise InvalidJob("manifest.model: the last layer must be linear")
    if logit_bound(manifest) >= LIMIT_LOGIT:
        raise InvalidJob("logits may reach 2^23: raise the last layer's shift")


def _check_task(manifest: Manifest) -> None:
    outputs = manifest.outputs
    match manifest.task:
        case Classes() if not 2 <= outputs <= MAX_OUTPUTS:
            raise InvalidJob(f"the model must have 2..{MAX_OUTPUTS} classes, not {outputs}")
        case NextByte(window, warmup):
            if outputs != VOCABULARY:
                raise InvalidJob(f"a byte model has {VOCABULARY} outputs, not {outputs}")
            if not 0 <= warmup < window <= MAX_WINDOW:
                raise InvalidJob(f"manifest.task needs 0 <= warmup < window <= {MAX_WINDOW}")
        case Values(tolerance):
            if not 1 <= outputs <= MAX_OUTPUTS:
                raise InvalidJob(f"the model must have 1..{MAX_OUTPUTS} outputs, not {outputs}")
            if not 0 <= tolerance <= MAX_VALUE_ERROR:
                raise InvalidJob(f"manifest.task.tolerance must be 0..{MAX_VALUE_ERROR}")
        case Pairs() if outputs != 1:
            raise InvalidJob(f"a model of preferences has 1 output, its score, not {outputs}")
        case _:
            pass


def _check_initial(initial: Seeded | Imported, tensors: int) -> None:
    if isinstance(initial, Imported):
        if len(initial.sha256) != 32:
            raise InvalidJob("manifest.initial.file must be a SHA-256")
        return
    if len(initial.seed) != 32:
        raise InvalidJob("manifest.initial.seed must be 32 bytes")
    if len(initial.std) != tensors or len(initial.mean) != tensors:
        raise InvalidJob(
            f"manifest.initial.std and .mean need one integer for each of {tensors} tensors"
        )
    for t, (std, mean) in enumerate(zip(initial.std, initial.mean, strict=True)):
        largest = abs(mean) + ((MAX_INITIAL * std + 128) >> 8)
        if not 0 <= std <= MAX_STD or largest > MASTER_LIMIT:
            raise InvalidJob(
                f"manifest.initial: tensor {t} may start beyond {MASTER_LIMIT}: "
                f"std {std}, mean {mean}"
            )


def _check_strategy(strategy: Strategy) -> None:
    if not 1 <= strategy.batch_start <= MAX_BATCH:
        raise InvalidJob(f"manifest.strategy.batch_start must be 1..{MAX_BATCH}")
    if isinstance(strategy, Greedy):
        if not 0 <= strategy.margin < 1 << 40:
            raise InvalidJob("manifest.strategy.margin must be 0..2^40-1")
        return
    if strategy.rule not in RULES:
        raise InvalidJob(f"manifest.strategy.rule must be one of {', '.join(RULES)}")
    if not 0 <= strategy.eta1 <= strategy.eta0 <= MAX_ETA:
        raise InvalidJob(f"manifest.strategy.eta must be 0..{MAX_ETA} and must not rise")


def accumulator_bound(length: int, perturbation_shift: int) -> int:
    """Largest |accumulator| of a dot product of `length` under a candidate, bias included."""
    e = perturbation_shift
    return length * 127 * (127 + (1 << e)) + 127 * 32 + (1 << (5 + e))


def chunk_length(perturbation_shift: int) -> int:
    """Longest dot product whose partial sums all stay below 2^24: 1031 at e = 0, 1008 at e = 2."""
    fixed = accumulator_bound(0, perturbation_shift)
    return (LIMIT_FLOAT32 - 1 - fixed) // (127 * (127 + (1 << perturbation_shift)))


def logit_bound(manifest: Manifest) -> int:
    """Largest |z| an output can have."""
    last = manifest.layers[-1]
    inputs = (manifest.input, *manifest.shapes)[-2]
    if not isinstance(last, Linear):
        raise InvalidJob("manifest.model: the last layer must be linear")
    terms = fan_in(last, inputs)
    return (accumulator_bound(terms, manifest.perturbation[0]) >> last.shift) + 1


def max_loss(manifest: Manifest) -> int:
    """Upper bound of one sample's loss in 1/256 bit."""
    if isinstance(manifest.task, Values):
        return manifest.outputs * (MAX_VALUE_ERROR**2 >> 8)
    # The logits' spread, and log2 of the classes.
    one = 2 * logit_bound(manifest) + 256 * (MAX_OUTPUTS.bit_length() + 1)
    return manifest.predictions * one


def names(manifest: Manifest) -> Sequence[str]:
    """A name for every tensor, such as `layers.0.weight`, as a model's file has them."""
    result = []
    for i, layer in enumerate(manifest.layers):
        match layer:
            case Linear() | Conv2d() | Depthwise():
                parts = ["weight", "bias"]
            case Norm() | Embedding():
                parts = ["weight"]
            case Gru():
                parts = [
                    f"{part}_{gate}" for gate in "fh" for part in ("weight", "recurrent", "bias")
                ]
            case _:
                parts = []
        result += [f"layers.{i}.{part}" for part in parts]
    return result
