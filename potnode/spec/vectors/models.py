"""Small networks of every kind of layer, with weights and inputs at the edges, for golden files."""

from __future__ import annotations

from math import prod

from potnode.spec import layers as kinds
from potnode.spec import network, state
from potnode.spec.hashing import sha256
from potnode.spec.layers import Layer, Linear, Shape
from potnode.spec.manifest import (
    Classes,
    Evolution,
    Greedy,
    Manifest,
    NextByte,
    Pairs,
    Seeded,
    Task,
    Values,
    Weights,
)
from potnode.spec.vectors.form import pattern

INT8 = Weights()


def manifest(
    layers: tuple[Layer, ...],
    shape: Shape,
    *,
    task: Task | None = None,
    train: tuple[int, ...] | None = None,
    e: tuple[int, int] = (0, 0),
    rule: str = "momentum",
    weights: Weights = INT8,
    margin: int | None = None,
) -> Manifest:
    """A manifest of these layers; all tensors trained unless `train` says which."""
    drawn = Manifest(
        dataset="tiny",
        task=task or Classes(),
        input=shape,
        layers=layers,
        train=(),
        initial=Seeded(sha256(b"seed"), (), ()),
        weights=weights,
        perturbation=e,
        strategy=Evolution(rule, 80, 10, 1) if margin is None else Greedy(margin, 1),
    )
    shapes = drawn.tensors
    # Matrices start at random and biases at 0; vectors that stand for weights near 16 steps.
    factors = {
        drawn.first_tensor(i)
        for i, layer in enumerate(layers)
        if isinstance(layer, kinds.Norm | kinds.Depthwise)
    }
    mean = tuple(4096 if t in factors else 0 for t in range(len(shapes)))
    std = tuple(5439 if len(s) == 2 else 1024 if t in factors else 0 for t, s in enumerate(shapes))
    return Manifest(
        dataset=drawn.dataset,
        task=drawn.task,
        input=shape,
        layers=layers,
        train=tuple(range(len(shapes))) if train is None else train,
        initial=Seeded(sha256(b"seed"), std, mean),
        weights=weights,
        perturbation=e,
        strategy=drawn.strategy,
    )


def example_manifests() -> dict[str, Manifest]:
    """One network for each kind of layer and task, frozen tensors and coarse weights among them."""
    head = Linear(3, 4, "none")
    return {
        "linear": manifest((Linear(2, 0, "none"),), (5,)),
        "relu": manifest(
            (Linear(7, 5, "relu"), Linear(4, 3, "none")), (9,), e=(2, 2), rule="sign_momentum"
        ),
        "frozen": manifest(
            (Linear(13, 7, "clip"), Linear(8, 6, "relu"), Linear(3, 2, "none")),
            (20,),
            train=(1, 2, 4),
            e=(6, 1),
        ),
        "int4": manifest((Linear(6, 6, "relu"), head), (7,), weights=Weights(7, 12)),
        "ternary": manifest((Linear(6, 5, "clip"), head), (7,), weights=Weights(1, 13), e=(1, 0)),
        "conv": manifest(
            (
                kinds.Conv2d(5, (3, 2), (2, 1), (1, 1), 6, "relu"),
                kinds.MaxPool((2, 2), (1, 2)),
                kinds.Conv2d(2, (1, 1), (1, 1), (0, 0), 5, "clip"),
                head,
            ),
            (2, 5, 6),
            e=(1, 1),
        ),
        "depthwise": manifest(
            (
                kinds.Conv2d(3, (3, 3), (1, 1), (1, 1), 5, "clip"),
                kinds.Depthwise((3, 3), (1, 1), (1, 1), 5, "clip"),
                kinds.Add(0),
                kinds.Relu(),
                kinds.AvgPool((3, 3), (2, 2)),
                head,
            ),
            (1, 5, 5),
            train=(0, 2, 3, 4, 5),
            e=(2, 0),
        ),
        "norm": manifest((Linear(6, 5, "clip"), kinds.Norm(), kinds.Relu(), head), (5,), e=(3, 0)),
        "gru": manifest(
            (
                kinds.Embedding(6),
                kinds.Norm(),
                kinds.Gru(6, 6),
                kinds.Add(0),
                kinds.Gru(5, 7),
                Linear(256, 2, "none"),
            ),
            (),
            task=NextByte(5, 2),
            e=(1, 0),
        ),
        "values": manifest(
            (Linear(4, 6, "relu"), Linear(2, 5, "none")), (6,), task=Values(20), margin=3
        ),
        "pairs": manifest((Linear(4, 6, "relu"), Linear(1, 5, "none")), (6,), task=Pairs()),
    }


def signed(data: bytes) -> list[int]:
    """Bytes as integers -127..127."""
    return [max(-127, b - 256 if b > 127 else b) for b in data]


def filled(name: str, model: Manifest) -> list[list[int]]:
    """The model's initial forward weights; biases, which start at 0, take part here."""
    weights = network.forward_weights(state.initial_state(model).masters, model.weights)
    for t, tensor in enumerate(weights):
        if not any(tensor):
            weights[t] = signed(pattern(len(tensor), f"{name} tensor {t}"))
    return weights


def positions(name: str, model: Manifest) -> list[list[list[int]]]:
    """Inputs of some samples: all kinds of values, the largest, the smallest, zeros."""
    if isinstance(model.task, NextByte):
        texts = [pattern(model.task.window, f"{name} {i}") for i in range(3)]
        texts += [b"\x00" * 5, b"\xff" * 5, b"\x80\x7f\x80\x7f\x01"]
        return [[[byte] for byte in text] for text in texts]
    size = prod(model.input)
    samples = [signed(pattern(size, f"{name} {i}")) for i in range(4)]
    samples += [[127] * size, [-127] * size, [0] * size]
    return [[sample] for sample in samples]
