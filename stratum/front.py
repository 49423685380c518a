"""What may come before a miner's lines: a PROXY header, and TLS around the rest.

Responsible for taking both off, bytes in and bytes out. Whether a header is believed is said at the
start; who may connect, and what is logged and counted, is the connection's.
"""

from __future__ import annotations

import enum
from typing import Final

from stratum.limits import Address
from stratum.listener import Listener
from stratum.proxy import ProxyError, ProxyHeader, Verdict, parse_header
from stratum.tls import HANDSHAKE_BYTE, TlsChannel

LONGEST_RECORD: Final = 5 + 16_384 + 256
"""Bytes of TLS's longest record (RFC 8446, 5.2), which says nothing before it is complete."""


class _Stage(enum.Enum):
    """Who reads the next byte."""

    PROXY = enum.auto()
    SNIFF = enum.auto()
    TLS = enum.auto()
    LINES = enum.auto()


class Front:
    """The front of one connection to `listener`; believed: a PROXY header of its peer counts.

    named: address and port the header gave, None before or without. tls: None unless it is spoken.
    """

    def __init__(self, listener: Listener, *, believed: bool) -> None:
        self._listener = listener
        self._after_header = _Stage.LINES if listener.tls is None else _Stage.SNIFF
        self._stage = _Stage.PROXY if believed else self._after_header
        self._held = b""
        self._opaque = 0
        self.named: tuple[Address, int] | None = None
        self.tls: TlsChannel | None = None

    @property
    def open(self) -> bool:
        """Whether all bytes from now on are lines as they come."""
        return self._stage is _Stage.LINES

    def receive(self, data: bytes) -> bytes:
        """Take bytes from the network, return what they hold for the session.

        Raises ProxyError for a malformed header or the lack of one that is required, and TlsError;
        nothing more may be received then. Look at `tls.data_to_send` in either case.
        """
        if self._stage is _Stage.PROXY:
            data = self._read_header(self._held + data)
        if data and self._stage is _Stage.SNIFF:
            self._sniff(data[0])
        if data and self.tls is not None:
            data = self.tls.receive(data)
        return data

    def opaque(self, size: int, said: int) -> int:
        """Note a read of `size` bytes that held `said` for the session.

        Return how many bytes of TLS have come that said nothing, each once: none as long as they
        may be the start of a record, or what encryption adds to every line.
        """
        self._opaque = max(0, self._opaque + size - 2 * said)
        if self.tls is None or self._opaque <= LONGEST_RECORD:
            return 0
        opaque, self._opaque = self._opaque, 0
        return opaque

    def _read_header(self, data: bytes) -> bytes:
        header = parse_header(data)
        if header is Verdict.INCOMPLETE:
            self._held = data  # never longer than a header may be
            return b""
        if header is Verdict.ABSENT and self._listener.proxy_required:
            raise ProxyError("no header")
        self._held = b""
        self._stage = self._after_header
        if isinstance(header, ProxyHeader):
            self.named = header.source
            data = data[header.size :]
        return data

    def _sniff(self, first: int) -> None:
        context = self._listener.tls
        if context is not None and (self._listener.tls_only or first == HANDSHAKE_BYTE):
            self.tls = TlsChannel(context)
            self._stage = _Stage.TLS
        else:
            self._stage = _Stage.LINES
