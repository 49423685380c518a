"""What a plan says of its input, by which samples are copied without a look at bounds."""

from __future__ import annotations

from math import prod

from hypothesis import example, given

from potnode.engine.draw import DrawLayout
from potnode.engine.plan import Plan
from potnode.spec.layers import Conv2d, Linear
from potnode.spec.manifest import Classes, Manifest, Pairs, Values
from tests.engine.cases import manifests, model

# Its one window ends where the second would leave the image.
PART = Conv2d(2, (1, 3), (1, 9), (0, 0), 4, "relu")


@given(manifests((Classes, Values, Pairs)))
@example(model((PART, Linear(2, 4, "none")), (1, 1, 11)))
def test_straight_input_is_all_of_it(manifest: Manifest) -> None:
    plan = Plan(manifest, DrawLayout(manifest), 0, len(manifest.layers), features=False)
    size = prod(manifest.input)
    if plan.straight:
        assert plan.table[:size].tolist() == list(range(size))
        assert (plan.table[size:] == -1).all()
    assert plan.table.max() < size
