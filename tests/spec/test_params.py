from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import pytest
from eth_abi.abi import encode as abi_encode
from eth_utils.crypto import keccak
from hypothesis import given, settings
from hypothesis import strategies as st

from potnode.spec.errors import InvalidJob
from potnode.spec.params import (
    ABI_TYPES,
    MAX_BATCH,
    MAX_POPULATION,
    JobParams,
    check_params,
    decode_params,
    encode_params,
    job_id,
)
from potnode.spec.vectors.ledger import Ledger

STRUCT = f"({','.join(ABI_TYPES.values())})"


def _values(abi_type: str) -> st.SearchStrategy[Any]:
    if abi_type == "address":
        return st.binary(min_size=20, max_size=20)
    if abi_type == "bytes32":
        return st.binary(min_size=32, max_size=32)
    if abi_type == "bool":
        return st.booleans()
    return st.integers(0, (1 << int(abi_type[4:])) - 1)


any_params = st.fixed_dictionaries({n: _values(t) for n, t in ABI_TYPES.items()}).map(
    lambda values: JobParams(**values)
)


def _abi_values(params: JobParams) -> tuple[Any, ...]:
    return tuple(getattr(params, f.name) for f in fields(params))


@settings(max_examples=50)
@given(any_params)
def test_params_are_encoded_as_solidity_does(params: JobParams) -> None:
    data = encode_params(params)
    assert data == abi_encode([STRUCT], [_abi_values(params)])
    assert decode_params(data) == params


@settings(max_examples=50)
@given(
    any_params,
    st.integers(0, 2**256 - 1),
    st.binary(min_size=20, max_size=20),
)
def test_the_job_id_is_solidity_abi_encode_hashed(
    params: JobParams, chain_id: int, contract: bytes
) -> None:
    encoded = abi_encode(["uint256", "address", STRUCT], [chain_id, contract, _abi_values(params)])
    assert job_id(chain_id, contract, params) == keccak(encoded)


@settings(max_examples=100)
@given(any_params, st.integers(0, 32 * len(ABI_TYPES) - 1), st.integers(1, 255))
def test_only_the_encoding_of_a_value_is_decoded(params: JobParams, at: int, flip: int) -> None:
    data = bytearray(encode_params(params))
    data[at] ^= flip
    try:
        decoded = decode_params(bytes(data))
    except InvalidJob:
        return
    assert encode_params(decoded) == bytes(data) != encode_params(params)


def test_dirty_padding_is_refused(four: Ledger) -> None:
    data = encode_params(four.params)
    with pytest.raises(InvalidJob, match=r"params\.owner is not a canonical address"):
        decode_params(b"\x01" + data[1:])
    with pytest.raises(InvalidJob, match="800 bytes, not 799"):
        decode_params(data[:-1])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("population", 0),
        ("population", MAX_POPULATION + 1),
        ("candidates_per_share", 0),
        ("candidates_per_share", 65),
        ("population_start", 0),
        ("population_start", 5),
        ("batch_size", 0),
        ("batch_size", MAX_BATCH + 1),
        ("train_count", 0),
        ("step_limit", 0),
        ("step_limit", 1 << 32),
        ("validate_every", 0),
        ("min_bits", 256),
        ("min_bits", -1),
        ("window", 256),
        ("refutable", True),
        ("refutable", 1),
        ("bond", 1),
        ("demand_bond", 1),
        ("pot_per_step", 1 << 128),
        ("challenge_window", True),
        ("owner", b"\x01" * 21),
        ("salt", "00" * 32),
    ],
)
def test_a_value_out_of_range_is_named(four: Ledger, name: str, value: Any) -> None:
    check_params(four.params)
    with pytest.raises(InvalidJob, match=rf"params\.{name} "):
        check_params(replace(four.params, **{name: value}))


@pytest.mark.parametrize(
    ("start", "end", "each", "named"),
    [
        (4, 4, 4, None),
        (4, 6, 4, r"population is 6, allowed is a multiple of candidates_per_share, 4"),
        (2, 4, 4, r"population_start is 2, allowed is a multiple"),
        (8, 4, 4, r"population_start is 8, allowed is 1\.\.4"),
        (1, 512, 1, None),
        (1, 513, 1, r"population is 513, allowed is at most 512 shares of 1 candidates$"),
        (8, 4096, 8, None),
        (9, 4104, 9, r"population is 4104, allowed is at most 256 shares of 9 candidates where"),
        (17, 4352, 17, None),
        (64, 16_384, 64, None),
        (64, 16_448, 64, r"population is 16448, allowed is 1\.\.16384"),
    ],
)
def test_populations_are_whole_shares_of_which_a_step_can_be_settled(
    four: Ledger, start: int, end: int, each: int, named: str | None
) -> None:
    params = replace(four.params, population_start=start, population=end, candidates_per_share=each)
    if named is None:
        check_params(params)
    else:
        with pytest.raises(InvalidJob, match=named):
            check_params(params)


def test_what_has_no_encoding_is_refused_before_it_is_hashed(four: Ledger) -> None:
    with pytest.raises(InvalidJob, match=r"params\.salt must be 32 bytes"):
        encode_params(replace(four.params, salt=bytes(33)))
    with pytest.raises(InvalidJob, match="20 bytes"):
        job_id(1, bytes(32), four.params)


def test_validation_steps_are_every_nth_and_the_last(four: Ledger) -> None:
    params = replace(four.params, validate_every=4, step_limit=10)
    assert [s for s in range(10) if params.is_validation_step(s)] == [0, 4, 8, 9]
