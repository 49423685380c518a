"""Templates of real Bitcoin blocks, kept up to date from one or several bitcoinds.

`BitcoinSource` watches every bitcoind: it asks each for its tip every second, long-polls the one
whose templates are mined, and listens to ZMQ, so that a new block is seen however it is told. It
refuses what would waste miners' work and goes on with the last good template while nothing better
comes. Handing blocks in is `potnode.work.blocks`.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec
import zmq
import zmq.asyncio

from potnode.work.assembly import CoinbasePlan, assemble
from potnode.work.backoff import Backoff
from potnode.work.bitcoind import NO_SUCH_METHOD, Bitcoind
from potnode.work.errors import (
    BitcoindError,
    CallRefused,
    GarbageReceived,
    TemplateRefused,
    WorkError,
)
from potnode.work.gbt import BlockTemplate, Transaction, parse, target_of
from potnode.work.nodes import Node, Nodes, Tip
from potnode.work.payout import Network
from potnode.work.template import Template

log = logging.getLogger(__name__)

HALVING: Final[Mapping[str, int]] = {"main": 210_000, "regtest": 150}
"""Blocks between halvings, of the chains where the next block's bits can be known in advance."""

UNHEARD: Final = 3
"""New blocks in a row of which ZMQ said nothing when it is taken not to work: one or two may be
told late, or have come while it was connecting."""

_RETARGET: Final = 2016
_FIRST_SUBSIDY: Final = 50 * 100_000_000
_VERSION: Final = 0x20000000
_ENDPOINT: Final = re.compile(r"(tcp|ipc)://.+")
_MAX_ZMQ_MESSAGE: Final = 1 << 10

# A block may be two hours ahead of the network's clocks. Where our clock is that wrong it is
# bitcoind's that counts; miners then roll the time up by as much as 7000 s themselves.
_MAX_AHEAD: Final = 120


@dataclass(frozen=True, slots=True)
class _Current:
    """The template that is mined, and what its time follows from. received: our time, Unix."""

    template: Template
    tip: Tip
    mintime: int
    curtime: int
    received: float

    @property
    def height(self) -> int:
        """Of the block that is mined."""
        return self.template.parent.height if self.template.parent else 0


