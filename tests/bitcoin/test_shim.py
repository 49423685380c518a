"""The bitcoind of these tests answers as a bitcoind does."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from potnode.work.bitcoind import Bitcoind
from potnode.work.errors import CallRefused
from tests.bitcoin.shim import Regtest


@pytest.fixture(name="client")
async def _client(bitcoind: Regtest) -> AsyncIterator[Bitcoind]:
    client = Bitcoind(bitcoind.url, timeout=5)
    yield client
    await client.aclose()


async def test_it_knows_its_chain(bitcoind: Regtest, client: Bitcoind) -> None:
    assert (await client.chain_info()).chain == "regtest"
    assert await client.best_block_hash() == bitcoind.tip
    tip = await client.block_header(bitcoind.tip)
    assert tip is not None
    assert (tip.height, tip.confirmations, tip.bits) == (105, 1, "207fffff")
    lost = bitcoind.tip
    bitcoind.reorganise(1)
    header = await client.block_header(lost)
    assert header is not None
    assert (header.height, header.confirmations) == (105, -1)
    assert await client.block_header("ab" * 32) is None


async def test_it_knows_addresses(client: Bitcoind) -> None:
    address = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080"
    valid = await client.call("validateaddress", (address,), dict)
    assert valid["isvalid"]
    assert valid["scriptPubKey"] == "0014751e76e8199196d454941c45d1b3a323f1433bd6"
    of_main = "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4"
    assert not (await client.call("validateaddress", (of_main,), dict))["isvalid"]


async def test_it_takes_only_blocks(bitcoind: Regtest, client: Bitcoind) -> None:
    with pytest.raises(CallRefused, match="decode failed") as caught:
        await client.submit_block(b"no block")
    assert caught.value.code == -22
    with pytest.raises(CallRefused, match="not found") as caught:
        await client.call("getwork", (), dict)
    assert caught.value.code == -32601
    assert await client.submit_block(bitcoind.chain.block_at(3)) == "duplicate"


async def test_it_tells_of_rivals(bitcoind: Regtest, client: Bitcoind) -> None:
    tip = bitcoind.tip
    rival = bitcoind.chain.rival()
    assert rival != tip == await client.best_block_hash()
    assert await client.precious_block(rival)
    assert bitcoind.precious == [rival]
