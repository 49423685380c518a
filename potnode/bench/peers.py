"""Other gradient-free trainers on the same net: evosax, EvoTorch, and torch with full-rank noise.

They are measured where they are installed (the extra `bench`). All evaluate float32 candidates with
noise of full rank, so every candidate has weights of its own; ours share a base product.
"""

from __future__ import annotations

import importlib.util
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from potnode.bench.train_curves import Curve, Point, Report, checkpoints, told
from potnode.engine.bench import Shape
from potnode.spec.layers import Linear

if TYPE_CHECKING:
    from potnode.data.dataset import Dataset

Floats = npt.NDArray[np.float32]
Classes = npt.NDArray[np.int32]

_INPUT_UNIT = 32.0
_STD_FIRST, _STD_LAST = 0.05, 0.01  # evosax's own example of MNIST (examples/03_vision)
_RATE_FIRST, _RATE_LAST = 0.01, 0.001


@dataclass(frozen=True, slots=True)
class Peer:
    """evaluations_per_s: None where it is not installed, as `missing` says."""

    name: str
    evaluations_per_s: float | None
    missing: str | None = None


def sizes(shape: Shape) -> tuple[int, ...]:
    """Sizes of the layers of a multilayer perceptron, inputs first. TypeError for another model."""
    outs = [layer.out for layer in shape.layers if isinstance(layer, Linear)]
    if len(outs) < len(shape.layers):
        raise TypeError(f"{shape} has other layers than linear ones")
    return math.prod(shape.input), *outs


def peers(
    widths: Sequence[int], population: int, batch: int, *, seconds: float = 3.0
) -> list[Peer]:
    """Evaluations a second of others: whole steps of ask, evaluate and tell, compilation excluded.

    Args:
        widths: of a multilayer perceptron's layers, inputs first. population: even.
    """
    rng = np.random.default_rng(0)
    inputs = rng.standard_normal((batch, widths[0])).astype(np.float32)
    targets = rng.integers(0, widths[-1], batch).astype(np.int32)
    found = []
    for name, package, steps in (
        ("evosax Open_ES", "evosax", _evosax_steps),
        ("EvoTorch PGPE", "evotorch", _evotorch_steps),
        ("torch, full rank", "torch", _torch_steps),
    ):
        if importlib.util.find_spec(package) is None:
            found.append(
                Peer(name, None, f"{package} is not installed: pip install potnode[bench]")
            )
            continue
        step = steps(widths, population, inputs, targets)
        found.append(Peer(name, population * _steps_per_s(step, seconds)))
    return found


def _steps_per_s(step: Callable[[], None], seconds: float) -> float:
    step()  # compiles
    step()
    done, started = 0, time.perf_counter()
    while done == 0 or time.perf_counter() - started < seconds:
        step()
        done += 1
    return done / (time.perf_counter() - started)


def initial_weights(widths: Sequence[int], seed: int) -> list[Floats]:
    """Normal weights (in, out) scaled by their inputs, and biases of zero, layer by layer."""
    rng = np.random.default_rng(seed)
    tensors: list[Floats] = []
    for inputs, out in pairwise(widths):
        weights = rng.standard_normal((inputs, out)) / math.sqrt(inputs)
        tensors += [weights.astype(np.float32), np.zeros(out, np.float32)]
    return tensors


def _evosax(widths: Sequence[int], population: int, generations: int, seed: int) -> tuple[Any, Any]:
    """A function of (key, state, inputs, targets) that takes a step, and its first state."""
    import jax
    import jax.numpy as jnp
    import optax
    from evosax.algorithms import Open_ES

    start = [jnp.asarray(t) for t in initial_weights(widths, seed)]

    def loss(tensors: Any, inputs: Any, targets: Any) -> Any:
        logits = optax.softmax_cross_entropy_with_integer_labels(_mlp(tensors, inputs), targets)
        return logits.mean()

    def _mlp(tensors: Any, x: Any) -> Any:
        for at in range(0, len(tensors), 2):
            x = x @ tensors[at] + tensors[at + 1]
            x = jax.nn.relu(x) if at + 2 < len(tensors) else x
        return x

    falls = max(1, generations)
    algorithm = Open_ES(
        population_size=population,
        solution=start,
        optimizer=optax.adam(optax.exponential_decay(_RATE_FIRST, falls, _RATE_LAST / _RATE_FIRST)),
        std_schedule=optax.exponential_decay(_STD_FIRST, falls, _STD_LAST / _STD_FIRST),
    )
    params = algorithm.default_params

    def step(key: Any, state: Any, inputs: Any, targets: Any) -> Any:
        ask, tell = jax.random.split(key)
        candidates, state = algorithm.ask(ask, state, params)
        losses = jax.vmap(loss, in_axes=(0, None, None))(candidates, inputs, targets)
        state, _ = algorithm.tell(tell, candidates, losses, state, params)
        return state

    def measure(state: Any, inputs: Any, targets: Any) -> Any:
        logits = _mlp(algorithm.get_mean(state), inputs)
        nats = optax.softmax_cross_entropy_with_integer_labels(logits, targets).mean()
        return nats / math.log(2), (logits.argmax(axis=1) == targets).mean()

    first = algorithm.init(jax.random.key(seed), start, params)
    return (jax.jit(step), jax.jit(measure)), first


