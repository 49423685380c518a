"""Messages hashed by machine code, against hashlib."""

from __future__ import annotations

import ctypes
import hashlib
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from potnode.machinecode import hashing
from potnode.machinecode.compiler import host_has_sha
from potnode.machinecode.errors import MachineCodeError
from potnode.machinecode.hashing import MessageHash
from potnode.machinecode.hashing_source import MAX_SIZE

KINDS = [(ways, False) for ways in (4, 8, 16)]
if host_has_sha():
    KINDS += [(ways, True) for ways in (1, 2, 8)]
kinds = pytest.mark.parametrize(
    ("ways", "sha"), KINDS, ids=[f"{ways}{'-sha' if sha else ''}" for ways, sha in KINDS]
)
# Every way a block can be divided: words of heads, of tails, of both, and of each with padding.
SIZES = [(0, 0), (0, 55), (55, 0), (32, 7), (39, 0), (3, 1), (5, 6), (19, 4), (40, 15), (1, 54)]


def one_by_one(heads: list[bytes], tails: list[bytes]) -> bytes:
    return b"".join(hashlib.sha256(head + tail).digest() for head in heads for tail in tails)


@kinds
@pytest.mark.parametrize(("head_size", "tail_size"), SIZES)
@settings(max_examples=8)
@given(data=st.data())
def test_every_head_is_hashed_with_every_tail(
    ways: int, sha: bool, head_size: int, tail_size: int, data: st.DataObject
) -> None:
    heads, tails = (
        data.draw(
            st.lists(st.binary(min_size=size, max_size=size), min_size=1, max_size=most)
            if size
            else st.just([b""])
        )
        for size, most in ((head_size, 35), (tail_size, 4))
    )
    code = MessageHash(head_size, tail_size, ways=ways, sha=sha)
    assert code.digests(b"".join(heads), b"".join(tails)) == one_by_one(heads, tails)


@kinds
@settings(max_examples=8)
@given(
    heads=st.lists(st.binary(min_size=9, max_size=9), min_size=1, max_size=35),
    scale=st.floats(2**-60, 1.0, width=32),
)
def test_weights_are_digests_centred_and_scaled(
    ways: int, sha: bool, heads: list[bytes], scale: float
) -> None:
    code = MessageHash(9, weights=True, ways=ways, sha=sha)
    found = (ctypes.c_float * (8 * len(heads)))()
    code.hash(b"".join(heads), b"", ctypes.addressof(found), scale=scale)
    words = struct.unpack(f">{8 * len(heads)}I", one_by_one(heads, [b""]))
    # The product of two float32 is exact as a float, and rounded once where it is stored.
    expected = (ctypes.c_float * len(words))(*(((w >> 8) - 2**23) * scale for w in words))
    assert list(found) == list(expected)


def test_the_code_of_this_machine_is_taken_by_default() -> None:
    messages = [bytes([number]) * 39 for number in range(100)]
    assert MessageHash(39).digests(b"".join(messages)) == one_by_one(messages, [b""])


def test_only_messages_of_one_block_are_taken() -> None:
    for head_size, tail_size in ((MAX_SIZE + 1, 0), (30, 26), (-1, 5), (5, -1)):
        with pytest.raises(ValueError, match="has not one block"):
            MessageHash(head_size, tail_size)


@pytest.mark.parametrize(("heads", "tails"), [(b"", b"12"), (b"1234", b"1"), (b"12345", b"12")])
def test_parts_of_a_head_or_a_tail_are_refused(heads: bytes, tails: bytes) -> None:
    with pytest.raises(ValueError, match="are not one or more"):
        MessageHash(4, 2).digests(heads, tails)


def test_says_so_when_the_code_can_not_be_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hashing, "source", lambda *_, **__: "no code")
    with pytest.raises(MachineCodeError, match="could not compile"):
        MessageHash(54, 1)  # sizes no other test has had compiled
