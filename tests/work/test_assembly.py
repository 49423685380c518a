"""Coinbases: their form, their limits, and whole blocks."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from potnode.spec import work
from potnode.spec.hashing import sha256d
from potnode.work.assembly import MAX_TAG, CoinbasePlan, assemble
from potnode.work.errors import TemplateRefused
from potnode.work.gbt import BlockTemplate, commitment_script, target_of
from potnode.work.parent import ParentBlock, add_witness, block_hash, compact_size
from potnode.work.template import height_script

EMPTY = BlockTemplate(
    version=0x20000000,
    prev_hash_le=bytes(range(32)),
    height=840_000,
    nbits=0x17034219,
    target=target_of(0x17034219),
    mintime=1_713_570_000,
    curtime=1_713_571_767,
    value=312_500_000,
    commitment=commitment_script([]),
)
scripts = st.binary(min_size=1, max_size=34)


@given(
    script=scripts,
    tag=st.binary(max_size=MAX_TAG),
    height=st.integers(1, 2**31 - 1),
    value=st.integers(0, 21 * 10**14),
    segwit=st.booleans(),
)
def test_paying_the_operator_or_the_miner_gives_the_same_coinbase(
    script: bytes, tag: bytes, height: int, value: int, segwit: bool
) -> None:
    block = dataclasses.replace(
        EMPTY, height=height, value=value, commitment=EMPTY.commitment if segwit else None
    )
    extranonce, marker = b"e" * 16, b"m" * 32
    filled = []
    for payout in (script, None):
        template = assemble(block, CoinbasePlan(payout=payout, tag=tag))
        own = b"" if payout else script
        assert (template.script_at == 0) == (payout is not None)
        filled.append(
            work.fill_coinbase(template.coinbase, template.script_at, extranonce, marker, own)
        )
        assert template.parent == ParentBlock(height, (), segwit)
    assert filled[0] == filled[1]
    coinbase = filled[0]
    assert coinbase[42:].startswith(height_script(height) + tag + b"\x10" + extranonce)
    # The commitment is the last output but the marker.
    marker_output = bytes(8) + b"\x26\x6a\x24POT1" + marker + bytes(4)
    commitment_output = bytes(8) + b"\x26" + commitment_script([])
    end = (commitment_output if segwit else b"") + marker_output
    assert coinbase.endswith(value.to_bytes(8, "little") + bytes([len(script)]) + script + end)


@given(tag=st.binary(max_size=MAX_TAG), limit=st.integers(65, 755), solo=st.booleans())
def test_no_coinbase_is_longer_than_the_limit_with_the_longest_script(
    tag: bytes, limit: int, solo: bool
) -> None:
    script = b"\x51\x20" + bytes(32)
    plan = CoinbasePlan(payout=None if solo else script, tag=tag, limit=limit)
    template = assemble(EMPTY, dataclasses.replace(plan, limit=755))
    own = script if solo else b""
    filled = work.fill_coinbase(template.coinbase, template.script_at, bytes(16), bytes(32), own)
    if len(filled) <= limit:
        assert assemble(EMPTY, plan) == template
    else:
        with pytest.raises(TemplateRefused, match=f"has {len(filled)} bytes, the limit is {limit}"):
            assemble(EMPTY, plan)


@pytest.mark.parametrize(
    "wrong",
    [{"tag": bytes(MAX_TAG + 1)}, {"limit": 64}, {"limit": 756}, {"payout": b""}],
    ids=str,
)
def test_plans_out_of_range(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"tag|limit|script"):
        CoinbasePlan(**{"payout": b"\x51", **wrong})  # type: ignore[arg-type]


def test_the_time_is_never_before_what_the_chain_allows() -> None:
    plan = CoinbasePlan(payout=b"\x51")
    assert assemble(EMPTY, plan).ntime == EMPTY.curtime
    early = dataclasses.replace(EMPTY, curtime=EMPTY.mintime - 5)
    assert assemble(early, plan).ntime == EMPTY.mintime


def test_the_genesis_block_is_put_together_and_named() -> None:
    """Block 0 of main: one transaction, no commitment."""
    header = bytes.fromhex(
        "01000000"
        + "00" * 32
        + "3ba3edfd7a7b12b27ac72c3e67768f617fc81bc3888a51323a9fb8aa4b1e5e4a"
        + "29ab5f49ffff001d1dac2b7c"
    )
    coinbase = bytes.fromhex(
        "01000000010000000000000000000000000000000000000000000000000000000000000000ffffffff4d04ff"
        "ff001d0104455468652054696d65732030332f4a616e2f32303039204368616e63656c6c6f72206f6e206272"
        "696e6b206f66207365636f6e64206261696c6f757420666f722062616e6b73ffffffff0100f2052a01000000"
        "434104678afdb0fe5548271967f1a67130b7105cd6a828e03909a67962e0ea1f61deb649f6bc3f4cef38c4f3"
        "5504e51ec112de5c384df7ba0b8d578a4c702b6bf11d5fac00000000"
    )
    assert sha256d(coinbase) == header[36:68]
    block = ParentBlock(0, (), False).block(header, coinbase)
    assert len(block) == 285
    assert block_hash(block[:80]) == (
        "000000000019d6689c085ae165831e934ff763ae46a2a6c172b3f1b60a8ce26f"
    )


def test_a_witness_is_put_where_bip144_has_it() -> None:
    legacy = assemble(EMPTY, CoinbasePlan(payout=b"\x51")).coinbase
    whole = add_witness(legacy)
    assert whole[:6] == legacy[:4] + b"\x00\x01"
    assert whole[6 : -34 - 4] == legacy[4:-4]
    assert whole[-38:] == b"\x01\x20" + bytes(32) + legacy[-4:]
    block = ParentBlock(5, (b"tx",) * 300, True).block(bytes(80), legacy)
    assert block == bytes(80) + b"\xfd\x2d\x01" + whole + b"tx" * 300


@pytest.mark.parametrize(
    ("number", "form"),
    [(0, "00"), (252, "fc"), (253, "fdfd00"), (65535, "fdffff"), (65536, "fe00000100")],
)
def test_compact_sizes(number: int, form: str) -> None:
    assert compact_size(number).hex() == form