class BitcoinSource:
    """A `TemplateSource` over bitcoinds, the preferred first. `run` keeps it up to date.

    Args:
        bitcoinds: owned by the caller, who closes them.
        plan: payout, tag and size limit of coinbases.
        network: the chain all of them must follow.
        zmq_endpoints: `zmqpubhashblock` addresses of any of them, tcp:// or ipc://.
        on_template: called after every change of the template, with True where its previous block
            is another (a new tip, also by a reorganisation), False where only its transactions are.
        poll: seconds between questions for the tip. refresh: seconds between templates of one tip.
        lag: seconds a bitcoind may be behind another before it is not used: more than a block takes
            from one to the other.
        stale_after: seconds without a template after which `problems` says so.
        empty_first: mine a block without transactions from the moment a new tip is known until
            its template has come.
        time, monotonic: clocks, in seconds.

    Attributes, for metrics: templates (changes of the template), tips (changes of its previous
    block), failures (of bitcoinds, templates refused included), height (of the block that is mined,
    0 before the first), last_update (Unix time of the last template accepted, 0 before the first).

    Raises:
        ValueError: no bitcoind, or a ZMQ endpoint that is none.
    """

    def __init__(
        self,
        bitcoinds: Sequence[Bitcoind],
        plan: CoinbasePlan,
        *,
        network: Network,
        zmq_endpoints: Sequence[str] = (),
        on_template: Callable[[bool], None] = lambda _new_tip: None,
        poll: float = 1.0,
        refresh: float = 30.0,
        lag: float = 30.0,
        stale_after: float = 120.0,
        empty_first: bool = True,
        backoff: Backoff | None = None,
        time: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        for endpoint in zmq_endpoints:
            if not _ENDPOINT.fullmatch(endpoint):
                raise ValueError(f"{endpoint!r} is not a ZMQ endpoint like tcp://127.0.0.1:28332")
        self.on_template = on_template
        self.templates = 0
        self.tips = 0
        self.failures = 0
        self.height = 0
        self.last_update = 0.0
        self._nodes = Nodes(bitcoinds)
        self._plan = plan
        self._network = network
        self._zmq_endpoints = tuple(zmq_endpoints)
        self._zmq_problem: str | None = None
        self._tips_unheard = 0
        self._poll = poll
        self._refresh = refresh
        self._lag = lag
        self._stale_after = stale_after
        self._empty_first = empty_first
        self._backoff = backoff or Backoff()
        self._time = time
        self._monotonic = monotonic
        self._updated_at = monotonic()
        self._current: _Current | None = None
        self._known: Mapping[bytes, Transaction] = {}

    def current(self, now: int) -> Template | None:
        """The template to mine on, its time `now` as far as its chain allows that."""
        current = self._current
        if current is None:
            return None
        by_bitcoind = current.curtime + now - int(current.received)
        ntime = max(current.mintime, min(now, by_bitcoind + _MAX_AHEAD))
        return dataclasses.replace(current.template, ntime=ntime)

    def problems(self) -> list[str]:
        """What is wrong, for operators; empty while all bitcoinds work and the template is new."""
        problems = self._nodes.problems()
        if self._zmq_problem is not None:
            problems.append(self._zmq_problem)
        age = self._monotonic() - self._updated_at
        if self._current is None:
            problems.append("there is no block template yet")
        elif age > self._stale_after:
            problems.append(f"the block template has not been renewed for {age:.0f} s")
        return problems

    async def run(self) -> None:
        """Keep the template up to date until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for node in self._nodes.all:
                tasks.create_task(self._watch(node))
                tasks.create_task(self._follow(node))
            if self._zmq_endpoints:
                tasks.create_task(self._listen())

    # Being told

    async def _watch(self, node: Node) -> None:
        """Ask a bitcoind for its tip again and again, and at once when somebody heard of one."""
        while True:
            node.wake.clear()
            wait = self._poll
            try:
                async with node.busy:
                    await self._look(node)
            except WorkError as error:
                self._lost(node, error)
                wait = self._backoff.wait(node.failures_in_a_row - 1)
            # asyncio.wait_for loses a cancellation that comes with the event (CPython before 3.12).
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await node.wake.wait()

    async def _follow(self, node: Node) -> None:
        """Long-poll a bitcoind while its templates are the ones that are mined."""
        while True:
            began = self._monotonic()
            if node.longpollid is not None and self._nodes.active() is node:
                try:
                    answer = await node.bitcoind.template(node.longpollid)
                    async with node.busy:
                        await self._take(node, answer, by_long_poll=True)
                except BitcoindError:
                    node.wake.set()  # whether it is gone, and how, the next question tells
                except TemplateRefused as error:
                    self._lost(node, error)
            # One that does not make us wait, by an error or otherwise, must not be asked in a loop.
            await asyncio.sleep(max(0.0, self._poll - (self._monotonic() - began)))

    async def _listen(self) -> None:
        """Ask all bitcoinds for their tip whenever one of them says that it has a new one."""
        with zmq.asyncio.Context() as context, context.socket(zmq.SUB) as socket:
            socket.linger = 0
            socket.setsockopt(zmq.MAXMSGSIZE, _MAX_ZMQ_MESSAGE)
            socket.setsockopt(zmq.TCP_KEEPALIVE, 1)
            socket.subscribe(b"hashblock")
            for endpoint in self._zmq_endpoints:
                try:
                    socket.connect(endpoint)
                except zmq.ZMQError as error:
                    self._zmq_problem = f"ZMQ endpoint {endpoint}: {error}"
                    log.error("%s; new blocks are found by polling", self._zmq_problem)
            while True:
                await socket.recv_multipart()
                self._nodes.wake()
                if self._tips_unheard >= UNHEARD:
                    log.info("ZMQ tells of new blocks again")
                self._tips_unheard = 0

    def _tip_came(self) -> None:
        """Count a new tip; ZMQ itself never says that nobody publishes where it is connected."""
        self._tips_unheard += 1
        if self._zmq_endpoints and self._tips_unheard == UNHEARD:
            log.warning(
                "ZMQ told of none of the last %d blocks, see zmqpubhashblock in bitcoin.conf and "
                "work.zmq; they are found by polling",
                UNHEARD,
            )

    # Looking

    async def _look(self, node: Node) -> None:
        if not node.chain_checked:
            info = await node.bitcoind.chain_info()
            if info.chain != self._network:
                raise TemplateRefused(f"its chain is {info.chain}, not {self._network}")
            node.chain_checked = True
        best = await node.bitcoind.best_block_hash()
        new = node.tip is None or node.tip.hash != best
        if new:
            await self._learn_tip(node, best)
            await self._check_forward(node)
            self._mine_empty(node)
        self._check_lag(node)
        due = self._monotonic() - node.refreshed_at >= self._refresh
        if new or not node.proven or (due and self._nodes.preferred(node)):
            await self._take(node, await node.bitcoind.template())

    async def _learn_tip(self, node: Node, best: str) -> None:
        node.tip = await self._tip(node, best)
        node.refreshed_at = -float("inf")

    @staticmethod
    async def _tip(node: Node, best: str) -> Tip:
        try:
            header = await node.bitcoind.block_header(best)
        except CallRefused as error:
            if error.code != NO_SUCH_METHOD:
                raise
            return Tip(best)
        if header is None:
            raise GarbageReceived(f"{node.name}: does not know its own best block {best}")
        if header.hash != best:
            raise GarbageReceived(f"{node.name}: gave the header of another block than {best}")
        return Tip(
            header.hash,
            header.height,
            int(header.bits, 16),
            header.mediantime,
            int(header.chainwork, 16),
        )

    async def _check_forward(self, node: Node) -> None:
        """A tip of less work than the one mined is right only if its bitcoind left the latter."""
        tip, mined = node.tip, self._current.tip if self._current is not None else None
        if tip is None or mined is None or tip.chainwork is None or mined.chainwork is None:
            return
        if tip.chainwork >= mined.chainwork:
            return
        header = await node.bitcoind.block_header(mined.hash)
        if header is None or header.confirmations >= 0:
            raise TemplateRefused(
                f"its tip {tip.hash} at height {tip.height} is behind "
                f"{mined.hash} at height {mined.height}"
            )

    def _check_lag(self, node: Node) -> None:
        """A bitcoind that stays behind another has lost its peers, or its disk is too slow."""
        ahead, now = self._nodes.ahead_of(node), self._monotonic()
        if ahead is None:
            node.behind_since = None
            return
        if node.behind_since is None:
            node.behind_since = now
        if now - node.behind_since >= self._lag:
            raise TemplateRefused(f"its tip has been behind that of {ahead.name} for too long")

    async def _take(self, node: Node, answer: msgspec.Raw, *, by_long_poll: bool = False) -> None:
        """Check a template and mine it, if its bitcoind is the one that is used."""
        # Off the event loop: a full block takes tens of milliseconds the first time.
        block = await asyncio.to_thread(parse, answer, known=self._known)
        await self._check_tip(node, block)
        template = assemble(block, self._plan)
        now = self._monotonic()
        fresh = now - node.refreshed_at < self._refresh
        node.longpollid = block.longpollid
        node.works()
        tip = node.tip
        if tip is None or self._nodes.active() is not node:
            return
        if by_long_poll and fresh and self._current is not None and self._current.tip == tip:
            return  # only transactions are new, and those come with the next refresh
        if block.dropped:
            log.info("%s: left %d transactions out of a template", node.name, block.dropped)
        node.refreshed_at = now
        self._updated_at = now
        self.last_update = self._time()
        self._known = block.by_wtxid()
        self._publish(_Current(template, tip, block.mintime, block.curtime, self._time()))

    async def _check_tip(self, node: Node, block: BlockTemplate) -> None:
        """The template builds on its bitcoind's tip: no older one, nor a block it does not have."""
        previous = block.prev_hash_le[::-1].hex()
        if node.tip is None or previous != node.tip.hash:
            # The tip may have moved between the two answers.
            best = await node.bitcoind.best_block_hash()
            if previous != best:
                what = "is not its tip" if await self._knows(node, previous) else "it does not know"
                raise TemplateRefused(f"a template builds on {previous}, which {what} ({best})")
            await self._learn_tip(node, best)
        await self._check_forward(node)
        self._check_lag(node)
        if node.tip is None:
            return
        if node.tip.height is None:
            node.tip = dataclasses.replace(node.tip, height=block.height - 1)
        elif block.height != node.tip.height + 1:
            raise TemplateRefused(
                f"a template has height {block.height} on a tip of height {node.tip.height}"
            )

    @staticmethod
    async def _knows(node: Node, hash_: str) -> bool:
        try:
            return await node.bitcoind.block_header(hash_) is not None
        except CallRefused as error:
            if error.code != NO_SUCH_METHOD:
                raise
            return True

    # Publishing

    def _mine_empty(self, node: Node) -> None:
        """Mine on a new tip before its template is there, where the block is certain to be valid.

        On main the bits of the next block are those of its tip except every 2016th block, and on
        regtest always. On the test networks a block may be easier when it comes late, so that its
        bits depend on its time. Without transactions no witness commitment is needed (BIP141).
        """
        tip, halving = node.tip, HALVING.get(self._network)
        if tip is None or tip.height is None or halving is None or not self._empty_first:
            return
        if tip.chainwork is None:
            return
        if not node.proven or not self._nodes.preferred(node):
            return
        height = tip.height + 1
        if self._network == "main" and height % _RETARGET == 0:
            return
        if self._current is not None and self._current.tip.hash == tip.hash:
            return
        mintime, curtime = tip.mediantime + 1, int(self._time())
        block = BlockTemplate(
            version=_VERSION,
            prev_hash_le=bytes.fromhex(tip.hash)[::-1],
            height=height,
            nbits=tip.nbits,
            target=target_of(tip.nbits),
            mintime=mintime,
            curtime=curtime,
            value=_FIRST_SUBSIDY >> min(height // halving, 63),
        )
        template = assemble(block, self._plan)
        self._publish(_Current(template, tip, mintime, curtime, curtime))

    def _publish(self, new: _Current) -> None:
        old, self._current = self._current, new
        new_tip = old is None or old.tip.hash != new.tip.hash
        if old is not None and not new_tip and _same_work(old.template, new.template):
            return
        self.templates += 1
        self.height = new.height
        if new_tip:
            self.tips += 1
            self._tip_came()
            log.info("mining block %d on %s", self.height, new.tip.hash)
        self.on_template(new_tip)

    def _lost(self, node: Node, error: WorkError) -> None:
        """A bitcoind failed: the next in order that works takes over."""
        was_active = self._nodes.active() is node
        self.failures += 1
        node.failed(error)
        instead = self._nodes.active()
        if was_active and instead is not None:
            log.warning("templates come from bitcoind %s now", instead.name)
            instead.refreshed_at = -float("inf")
            instead.wake.set()


def _same_work(one: Template, other: Template) -> bool:
    return (one.coinbase, one.branch, one.version, one.nbits) == (
        other.coinbase,
        other.branch,
        other.version,
        other.nbits,
    )
