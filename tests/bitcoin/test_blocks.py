"""Found blocks reach every bitcoind, whatever is down and whenever the node dies."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from potnode.bitcoin import ParentChain
from potnode.work.assembly import CoinbasePlan, assemble
from potnode.work.bitcoin_source import BitcoinSource
from potnode.work.bitcoind import Bitcoind
from potnode.work.blocks import (
    AT_ONCE,
    MOST_OF_A_PARENT,
    SHOWN_PROBLEMS,
    BlockKeeper,
    FoundBlock,
)
from potnode.work.gbt import parse
from potnode.work.parent import ParentBlock, block_hash
from tests.bitcoin.chain import PAYOUT
from tests.bitcoin.mining import coinbase_of, solve_header
from tests.bitcoin.running import QUICK, until
from tests.bitcoin.shim import Faults, Regtest

FINDER = "0x" + "aa" * 20
SUBMIT = frozenset({"submitblock"})


class Pool:
    """A keeper over bitcoinds, and blocks to give it."""

    def __init__(self, folder: Path, *bitcoinds: Regtest, **options: Any) -> None:
        self.clients = [Bitcoind(bitcoind.url, timeout=1) for bitcoind in bitcoinds]
        self.keeper = BlockKeeper(folder, self.clients, backoff=QUICK, **options)
        self._counter = 0

    def find(self, bitcoind: Regtest, *, spoil: bool = False) -> FoundBlock:
        block = self.try_find(bitcoind, spoil=spoil)
        assert block is not None
        return block

    def try_find(self, bitcoind: Regtest, *, spoil: bool = False) -> FoundBlock | None:
        self._counter += 1
        parent, header, coinbase = solved(bitcoind, self._counter)
        if spoil:
            coinbase = coinbase[:-5] + bytes([coinbase[-5] ^ 1]) + coinbase[-4:]
        return self.keeper.found(parent, header, coinbase, finder=FINDER)

    def now(self, block: FoundBlock) -> FoundBlock:
        return next(one for one in self.keeper.blocks() if one.hash == block.hash)

    async def done(self, block: FoundBlock | None) -> FoundBlock:
        assert block is not None
        await until(lambda: self.now(block).done)
        return self.now(block)

    async def aclose(self) -> None:
        for client in self.clients:
            await client.aclose()


def solved(bitcoind: Regtest, counter: int = 1) -> tuple[ParentBlock, bytes, bytes]:
    parsed = parse(json.dumps(bitcoind.chain.template()).encode())
    template = assemble(parsed, CoinbasePlan(payout=PAYOUT))
    assert template.parent is not None
    coinbase = coinbase_of(template, counter=counter)
    return template.parent, solve_header(template, coinbase), coinbase


@contextlib.asynccontextmanager
async def pool(folder: Path, *bitcoinds: Regtest, **options: Any) -> AsyncIterator[Pool]:
    made = Pool(folder, *bitcoinds, **options)
    task = asyncio.create_task(made.keeper.run())
    try:
        yield made
    finally:
        if task.done():
            task.result()
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        await made.aclose()


async def test_a_block_goes_to_all_and_its_file_says_what_became_of_it(
    bitcoind: Regtest, second: Regtest, tmp_path: Path
) -> None:
    second.chain.follow(bitcoind.chain)
    bitcoind.add_transactions(4)
    async with pool(tmp_path / "blocks", bitcoind, second) as made:
        block = made.find(bitcoind)
        assert block.status == "pending"
        assert made.keeper.problems() == [f"block {block.hash} is not handed in yet"]
        path = tmp_path / "blocks" / f"106-{block.hash}.json"
        assert json.loads(path.read_bytes())["answers"] == {}
        block = await made.done(block)
        assert block.status == "accepted"
        assert made.keeper.problems() == []
    assert block.answers[bitcoind.name].state == "accepted"
    # The second has no such transactions in its mempool: the whole block was handed in.
    assert block.answers[second.name].state == "accepted"
    assert bitcoind.tip == second.tip == block.hash
    assert bitcoind.chain.mempool() == []
    file = json.loads(path.read_bytes())
    assert file["done"] is True
    assert file["answers"][second.name]["state"] == "accepted"
    assert (file["height"], file["finder"]) == (106, FINDER)
    assert block_hash(bytes.fromhex(file["block"])[:80]) == block.hash
    assert list(path.parent.iterdir()) == [path]


async def test_it_is_handed_in_when_its_bitcoind_is_back(
    bitcoind: Regtest, second: Regtest, tmp_path: Path
) -> None:
    second.chain.follow(bitcoind.chain)
    async with pool(tmp_path, bitcoind, second) as made:
        bitcoind.stop()
        block = made.find(bitcoind)
        await until(lambda: len(made.now(block).answers) == 2)
        assert made.now(block).answers[bitcoind.name].state == "waiting"
        assert made.now(block).answers[second.name].state == "accepted"
        assert made.now(block).status == "accepted"
        assert not made.now(block).done
        bitcoind.start()
        block = await made.done(block)
    assert block.answers[bitcoind.name].state == "accepted"
    assert bitcoind.tip == second.tip == block.hash


@pytest.mark.parametrize(
    "faults",
    [
        Faults(methods=SUBMIT, error=(-1, "out of memory")),
        Faults(methods=SUBMIT, error=(-32601, "Method not found")),
        Faults(error=(-28, "Loading block index...")),
        Faults(methods=SUBMIT, body=b"garbage"),
        Faults(methods=SUBMIT, body=b'{"result": 5, "error": null, "id": 1}'),
        Faults(methods=SUBMIT, delay=1.5),
        Faults(methods=SUBMIT, status=503, body=b"Work queue depth exceeded"),
        Faults(unauthorized=True),
    ],
    ids=repr,
)
async def test_it_is_handed_in_once_its_bitcoind_takes_blocks(
    bitcoind: Regtest, tmp_path: Path, faults: Faults
) -> None:
    async with pool(tmp_path, bitcoind) as made:
        bitcoind.faults = faults
        block = made.find(bitcoind)
        await until(lambda: made.now(block).answers)
        assert made.now(block).status == "pending"
        bitcoind.faults = Faults()
        block = await made.done(block)
    assert block.status == "accepted"
    assert bitcoind.tip == block.hash


async def test_one_that_lacks_the_block_before_is_asked_again(
    bitcoind: Regtest, second: Regtest, tmp_path: Path
) -> None:
    async with pool(tmp_path, bitcoind, second) as made:
        block = made.find(bitcoind)
        await until(lambda: len(made.now(block).answers) == 2)
        assert made.now(block).answers[second.name].reason == "prev-blk-not-found"
        second.chain.follow(bitcoind.chain)
        block = await made.done(block)
    # It came by the network first.
    assert block.answers[second.name].state == "duplicate"


async def test_a_rejection_is_final(bitcoind: Regtest, tmp_path: Path) -> None:
    async with pool(tmp_path, bitcoind) as made:
        block = await made.done(made.find(bitcoind, spoil=True))
        assert block.status == "rejected"
        assert block.answers[bitcoind.name].reason == "bad-txnmrklroot"
        other = await made.done(made.find(bitcoind))
        assert other.status == "accepted"
        assert [one.hash for one in made.keeper.blocks()] == [other.hash, block.hash]
    assert bitcoind.calls["submitblock"] == 2
    assert Pool(tmp_path, bitcoind).keeper.blocks() == [other, block]


async def test_the_same_block_is_found_once(bitcoind: Regtest, tmp_path: Path) -> None:
    async with pool(tmp_path, bitcoind) as made:
        parent, header, coinbase = solved(bitcoind)
        block = await made.done(made.keeper.found(parent, header, coinbase, finder=FINDER))
        again = made.keeper.found(parent, header, coinbase, finder="somebody else")
        assert again is not None
        assert again == made.now(block)
        assert len(made.keeper.blocks()) == 1


async def test_blocks_are_taken_up_again_after_a_restart(bitcoind: Regtest, tmp_path: Path) -> None:
    before = Pool(tmp_path, bitcoind)  # never run: the node died right after writing the file
    block = before.find(bitcoind)
    await before.aclose()
    async with pool(tmp_path, bitcoind) as made:
        block = await made.done(block)
        assert block.status == "accepted"
        assert bitcoind.tip == block.hash
    async with pool(tmp_path, bitcoind) as made:
        assert made.now(block) == block
        bitcoind.stop()
        later = made.find(bitcoind)
        await until(lambda: made.now(later).answers)
    bitcoind.start()
    async with pool(tmp_path, bitcoind) as made:
        later = await made.done(later)
        assert later.status == "accepted"
    assert [one for one, _ in bitcoind.submitted].count(bitcoind.submitted[0][0]) == 1


KILLED = """
import json, os, signal, sys
from pathlib import Path
from potnode.work.bitcoin_source import BitcoinSource
from potnode.work.bitcoind import Bitcoind
from potnode.work.blocks import BlockKeeper
from potnode.work.parent import ParentBlock

