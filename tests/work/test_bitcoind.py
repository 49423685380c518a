"""How a bitcoind is named and logged in to."""

from __future__ import annotations

import asyncio
import logging
import random
from pathlib import Path

import pytest

from potnode.work.bitcoind import Access, Bitcoind
from potnode.work.errors import BitcoindError, BitcoindUnavailable, WorkError, WrongCredentials


@pytest.mark.parametrize(
    ("url", "bare"),
    [
        ("http://u:p@127.0.0.1:18443", "http://127.0.0.1:18443"),
        ("http://u:p@node", "http://node:8332"),
        ("https://u:p@node", "https://node"),
        ("http://u:p@[::1]:8332/", "http://[::1]:8332/"),
        ("http://u:p%40%2F@node:1/wallet/", "http://node:1/wallet/"),
    ],
)
def test_addresses_lose_their_credentials(url: str, bare: str) -> None:
    access = Access.parse(url)
    assert access.url == bare
    assert access.login is not None
    assert "p%40" not in repr(access)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "node:8332",
        "ftp://u:hidden@node",
        "http://:hidden@node",
        "http://",
        "http://u:hidden@",
        "http://u:hidden",
        "http://u:hid/den@node:8332",
        "http://u:hidden@node:99999",
        "http://u:hidden@node:0",
    ],
)
def test_what_is_no_address_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(ValueError, match="bitcoind") as caught:
        Access.parse(url)
    assert "hidden" not in str(caught.value)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


def test_one_way_to_log_in_and_not_two() -> None:
    with pytest.raises(ValueError, match="not both"):
        Access.parse("http://u:p@node", Path("cookie"))
    with pytest.raises(ValueError, match="not both"):
        Access.parse("http://node")
    assert Access.parse("http://node", Path("cookie")).login is None


async def _error_of(client: Bitcoind) -> WorkError:
    with pytest.raises(WorkError) as caught:
        await client.best_block_hash()
    await client.aclose()
    return caught.value


async def test_a_cookie_that_is_not_there_yet_is_a_bitcoind_that_is_away(tmp_path: Path) -> None:
    cookie = tmp_path / ".cookie"
    error = await _error_of(Bitcoind("http://127.0.0.1:1", cookie_file=cookie))
    assert isinstance(error, BitcoindUnavailable)
    assert str(cookie) in str(error)
    cookie.write_text("no colon")
    error = await _error_of(Bitcoind("http://127.0.0.1:1", cookie_file=cookie))
    assert isinstance(error, WrongCredentials)
    cookie.write_bytes(b"\xff\xfe")
    error = await _error_of(Bitcoind("http://127.0.0.1:1", cookie_file=cookie))
    assert isinstance(error, BitcoindUnavailable)


async def test_a_port_nobody_listens_on(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    client = Bitcoind("http://me:hidden@127.0.0.1:1", timeout=2)
    assert client.name == "127.0.0.1:1"
    error = await _error_of(client)
    assert isinstance(error, BitcoindUnavailable)
    assert str(error).startswith("127.0.0.1:1: getbestblockhash failed: ")
    assert "hidden" not in str(error) + caplog.text


_ANSWER = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 40\r\n"
    b'Set-Cookie: a=b\r\n\r\n{"result":"00","error":null,"id":1}     '
)


def _spoiled(draw: random.Random) -> bytes:
    data = bytearray(_ANSWER)
    for _ in range(draw.randint(1, 6)):
        place = draw.randrange(len(data))
        match draw.randrange(3):
            case 0:
                data[place] = draw.randrange(256)
            case 1:
                del data[place : place + draw.randint(1, 20)]
            case _:
                data[place:place] = draw.randbytes(draw.randint(1, 5))
        data = data or bytearray(b" ")
    return bytes(data)


async def test_whatever_answers_is_an_error_of_this_call_alone() -> None:
    """Anything else would end the node, or, as cookies did, spoil the calls that follow."""
    draw = random.Random(3)
    answers = [b"HTTP/1.1 200 OK\r\nSet-Cookie: a=\xff\r\nContent-Length: 0\r\n\r\n"]
    answers += [_spoiled(draw) for _ in range(200)]
    asked: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(answers[-1])
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    client = Bitcoind(f"http://u:p@127.0.0.1:{port}", timeout=0.5)
    answers.reverse()
    while answers:
        with pytest.raises(BitcoindError):
            await client.best_block_hash()
        answers.pop()
    await client.aclose()
    server.close()
    assert len(asked) == 201
    assert not any(b"cookie" in request.lower() for request in asked)
