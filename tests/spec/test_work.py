from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from potnode.spec import work
from potnode.spec.errors import InvalidCoinbase
from potnode.spec.hashing import keccak256, sha256, sha256d
from potnode.spec.vectors.shares import COMMITMENT, P2WPKH, Draft, draft

GENESIS = bytes.fromhex(
    "01000000"
    + "00" * 32
    + "3ba3edfd7a7b12b27ac72c3e67768f617fc81bc3888a51323a9fb8aa4b1e5e4a"
    + "29ab5f49"
    + "ffff001d"
    + "1dac2b7c"
)
# Block 100,000 of the main chain: its coinbase transaction and its other transaction ids.
COINBASE_100000 = bytes.fromhex(
    "01000000010000000000000000000000000000000000000000000000000000000000000000ffffffff08"
    "044c86041b020602ffffffff0100f2052a010000004341041b0e8c2567c12536aa13357b79a073dc4444"
    "acb83c4ec7a0e2f99dd7457516c5817242da796924ca4e99947d087fedf9ce467cb9f7c6287078f801df"
    "276fdf84ac00000000"
)
OTHERS_100000 = [
    "fff2525b8931402dd09222c50775608f75787bd2b87e56995a7bdd30f79702c4",
    "6359f0868171b1d194cbee1af2f16ea598ae8fad666d9b012c8ed2b79a236ec4",
    "e9a66845e05d5abc0ad04ec80f774a7e585c6e8db975962d069a522137b80c1d",
]


def _shown(text: str) -> bytes:
    """Digest bytes of a hash as it is shown to people."""
    return bytes.fromhex(text)[::-1]


def test_the_genesis_header_hashes_to_the_genesis_block() -> None:
    built = work.header(
        version_le=bytes.fromhex("01000000"),
        prev_hash_le=bytes(32),
        root=_shown("4a5e1e4baab89f3a32518a88c31bc87f618f76673e2cc77ab2127b7afdeda33b"),
        ntime_le=(1231006505).to_bytes(4, "little"),
        nbits_le=(0x1D00FFFF).to_bytes(4, "little"),
        nonce_le=(2083236893).to_bytes(4, "little"),
    )
    assert built == GENESIS
    hash_ = work.share_hash(built)
    assert hash_ == _shown("000000000019d6689c085ae165831e934ff763ae46a2a6c172b3f1b60a8ce26f")
    assert work.meets(hash_, 32)  # difficulty 1
    assert work.meets(hash_, 43)  # and 2^11: it was far below its target
    assert not work.meets(hash_, 44)


def test_a_block_of_four_transactions_folds_to_its_merkle_root() -> None:
    coinbase_id = "8c14f0db3df150123e6f3dbbf30f8b955a8249b62ac1d1ff16284aefa3d06d87"
    assert sha256d(COINBASE_100000) == _shown(coinbase_id)
    one, two, three = (_shown(text) for text in OTHERS_100000)
    root = work.merkle_root(COINBASE_100000, [one, sha256d(two + three)])
    assert root == _shown("f3e94742aca4b5ef85488dc37c06c3282295ffec960994b2c0d5ac2a25a95766")
    head = work.header(
        version_le=bytes.fromhex("01000000"),
        prev_hash_le=_shown("000000000002d01c1fccc21636b607dfd930d31d01c3a62104612a1719011250"),
        root=root,
        ntime_le=(1293623863).to_bytes(4, "little"),
        nbits_le=(0x1B04864C).to_bytes(4, "little"),
        nonce_le=(274148111).to_bytes(4, "little"),
    )
    shown = "000000000003ba27aa200b1cecaad478d2b00432346c3f1f3986da1afd33e506"
    assert work.share_hash(head) == _shown(shown)


def test_an_empty_branch_makes_the_coinbase_the_root() -> None:
    assert work.merkle_root(b"coinbase", []) == sha256d(b"coinbase")
    with pytest.raises(InvalidCoinbase, match="at most 16"):
        work.merkle_root(b"coinbase", [bytes(32)] * 17)


def test_the_target_of_32_bits_is_difficulty_one() -> None:
    assert work.target(32) == 0xFFFF << 208  # nbits 1d00ffff
    assert work.target(0) == 0xFFFF << 240
    for bits, above in pairwise(range(256)):
        assert work.target(above) == work.target(bits) >> 1 > 0
    for bits in (-1, 256):
        with pytest.raises(ValueError, match=r"0\.\.255"):
            work.target(bits)


@given(st.binary(min_size=32, max_size=32), st.integers(1, 255))
def test_a_share_of_more_bits_is_one_of_fewer(hash_: bytes, bits: int) -> None:
    if work.meets(hash_, bits):
        assert work.meets(hash_, bits - 1)
    assert work.meets(hash_, bits) == (int.from_bytes(hash_[::-1], "big") <= work.target(bits))


@pytest.mark.parametrize("bits", [0, 1, 14, 32, 255])
def test_a_hash_equal_to_its_target_is_a_share(bits: int) -> None:
    target = work.target(bits)
    assert work.meets(target.to_bytes(32, "little"), bits)
    assert work.meets((target - 1).to_bytes(32, "little"), bits)
    assert not work.meets((target + 1).to_bytes(32, "little"), bits)


def test_a_header_of_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match="80 bytes, not 79"):
        work.header(
            version_le=bytes(3),
            prev_hash_le=bytes(32),
            root=bytes(32),
            ntime_le=bytes(4),
            nbits_le=bytes(4),
            nonce_le=bytes(4),
        )


