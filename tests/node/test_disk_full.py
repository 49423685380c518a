"""Full disks, as SQLite's page limit makes them: refusals, no lies, and work goes on by itself."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest
from sqlalchemy import Connection, text

from potnode import campaign, recording
from potnode.node import Node
from potnode.store.errors import StoreFull
from potnode.store.rows import ShareStatus
from stratum.errors import RejectCode
from tests.node.harness import (
    DEADLINE,
    POPULATION,
    Digger,
    create_job,
    digging,
    eventually,
    fetch,
    get_json,
    node_here,
    opened_store,
)

PLENTY = 10**9


@pytest.fixture(autouse=True)
def _no_long_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (campaign, recording):
        monkeypatch.setattr(module, "RETRY_SECONDS", 0.05)


def limit_store(node: Node, pages: int) -> None:
    """Let the database grow to so many pages, or not at all beyond what it has."""

    def limit(connection: Connection, items: Sequence[int]) -> Sequence[None]:
        connection.execute(text(f"PRAGMA max_page_count={items[0]}"))
        return [None]

    while True:
        try:
            node.parts.store._writer.submit(limit, pages).result(DEADLINE)
        except StoreFull:
            continue  # it shared a transaction with something that did not fit
        return


def step(node: Node) -> int:
    progress = node.progress()
    return progress.step if progress else 0


def finals(node: Node) -> int:
    return node.parts.store.counts().get(ShareStatus.FINAL, 0)


async def test_a_full_database_refuses_shares_and_recovers(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    job_id = create_job(tmp_path, steps=5000, min_bits=8)
    async with node_here(tmp_path) as node:
        url = f"http://127.0.0.1:{node.api_port}"
        first = Digger(node.stratum_port)
        async with digging(first):
            await eventually(lambda: step(node) >= 3, "three steps")
            limit_store(node, 1)  # nothing more fits
            await eventually(
                lambda: [r for r in first.refused if r.code is RejectCode.OTHER], "a refusal"
            )
            refused = next(r for r in first.refused if r.code is RejectCode.OTHER)
            assert refused.text == "The share could not be stored"
            await eventually(lambda: "no space" in caplog.text or "full" in caplog.text, "a word")
            status, metrics = await asyncio.to_thread(fetch, url + "/metrics")
            assert status == 200
            assert b'potnode_shares_refused_total{reason="not stored"}' in metrics
            promised = len(first.acknowledged)
            limit_store(node, PLENTY)
            await eventually(lambda: len(first.acknowledged) > promised + POPULATION, "new shares")
            at = step(node)
            await eventually(lambda: step(node) > at, "the next step")
            await eventually(lambda: node.problems() == [], "the node is well")
        assert (await asyncio.to_thread(get_json, url + "/readyz"))["status"] == "ready"
    with opened_store(tmp_path) as store:
        known = {p.hash for p in store.pending_shares(job_id)}
        for view in store.steps(job_id, limit=1000).items:
            known |= {p.hash for p in store.step_proofs(job_id, view.step)}
    assert set(first.acknowledged) <= known


async def test_a_step_waits_for_room_and_is_then_the_same_step(tmp_path: Path) -> None:
    job_id = create_job(tmp_path, steps=40)
    async with node_here(tmp_path) as node:
        digger = Digger(node.stratum_port)
        await digger.shares(POPULATION - 1)
        chain = node.parts.chain.embedded
        assert chain is not None
        gate = asyncio.Event()
        save_step = node.parts.store.save_step

        def full_from_now_on(*arguments: object) -> object:
            limit_store(node, 1)
            gate.set()
            return save_step(*arguments)  # type: ignore[arg-type]

        assert node._campaign is not None
        node._campaign._store = _Instead(full_from_now_on)  # type: ignore[assignment]
        await digger.shares(1)
        await asyncio.wait_for(gate.wait(), DEADLINE)
        await eventually(lambda: node.problems() != [], "it says so")
        assert node.problems() == ["training waits: the chain or the disk is behind"]
        assert step(node) == 0
        node._campaign._store = node.parts.store
        limit_store(node, PLENTY)
        await eventually(lambda: step(node) == 1, "the step is kept")
        await eventually(lambda: finals(node) == POPULATION, "it is on the chain")
        assert node.problems() == []
    with opened_store(tmp_path) as store:
        assert {p.hash for p in store.step_proofs(job_id, 0)} == set(digger.acknowledged)


async def test_recording_waits_for_room_on_the_chain_s_disk(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    create_job(tmp_path, steps=40)
    async with node_here(tmp_path) as node:
        digger = Digger(node.stratum_port)
        chain = node.parts.chain.embedded
        assert chain is not None
        chain.limit_pages(1)
        await digger.shares(2 * POPULATION)
        await eventually(lambda: step(node) == 2, "training does not need the chain")
        await eventually(lambda: "recording waits" in caplog.text, "it says so")
        assert node.parts.recording.lag == 2
        chain.limit_pages(PLENTY)
        await eventually(lambda: finals(node) == 2 * POPULATION, "both steps are on the chain")
        assert node.parts.recording.lag == 0


class _Instead:
    """A store whose save_step is another."""

    def __init__(self, save_step: object) -> None:
        self.save_step = save_step
