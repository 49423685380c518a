from __future__ import annotations

import hashlib

from hypothesis import given
from hypothesis import strategies as st

from potnode.spec.draw import candidate_key, draw, signs
from potnode.spec.vectors.numbers import example_manifests

hashes = st.binary(min_size=32, max_size=32)


@given(hashes, st.integers(0, 65535), st.integers(0, 65535), st.integers(0, 2), st.integers(0, 600))
def test_signs_are_the_bits_of_a_hashed_counter(
    hash_: bytes, index: int, tensor: int, side: int, count: int
) -> None:
    key = hashlib.sha256(b"potnode/1/draw" + hash_ + index.to_bytes(2, "big")).digest()
    assert candidate_key(hash_, index) == key
    stream = b"".join(
        hashlib.sha256(
            key + tensor.to_bytes(2, "big") + bytes([side]) + block.to_bytes(4, "big")
        ).digest()
        for block in range(3)
    )
    bits = f"{int.from_bytes(stream, 'big'):0768b}"[:count]
    assert signs(key, tensor, side, count) == [1 if bit == "1" else -1 for bit in bits]


@given(hashes, st.integers(0, 600), st.integers(0, 600))
def test_a_shorter_stream_is_the_start_of_a_longer(key: bytes, one: int, two: int) -> None:
    short, long = sorted((one, two))
    assert signs(key, 0, 0, long)[:short] == signs(key, 0, 0, short)


def test_tensors_and_sides_have_streams_of_their_own() -> None:
    key = candidate_key(bytes(32), 0)
    streams = {tuple(signs(key, t, side, 64)) for t in range(4) for side in range(3)}
    streams |= {tuple(signs(candidate_key(bytes(32), 1), t, 0, 64)) for t in range(4)}
    assert len(streams) == 16


def test_signs_are_even() -> None:
    drawn = signs(candidate_key(bytes(32), 0), 0, 0, 100_000)
    assert set(drawn) == {1, -1}
    assert abs(sum(drawn)) < 5 * 100_000**0.5  # five standard deviations, of one fixed stream


@given(hashes)
def test_only_trained_tensors_are_drawn(hash_: bytes) -> None:
    for manifest in example_manifests().values():
        drawn = draw(manifest, candidate_key(hash_, 0))
        assert tuple(drawn) == manifest.train
        for t, tensor in drawn.items():
            shape = manifest.tensors[t]
            assert len(tensor.rows) == shape[0]
            assert len(tensor.columns) == (shape[1] if len(shape) == 2 else 0)
