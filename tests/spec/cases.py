"""Small models of every layer and task, as the specification and the engine are tested with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from hypothesis import strategies as st

from potnode.spec import layers as kinds
from potnode.spec.layers import Layer, Linear, Shape, out_shape
from potnode.spec.manifest import (
    RULES,
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
    check_manifest,
)

PRECISIONS = (Weights(127, 8), Weights(7, 12), Weights(1, 13))


def model(
    layers: tuple[Layer, ...],
    shape: Shape,
    *,
    task: Task | None = None,
    train: tuple[int, ...] | None = None,
    weights: Weights = PRECISIONS[0],
    perturbation: tuple[int, int] = (0, 0),
    strategy: Evolution | Greedy | None = None,
) -> Manifest:
    """A checked manifest of any layers; every tensor starts at random and is trained."""
    manifest = Manifest(
        dataset="made-up",
        task=task or Classes(),
        input=shape,
        layers=layers,
        train=(),
        initial=Seeded(bytes(range(32)), (), ()),
        weights=weights,
        perturbation=perturbation,
        strategy=strategy or Evolution("momentum", 80, 10, 1),
    )
    count = len(manifest.tensors)
    manifest = replace(
        manifest,
        train=tuple(range(count)) if train is None else train,
        initial=Seeded(
            bytes(range(32)), tuple(4096 if len(s) == 2 else 512 for s in manifest.tensors),
            tuple(range(0, 7 * count, 7)),
        ),
    )  # fmt: skip
    check_manifest(manifest)
    return manifest


@st.composite
def manifests(draws: st.DrawFn, tasks: Sequence[type[Task]] = ()) -> Manifest:
    """Small models of every layer and task, with everything a manifest may vary.

    tasks: only of these; of all by default.
    """
    size = st.integers(1, 7)
    kind = draws(st.sampled_from(tasks or (Classes, NextByte, Values, Pairs)))
    task: Task
    shape: Shape
    if kind is NextByte:
        task = NextByte(draws(st.integers(1, 5)), 0)
        task = replace(task, warmup=draws(st.integers(0, task.window - 1)))
        shape, outputs = (), 256
        layers: tuple[Layer, ...] = (kinds.Embedding(draws(size)),)
    else:
        tolerance = draws(st.integers(0, 300))
        others: dict[type[Task], Task] = {Values: Values(tolerance), Pairs: Pairs()}
        task = others.get(kind, Classes())
        image = st.tuples(st.integers(1, 3), size, size)
        shape = draws(st.one_of(image, image, st.tuples(size)))
        outputs = draws({Classes: st.integers(2, 6), Values: size}.get(kind, st.just(1)))
        layers = ()
    for _ in range(draws(st.integers(0, 4))):
        layers = (*layers, draws(_layers(layers, shape)))
    shift = draws(st.integers(0, 8))
    layers = (*layers, Linear(outputs, shift, "none"))
    count = len(model(layers, shape, task=task).tensors)
    first = draws(st.integers(0, 6))
    eta0 = draws(st.sampled_from([0, 1, 80, (1 << 15) - 1]))
    strategy = draws(
        st.builds(
            Evolution, st.sampled_from(RULES), st.just(eta0), st.integers(0, eta0), st.just(1)
        )
        | st.builds(Greedy, st.integers(0, 500), st.just(1))
    )
    return model(
        layers,
        shape,
        task=task,
        train=tuple(sorted(draws(st.sets(st.sampled_from(range(count)), min_size=1)))),
        weights=draws(st.sampled_from(PRECISIONS)),
        perturbation=(first, draws(st.integers(0, first))),
        strategy=strategy,
    )


def _layers(before: tuple[Layer, ...], shape: Shape) -> st.SearchStrategy[Layer]:
    """A next layer that takes what the ones before give."""
    shapes: tuple[Shape, ...] = ()
    for layer in before:
        shape = out_shape(layer, shape, shapes)
        shapes = (*shapes, shape)
    shift, active = st.integers(0, 12), st.sampled_from(["relu", "clip"])
    choices: list[st.SearchStrategy[Layer]] = [
        st.builds(Linear, st.integers(1, 7), shift, active),
        st.just(kinds.Relu()),
        st.just(kinds.Norm()),
    ]
    sources = [i for i, earlier in enumerate(shapes) if earlier == shape]
    if sources:
        choices.append(st.builds(kinds.Add, st.sampled_from(sources)))
    if len(shape) == 1:
        choices.append(st.builds(kinds.Gru, st.integers(1, 5), shift))
    if len(shape) == 3:
        both = st.tuples(st.integers(1, 3), st.integers(1, 3))
        inside = st.tuples(*(st.integers(1, min(3, side)) for side in shape[1:]))
        choices += [
            inside.flatmap(
                lambda kernel: st.builds(
                    kinds.Conv2d,
                    st.integers(1, 4),
                    st.just(kernel),
                    both,
                    st.tuples(*(st.integers(0, k - 1) for k in kernel)),
                    shift,
                    active,
                )
            ),
            inside.flatmap(
                lambda kernel: st.builds(
                    kinds.Depthwise,
                    st.just(kernel),
                    both,
                    st.tuples(*(st.integers(0, k - 1) for k in kernel)),
                    shift,
                    active,
                )
            ),
            st.builds(kinds.MaxPool, inside, both),
            st.builds(kinds.AvgPool, inside, both),
        ]
    return st.one_of(choices)
