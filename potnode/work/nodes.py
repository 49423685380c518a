"""Several bitcoinds, in order of preference: which of them work, and whose templates are mined.

The first that works is used; when a better one works again, it is used again. One that failed works
again only once a template of it was accepted: answering `getbestblockhash` proves little.
`submitblock` goes to all of them, whatever their state (`potnode.work.blocks`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass

from potnode.work.bitcoind import Bitcoind
from potnode.work.errors import CallRefused, TemplateRefused, WorkError

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Tip:
    """The best block of a bitcoind. hash: as people write it. chainwork: of the chain up to it.

    What stands in for bitcoind and has no getblockheader tells the hash alone: height is None until
    a template came, and the rest None or 0.
    """

    hash: str
    height: int | None = None
    nbits: int = 0
    mediantime: int = 0
    chainwork: int | None = None


class Node:
    """What is known of one bitcoind.

    problem: what is wrong with it, None while it works. proven: a template of it was accepted and
    nothing failed since. tip: its last known. chain_checked: it follows the right chain.
    longpollid: of its last template. refreshed_at: monotonic time of the last that was mined.
    busy: held while its tip or template is looked at. wake: set to have it asked at once.
    behind_since: monotonic time since which another's tip has more work, None while none's has.
    """

    def __init__(self, bitcoind: Bitcoind) -> None:
        self.bitcoind = bitcoind
        self.name = bitcoind.name
        self.problem: str | None = None
        self.tip: Tip | None = None
        self.proven = False
        self.failures_in_a_row = 0
        self.chain_checked = False
        self.longpollid: str | None = None
        self.refreshed_at = -float("inf")
        self.behind_since: float | None = None
        self.busy = asyncio.Lock()
        self.wake = asyncio.Event()
        self._kind: tuple[type[WorkError], int] | None = None

    def failed(self, error: WorkError) -> None:
        """It does not work; logged where it worked before, or failed in another way."""
        # Errors of calls name the bitcoind; a template does not know whose it is.
        about = isinstance(error, TemplateRefused)
        self.problem = f"{self.name}: {error}" if about else str(error)
        self.proven = False
        self.chain_checked = False
        self.failures_in_a_row += 1
        kind = (type(error), error.code if isinstance(error, CallRefused) else 0)
        if kind != self._kind:
            self._kind = kind
            log.warning("bitcoind %s", self.problem)

    def works(self) -> None:
        """A template of it was accepted."""
        if self._kind is not None:
            log.info("bitcoind %s works again", self.name)
        self._kind = None
        self.problem = None
        self.proven = True
        self.failures_in_a_row = 0


class Nodes:
    """All bitcoinds of this node, the preferred first."""

    def __init__(self, bitcoinds: Sequence[Bitcoind]) -> None:
        if not bitcoinds:
            raise ValueError("at least one bitcoind is needed")
        self.all = tuple(Node(bitcoind) for bitcoind in bitcoinds)

    def active(self) -> Node | None:
        """The first that works."""
        return next((node for node in self.all if node.proven), None)

    def preferred(self, node: Node) -> bool:
        """Whether no better one works: its template would be mined."""
        active = self.active()
        return active is None or self.all.index(node) <= self.all.index(active)

    def ahead_of(self, node: Node) -> Node | None:
        """One that works and whose tip has more work than this one's; None where none has."""
        mine = _work(node)
        if mine is None:
            return None
        for other in self.all:
            theirs = _work(other)
            if other.proven and theirs is not None and theirs > mine:
                return other
        return None

    def problems(self) -> list[str]:
        """One line for each that does not work."""
        return [f"bitcoind {node.problem}" for node in self.all if node.problem is not None]

    def wake(self) -> None:
        """Have all of them asked for their tip now."""
        for node in self.all:
            node.wake.set()


def _work(node: Node) -> int | None:
    """Work of the chain of a bitcoind; None where it cannot be compared, 0 before its first tip."""
    return 0 if node.tip is None else node.tip.chainwork
