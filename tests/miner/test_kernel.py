from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from potnode.machinecode.compiler import native_lanes
from potnode.miner.errors import KernelError
from potnode.miner.kernel import NONCES, HeaderScan
from potnode.miner.kernel_source import prepare, source

GENESIS = bytes.fromhex(
    "0100000000000000000000000000000000000000000000000000000000000000000000003ba3edfd7a7b12b2"
    "7ac72c3e67768f617fc81bc3888a51323a9fb8aa4b1e5e4a29ab5f49ffff001d"
)
GENESIS_NONCE = 2083236893
DIFFICULTY_1 = 0xFFFF << 208
SESSIONS = Path(__file__).parents[1] / "vectors" / "stratum_sessions.json"
widths = pytest.mark.parametrize("lanes", [4, 8, 16])


def hash_value(header76: bytes, nonce: int) -> int:
    first = hashlib.sha256(header76 + nonce.to_bytes(4, "little")).digest()
    return int.from_bytes(hashlib.sha256(first).digest(), "little")


def recorded_headers() -> Iterator[tuple[bytes, bytes]]:
    for session in json.loads(SESSIONS.read_text())["sessions"]:
        for share in session["shares"]:
            yield bytes.fromhex(share["header"]), bytes.fromhex(share["hash_le"])


@widths
def test_finds_the_nonce_of_the_genesis_block(lanes: int) -> None:
    scan = HeaderScan(GENESIS, lanes=lanes)
    assert scan.scan(GENESIS_NONCE - 5000, 10_000, DIFFICULTY_1) == [GENESIS_NONCE]
    assert scan.scan(GENESIS_NONCE, 1, DIFFICULTY_1) == [GENESIS_NONCE]
    assert scan.scan(GENESIS_NONCE - 99, 99, DIFFICULTY_1) == []
    assert scan.scan(GENESIS_NONCE + 1, 99, DIFFICULTY_1) == []


def test_finds_every_nonce_real_miners_found() -> None:
    shares = list(recorded_headers())
    assert len(shares) == 20
    for header, hash_le in shares:
        nonce = int.from_bytes(header[76:], "little")
        first = max(0, nonce - 1000)
        count = min(2000, NONCES - first)
        found = HeaderScan(header[:76]).scan(first, count, int.from_bytes(hash_le, "little"))
        assert found == [nonce]


@widths
@settings(max_examples=60)
@given(
    header76=st.binary(min_size=76, max_size=76),
    first=st.one_of(st.integers(0, NONCES - 200), st.just(NONCES - 200), st.just(0)),
    count=st.integers(0, 200),
    share_of_all=st.integers(0, 64),
)
def test_finds_what_hashlib_finds_and_nothing_else(
    lanes: int, header76: bytes, first: int, count: int, share_of_all: int
) -> None:
    target = min((1 << 256) - 1, (share_of_all << 256) // 64)
    expected = [n for n in range(first, first + count) if hash_value(header76, n) <= target]
    assert HeaderScan(header76, lanes=lanes).scan(first, count, target) == expected


@given(header76=st.binary(min_size=76, max_size=76), nonce=st.integers(0, NONCES - 1))
def test_the_target_itself_is_found_and_one_less_is_not(header76: bytes, nonce: int) -> None:
    exact = hash_value(header76, nonce)
    scan = HeaderScan(header76)
    assert scan.scan(nonce, 1, exact) == [nonce]
    assert scan.scan(nonce, 1, exact - 1) == []


@pytest.mark.parametrize("target", [0, (1 << 256) - 1])
def test_extreme_targets(target: int) -> None:
    everything = list(range(NONCES - 37, NONCES)) if target else []
    assert HeaderScan(GENESIS).scan(NONCES - 37, 37, target) == everything


@pytest.mark.parametrize(
    ("first", "count", "target"),
    [(-1, 2, 1), (0, -1, 1), (NONCES - 1, 2, 1), (0, 1, -1), (0, 1, 1 << 256)],
)
def test_refuses_what_is_out_of_range(first: int, count: int, target: int) -> None:
    with pytest.raises(ValueError, match=r"nonces|target"):
        HeaderScan(GENESIS).scan(first, count, target)


@pytest.mark.parametrize("size", [0, 75, 80])
def test_refuses_a_header_of_another_size(size: int) -> None:
    with pytest.raises(ValueError, match=f"76 bytes, not {size}"):
        HeaderScan(bytes(size))


def test_prepares_the_state_hashlib_continues_from() -> None:
    # FIPS 180-4 appendix, one-block message "abc": its digest is the state after the only block.
    block = b"abc\x80" + bytes(52) + (24).to_bytes(8)
    state = prepare(block + bytes(12))[:8]
    assert b"".join(word.to_bytes(4) for word in state) == hashlib.sha256(b"abc").digest()


def test_picks_a_width_it_has_code_for() -> None:
    assert f"<{native_lanes()} x i32>" in source(native_lanes())


def test_says_so_when_the_code_can_not_be_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("potnode.miner.kernel.source", lambda lanes: f"no code for {lanes}")
    with pytest.raises(KernelError, match="could not compile"):
        HeaderScan(GENESIS, lanes=64)  # a width no other test has had compiled
