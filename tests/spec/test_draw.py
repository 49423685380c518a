from __future__ import annotations

import hashlib

from hypothesis import given
from hypothesis import strategies as st

from potnode.spec import layers as kinds
from potnode.spec.draw import (
    SIDE_COLUMNS,
    SIDE_ROWS,
    SIDE_VECTOR,
    candidate_key,
    draw,
    signs,
)
from potnode.spec.layers import VOCABULARY
from potnode.spec.manifest import NextByte
from potnode.spec.vectors.models import example_manifests
from tests.spec.cases import model

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


def test_every_tensor_is_drawn_as_a_matrix_or_as_a_vector() -> None:
    convolutions = model(
        (
            kinds.Conv2d(4, (2, 3), (1, 1), (0, 0), 4, "relu"),
            kinds.Depthwise((2, 2), (1, 1), (0, 0), 4, "relu"),
            kinds.Norm(),
            kinds.Linear(3, 4, "none"),
        ),
        (2, 4, 4),
    )
    key = candidate_key(bytes(32), 3)
    drawn = draw(convolutions, key)
    # conv2d: a row for each output channel, a column for each of 2 * 2 * 3 weights of its kernel.
    assert drawn[0].rows == signs(key, 0, SIDE_ROWS, 4)
    assert drawn[0].columns == signs(key, 0, SIDE_COLUMNS, 12)
    assert (drawn[1].rows, drawn[1].columns) == (signs(key, 1, SIDE_VECTOR, 4), [])
    # depthwise: each of 4 * 2 * 2 weights has a sign of its own; so has each of the norm's 8.
    assert (drawn[2].rows, drawn[2].columns) == (signs(key, 2, SIDE_VECTOR, 16), [])
    assert (drawn[4].rows, drawn[4].columns) == (signs(key, 4, SIDE_VECTOR, 8), [])
    table = model((kinds.Embedding(5), kinds.Linear(256, 4, "none")), (), task=NextByte(3, 0))
    drawn = draw(table, key)
    assert drawn[0].rows == signs(key, 0, SIDE_ROWS, VOCABULARY)
    assert drawn[0].columns == signs(key, 0, SIDE_COLUMNS, 5)
