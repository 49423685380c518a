"""Two bitcoinds in random trouble: work never goes back, and all is well once they are."""

from __future__ import annotations

import asyncio
import random
import time

import pytest

from tests.bitcoin.mining import mine_block
from tests.bitcoin.running import watching
from tests.bitcoin.shim import Faults, Regtest

ACTIONS = 40


def _trouble(dice: random.Random) -> Faults:
    method = dice.choice(["getblocktemplate", "getbestblockhash", "getblockheader", None])
    methods = None if method is None else frozenset({method})
    return dice.choice(
        [
            Faults(methods=methods, delay=0.7),
            Faults(methods=methods, body=dice.randbytes(30)),
            Faults(methods=methods, error=(-28, "Loading")),
            Faults(methods=methods, status=503),
            Faults(unauthorized=True),
            Faults(template=lambda template: {**template, "height": template["height"] - 1}),
            Faults(template=lambda template: {**template, "previousblockhash": "cd" * 32}),
        ]
    )


@pytest.mark.parametrize("seed", range(4))
async def test_random_trouble(bitcoind: Regtest, second: Regtest, seed: int) -> None:
    dice = random.Random(seed)
    second.chain.follow(bitcoind.chain)
    both = (bitcoind, second)
    running = {bitcoind.port: True, second.port: True}
    async with watching(*both, refresh=0.1, client_timeout=0.5) as watched:
        await watched.mining_on(bitcoind)
        for _ in range(ACTIONS):
            one = dice.choice(both)
            other = second if one is bitcoind else bitcoind
            action = dice.choice(["mine", "mine", "transactions", "stop", "start", "break", "mend"])
            if action == "mine":
                one.chain.follow(other.chain)
                one.mine(with_transactions=dice.random() < 0.5)
                if dice.random() < 0.6:
                    other.chain.follow(one.chain)
            elif action == "transactions":
                bitcoind.add_transactions(dice.randint(1, 3))
            elif action == "stop" and running[one.port]:
                one.stop()
            elif action == "start" and not running[one.port]:
                one.start()
            elif action == "break":
                one.faults = _trouble(dice)
            elif action == "mend":
                one.faults = Faults()
            if action in {"stop", "start"}:
                running[one.port] = action == "start"
            await asyncio.sleep(dice.choice([0.0, 0.02, 0.1]))
            assert watched.source.current(int(time.time())) is not None
        for one in both:
            one.faults = Faults()
            if not running[one.port]:
                one.start()
        bitcoind.chain.follow(second.chain)
        second.chain.follow(bitcoind.chain)
        bitcoind.mine()
        second.chain.follow(bitcoind.chain)
        await watched.mining_on(bitcoind)
        await watched.healthy()
        assert second.chain.submit(mine_block(watched.template)) is None
    heights = [template.parent.height for template in watched.seen if template.parent]
    assert len(heights) == len(watched.seen)
    assert heights == sorted(heights)
    assert watched.source.failures > 0
