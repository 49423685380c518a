"""A bitcoind that misbehaves: the source goes on with what it has, says so, and recovers."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

import pytest

from potnode.work.assembly import CoinbasePlan
from potnode.work.bitcoind import Bitcoind
from tests.bitcoin.chain import PAYOUT
from tests.bitcoin.mining import mine_block
from tests.bitcoin.running import until, watching, watching_clients
from tests.bitcoin.shim import Faults, Regtest

TEMPLATE = frozenset({"getblocktemplate"})

Change = Callable[[dict[str, Any]], Any]


def _with(**changes: Any) -> Change:
    return lambda template: {**template, **changes}


def _without(key: str) -> Change:
    return lambda template: {name: value for name, value in template.items() if name != key}


async def _goes_through(bitcoind: Regtest, faults: Faults, said: str) -> None:
    """While `faults` last the old template is mined and problems say `said`; then all is well."""
    bitcoind.add_transactions(3)
    async with watching(bitcoind, refresh=0.1) as watched:
        await watched.mining_on(bitcoind)
        good = watched.template.prev_hash_le
        bitcoind.faults = faults
        await watched.says(said)
        assert watched.template.prev_hash_le == good
        assert watched.mines_on(bitcoind)
        assert watched.source.failures >= 1
        bitcoind.faults = Faults()
        await watched.healthy()
        bitcoind.mine()
        await watched.mining_on(bitcoind)
        assert bitcoind.chain.submit(mine_block(watched.template)) is None


@pytest.mark.parametrize(
    ("faults", "said"),
    [
        (Faults(delay=1.0), "no answer to"),
        (Faults(methods=TEMPLATE, delay=1.0), "no answer to getblocktemplate in 0.5 s"),
        (Faults(unauthorized=True), "refuses the credentials"),
        (Faults(status=403), "HTTP 403"),
        (Faults(status=503, body=b"Work queue depth exceeded"), "HTTP 503"),
        (Faults(status=302), "HTTP 302"),
        (Faults(body=b""), "garbage"),
        (Faults(body=b"<html>It works!</html>"), "garbage"),
        (Faults(body=b"\xff\xfe\x00"), "garbage"),
        (Faults(body=b"[]"), "garbage"),
        (Faults(body=b'{"result":' + b"[" * 100_000), "garbage"),
        (Faults(body=b'{"result": "' + b"00" * 32 + b'", "error": null}'), "garbage"),
        (Faults(body=b'{"result": "00", "error": null, "id": 0}'), "under another call's id"),
        (Faults(body=b'{"result":null,"error":"no","id":1}'), "garbage"),
        (Faults(methods=frozenset({"getbestblockhash"}), error=(-1, "x" * 9000)), "x" * 200),
        (Faults(error=(-28, "Verifying blocks...")), "Verifying blocks"),
        (Faults(methods=TEMPLATE, error=(-10, "is in initial sync")), "initial sync"),
        (Faults(methods=TEMPLATE, error=(-9, "is not connected!")), "not connected"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_bad_answers(bitcoind: Regtest, faults: Faults, said: str) -> None:
    await _goes_through(bitcoind, faults, said[:200])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda _: None, "not a block template"),
        (_without("height"), "missing required field `height`"),
        (_with(height=105), "height 105 on a tip of height 105"),
        (_with(height=107), "height 107 on a tip of height 105"),
        (_with(previousblockhash="ab" * 32), "it does not know"),
        (_with(rules=["csv", "!segwit", "!unheard-of"]), "does not know: unheard-of"),
        (_with(default_witness_commitment="6a24aa21a9ed" + "00" * 32), "is not that of the trans"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_bad_templates(bitcoind: Regtest, change: Change, said: str) -> None:
    await _goes_through(bitcoind, Faults(template=change), said)


@pytest.mark.parametrize(
    "change",
    [
        {"chainwork": ""},
        {"chainwork": "-1"},
        {"bits": "207fffff00"},
        {"height": -2},
        {"height": 1 << 31},
        {"mediantime": -1},
        {"mediantime": 1 << 32},
    ],
    ids=str,
)
async def test_bad_headers_of_a_new_tip(bitcoind: Regtest, change: dict[str, Any]) -> None:
    async with watching(bitcoind) as watched:
        await watched.mining_on(bitcoind)
        bitcoind.header_changes = change
        bitcoind.mine()
        await watched.says("getblockheader gave")
        bitcoind.header_changes = {}
        await watched.mining_on(bitcoind)
        await watched.healthy()


async def test_an_answer_without_end_is_not_read_to_its_end(bitcoind: Regtest) -> None:
    client = Bitcoind(bitcoind.url, timeout=2, max_answer=20_000)
    async with watching_clients([client], refresh=0.1) as watched:
        await watched.mining_on(bitcoind)
        bitcoind.faults = Faults(body=b" " * 30_000)
        await watched.says("more than 20000 bytes")
        bitcoind.faults = Faults()
        await watched.healthy()


async def test_a_template_of_the_tip_before_is_refused(bitcoind: Regtest) -> None:
    async with watching(bitcoind) as watched:
        await watched.mining_on(bitcoind)
        stale = bitcoind.chain.template()
        bitcoind.faults = Faults(template=lambda _: stale)
        bitcoind.mine()
        await watched.says("which is not its tip")
        # The tip itself was believed: it is mined without transactions meanwhile.
        assert watched.source.height == 107
        assert bitcoind.chain.submit(mine_block(watched.template)) is None
        bitcoind.faults = Faults()
        await watched.healthy()
        await watched.mining_on(bitcoind)


async def test_a_bitcoind_of_another_chain_is_not_used(bitcoind: Regtest) -> None:
    async with watching(bitcoind, network="main") as watched:
        await watched.says(f"bitcoind {bitcoind.name}: its chain is regtest, not main")
        assert watched.source.current(int(time.time())) is None
        assert "there is no block template yet" in watched.source.problems()
        assert bitcoind.calls["getblocktemplate"] == 0


async def test_a_coinbase_too_long_for_firmware_is_refused(bitcoind: Regtest) -> None:
    # 4+1+36+1+ (2+9+17) +4+1+ (8+1+34) + 47 + 47 +4 bytes, and a commitment in it
    plan = CoinbasePlan(payout=PAYOUT, limit=215)
    async with watching(bitcoind, plan=plan) as watched:
        await watched.says("the coinbase has 216 bytes, the limit is 215")
        assert watched.source.current(int(time.time())) is None
    async with watching(bitcoind, plan=CoinbasePlan(payout=PAYOUT, limit=216)) as watched:
        await watched.mining_on(bitcoind)
    async with watching(bitcoind, plan=CoinbasePlan(payout=None, limit=215)) as watched:
        await watched.says("the coinbase has 216 bytes, the limit is 215")


async def test_it_goes_away_and_comes_back_with_a_new_tip(bitcoind: Regtest) -> None:
    async with watching(bitcoind) as watched:
        await watched.mining_on(bitcoind)
        for _ in range(3):
            bitcoind.stop()
            await watched.says("failed: ")
            assert watched.source.current(int(time.time())) is not None
            bitcoind.chain.mine()
            bitcoind.start()
            await watched.mining_on(bitcoind)
            await watched.healthy()
    assert watched.source.tips == 4


async def test_it_is_away_at_first(bitcoind: Regtest) -> None:
    bitcoind.stop()
    async with watching(bitcoind) as watched:
        await watched.says("failed: ")
        assert watched.source.current(int(time.time())) is None
        bitcoind.start()
        await watched.mining_on(bitcoind)
        await watched.healthy()


async def test_a_template_that_grows_old_is_a_problem(bitcoind: Regtest) -> None:
    now = [1000.0]
    async with watching(bitcoind, monotonic=lambda: now[0], stale_after=120) as watched:
        await watched.mining_on(bitcoind)
        bitcoind.stop()
        await watched.says("failed: ")
        now[0] += 119
        assert len(watched.source.problems()) == 1
        now[0] += 2
        assert "the block template has not been renewed for 121 s" in watched.source.problems()
        bitcoind.start()
        await watched.healthy()


async def test_each_change_of_state_is_logged_once_and_no_credentials(
    bitcoind: Regtest, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with watching(bitcoind) as watched:
        await watched.mining_on(bitcoind)
        bitcoind.faults = Faults(unauthorized=True)
        await until(lambda: watched.source.failures >= 5)
        bitcoind.faults = Faults(body=b"{")
        await watched.says("garbage")
        await until(lambda: watched.source.failures >= 10)
        bitcoind.faults = Faults()
        await watched.healthy()
    told = [
        record.getMessage()
        for record in caplog.records
        if record.name.startswith("potnode") and record.levelno >= logging.WARNING
    ]
    assert len(told) == 2
    assert "refuses the credentials" in told[0]
    assert "garbage" in told[1]
    assert caplog.text.count("works again") == 1
    for secret in (bitcoind.password, "horse%2Fstaple", "bWluZXI6aG9yc2Uvc3RhcGxl"):
        assert secret not in caplog.text


# Several


async def test_the_second_takes_over_and_the_first_takes_back(
    bitcoind: Regtest, second: Regtest
) -> None:
    second.chain.follow(bitcoind.chain)
    async with watching(bitcoind, second) as watched:
        await watched.mining_on(bitcoind)
        await until(lambda: second.calls["getblocktemplate"])
        bitcoind.stop()
        await watched.says(f"bitcoind {bitcoind.name}")
        second.mine()
        await watched.mining_on(second)
        assert second.chain.submit(mine_block(watched.template)) is None
        await watched.mining_on(second)
        bitcoind.chain.follow(second.chain)
        bitcoind.add_transactions(2)
        bitcoind.start()
        await watched.healthy()
        await until(lambda: watched.template.parent and watched.template.parent.transactions)
        bitcoind.mine()
        await watched.mining_on(bitcoind)


async def test_a_first_one_that_is_behind_is_not_taken_back_until_it_caught_up(
    bitcoind: Regtest, second: Regtest
) -> None:
    second.chain.follow(bitcoind.chain)
    async with watching(bitcoind, second) as watched:
        await watched.mining_on(bitcoind)
        bitcoind.stop()
        second.mine(2)
        await watched.mining_on(second)
        bitcoind.start()
        await watched.says("is behind")
        assert watched.mines_on(second)
        assert watched.source.tips == 2
        bitcoind.chain.follow(second.chain)
        await watched.healthy()
        assert watched.mines_on(second)
        bitcoind.mine()
        await watched.mining_on(bitcoind)


@pytest.mark.parametrize("knows_headers", [False, True])
async def test_a_first_one_that_stays_behind_is_not_mined_on(
    bitcoind: Regtest, second: Regtest, knows_headers: bool
) -> None:
    """It answers, and its templates are right for the tip it has: it has no peers, say."""
    second.chain.follow(bitcoind.chain)
    async with watching(bitcoind, second, lag=0.5, refresh=0.1) as watched:
        await watched.healthy()
        second.mine(2)
        if knows_headers:
            mined = second.chain.tip
            header = second.chain.header(mined)
            assert header is not None
            bitcoind.chain.left[mined] = {**header, "confirmations": -1}
        await watched.mining_on(second)
        await watched.says("has been behind")
        tips, failures = watched.source.tips, watched.source.failures
        bitcoind.mine()  # its long poll is answered, and it is behind as before
        await until(lambda: watched.source.failures >= failures + 5)
        assert watched.source.tips == tips, "it was mined on again"
        bitcoind.chain.left.clear()
        bitcoind.chain.follow(second.chain)
        await watched.healthy()
        bitcoind.mine()
        await watched.mining_on(bitcoind)


async def test_one_that_hears_of_a_block_a_little_later_is_not_given_up(
    bitcoind: Regtest, second: Regtest
) -> None:
    second.chain.follow(bitcoind.chain)
    async with watching(bitcoind, second, lag=5.0) as watched:
        await watched.healthy()
        second.mine()
        seen = second.calls["getbestblockhash"]
        await until(lambda: second.calls["getbestblockhash"] >= seen + 5)
        bitcoind.chain.follow(second.chain)
        await watched.mining_on(bitcoind)
        assert watched.source.failures == 0


async def test_refused_templates_of_the_first_bring_those_of_the_second(
    bitcoind: Regtest, second: Regtest
) -> None:
    second.chain.follow(bitcoind.chain)
    async with watching(bitcoind, second, refresh=0.1, poll=1.0) as watched:
        await watched.mining_on(bitcoind)
        await until(lambda: second.calls["getblocktemplate"])
        bitcoind.faults = Faults(template=_with(height=9))
        await watched.says("height 9")
        updated = watched.source.last_update
        await until(lambda: watched.source.last_update > updated, seconds=0.5)
        second.mine()
        await watched.mining_on(second)
