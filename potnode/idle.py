"""The pool while there is nothing to train: miners go on earning bitcoin.

Only for nodes whose templates are real blocks. Jobs commit to no work, so their shares are nobody's
candidates; they are answered, and forgotten. Between two training jobs, or while the EVM chain
cannot be asked for one, a miner that was sent nothing would leave or hash on a dead block.
"""

from __future__ import annotations

import asyncio
import itertools
import secrets
from collections.abc import Callable
from typing import Final

from potnode.clock import Clock
from potnode.pace import Pace
from potnode.pool import FINISHED, PoolRules
from potnode.terms import ASIC_MIN_BITS, Terms, terms_for
from potnode.work.address import miner_row
from potnode.work.jobs import JobMaker, WorkTag
from potnode.work.template import TemplateSource
from stratum.jobs import Job
from stratum.server import Answer, MinerView
from stratum.shares import Share

IDLE_FLOW: Final = 300.0
"""Shares a second of all miners together: each is hashed and answered, no more."""


class IdlePool:
    """Serves bitcoin work alone. `run` it as long as the node runs; it acts while it is in use.

    broadcast: gives every miner new work. refresh_seconds: how often.
    """

    def __init__(
        self,
        source: TemplateSource,
        clock: Clock,
        rules: PoolRules,
        *,
        broadcast: Callable[[], object],
        refresh_seconds: float,
    ) -> None:
        self._source = source
        self._clock = clock
        self._rules = rules
        self._broadcast = broadcast
        self._refresh_seconds = refresh_seconds
        self._pace = Pace[int](shares=1, flow=IDLE_FLOW)
        self._counter = itertools.count(secrets.randbits(32))
        self._work: JobMaker | None = None

    def connected(self, miner: MinerView, before: int | None = None) -> None:
        """A miner is here, or the training it was busy with, at bits `before`, is over."""
        self._pace.join(miner.connection_id, self._terms(miner), self._clock.monotonic(), before)

    def disconnected(self, miner: MinerView) -> None:
        """A miner is gone, or there is training for it."""
        self._pace.leave(miner.connection_id)

    def asked(self, miner: MinerView) -> None:
        """A miner's wishes have changed; followed with its next job."""
        self._pace.ask(miner.connection_id, self._terms(miner), self._clock.monotonic())

    def job_for(self, miner: MinerView) -> Job | None:
        """Work for one miner; None without a template."""
        if self._work is None:
            return None
        bits = self._pace.bits(miner.connection_id)
        return self._work.job(
            miner_row(miner.account, bits, pays_script=self._work.template.script_at != 0),
            account=miner.account,
            counter=next(self._counter),
            clean=False,
        )

    def submit(self, share: Share, miner: MinerView, answer: Answer) -> None:
        """Take a share: nothing depends on it but the miner's difficulty."""
        tag = share.job.tag
        if not isinstance(tag, WorkTag) or tag.commitment is not None:
            answer(FINISHED)  # work of a training job that is not served any more
            return
        self._pace.share(miner.connection_id, tag.miner.bits, self._clock.monotonic())
        answer(None)

    def bits(self, connection_id: int) -> int | None:
        """Agreed bits of a connection; None for one that is not mining here."""
        return self._pace.agreed(connection_id)

    def refresh(self) -> None:
        """Take a present template; jobs made from now carry it."""
        template = self._source.current(int(self._clock.time()))
        self._work = None if template is None else JobMaker(template, None)

    async def run(self) -> None:
        """New work for the miners here, every few seconds, until cancelled."""
        while True:
            await asyncio.sleep(self._refresh_seconds)
            if len(self._pace):
                self._pace.adjust(0, self._clock.monotonic())
                self.refresh()
                self._broadcast()

    def _terms(self, miner: MinerView) -> Terms:
        target = 0 if self._work is None else self._work.template.network_target
        return terms_for(miner, self._rules.terms, min_bits=ASIC_MIN_BITS, network_target=target)