folder, url, height, header, coinbase = sys.argv[1:]
keeper = BlockKeeper(Path(folder), [Bitcoind(url)])
parent = ParentBlock(int(height), (), True)
keeper.found(parent, bytes.fromhex(header), bytes.fromhex(coinbase), finder="killed")
os.kill(os.getpid(), signal.SIGKILL)
"""


async def test_a_node_killed_right_after_finding_a_block_does_not_lose_it(
    bitcoind: Regtest, tmp_path: Path
) -> None:
    parent, header, coinbase = solved(bitcoind)
    arguments = [str(tmp_path), bitcoind.url, str(parent.height), header.hex(), coinbase.hex()]
    killed = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-c", KILLED, *arguments],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        timeout=60,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL
    assert bitcoind.calls["submitblock"] == 0
    async with pool(tmp_path, bitcoind) as made:
        await until(lambda: made.keeper.blocks()[0].done)
    assert bitcoind.tip == block_hash(header)


async def test_a_block_found_as_the_node_ends_is_handed_in(
    bitcoind: Regtest, second: Regtest, tmp_path: Path
) -> None:
    second.chain.follow(bitcoind.chain)
    second.stop()
    clients = [Bitcoind(one.url, timeout=1) for one in (bitcoind, second)]
    source = BitcoinSource(clients, CoinbasePlan(payout=PAYOUT), network="regtest")
    chain = ParentChain(tuple(clients), source, BlockKeeper(tmp_path, clients))
    running = asyncio.create_task(chain.run())
    await until(lambda: source.current(0))
    parent, header, coinbase = solved(bitcoind)
    found = chain.blocks.found(parent, header, coinbase, finder=FINDER)
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running
    assert bitcoind.submitted == []
    await chain.close()
    assert found is not None
    assert bitcoind.tip == found.hash
    # The other bitcoind is for the next start.
    (after,) = BlockKeeper(tmp_path, clients).blocks()
    assert after.answers[bitcoind.name].state == "accepted"
    assert after.answers[second.name].state == "waiting"
    assert not after.done


async def test_a_node_that_ends_does_not_wait_for_a_slow_bitcoind(
    bitcoind: Regtest, tmp_path: Path
) -> None:
    bitcoind.faults = Faults(delay=0.5)
    made = Pool(tmp_path, bitcoind)
    made.find(bitcoind)
    started = time.monotonic()
    await made.keeper.close(within=0.1)
    assert time.monotonic() - started < 0.4
    await made.aclose()


def test_files_that_were_cut_off_are_seen_through(bitcoind: Regtest, tmp_path: Path) -> None:
    folder = tmp_path / "blocks"
    parent, header, coinbase = solved(bitcoind)
    block = BlockKeeper(folder, []).found(parent, header, coinbase, finder=FINDER)
    assert block is not None
    path = folder / f"106-{block.hash}.json"
    whole = path.read_bytes()
    # Cut off before the rename: whole but for its name.
    path.rename(path.with_name(path.name + ".tmp"))
    assert BlockKeeper(folder, []).blocks() == [block]
    assert path.read_bytes() == whole
    # Cut off while writing an update: the file before it counts.
    path.with_name(path.name + ".tmp").write_bytes(whole[: len(whole) // 2])
    assert BlockKeeper(folder, []).blocks() == [block]
    assert list(folder.iterdir()) == [path]
    # Not ours, or damaged: left as it is, and no reason not to start.
    for damaged in (whole[:-40], b"", b"\xff", whole.replace(b'"block":"', b'"block":"00')):
        path.write_bytes(damaged)
        assert BlockKeeper(folder, []).blocks() == []
        assert path.read_bytes() == damaged


async def test_a_full_disk_does_not_keep_a_block_from_bitcoind(
    bitcoind: Regtest, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "blocks"
    async with pool(folder, bitcoind) as made:
        folder.rmdir()
        block = made.find(bitcoind)
        assert not block.on_disk
        assert f"block {block.hash} is not in {folder}, which could not be written" in (
            made.keeper.problems()
        )
        await until(lambda: bitcoind.tip == block.hash)
        assert "could not be written to disk" in caplog.text
        block = await made.done(block)
        assert block.status == "accepted"
        folder.mkdir()
        other = await made.done(made.find(bitcoind))
        assert other.on_disk


async def test_nobody_waits_for_a_silent_bitcoind_once_the_block_is_deep(
    bitcoind: Regtest, second: Regtest, tmp_path: Path
) -> None:
    second.stop()
    async with pool(tmp_path, bitcoind, second, deep=3) as made:
        block = made.find(bitcoind)
        await until(lambda: bitcoind.tip == block.hash)
        bitcoind.mine()
        calls = bitcoind.calls["getblockheader"]
        await until(lambda: bitcoind.calls["getblockheader"] > calls + 2)
        assert not made.now(block).done
        bitcoind.mine()
        block = await made.done(block)
    assert block.status == "accepted"
    assert block.answers[second.name].state == "waiting"


async def test_a_block_that_nobody_takes_is_given_up_in_the_end(
    bitcoind: Regtest, tmp_path: Path
) -> None:
    now = [time.time()]
    async with pool(tmp_path, bitcoind, max_age=1000, time=lambda: now[0]) as made:
        bitcoind.stop()
        block = made.find(bitcoind)
        await until(lambda: made.now(block).answers)
        assert made.now(block).status == "pending"
        now[0] += 1001
        block = await made.done(block)
    assert block.status == "abandoned"


@pytest.mark.parametrize("supported", [True, False])
async def test_where_another_block_was_first_ours_is_preferred(
    bitcoind: Regtest, tmp_path: Path, supported: bool
) -> None:
    if not supported:
        bitcoind.faults = Faults(
            methods=frozenset({"preciousblock"}), error=(-32601, "Method not found")
        )
    async with pool(tmp_path, bitcoind) as made:
        parent, header, coinbase = solved(bitcoind)
        rival = bitcoind.mine()[0]
        block = await made.done(made.keeper.found(parent, header, coinbase, finder=FINDER))
        assert bitcoind.tip == rival
    assert block.status == "inconclusive"
    assert bitcoind.calls["preciousblock"] == 1
    assert bitcoind.precious == ([block.hash] if supported else [])


async def test_a_block_of_a_tip_long_lost_is_not_preferred(
    bitcoind: Regtest, tmp_path: Path
) -> None:
    async with pool(tmp_path, bitcoind) as made:
        parent, header, coinbase = solved(bitcoind)
        bitcoind.mine(2)
        block = await made.done(made.keeper.found(parent, header, coinbase, finder=FINDER))
    assert block.status == "inconclusive"
    assert bitcoind.calls["preciousblock"] == 0


async def test_of_two_blocks_of_ours_the_first_stays(
    bitcoind: Regtest, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    async with pool(tmp_path, bitcoind) as made:
        solved_too = solved(bitcoind, 77)
        first = await made.done(made.find(bitcoind))
        later = await made.done(made.keeper.found(*solved_too, finder=FINDER))
    assert (first.status, later.status) == ("accepted", "inconclusive")
    assert bitcoind.calls["preciousblock"] == 0
    assert f"block {first.hash}: accepted by {bitcoind.name}" in caplog.messages
    assert f"block {later.hash}: inconclusive by {bitcoind.name}" in caplog.messages


async def test_many_blocks_at_once_leave_bitcoind_room_for_templates(
    bitcoind: Regtest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    submit = Bitcoind.submit_block
    in_flight = most = 0

    async def counted(self: Bitcoind, block: bytes) -> str | None:
        nonlocal in_flight, most
        in_flight += 1
        most = max(most, in_flight)
        try:
            return await submit(self, block)
        finally:
            in_flight -= 1

    monkeypatch.setattr(Bitcoind, "submit_block", counted)
    async with pool(tmp_path, bitcoind) as made:
        found = [made.find(bitcoind) for _ in range(3 * AT_ONCE)]
        problems = made.keeper.problems()
        for block in found:
            await made.done(block)
        assert made.keeper.problems() == []
    assert most == AT_ONCE
    assert bitcoind.calls["submitblock"] == len(found)
    # However many wait, what /readyz says stays readable.
    assert problems == [
        *(f"block {block.hash} is not handed in yet" for block in found[:SHOWN_PROBLEMS]),
        f"{len(found) - SHOWN_PROBLEMS} more found blocks are not handed in yet",
    ]


async def test_a_bitcoind_that_does_not_take_a_block_is_named_once(
    bitcoind: Regtest, second: Regtest, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bitcoind.faults = Faults(unauthorized=True)
    async with pool(tmp_path, bitcoind, second) as made:
        block = made.find(bitcoind)
        await until(lambda: len(made.now(block).answers) == 2)
    waits = f"block {block.hash} is not handed in yet: "
    assert f"{waits}{bitcoind.name}: refuses the credentials (HTTP 401)" in caplog.messages
    assert f"{waits}{second.name}: prev-blk-not-found" in caplog.messages


async def test_where_every_share_is_a_block_only_a_few_are_kept(
    bitcoind: Regtest, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with pool(tmp_path, bitcoind) as made:
        found = [made.try_find(bitcoind) for _ in range(MOST_OF_A_PARENT + 3)]
        kept = [block for block in found if block is not None]
        assert found == [*kept, None, None, None]
        assert len(kept) == len(made.keeper.blocks()) == MOST_OF_A_PARENT
        lines = [text for text in caplog.messages if "no more are kept" in text]
        assert len(lines) == 1
        for block in kept:
            await made.done(block)
        assert bitcoind.height == 106
        await made.done(made.try_find(bitcoind))  # on the next block they count anew
    assert bitcoind.height == 107


async def test_blocks_are_taken_up_again_in_the_order_they_were_found(
    bitcoind: Regtest, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    before = Pool(tmp_path, bitcoind)
    hashes = sorted((before.find(bitcoind).hash for _ in range(3)), reverse=True)
    await before.aclose()
    for at, hash_ in enumerate(hashes):  # against the order of their files' names
        path = tmp_path / f"106-{hash_}.json"
        file = json.loads(path.read_bytes())
        path.write_text(json.dumps({**file, "found_at": at}))
    caplog.clear()
    BlockKeeper(tmp_path, [])
    assert caplog.messages == [f"block {hash_} is taken up again" for hash_ in hashes]
