"""A template source at work, for tests that watch it."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

from potnode.work.assembly import CoinbasePlan
from potnode.work.backoff import Backoff
from potnode.work.bitcoin_source import BitcoinSource
from potnode.work.bitcoind import Bitcoind
from potnode.work.template import Template
from tests.bitcoin.chain import PAYOUT, shown
from tests.bitcoin.shim import Regtest

PLAN = CoinbasePlan(payout=PAYOUT)
QUICK = Backoff(first=0.02, cap=0.1)
POLL = 0.05
TIMEOUT = 0.5


async def until(condition: Callable[[], object], seconds: float = 10.0) -> None:
    limit = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < limit, "it did not happen in time"
        await asyncio.sleep(0.005)


@dataclass
class Watched:
    source: BitcoinSource
    clients: list[Bitcoind]
    news: list[bool] = field(default_factory=list)
    seen: list[Template] = field(default_factory=list)

    @property
    def template(self) -> Template:
        template = self.source.current(int(time.time()))
        assert template is not None
        return template

    def noted(self, new_tip: bool) -> None:
        self.news.append(new_tip)
        self.seen.append(self.template)

    def mines_on(self, bitcoind: Regtest) -> bool:
        """Whether the full template of this bitcoind's tip is mined."""
        template = self.source.current(int(time.time()))
        return (
            template is not None
            and template.parent is not None
            and template.parent.segwit
            and shown(template.prev_hash_le) == bitcoind.tip
        )

    async def mining_on_tip(self, bitcoind: Regtest) -> None:
        """Until any template on the tip of this bitcoind is mined, one without witnesses too."""

        def follows() -> bool:
            template = self.source.current(int(time.time()))
            return template is not None and shown(template.prev_hash_le) == bitcoind.tip

        await until(follows)

    async def mining_on(self, bitcoind: Regtest, seconds: float = 10.0) -> None:
        await until(lambda: self.mines_on(bitcoind), seconds)

    async def told(self, times: int) -> None:
        await until(lambda: len(self.news) >= times)

    async def healthy(self) -> None:
        await until(lambda: not self.source.problems())

    async def says(self, text: str) -> None:
        await until(lambda: any(text in problem for problem in self.source.problems()))


@contextlib.asynccontextmanager
async def watching(
    *bitcoinds: Regtest, plan: CoinbasePlan = PLAN, client_timeout: float = TIMEOUT, **options: Any
) -> AsyncIterator[Watched]:
    clients = [Bitcoind(bitcoind.url, timeout=client_timeout) for bitcoind in bitcoinds]
    async with watching_clients(clients, plan=plan, **options) as watched:
        yield watched


@contextlib.asynccontextmanager
async def watching_clients(
    clients: list[Bitcoind], *, plan: CoinbasePlan = PLAN, **options: Any
) -> AsyncIterator[Watched]:
    options = {"network": "regtest", "poll": POLL, "backoff": QUICK, **options}
    watched = Watched(BitcoinSource(clients, plan, **options), clients)
    watched.source.on_template = watched.noted
    task = asyncio.create_task(watched.source.run())
    try:
        yield watched
    finally:
        if task.done():
            task.result()
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        for client in clients:
            await client.aclose()
