"""The miners' side of a node: who listens, who answers, and where templates come from.

Responsible for making these parts from the configuration and for what passes between them: a new
template reaches every miner, a new training pool takes over all of them. It needs neither chain nor
database, and miners that training has no place for are given blocks alone.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from potnode.bitcoin import ParentChain, accounts
from potnode.clock import Clock
from potnode.config import Settings
from potnode.idle import IdlePool
from potnode.listening import SPARE_FILES, limits, listeners, rules
from potnode.pool import TrainingPool
from potnode.sharehash import fastest_hasher
from potnode.switch import PoolSwitch
from potnode.work.standalone import Standalone
from potnode.work.template import TemplateSource
from stratum.listener import raise_file_limit
from stratum.server import StratumServer

log = logging.getLogger(__name__)

PATIENCE: Final = 60.0
"""Seconds of paused training after which miners make blocks alone: a miner all of whose shares are
refused goes to another pool."""

LOOK_SECONDS: Final = 1.0


class Mining:
    """Server, switch and parent chain of one node.

    Attributes to read: server, switch, rules, parent (None where templates are standalone), resting
    (miners make blocks alone, for training is paused).

    Raises:
        ConfigError: something is configured that can't be.
    """

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self.rules: Final = rules(settings.stratum)
        self.parent: Final = ParentChain.open(
            settings.work, settings.data_dir, clock, self._new_template
        )
        self.resting = False
        self._clock = clock
        self._listeners = listeners(settings.stratum)
        self._max_connections = settings.stratum.max_connections
        self._idle: IdlePool | None = None
        if self.parent is not None:
            self._idle = IdlePool(
                self.parent.source,
                clock,
                self.rules,
                broadcast=lambda: self.server.broadcast(clean=False),
                refresh_seconds=settings.work.refresh_seconds,
            )
        self.switch: Final = PoolSwitch(
            accounts(settings.work),
            self.parent.blocks if self.parent else None,
            self._idle,
            self._tell,
        )
        self.server: Final = StratumServer(
            self.switch,
            clock=clock.time,
            limits=limits(settings.stratum),
            hasher=fastest_hasher(),
        )

    def source(self, job_id: bytes) -> TemplateSource:
        """Where templates of a training job come from."""
        return Standalone(job_id) if self.parent is None else self.parent.source

    def use(self, pool: TrainingPool | None) -> None:
        """Let every miner work for this pool from now on, or for none."""
        self.switch.use(pool, self.server.miners())
        self.server.broadcast(clean=True)

    async def relieve(self, pool: TrainingPool, paused: Callable[[], bool]) -> None:
        """Until cancelled: where training has been paused for long, let miners make blocks alone.

        Args:
            pool: in use; it is used again once training goes on.
            paused: whether training is.
        """
        self.resting = False
        if self._idle is None:
            return
        since: float | None = None
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            now = self._clock.monotonic()
            since = (now if since is None else since) if paused() else None
            rest = since is not None and now - since >= PATIENCE
            if rest != self.resting:
                self.resting = rest
                log.warning(
                    "training is paused: miners make blocks alone"
                    if rest
                    else "training goes on: miners are back at it"
                )
                self.use(None if rest else pool)

    async def start(self) -> None:
        """Listen. Raises OSError when an address can't be had."""
        wanted = self._max_connections + SPARE_FILES
        allowed = raise_file_limit(wanted)
        if allowed < wanted:
            log.warning(
                "this process may open %d files, fewer than stratum.max_connections needs (%d): "
                "raise its limit (LimitNOFILE of systemd, ulimit -n)",
                allowed,
                wanted,
            )
        await self.server.start(self._listeners)

    async def run(self) -> None:
        """Follow the parent chain until cancelled; without one there is nothing to do."""
        if self.parent is None or self._idle is None:
            return
        async with asyncio.TaskGroup() as group:
            group.create_task(self.parent.run(), name="parent")
            group.create_task(self._idle.run(), name="idle")

    async def close(self) -> None:
        """Let miners go, and the bitcoinds."""
        await self.server.stop()
        if self.parent is not None:
            await self.parent.close()

    def _tell(self, connection_id: int, text: str) -> None:
        self.server.show_message(connection_id, text)

    def _new_template(self, new_tip: bool) -> None:
        self.switch.refresh()
        self.server.broadcast(clean=new_tip)
