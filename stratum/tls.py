"""TLS of one connection as bytes in and bytes out.

Responsible for the handshake and the records, over the standard library's memory buffers. asyncio's
own TLS can't be used here: `start_tls` takes no bytes that were read before, so neither the first
byte nor a PROXY header could be looked at, and it keeps a buffer of 256 KiB for every connection.
"""

from __future__ import annotations

import ssl
from typing import Final

from stratum.errors import RemoteProtocolError

HANDSHAKE_BYTE: Final = 0x16
"""First byte of every TLS connection (RFC 8446, 5.1: content type handshake)."""

_CHUNK: Final = 64 * 1024


class TlsError(RemoteProtocolError):
    """The other side does not speak TLS, or not one that is acceptable."""


class TlsChannel:
    """The server's end of TLS on one connection.

    established: the handshake is done. ended: the other side said that it sends no more.
    """

    def __init__(self, context: ssl.SSLContext) -> None:
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._object = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self.established = False
        self.ended = False

    def receive(self, data: bytes) -> bytes:
        """Take bytes from the network, return what they say; look at `data_to_send` afterwards.

        Raises TlsError, after which an alert may be left to send and nothing more may be received.
        """
        self._incoming.write(data)
        plain: list[bytes] = []
        try:
            if not self.established:
                self._object.do_handshake()
                self.established = True
            while True:
                chunk = self._object.read(_CHUNK)
                if not chunk:
                    self.ended = True
                    break
                plain.append(chunk)
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            self.ended = True
        except ssl.SSLError as error:
            raise TlsError(error.reason or "no TLS") from error
        return b"".join(plain)

    def send(self, data: bytes) -> None:
        """Encrypt data; only once the handshake is done. Raises TlsError when TLS has failed."""
        try:
            self._object.write(data)
        except ssl.SSLError as error:
            raise TlsError(error.reason or "TLS failed") from error

    def close(self) -> None:
        """Say that we send no more."""
        try:
            self._object.unwrap()
        except ssl.SSLError:
            return  # it waits for the other side's farewell, and we do not

    def data_to_send(self) -> bytes:
        """Return the bytes for the network, each once."""
        return self._outgoing.read() if self._outgoing.pending else b""
