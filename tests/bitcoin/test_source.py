"""Templates from a bitcoind: how a new tip is seen, and what of it is mined."""

from __future__ import annotations

import asyncio
import dataclasses
import socket
import time
from pathlib import Path
from typing import Any

import pytest

from potnode.work.assembly import CoinbasePlan
from potnode.work.bitcoin_source import UNHEARD, BitcoinSource
from potnode.work.bitcoind import Bitcoind
from tests.bitcoin.chain import shown
from tests.bitcoin.mining import mine_block
from tests.bitcoin.running import PLAN, until, watching, watching_clients
from tests.bitcoin.shim import Faults, Regtest, RpcError


async def test_its_blocks_are_accepted_one_after_another(bitcoind: Regtest) -> None:
    bitcoind.add_transactions(10)
    async with watching(bitcoind) as watched:
        for height in range(106, 110):
            await watched.mining_on(bitcoind)
            template = watched.template
            assert template.parent is not None
            assert template.parent.height == height == watched.source.height
            assert bitcoind.chain.submit(mine_block(template)) is None
            bitcoind.add_transactions(3)
        await watched.mining_on(bitcoind)
        assert watched.source.problems() == []
    assert watched.source.tips == 5
    assert watched.source.failures == 0
    assert watched.news.count(True) == 5
    assert watched.source.templates == len(watched.news)
    assert abs(watched.source.last_update - time.time()) < 60


async def test_solo_templates_leave_room_for_the_miners_script(bitcoind: Regtest) -> None:
    bitcoind.add_transactions(3)
    async with watching(bitcoind, plan=CoinbasePlan(payout=None, tag=b"/solo/")) as watched:
        await watched.mining_on(bitcoind)
        script = bytes.fromhex("0014") + b"\x07" * 20
        assert bitcoind.chain.submit(mine_block(watched.template, script)) is None
        assert b"/solo/" in bitcoind.chain.block_at(106)


