from __future__ import annotations

import gc
import tracemalloc
from random import Random

import pytest

from tests.fuzz.campaign import SCRIPTS, Campaign, InputFailed
from tests.fuzz.mutations import Mutator


def test_spoiled_transcripts_neither_raise_nor_stay() -> None:
    campaign = Campaign(seed=20_261_126)
    campaign.run(12_000)
    tracemalloc.start()
    try:
        campaign.run(4_000)  # whatever is replaced from now on is counted on both sides
        gc.collect()
        before = tracemalloc.get_traced_memory()[0]
        campaign.run(4_000)
        gc.collect()
        growth = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert growth < 1 << 20
    assert campaign.inputs == 20_000
    reached = {name for name, count in campaign.events.items() if count >= 20}
    assert reached == {
        "BlockFound",
        "Closed",
        "JunkReceived",
        "ReadyToMine",
        "ShareFound",
        "ShareRefused",
        "WishesChanged",
    }


def test_a_seed_says_it_all() -> None:
    first, second, other = Campaign(1), Campaign(1), Campaign(2)
    for campaign in (first, second, other):
        campaign.run(1_000)
    assert first.events == second.events != other.events


def test_a_harmful_input_is_named() -> None:
    campaign = Campaign(3)
    for connection in campaign._connections:
        connection.session.lines = "none"  # type: ignore[assignment]
    with pytest.raises(InputFailed, match=r"seed 3, input [1-9]: b'"):
        campaign.run(100)


def test_mutations_spoil() -> None:
    corpus = [data for script in SCRIPTS for data in script]
    mutator = Mutator(Random(4), corpus)
    spoiled = [mutator.spoil(data) for data in corpus * 10]
    assert sum(after != before for after, before in zip(spoiled, corpus * 10, strict=True)) > (
        9 * len(corpus)
    )
    assert max(map(len, spoiled)) > 8192
    assert len(set(spoiled)) > 9 * len(corpus)
