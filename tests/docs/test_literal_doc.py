"""docs/literal.md: its tables are of the nets there are, and it promises what is so."""

from __future__ import annotations

import re
from pathlib import Path

from potnode.literal.expansion import digests_of
from potnode.literal.ledger import expected_records
from potnode.literal.nets import NETS, build
from potnode.literal.searches import CHECKPOINT_SECONDS

TEXT = (Path(__file__).parents[2] / "docs" / "literal.md").read_text("utf-8")


def test_the_table_of_nets_is_that_of_the_code() -> None:
    rows = re.findall(r"^\|(.*?)\| `(\w+)`.*? \| ([\d,]+) \| (\d+) \|$", TEXT, re.MULTILINE)
    found = [
        (name.strip("` "), layer, int(n.replace(",", "")), int(h)) for name, layer, n, h in rows
    ]
    expected = [
        (name if place == 0 else "", layer.name, layer.weights, digests_of(layer.weights))
        for name in NETS
        for place, layer in enumerate(build(name, 64, 10).layers)
    ]
    assert found == expected


def test_expected_records_are_computed() -> None:
    assert f"records ({expected_records(1_000_000):.1f} expected)" in TEXT
    # "Some seven records more" for a thousand times as many.
    assert round(expected_records(10**9) - expected_records(10**6)) == 7


def test_progress_goes_to_disk_as_often_as_it_says() -> None:
    assert CHECKPOINT_SECONDS == 2.0
    assert "every two seconds" in TEXT