async def test_a_server_that_can_little_more_than_templates_is_enough(
    bitcoind: Regtest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing but getblockchaininfo, getbestblockhash, getblocktemplate and submitblock."""

    def missing(*_: object) -> None:
        raise RpcError(-32601, "Method not found")

    def least(template: dict[str, Any]) -> dict[str, Any]:
        for transaction in template["transactions"]:
            for key in ("hash", "depends", "fee"):
                transaction.pop(key, None)
        left_out = ("longpollid", "mintime", "target", "rules", "default_witness_commitment")
        return {key: value for key, value in template.items() if key not in left_out}

    monkeypatch.setattr(bitcoind, "_getblockheader", missing)
    monkeypatch.setattr(bitcoind, "_preciousblock", missing)
    bitcoind.faults = Faults(methods=frozenset({"getblocktemplate"}), template=least)
    bitcoind.add_transactions(3)
    async with watching(bitcoind) as watched:
        for height in (106, 107, 108):
            await watched.mining_on_tip(bitcoind)
            assert watched.source.height == height
            assert bitcoind.chain.submit(mine_block(watched.template)) is None
        await watched.healthy()
        assert watched.news.count(True) >= 3
        bitcoind.mine()
        await watched.mining_on_tip(bitcoind)
        bitcoind.reorganise(2)
        await watched.mining_on_tip(bitcoind)


async def test_a_block_without_transactions_is_mined_until_the_template_comes(
    bitcoind: Regtest,
) -> None:
    bitcoind.add_transactions(5)
    async with watching(bitcoind, client_timeout=5) as watched:
        await watched.mining_on(bitcoind)
        bitcoind.faults = Faults(methods=frozenset({"getblocktemplate"}), delay=0.3)
        before = len(watched.news)
        bitcoind.mine()
        await watched.mining_on(bitcoind)
        assert watched.news[before:] == [True, False]
        empty, full = watched.seen[before:]
        assert (empty.prev_hash_le, empty.nbits) == (full.prev_hash_le, full.nbits)
        assert empty.parent is not None
        assert full.parent is not None
        assert (empty.parent.transactions, empty.parent.segwit) == ((), False)
        assert len(full.parent.transactions) == 5
        # What was mined in between would have been a block.
        assert bitcoind.chain.submit(mine_block(empty)) is None


async def test_without_empty_blocks_the_template_comes_alone(bitcoind: Regtest) -> None:
    async with watching(bitcoind, empty_first=False) as watched:
        await watched.mining_on(bitcoind)
        bitcoind.mine()
        await watched.mining_on(bitcoind)
    assert watched.news == [True, True]


@pytest.mark.parametrize(
    ("network", "before_retarget", "at_retarget"),
    [("main", [True, False], [True]), ("test", [True], [True]), ("testnet4", [True], [True])],
)
async def test_no_empty_block_where_its_bits_are_not_certain(
    bitcoind: Regtest, network: str, before_retarget: list[bool], at_retarget: list[bool]
) -> None:
    bitcoind.chain_name = network
    bitcoind.mine(2013 - bitcoind.height)
    async with watching(bitcoind, network=network) as watched:
        for expected in (before_retarget, at_retarget, before_retarget):  # blocks 2015 to 2017
            await watched.mining_on(bitcoind)
            before = len(watched.news)
            bitcoind.mine()
            await watched.mining_on(bitcoind)
            assert watched.news[before:] == expected


async def test_subsidies_of_empty_blocks_halve_with_the_chain(bitcoind: Regtest) -> None:
    bitcoind.mine(147 - bitcoind.height)
    async with watching(bitcoind) as watched:
        await watched.mining_on(bitcoind)
        bitcoind.faults = Faults(methods=frozenset({"getblocktemplate"}), delay=0.2)
        for subsidy in (5_000_000_000, 2_500_000_000):  # of blocks 149 and 150
            bitcoind.mine()
            await watched.mining_on(bitcoind)
            empty = watched.seen[-2]
            assert subsidy.to_bytes(8, "little") in empty.coinbase
    assert bitcoind.chain.submit(mine_block(empty)) is None


async def test_zmq_tells_of_a_new_tip(bitcoind: Regtest) -> None:
    bitcoind.faults = Faults(template=lambda template: {**template, "longpollid": None})
    async with watching(bitcoind, poll=30, zmq_endpoints=[bitcoind.zmq_url]) as watched:
        await watched.mining_on(bitcoind)
        # A subscription takes a moment, and what is published before it is lost.
        bitcoind.chain.mine()
        while not watched.mines_on(bitcoind):
            bitcoind.publish()
            await asyncio.sleep(0.05)
        began = time.monotonic()
        bitcoind.mine()
        await watched.mining_on(bitcoind)
        assert time.monotonic() - began < 5


async def test_it_stops_at_the_moment_it_is_told_of_a_tip(bitcoind: Regtest) -> None:
    async with asyncio.timeout(10):
        async with watching(bitcoind, poll=30) as watched:
            await watched.mining_on(bitcoind)
            await asyncio.sleep(0.2)  # it waits for its next look
            watched.source._nodes.wake()
        # Cancelled before it could see that: the end of the context waits for it.


async def test_a_long_poll_tells_of_a_new_tip(bitcoind: Regtest) -> None:
    async with watching(bitcoind, poll=3.0) as watched:
        await until(lambda: bitcoind.calls["getblocktemplate"] >= 2, seconds=5)
        questions = bitcoind.calls["getbestblockhash"]
        bitcoind.mine()
        await watched.mining_on(bitcoind, seconds=2)
        # The one it asks is whether the template's previous block is the tip.
        assert bitcoind.calls["getbestblockhash"] <= questions + 2


async def test_polling_tells_of_a_new_tip_where_nothing_else_does(bitcoind: Regtest) -> None:
    bitcoind.faults = Faults(template=lambda template: {**template, "longpollid": None})
    async with watching(bitcoind, zmq_endpoints=["tcp://127.0.0.1:1"]) as watched:
        await watched.mining_on(bitcoind)
        bitcoind.mine()
        await watched.mining_on(bitcoind)


async def test_an_endpoint_zmq_does_not_take_is_a_problem_and_no_more(bitcoind: Regtest) -> None:
    async with watching(bitcoind, zmq_endpoints=["tcp://127.0.0.1"]) as watched:
        await watched.mining_on(bitcoind)
        await watched.says("ZMQ endpoint tcp://127.0.0.1")
        bitcoind.mine()
        await watched.mining_on(bitcoind)


async def test_zmq_that_tells_nothing_is_said_once(
    bitcoind: Regtest, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        endpoint = f"tcp://127.0.0.1:{silent.getsockname()[1]}"
        async with watching(bitcoind, zmq_endpoints=[endpoint]) as watched:
            for _ in range(UNHEARD + 2):
                await watched.mining_on(bitcoind)
                bitcoind.mine()
    assert sum("ZMQ told of none" in text for text in caplog.messages) == 1


async def test_zmq_that_tells_of_blocks_is_not_complained_of(
    bitcoind: Regtest, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    async with watching(bitcoind, zmq_endpoints=[bitcoind.zmq_url]) as watched:
        for _ in range(2 * UNHEARD):
            await watched.mining_on(bitcoind)
            bitcoind.chain.mine()
            await watched.mining_on(bitcoind)
            while watched.source._tips_unheard:  # it may be connecting yet
                bitcoind.publish()
                await asyncio.sleep(0.02)
    assert "ZMQ told of none" not in caplog.text


async def test_new_transactions_come_with_the_refresh(bitcoind: Regtest) -> None:
    async with watching(bitcoind, refresh=0.2) as watched:
        await watched.mining_on(bitcoind)
        assert watched.news == [True]
        bitcoind.add_transactions(4)
        await until(lambda: len(watched.news) == 2)
        parent = watched.template.parent
        assert parent is not None
        assert len(parent.transactions) == 4
        updated = watched.source.last_update
        await until(lambda: watched.source.last_update > updated + 0.3)
    assert watched.news == [True, False]  # refreshed and the same: nothing to tell miners


async def test_a_long_poll_that_tells_of_transactions_does_not_refresh_more_often(
    bitcoind: Regtest,
) -> None:
    bitcoind.wakes_for_transactions = True
    async with watching(bitcoind) as watched:
        await watched.mining_on(bitcoind)
        await until(lambda: bitcoind.calls["getblocktemplate"] >= 2)
        bitcoind.add_transactions(1)
        await until(lambda: bitcoind.calls["getblocktemplate"] >= 3)
        assert watched.news == [True]
        bitcoind.mine(with_transactions=True)
        await watched.mining_on(bitcoind)


async def test_a_reorganisation_is_a_new_tip(bitcoind: Regtest) -> None:
    bitcoind.add_transactions(3)
    async with watching(bitcoind) as watched:
        await watched.mining_on(bitcoind)
        old = watched.template
        bitcoind.reorganise(3)
        await watched.mining_on(bitcoind)
        assert watched.news.count(True) == 2
        assert watched.source.height == 107
        assert bitcoind.chain.submit(mine_block(old)) == "inconclusive"
        assert bitcoind.chain.submit(mine_block(watched.template)) is None


async def test_a_chain_that_is_cut_back_on_purpose_is_followed(
    bitcoind: Regtest, second: Regtest
) -> None:
    """As after `invalidateblock`: the bitcoind itself has left the block that is mined on."""
    second.chain.follow(bitcoind.chain)
    bitcoind.mine(2)
    async with watching(bitcoind) as watched:
        await watched.mining_on(bitcoind)
        mined = bitcoind.chain.tip
        header = bitcoind.chain.header(mined)
        assert header is not None
        second.chain.left[mined] = {**header, "confirmations": -1}
        bitcoind.chain, second.chain = second.chain, bitcoind.chain
        await watched.mining_on(bitcoind)
        assert watched.source.height == 106
        assert watched.source.problems() == []


async def test_the_time_is_ours_between_what_the_chain_allows(bitcoind: Regtest) -> None:
    async with watching(bitcoind) as watched:
        await watched.mining_on(bitcoind)
        template = bitcoind.chain.template()
        now = int(time.time())
        for asked, given in [
            (now, now),
            (template["mintime"] - 1000, template["mintime"]),
            (template["mintime"], template["mintime"]),
        ]:
            current = watched.source.current(asked)
            assert current is not None
            assert current.ntime == given
            assert dataclasses.replace(current, ntime=watched.template.ntime) == watched.template


async def test_a_wrong_clock_of_ours_does_not_make_blocks_of_the_future(
    bitcoind: Regtest,
) -> None:
    ahead = 100_000
    async with watching(bitcoind, time=lambda: time.time() + ahead) as watched:
        await watched.mining_on(bitcoind)
        current = watched.source.current(int(time.time()) + ahead)
        assert current is not None
        assert abs(current.ntime - time.time()) < 180
        assert bitcoind.chain.submit(mine_block(current)) is None


async def test_the_rolled_version_bits_are_zero(bitcoind: Regtest) -> None:
    assert bitcoind.chain.template()["version"] & 0x1FFFE000
    async with watching(bitcoind) as watched:
        await watched.mining_on(bitcoind)
        assert watched.template.version == 0x20000000


async def test_templates_of_one_tip_share_their_transactions(bitcoind: Regtest) -> None:
    bitcoind.add_transactions(30)
    async with watching(bitcoind, refresh=0.05) as watched:
        await watched.mining_on(bitcoind)
        for _ in range(5):
            told = len(watched.news)
            bitcoind.add_transactions(1)
            await watched.told(told + 1)
    kept = [template.parent.transactions for template in watched.seen if template.parent]
    assert [len(transactions) for transactions in kept] == [30, 31, 32, 33, 34, 35]
    assert len({id(data) for transactions in kept for data in transactions}) == 35


async def test_a_cookie_is_read_again_when_bitcoind_starts_anew(
    bitcoind: Regtest, tmp_path: Path
) -> None:
    cookie = tmp_path / ".cookie"
    bitcoind.write_cookie(cookie, "first")
    client = Bitcoind(bitcoind.bare_url, cookie_file=cookie, timeout=1)
    async with watching_clients([client]) as watched:
        await watched.mining_on(bitcoind)
        bitcoind.write_cookie(cookie, "second")
        bitcoind.mine()
        await watched.mining_on(bitcoind)
        assert watched.source.failures == 0


@pytest.mark.parametrize("endpoint", ["", "127.0.0.1:28332", "http://127.0.0.1:28332"])
async def test_endpoints_are_checked_at_once(endpoint: str) -> None:
    client = Bitcoind("http://a:b@127.0.0.1:1")
    with pytest.raises(ValueError, match="not a ZMQ endpoint"):
        BitcoinSource([client], PLAN, network="main", zmq_endpoints=[endpoint])
    with pytest.raises(ValueError, match="at least one"):
        BitcoinSource([], PLAN, network="main")
    await client.aclose()


async def test_shown_hashes_are_the_reverse_of_header_bytes(bitcoind: Regtest) -> None:
    assert shown(bitcoind.chain.tip) == bitcoind.tip
