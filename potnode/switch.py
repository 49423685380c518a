"""The switch: which pool miners are served by, and what is the node's whichever that is.

Responsible for user names, for handing blocks on, and for passing miners from one training job to
the next; they stay connected all the while. It implements `stratum.server.Pool`; what a share is
worth is decided by the pool in use.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import Any, Protocol

from potnode.idle import IdlePool
from potnode.pool import FINISHED, TrainingPool
from potnode.work.address import Accounts, evm_address
from potnode.work.jobs import WorkTag
from potnode.work.parent import ParentBlock
from stratum.jobs import Job
from stratum.server import Answer, MinerView
from stratum.shares import Share

log = logging.getLogger(__name__)


class BlockSink(Protocol):
    """Where solved blocks of the parent chain go."""

    def found(
        self, parent: ParentBlock, header80: bytes, coinbase: bytes, *, finder: str
    ) -> object:
        """Keep a block and send it off; None for one too many of its parent. Never raises."""
        ...


class PoolSwitch:
    """`stratum.server.Pool` of a node.

    accounts: which user names are served. blocks: None where templates are of no real chain. idle:
    who serves miners between training jobs; None leaves them without work. tell: shows the owner
    of a connection a line of text.
    """

    def __init__(
        self,
        accounts: Accounts,
        blocks: BlockSink | None = None,
        idle: IdlePool | None = None,
        tell: Callable[[int, str], object] = lambda _connection_id, _text: None,
    ) -> None:
        self._accounts = accounts
        self._blocks = blocks
        self._idle = idle
        self._tell = tell
        self._training: TrainingPool | None = None

    def use(self, pool: TrainingPool | None, miners: Iterable[MinerView]) -> None:
        """Serve this training pool from now on, or none; `miners` are those connected already."""
        before = self._pool
        self._training = pool
        if self._pool is not None:
            self._pool.refresh()  # what it had may be of the time it was last in use
        for miner in miners:
            bits = None
            if before is not None:
                bits = before.bits(miner.connection_id)
                before.disconnected(miner)
            if self._pool is not None:
                self._pool.connected(miner, bits)

    @property
    def _pool(self) -> TrainingPool | IdlePool | None:
        return self._training or self._idle

    def bits(self, connection_id: int) -> int | None:
        """Agreed bits of a connection; None while it is given no work."""
        return self._pool.bits(connection_id) if self._pool else None

    def refresh(self) -> None:
        """There is another template: jobs made from now carry it."""
        if self._pool:
            self._pool.refresh()

    def account_of(self, user: str, password: str = "") -> str:
        """As of the port."""
        return self._accounts.account_of(user, password)

    def connected(self, miner: MinerView) -> None:
        """As of the port."""
        if self._pool:
            self._pool.connected(miner)

    def disconnected(self, miner: MinerView) -> None:
        """As of the port."""
        # One that was closing as miners passed to another pool is still known to the one before.
        for pool in (self._training, self._idle):
            if pool is not None:
                pool.disconnected(miner)

    def asked(self, miner: MinerView) -> None:
        """As of the port."""
        if self._pool:
            self._pool.asked(miner)

    def job_for(self, miner: MinerView) -> Job | None:
        """As of the port."""
        return self._pool.job_for(miner) if self._pool else None

    def explain(self, tag: object) -> dict[str, Any] | None:
        """As of the port."""
        return tag.explain() if isinstance(tag, WorkTag) else None

    def submit(self, share: Share, miner: MinerView, answer: Answer) -> None:
        """As of the port."""
        if self._pool:
            self._pool.submit(share, miner, answer)
        else:
            answer(FINISHED)

    def found_block(self, share: Share, miner: MinerView) -> None:
        """As of the port: kept and submitted whatever the state of training, chain or database."""
        tag = share.job.tag
        parent = tag.source.parent if isinstance(tag, WorkTag) else None
        if parent is None or self._blocks is None:
            log.warning(
                "share %s meets its target of the network, but belongs to no real block",
                share.hash[::-1].hex(),
            )
            return
        # Behind a proxy one connection has many workers, and a resumed one may be another's.
        finder = evm_address(share.job.account) + (f".{share.worker}" if share.worker else "")
        if self._blocks.found(parent, share.header80, share.coinbase, finder=finder):
            self._tell(miner.connection_id, f"This miner found block {parent.height}")
