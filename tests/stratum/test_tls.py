"""TLS without sockets, against the client's end of the standard library."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from stratum.tls import TlsChannel, TlsError
from tests.stratum.certificates import contexts


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    folder: Path = tmp_path_factory.mktemp("tls")
    return contexts(folder)


class Client:
    """The other end, in memory."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_hostname="localhost")

    def handshake(self, channel: TlsChannel, step: int = 1 << 20) -> bytes:
        """Shake hands, the server getting `step` bytes at a time; return plain bytes it read."""
        plain = b""
        while True:
            try:
                self.tls.do_handshake()
                done = True
            except ssl.SSLWantReadError:
                done = False
            data = self.outgoing.read()
            for start in range(0, len(data), step):
                plain += channel.receive(data[start : start + step])
                self.incoming.write(channel.data_to_send())
            if done and channel.established:
                return plain


@pytest.mark.parametrize("step", [1, 7, 1 << 20])
def test_both_ways(both: tuple[ssl.SSLContext, ssl.SSLContext], step: int) -> None:
    channel, client = TlsChannel(both[0]), Client(both[1])
    assert client.handshake(channel, step) == b""
    client.tls.write(b"hello" * 40_000)
    data = client.outgoing.read()
    plain = b"".join(channel.receive(data[i : i + 5000]) for i in range(0, len(data), 5000))
    assert plain == b"hello" * 40_000
    channel.send(b"job\n")
    client.incoming.write(channel.data_to_send())
    assert client.tls.read(100) == b"job\n"
    assert channel.data_to_send() == b""
    assert not channel.ended


def test_bytes_before_a_farewell_are_read(both: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    channel, client = TlsChannel(both[0]), Client(both[1])
    client.handshake(channel)
    client.tls.write(b"last words")
    with pytest.raises(ssl.SSLWantReadError):
        client.tls.unwrap()
    assert channel.receive(client.outgoing.read()) == b"last words"
    assert channel.ended


def test_our_farewell_is_understood(both: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    channel, client = TlsChannel(both[0]), Client(both[1])
    client.handshake(channel)
    channel.close()
    client.incoming.write(channel.data_to_send())
    assert client.tls.read(1) == b""
    with pytest.raises(TlsError):
        channel.send(b"more")


@pytest.mark.parametrize(
    "junk", [b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x00\x05hello", b"\x16" * 99]
)
def test_what_is_not_tls(both: tuple[ssl.SSLContext, ssl.SSLContext], junk: bytes) -> None:
    channel = TlsChannel(both[0])
    with pytest.raises(TlsError):
        channel.receive(junk)
    assert not channel.established


def test_a_record_that_was_tampered_with(both: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    channel, client = TlsChannel(both[0]), Client(both[1])
    client.handshake(channel)
    client.tls.write(b"hello")
    data = bytearray(client.outgoing.read())
    data[-1] ^= 1
    with pytest.raises(TlsError):
        channel.receive(bytes(data))
    assert channel.data_to_send() != b""  # the alert


def test_a_client_that_trusts_another_certificate(
    both: tuple[ssl.SSLContext, ssl.SSLContext], tmp_path: Path
) -> None:
    channel, client = TlsChannel(both[0]), Client(contexts(tmp_path)[1])
    with pytest.raises(ssl.SSLCertVerificationError):
        client.handshake(channel)
    with pytest.raises(TlsError):
        channel.receive(client.outgoing.read())
