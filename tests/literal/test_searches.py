"""Whole searches: their rounds, their queue, and restarts."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from potnode.data.catalog import Catalog
from potnode.data.freeze import freeze, freeze_bytes
from potnode.literal import rounds, searches
from potnode.literal.errors import BadSearch, SearchesDown, TooManySearches, UnknownSearch
from potnode.literal.files import Search
from potnode.literal.ledger import Kept, Ledger
from potnode.literal.nets import build
from potnode.literal.request import MAX_CANDIDATES, Request, check
from potnode.literal.rounds import next_round, tile_size
from potnode.literal.searches import Searches
from tests.literal.conftest import Open

SMALL = Request(seed="conv1_layer", nonce_range=(5, 2005), batch=16, keep=3)
LONG = Request(seed="conv1_layer", nonce_range=(0, MAX_CANDIDATES), batch=16)
DEADLINE = 120.0


def until(searches: Searches, identity: str, condition: Callable[[Search], bool]) -> Search:
    end = time.monotonic() + DEADLINE
    while not condition(found := searches.get(identity)):
        assert time.monotonic() < end, found
        time.sleep(0.01)
    return found


def finished(searches: Searches, request: Request) -> Search:
    found = until(searches, searches.submit(request).id, lambda search: not search.waits)
    assert found.status == "finished", found.error
    return found


def results(search: Search) -> list[object]:
    """All that a restart may not change."""
    return [
        (
            r.layer,
            r.nonce_range,
            r.ledger.kept,
            r.ledger.records,
            r.held_out_loss,
            r.held_out_accuracy,
        )
        for r in search.rounds
    ]


def test_a_search_goes_from_layer_to_layer(opened: Open) -> None:
    found = finished(opened(), SMALL)
    assert [r.layer for r in found.rounds] == ["conv1_layer", "fc1_layer"]
    assert [r.nonce_range for r in found.rounds] == [(5, 2005), (5, 2005)]
    for each in found.rounds:
        losses = [kept.loss for kept in each.ledger.kept]
        assert len(losses) == 3
        assert losses == sorted(losses)
        assert each.ledger.records[-1].loss == losses[0]
        assert each.ledger.evaluated == 2000
        assert each.held_out_accuracy is not None
    assert found.hashes == 2000 * (9 + 90)
    assert found.seconds > 0


def test_the_same_request_finds_the_same(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    running = opened()
    first = finished(running, SMALL)
    # In tiles of another size, as a machine with other caches might have.
    monkeypatch.setattr(rounds, "tile_size", lambda *_: 37)
    assert results(finished(running, SMALL)) == results(first)


def test_a_search_that_narrows_its_range_stays_with_its_layer(opened: Open) -> None:
    request = Request(
        seed="fc",
        nonce_range=(0, 100),
        net="mlp",
        layer="fc2_layer",
        rounds=3,
        narrow="range",
        batch=8,
    )
    found = finished(opened(), request)
    assert {r.layer for r in found.rounds} == {"fc2_layer"}
    assert [r.candidates for r in found.rounds] == [100, 50, 25]
    for before, after in zip(found.rounds, found.rounds[1:], strict=False):
        assert before.nonce_range[0] <= after.nonce_range[0]
        assert after.nonce_range[1] <= before.nonce_range[1]
        assert after.nonce_range[0] <= before.ledger.kept[0].nonce < after.nonce_range[1]


@pytest.mark.parametrize("best", [10, 11, 14, 18, 19])
def test_half_a_range_stays_inside_it(best: int) -> None:
    net = build("conv", 64, 10)
    request = Request(seed="s", nonce_range=(10, 20), narrow="range")
    begun = next_round(request, net, [], 1)
    begun.ledger = Ledger(1, 10, [Kept(best, 1.0)])
    low, high = next_round(request, net, [begun], 1).nonce_range
    assert 10 <= low <= best < high <= 20
    assert high - low == 5


def test_tiles_are_short_and_small() -> None:
    for name, inputs in (("conv", 64), ("conv", 784), ("mlp", 64), ("mlp", 784)):
        net = build(name, inputs, 10)
        for place, layer in enumerate(net.layers):
            for batch in (1, 256, 4096):
                size = tile_size(net, place, batch)
                assert 16 <= size <= 8192
                assert size == 16 or size * layer.weights * 4 <= 4 << 20


def test_a_search_cut_off_anywhere_ends_as_if_it_had_not_been(
    opened: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rounds, "tile_size", lambda *_: 100)
    running = opened()
    whole = results(finished(running, SMALL))
    identity = running.submit(SMALL).id
    for evaluated in (1, 1500, 2100, 3900):

        def far_enough(search: Search, evaluated: int = evaluated) -> bool:
            return not search.waits or sum(r.ledger.evaluated for r in search.rounds) >= evaluated

        until(running, identity, far_enough)
        running.close()
        # What a kill during a write leaves beside the file.
        (tmp_path / "literal" / "9-cut.json.tmp").write_bytes(b"{")
        running = opened()
    found = until(running, identity, lambda search: not search.waits)
    assert results(found) == whole
    assert not list((tmp_path / "literal").glob("*.tmp"))


def test_one_is_searched_and_the_others_wait(opened: Open) -> None:
    running = opened()
    first, second = running.submit(LONG), running.submit(SMALL)
    until(running, first.id, lambda search: search.status == "running")
    assert running.get(second.id).status == "queued"
    assert running.cancel(first.id).status == "cancelled"
    until(running, second.id, lambda search: search.status == "finished")
    assert running.get(first.id).status == "cancelled"
    assert running.cancel(second.id).status == "finished"


def test_a_cancelled_search_stays_so(opened: Open) -> None:
    waiting = opened(started=False)
    identity = waiting.submit(SMALL).id
    waiting.cancel(identity)
    assert opened(started=False).get(identity).status == "cancelled"


def test_pages_are_newest_first(opened: Open) -> None:
    waiting = opened(started=False)
    made = [waiting.submit(SMALL).id for _ in range(5)]
    items, cursor = waiting.page(2, None)
    more, after = waiting.page(3, cursor)
    assert [search.id for search in (*items, *more)] == made[::-1]
    assert after is None
    assert waiting.page(10, 1) == ([], None)


def test_only_so_many_may_wait(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(searches, "MAX_WAITING", 2)
    waiting = opened(started=False)
    first = waiting.submit(SMALL)
    waiting.submit(SMALL)
    with pytest.raises(TooManySearches, match="2 searches wait"):
        waiting.submit(SMALL)
    waiting.cancel(first.id)
    waiting.submit(SMALL)


def test_the_oldest_results_make_room(
    opened: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(searches, "MAX_KEPT", 3)
    waiting = opened(started=False)
    kept = waiting.submit(SMALL).id
    made = []
    for _ in range(4):
        made.append(waiting.submit(SMALL).id)
        waiting.cancel(made[-1])
    assert [search.id for search in waiting.page(10, None)[0]] == [made[3], made[2], kept]
    assert len(list((tmp_path / "literal").glob("*.json"))) == 3
    with pytest.raises(UnknownSearch):
        waiting.get(made[0])


def test_other_data_than_it_began_with_fails_a_search(opened: Open, tmp_path: Path) -> None:
    identity = opened(started=False).submit(SMALL).id
    (path,) = (tmp_path / "literal").glob("*.json")
    path.write_text(json.dumps({**json.loads(path.read_text()), "dataset_root": "00" * 32}))
    found = until(opened(), identity, lambda search: not search.waits)
    assert (found.status, found.rounds) == ("failed", [])
    assert "another than when the search began" in str(found.error)


@pytest.mark.parametrize(
    "junk", [b"{}", b"", bytes(99), b'{"id":"\xff"}', b'{"x":' + b"[" * 100_000], ids=range(5)
)
def test_a_file_that_is_no_search_is_left_alone(
    opened: Open, tmp_path: Path, caplog: pytest.LogCaptureFixture, junk: bytes
) -> None:
    opened(started=False).submit(SMALL)
    (tmp_path / "literal" / "7-junk.json").write_bytes(junk)
    again = opened(started=False)
    assert len(again.page(10, None)[0]) == 1
    assert "7-junk.json is no search" in caplog.text
    assert (tmp_path / "literal" / "7-junk.json").exists()


@pytest.mark.parametrize(
    "change",
    [
        {"id": "../../../elsewhere"},
        {"created_at": 1e300},
        {"request": {"seed": "a", "nonce_range": [0, 9], "rounds": 1 << 60}},
        {"request": {"seed": "a", "nonce_range": [0, 9], "keep": 1 << 60}},
    ],
)
def test_a_file_beyond_the_limits_is_no_search(
    opened: Open, tmp_path: Path, change: dict[str, object]
) -> None:
    opened(started=False).submit(SMALL)
    (path,) = (tmp_path / "literal").glob("*.json")
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    assert opened(started=False).page(10, None) == ([], None)


def test_a_search_the_disk_does_not_take_is_refused(opened: Open, tmp_path: Path) -> None:
    waiting = opened(started=False)
    (tmp_path / "literal").rmdir()
    with pytest.raises(SearchesDown):
        waiting.submit(SMALL)
    assert waiting.page(10, None) == ([], None)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"seed": ""}, "seed"),
        ({"nonce_range": (3, 3)}, "nonce_range"),
        ({"nonce_range": (4, 3)}, "nonce_range"),
        ({"nonce_range": (-1, 3)}, "nonce_range"),
        ({"nonce_range": (2**64 - 1, 2**64)}, "nonce_range"),
        ({"nonce_range": (0, MAX_CANDIDATES + 1)}, "nonce_range"),
        ({"rounds": 0}, "rounds"),
        ({"keep": 101}, "keep"),
        ({"batch": 4097}, "batch"),
        ({"dataset": "digit"}, "dataset"),
        ({"net": "resnet"}, "net"),
        ({"layer": "fc2_layer"}, "layer"),
    ],
)
def test_what_can_not_be_searched_is_refused(changes: dict[str, object], field: str) -> None:
    fields = {"seed": "s", "nonce_range": (0, 10), **changes}
    with pytest.raises(BadSearch) as refused:
        check(Request(**fields), Catalog())  # type: ignore[arg-type]
    assert refused.value.field == field


@pytest.mark.parametrize(
    ("inputs", "batch", "field"), [(40_000, 1, "net"), (30_000, 4096, "batch")]
)
def test_what_would_not_fit_into_memory_is_refused(
    tmp_path: Path, inputs: int, batch: int, field: str
) -> None:
    data = freeze(np.zeros((2, inputs), np.int8), np.array([0, 1]), train_count=1, classes=2)
    (tmp_path / "wide.potdata").write_bytes(data)
    request = Request(seed="s", nonce_range=(0, 9), dataset="wide", net="mlp", batch=batch)
    with pytest.raises(BadSearch) as refused:
        check(request, Catalog(tmp_path))
    assert refused.value.field == field


def test_data_without_classes_can_not_be_searched(tmp_path: Path) -> None:
    (tmp_path / "text.potdata").write_bytes(freeze_bytes(np.zeros((3, 5), np.int64), train_count=2))
    with pytest.raises(BadSearch, match="has bytes; classes are needed"):
        check(Request(seed="s", nonce_range=(0, 9), dataset="text"), Catalog(tmp_path))


@pytest.mark.parametrize(
    ("seed", "layer", "first"),
    [("conv1_layer", None, 0), ("fc1_layer", None, 1), ("any", None, 0), ("any", "fc1_layer", 1)],
)
def test_the_first_layer_is_named_or_called_like_the_seed(
    seed: str, layer: str | None, first: int
) -> None:
    request = Request(seed=seed, nonce_range=(2**64 - 2, 2**64 - 1), layer=layer)
    assert check(request, Catalog())[2] == first
