"""How a bitcoind is named and logged in to."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from potnode.work.bitcoind import Access, Bitcoind
from potnode.work.errors import BitcoindUnavailable, WorkError, WrongCredentials


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