def _evosax_steps(
    widths: Sequence[int], population: int, inputs: Floats, targets: Classes
) -> Callable[[], None]:
    import jax

    (step, _), state = _evosax(widths, population, 1000, 0)
    key = jax.random.key(0)

    def once() -> None:
        nonlocal state
        state = jax.block_until_ready(step(key, state, inputs, targets))

    return once


def evosax_curve(
    widths: Sequence[int],
    dataset: Dataset,
    *,
    population: int,
    batch: int,
    evaluations: int,
    seed: int,
    report: Report,
) -> Curve | None:
    """Open_ES with the schedules of evosax's own example; None where it is not installed.

    The minibatch is shared by a generation's candidates, as ours is.
    """
    if importlib.util.find_spec("evosax") is None:
        report("evosax is not installed: pip install potnode[bench]")
        return None
    import jax

    generations = max(1, evaluations // population)
    (step, measure), state = _evosax(widths, population, generations, seed)
    held = dataset.header.train_count
    inputs = dataset.inputs.astype(np.float32) / _INPUT_UNIT
    rng = np.random.default_rng(seed)
    key = jax.random.key(seed)
    jax.block_until_ready(step(key, state, inputs[:batch], dataset.targets[:batch]))  # compiles
    ahead = checkpoints(evaluations)
    points: list[Point] = []
    seconds = 0.0
    for generation in range(1, generations + 1):
        started = time.perf_counter()
        rows = rng.integers(0, held, batch)
        key, used = jax.random.split(key)
        state = jax.block_until_ready(step(used, state, inputs[rows], dataset.targets[rows]))
        seconds += time.perf_counter() - started
        done = generation * population
        if generation == generations or (ahead and done >= ahead[0]):
            ahead = [at for at in ahead if at > done]
            bits, accuracy = measure(state, inputs[held:], dataset.targets[held:])
            points.append(Point(done, seconds, float(bits), float(accuracy)))
            report(told("evosax Open_ES", points[-1]))
    settings = f"population {population}, batch {batch}, Adam, float32, full rank, antithetic"
    return Curve("evosax Open_ES", seed, settings, tuple(points))


def _evotorch_steps(
    widths: Sequence[int], population: int, inputs: Floats, targets: Classes
) -> Callable[[], None]:
    import logging
    import warnings

    import torch

    logger = logging.getLogger("evotorch")
    logger.setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it uses parts of torch that are to go
        from evotorch import Problem
        from evotorch.algorithms import PGPE
    logger.setLevel(logging.ERROR)  # it has set its own, and tells of every object
    x, t = torch.from_numpy(inputs), torch.from_numpy(targets).long()
    flat = np.concatenate([w.ravel() for w in initial_weights(widths, 0)])

    def losses(candidates: Any) -> Any:
        with torch.no_grad():
            return _full_rank_losses(candidates, widths, x, t)

    problem = Problem(
        "min", losses, solution_length=len(flat), initial_bounds=(-1, 1), vectorized=True
    )
    searcher = PGPE(
        problem,
        popsize=population,
        center_learning_rate=0.01,
        stdev_learning_rate=0.1,
        stdev_init=_STD_FIRST,
        center_init=torch.from_numpy(flat),
    )
    step: Callable[[], None] = searcher.step
    return step


def _torch_steps(
    widths: Sequence[int], population: int, inputs: Floats, targets: Classes
) -> Callable[[], None]:
    """A plain evolution strategy: candidates drawn, evaluated and summed, without an optimiser."""
    import torch

    x, t = torch.from_numpy(inputs), torch.from_numpy(targets).long()
    center = torch.from_numpy(np.concatenate([w.ravel() for w in initial_weights(widths, 0)]))

    def once() -> None:
        with torch.no_grad():
            noise = torch.randn(population, len(center))
            losses = _full_rank_losses(center + _STD_FIRST * noise, widths, x, t)
            scores = (losses - losses.mean()) / (losses.std() + 1e-8)
            center.sub_(scores @ noise, alpha=_RATE_FIRST / population)

    return once


def _full_rank_losses(candidates: Any, widths: Sequence[int], x: Any, targets: Any) -> Any:
    """[population] mean losses of candidates [population, parameters] on one batch."""
    from torch.nn.functional import cross_entropy, relu

    y, at = x[None], 0
    for i, (inputs, out) in enumerate(pairwise(widths)):
        weights = candidates[:, at : at + inputs * out].reshape(-1, inputs, out)
        biases = candidates[:, at + inputs * out : at + inputs * out + out, None]
        at += (inputs + 1) * out
        y = y @ weights + biases.transpose(1, 2)
        y = relu(y) if i + 2 < len(widths) else y
    losses = cross_entropy(y.flatten(0, 1), targets.repeat(len(y)), reduction="none")
    return losses.reshape(len(y), -1).mean(dim=1)
