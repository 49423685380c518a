"""The `Pool` port: what the server needs from outside, and what it shows of a miner.

No behaviour lives here; `stratum.server` calls a pool, the owner of jobs and shares is one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from stratum.errors import Reject
from stratum.jobs import Job
from stratum.shares import Share


@dataclass(frozen=True, slots=True)
class MinerView:
    """What a pool sees of a ready connection, as of now.

    connection_id: never used twice by one server. account: as the pool's account_of returned it.
    worker: of the first authorised user name ("" without). suggested_difficulty: the last one the
    miner suggested; fixed_difficulty: the one its password demands; minimum_difficulty: the largest
    of those it asked not to go below; each finite and positive, or None. version_mask: the version
    bits it may roll. peer: its address for logs, the real one behind a trusted proxy.
    """

    connection_id: int
    account: str
    worker: str
    user_agent: str
    suggested_difficulty: int | float | None
    fixed_difficulty: int | float | None
    minimum_difficulty: int | float | None
    version_mask: int
    extranonce1: bytes
    peer: str


Answer = Callable[[Reject | None], None]


class Pool(Protocol):
    """Everything the server needs from outside. All of it is called in the event loop's thread."""

    def account_of(self, user: str, password: str) -> str:
        """Return the account of a user name (account[.worker]), the same for every spelling of it.

        Called with whatever a client sent: a user of 1..128 printable characters, and a password
        ("" where there is none; also where a submit names a user that was not authorised). Raises
        Unauthorized, whose message the miner gets with code 24.
        """

    def connected(self, miner: MinerView) -> None:
        """Learn of a miner that is ready, before its first job."""

    def disconnected(self, miner: MinerView) -> None:
        """Learn that a miner `connected` was called for is gone."""

    def asked(self, miner: MinerView) -> None:
        """Learn that a mining miner's wishes on difficulty changed; `miner` has the new ones."""

    def job_for(self, miner: MinerView) -> Job | None:
        """Return the next job for a miner, None when there is none now.

        Each must have coinbase content no earlier job had: some miners start their extranonce2
        from zero with every job. What it raises is logged and costs this miner this job.
        """

    def explain(self, tag: object) -> dict[str, object] | None:
        """Return what the job of this tag commits to, as a JSON object, or None."""

    def submit(self, share: Share, miner: MinerView, answer: Answer) -> None:
        """Take a good share; call `answer` once, now or later, from the loop's thread.

        `answer(None)` tells the miner true, so the share has to be safe by then; a Reject refuses
        it. Calling it twice raises LocalProtocolError; calling it for a miner that is gone is fine.
        """

    def found_block(self, share: Share, miner: MinerView) -> None:
        """Take a header that solves a block of the network.

        Called before the share is judged otherwise: `submit` follows only if it is a good share
        too. Called once a header.
        """
