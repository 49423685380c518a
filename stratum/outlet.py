"""Where a connection's bytes leave, and when.

Responsible for TLS around them, for a bound on what a client leaves unread, and for one write a
turn of the event loop: what a turn's reads and the pool's answers have to say leaves when all of
them are handled. A reply that leaves at once wakes the other side for each, which costs more
than the reply itself. What is said, and what becomes of a client that does not read, is the
connection's.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Protocol

from stratum.tls import TlsChannel

log = logging.getLogger(__name__)


class Flushed(Protocol):
    """Somebody with something to send."""

    def flush(self) -> None:
        """Send it."""


class Turn:
    """Those of one server that have something to send, until this turn of the loop is over.

    Each must be added once; all are flushed before the loop reads anything new.
    """

    __slots__ = ("_waiting",)

    def __init__(self) -> None:
        self._waiting: list[Flushed] = []

    def add(self, flushed: Flushed) -> None:
        """Have `flush` called at the end of the turn."""
        waiting = self._waiting
        if not waiting:
            asyncio.get_running_loop().call_soon(self._end)
        waiting.append(flushed)

    def _end(self) -> None:
        waiting, self._waiting = self._waiting, []
        for flushed in waiting:
            try:
                flushed.flush()
            except Exception:  # one miner's trouble must not cost the others their replies
                log.exception("a connection could not be flushed")


class Outlet:
    """The way out of one connection. tls: the channel around what leaves, None without."""

    __slots__ = ("_transport", "_write_limit", "tls")

    def __init__(self, transport: asyncio.Transport, write_limit: int) -> None:
        self._transport = transport
        self._write_limit = write_limit
        self.tls: TlsChannel | None = None

    def wrap(self, data: bytes) -> bytes:
        """Return data as it goes over the wire; it must be sent next. Raises TlsError."""
        if self.tls is None:
            return data
        self.tls.send(data)
        return self.tls.data_to_send()

    def send(self, data: bytes) -> bool:
        """Send what `wrap` returned; False when the client has left too much unread."""
        transport = self._transport
        if transport.is_closing():
            return True
        transport.write(data)
        return transport.get_write_buffer_size() <= self._write_limit

    def handshake(self) -> None:
        """Send what TLS itself has to say."""
        if self.tls is not None:
            data = self.tls.data_to_send()
            if data:
                self._transport.write(data)

    def close(self) -> None:
        """Close once all is sent; TLS is told so."""
        if self.tls is not None and self.tls.established and not self._transport.is_closing():
            self.tls.close()
            self.handshake()
        self._transport.close()
