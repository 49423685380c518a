from __future__ import annotations

import pytest

from potnode.miner.address import PoolAddress, payout_address
from potnode.miner.errors import AddressError

ADDRESS = "00112233445566778899AABBccddeeff00112233"


@pytest.mark.parametrize(
    ("url", "host", "port"),
    [
        ("stratum+tcp://pool.example:3334", "pool.example", 3334),
        ("pool.example:1", "pool.example", 1),
        ("pool.example", "pool.example", 3333),
        ("127.0.0.1:65535", "127.0.0.1", 65535),
        ("[::1]:3333", "::1", 3333),
        ("stratum+tcp://[2001:db8::1]", "2001:db8::1", 3333),
    ],
)
def test_reads_where_the_pool_is(url: str, host: str, port: int) -> None:
    assert PoolAddress.parse(url) == PoolAddress(host, port)
    assert PoolAddress.parse(str(PoolAddress(host, port))) == PoolAddress(host, port)


@pytest.mark.parametrize(
    "url", ["", ":3333", "http://pool:80", "pool:0", "pool:65536", "pool:x", "stratum+tcp://"]
)
def test_refuses_what_is_no_pool(url: str) -> None:
    with pytest.raises(AddressError, match=r"port|Port|host|spoken"):
        PoolAddress.parse(url)


@pytest.mark.parametrize("suffix", ["", ".rig", ".rig.2", "."])
def test_reads_whom_a_user_name_pays(suffix: str) -> None:
    assert payout_address(f"0x{ADDRESS}{suffix}") == bytes.fromhex(ADDRESS)


@pytest.mark.parametrize(
    "user",
    ["", "0x", ADDRESS, f"0x{ADDRESS[1:]}", f"0x{ADDRESS}0", f"0x{ADDRESS[1:]}g", "bc1q.rig"],
)
def test_refuses_what_is_no_address(user: str) -> None:
    with pytest.raises(AddressError, match="40 hex digits"):
        payout_address(user)
