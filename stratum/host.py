"""What a connection needs of its server: common things, and a place among the others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from stratum.counters import Counters
from stratum.limits import AddressBook, Limits
from stratum.outlet import Turn
from stratum.pool import Pool
from stratum.session import Session

if TYPE_CHECKING:
    from stratum.connection import Connection


@dataclass(frozen=True, slots=True)
class Shared:
    """What all connections of a server use. clock: Unix seconds. monotonic: for durations.

    buffer: every connection reads into it; it is free again when the read is handled. turn: where
    connections wait that have something to send.
    """

    pool: Pool
    limits: Limits
    counters: Counters
    addresses: AddressBook
    clock: Callable[[], float]
    monotonic: Callable[[], float]
    buffer: memoryview
    turn: Turn


class Host(Protocol):
    """What keeps connections: the server."""

    def enter(self, connection: Connection) -> tuple[int, Session] | None:
        """Take a new connection: its id and session, None when there is no place."""

    def leave(self, connection: Connection) -> None:
        """Forget a connection that entered and is gone."""
