"""The exact network: integer forward pass of linear layers (docs/protocol.md section 3).

Mathematical integers throughout; the bounds checked at a job's creation keep every accumulator
below 2^31, and below 2^24 for each chunk of a dot product, so float32 matrix products give the same
numbers.
"""

from __future__ import annotations

from collections.abc import Sequence

from potnode.spec.draw import TensorDraw
from potnode.spec.manifest import Manifest

BIAS_SHIFT = 5  # a bias of one step counts as an activation of 32
WEIGHT_LIMIT = 127
_LOWEST = {"relu": 0, "clip": -127}


def forward_weight(master: int) -> int:
    """W of a master M with 8 fractional bits: rounded, clipped to -127..127; never -128."""
    return max(-WEIGHT_LIMIT, min(WEIGHT_LIMIT, (master + 128) >> 8))


def forward_weights(masters: Sequence[Sequence[int]]) -> list[list[int]]:
    """Forward weights of every tensor; matrices flat, row by row (layout [out][in])."""
    return [[forward_weight(m) for m in tensor] for tensor in masters]


def logits(
    manifest: Manifest,
    weights: Sequence[Sequence[int]],
    inputs: Sequence[int],
    perturbation: dict[int, TensorDraw] | None = None,
) -> list[int]:
    """Logits z of one sample, under a candidate's perturbation if one is given.

    Args:
        weights: forward weights -127..127 by tensor, flat; matrix 2i and bias 2i+1 for layer i.
        inputs: int8 inputs -127..127, as many as the first layer takes.
        perturbation: signs by tensor index; tensors not in it are not perturbed.

    Returns:
        One integer a class, |z| < 2^23, not clipped.
    """
    e = manifest.perturbation_shift
    none = TensorDraw([], [])
    x = list(inputs)
    for i, layer in enumerate(manifest.layers):
        matrix, bias = weights[2 * i], weights[2 * i + 1]
        draw_matrix = (perturbation or {}).get(2 * i, none)
        draw_bias = (perturbation or {}).get(2 * i + 1, none)
        projection = (
            sum(b * v for b, v in zip(draw_matrix.columns, x, strict=True))
            if draw_matrix.rows
            else 0
        )
        out = []
        for row in range(layer.out):
            acc = sum(matrix[row * layer.inputs + col] * x[col] for col in range(layer.inputs))
            acc += bias[row] << BIAS_SHIFT
            if draw_matrix.rows:
                acc += (draw_matrix.rows[row] * projection) << e
            if draw_bias.rows:
                acc += draw_bias.rows[row] << (BIAS_SHIFT + e)
            y = acc >> layer.shift
            if layer.activation != "none":
                y = max(_LOWEST[layer.activation], min(127, y))
            out.append(y)
        x = out
    return x