def test_commitments_bind_all_their_parts() -> None:
    job, miner = sha256(b"job"), b"\x07" * 20
    assert work.head_zero(job) == keccak256(b"potnode/1/head" + job)
    assert work.next_head(job, b"data") == keccak256(job + keccak256(b"data"))
    assert work.work_id(job, 258, miner) == sha256(
        b"potnode/1/work" + job + bytes([0] * 6 + [1, 2]) + miner
    )
    commitment = work.work_id(job, 1, bytes(32))
    assert work.marker(commitment, miner, 14) == sha256(
        b"potnode/1/share" + commitment + miner + b"\x0e"
    )
    markers = {
        work.marker(commitment, miner, 14),
        work.marker(commitment, miner, 15),
        work.marker(commitment, b"\x08" * 20, 14),
        work.marker(work.work_id(job, 2, bytes(32)), miner, 14),
        work.marker(work.work_id(job, 1, sha256(b"")), miner, 14),
    }
    assert len(markers) == 5
    with pytest.raises(ValueError, match="20-byte"):
        work.marker(commitment, bytes(21), 14)


@given(
    st.binary(min_size=1, max_size=84),
    st.lists(st.binary(max_size=60), max_size=6),
    st.data(),
)
def test_holes_are_found_by_form_alone(
    script_sig: bytes, outputs: list[bytes], data: st.DataObject
) -> None:
    payout_at = data.draw(st.sampled_from([None, *range(len(outputs))]))
    script = b"" if payout_at is None else data.draw(st.binary(min_size=1, max_size=99))
    extranonce = data.draw(st.binary(min_size=16, max_size=16))
    marker = data.draw(st.binary(min_size=32, max_size=32))
    template = draft(script_sig=script_sig, outputs=outputs, payout_at=payout_at).row
    filled = work.fill_coinbase(template.coinbase, template.script_at, extranonce, marker, script)
    complete = [script if i == payout_at else output for i, output in enumerate(outputs)]
    whole = draft(script_sig=script_sig, outputs=complete).row.coinbase
    assert len(filled) == len(whole)
    assert work.marker_of(filled) == marker
    form = work.coinbase_form(filled)
    extranonce_end = form.extranonce_at + 16
    assert filled[form.extranonce_at : extranonce_end] == extranonce
    assert filled[42 : form.extranonce_at] == script_sig
    emptied = bytearray(filled)
    emptied[form.extranonce_at : extranonce_end] = bytes(16)
    emptied[form.marker_at : form.marker_at + 32] = bytes(32)
    assert emptied == whole


@given(st.integers(0, 900))
def test_one_place_and_no_other_takes_the_script(script_at: int) -> None:
    template = draft(outputs=[P2WPKH, b"", COMMITMENT], payout_at=1).row
    if script_at == template.script_at:
        assert work.coinbase_form(template.coinbase, script_at).script_at == script_at
    else:
        with pytest.raises(InvalidCoinbase):
            work.coinbase_form(template.coinbase, script_at)


@given(st.data())
def test_a_coinbase_cut_or_extended_has_no_form(data: st.DataObject) -> None:
    template = draft(outputs=[P2WPKH, COMMITMENT]).row.coinbase
    cut = data.draw(st.integers(0, len(template) - 1))
    with pytest.raises(InvalidCoinbase):
        work.coinbase_form(template[:cut])
    with pytest.raises(InvalidCoinbase):
        work.coinbase_form(template + data.draw(st.binary(min_size=1, max_size=40)))


def test_an_output_script_has_at_most_252_bytes() -> None:
    work.coinbase_form(draft(outputs=[b"\x51" * 252]).row.coinbase)
    with pytest.raises(InvalidCoinbase, match="shorter than 253"):
        work.coinbase_form(draft(outputs=[b"\x51" * 253]).row.coinbase)


@pytest.mark.parametrize("size", [16, 101])
def test_a_script_sig_has_17_to_100_bytes(size: int) -> None:
    with pytest.raises(InvalidCoinbase, match=rf"17\.\.100 bytes, not {size}"):
        work.coinbase_form(draft(script_sig=b"\x51" * (size - 16)).row.coinbase)


def test_only_the_last_output_is_the_marker() -> None:
    other = draft(outputs=[bytes.fromhex("6a24") + b"POT1" + b"\x01" * 32]).row.coinbase
    assert work.marker_of(other) == bytes(32)


@pytest.mark.parametrize(
    ("template", "script", "message"),
    [
        (draft(), b"\x51", "needs a place"),
        (draft(outputs=[b""], payout_at=0), b"", "needs a script"),
        (draft(outputs=[b""], payout_at=0), b"\x51" * 253, "at most 252"),
        (draft(outputs=[b"\x51" * 252, b"\x51" * 252, b""], payout_at=2), b"\x51" * 100, "756"),
    ],
)
def test_a_script_and_its_place_come_together(template: Draft, script: bytes, message: str) -> None:
    with pytest.raises(InvalidCoinbase, match=message):
        work.fill_coinbase(
            template.row.coinbase, template.row.script_at, bytes(16), bytes(32), script
        )


def test_fillings_of_another_size_are_refused() -> None:
    template = draft().row.coinbase
    for extranonce, marker in ((bytes(15), bytes(32)), (bytes(16), bytes(33))):
        with pytest.raises(InvalidCoinbase, match="16 bytes and the marker 32"):
            work.fill_coinbase(template, 0, extranonce, marker, b"")


def test_the_smallest_coinbase_is_longer_than_a_merkle_node() -> None:
    assert len(draft(script_sig=b"\x00").row.coinbase) == 115
