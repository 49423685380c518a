"""Blocks made from our templates, judged by Bitcoin Core's consensus code."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from potnode.spec import work
from potnode.work.assembly import CoinbasePlan, assemble
from potnode.work.gbt import BlockTemplate, parse
from potnode.work.parent import block_hash
from potnode.work.payout import output_script
from potnode.work.template import Template
from tests.bitcoin.chain import RegtestChain, shown, subsidy
from tests.bitcoin.mining import BITS, COMMITMENT, MINER, coinbase_of, mine_block, solve_header

# One of each kind, all of regtest's prefixes (hash or program of the bytes 01 02 03 ...).
SCRIPTS = {
    "p2pkh": bytes.fromhex("76a9140102030405060708090a0b0c0d0e0f101112131488ac"),
    "p2sh": bytes.fromhex("a9140102030405060708090a0b0c0d0e0f101112131487"),
    "p2wpkh": bytes.fromhex("00140102030405060708090a0b0c0d0e0f1011121314"),
    "p2wsh": bytes.fromhex("0020") + bytes(range(1, 33)),
    # The x coordinate of secp256k1's generator: a valid key, though rules do not ask for one.
    "p2tr": bytes.fromhex("512079be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798"),
}
OPERATOR = CoinbasePlan(payout=SCRIPTS["p2wpkh"])
SOLO = CoinbasePlan(payout=None)


@pytest.fixture(name="chain")
def _chain(tmp_path: Path) -> Iterator[RegtestChain]:
    with RegtestChain(tmp_path) as chain:
        chain.mine(105)
        yield chain


def _parsed(chain: RegtestChain) -> BlockTemplate:
    return parse(json.dumps(chain.template()).encode())


@pytest.mark.parametrize("transactions", [0, 1, 2, 3, 8, 30])
def test_a_block_that_pays_the_operator_is_accepted(chain: RegtestChain, transactions: int) -> None:
    chain.add_transactions(transactions)
    parsed = _parsed(chain)
    template = assemble(parsed, OPERATOR)
    assert parsed.value == subsidy(106) + 1000 * transactions
    block = mine_block(template)
    assert chain.submit(block) is None
    assert chain.height == 106
    assert shown(chain.tip) == block_hash(block[:80])
    assert chain.mempool() == []
    # The marker can be read from the block that bitcoin keeps.
    assert work.marker(COMMITMENT.work, MINER, BITS) in chain.block_at(106)


@pytest.mark.parametrize("kind", SCRIPTS)
def test_solo_blocks_pay_the_miners_own_script(chain: RegtestChain, kind: str) -> None:
    chain.add_transactions(5)
    template = assemble(_parsed(chain), SOLO)
    assert template.script_at
    block = mine_block(template, SCRIPTS[kind])
    paid = (subsidy(106) + 5000).to_bytes(8, "little")
    assert paid + bytes([len(SCRIPTS[kind])]) + SCRIPTS[kind] in block
    assert chain.submit(block) is None


def test_blocks_follow_one_another_and_templates_share_transactions(chain: RegtestChain) -> None:
    chain.add_transactions(20)
    first = _parsed(chain)
    chain.add_transactions(5)
    second = parse(json.dumps(chain.template()).encode(), known=first.by_wtxid())
    assert len(second.transactions) == 25
    for before, after in zip(first.transactions, second.transactions, strict=False):
        assert before.data is after.data
    # A share of the older template may still be the block: fewer transactions, the same tip.
    assert chain.submit(mine_block(assemble(first, OPERATOR))) is None
    assert chain.submit(mine_block(assemble(_parsed(chain), OPERATOR))) is None
    assert chain.height == 107
    assert chain.mempool() == []


@pytest.mark.parametrize("max_branch", [1, 2, 3, 4])
def test_a_template_cut_to_a_short_branch_is_a_valid_block(
    chain: RegtestChain, max_branch: int
) -> None:
    chain.add_transactions(30)
    parsed = parse(json.dumps(chain.template()).encode(), max_branch=max_branch)
    kept = 2**max_branch - 1
    assert (len(parsed.transactions), parsed.dropped) == (kept, 30 - kept)
    assert len(parsed.branch) == max_branch
    assert parsed.value == subsidy(106) + 1000 * kept
    assert chain.submit(mine_block(assemble(parsed, OPERATOR))) is None
    assert len(chain.mempool()) == 30 - kept


def test_every_length_of_a_height_is_accepted(tmp_path: Path) -> None:
    """BIP34: opcodes for 1 to 16, one byte to 127, two bytes and room for a sign after that."""
    with RegtestChain(tmp_path) as chain:
        while chain.height < 130:
            assert chain.submit(mine_block(assemble(_parsed(chain), OPERATOR))) is None


def test_a_block_without_transactions_needs_no_commitment(chain: RegtestChain) -> None:
    parsed = _parsed(chain)
    bare = dataclasses.replace(parsed, commitment=None)
    template = assemble(bare, OPERATOR)
    assert template.parent is not None
    assert not template.parent.segwit
    assert chain.submit(mine_block(template)) is None


def _spoiled_marker(chain: RegtestChain, template: Template) -> bytes:
    assert template.parent is not None
    coinbase = coinbase_of(template)
    header = solve_header(template, coinbase)
    at = work.coinbase_form(coinbase).marker_at
    spoiled = coinbase[:at] + bytes([coinbase[at] ^ 1]) + coinbase[at + 1 :]
    return template.parent.block(header, spoiled)


def _spoiled_commitment(chain: RegtestChain, template: Template) -> bytes:
    at = template.coinbase.index(bytes.fromhex("6a24aa21a9ed")) + 6
    coinbase = bytearray(template.coinbase)
    coinbase[at] ^= 1
    return mine_block(dataclasses.replace(template, coinbase=bytes(coinbase)))


def _missing_commitment(chain: RegtestChain, template: Template) -> bytes:
    return mine_block(assemble(dataclasses.replace(_parsed(chain), commitment=None), OPERATOR))


def _wrong_height(chain: RegtestChain, template: Template) -> bytes:
    return mine_block(assemble(dataclasses.replace(_parsed(chain), height=107), OPERATOR))


def _too_much(chain: RegtestChain, template: Template) -> bytes:
    parsed = _parsed(chain)
    return mine_block(assemble(dataclasses.replace(parsed, value=parsed.value + 1), OPERATOR))


def _too_early(chain: RegtestChain, template: Template) -> bytes:
    return mine_block(dataclasses.replace(template, ntime=_parsed(chain).mintime - 1))


def _commitment_before_another(chain: RegtestChain, template: Template) -> bytes:
    """An output after ours that looks like a commitment is the one that counts (BIP141)."""
    coinbase = template.coinbase
    decoy = bytes(8) + b"\x26" + bytes.fromhex("6a24aa21a9ed") + bytes(32)
    at = work.coinbase_form(coinbase).marker_at - 47 + 32
    places = coinbase[:at] + decoy + coinbase[at:]
    count_at = 42 + coinbase[41] + 4
    spoiled = places[:count_at] + bytes([places[count_at] + 1]) + places[count_at + 1 :]
    return mine_block(dataclasses.replace(template, coinbase=spoiled))


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (_spoiled_marker, "bad-txnmrklroot"),
        (_spoiled_commitment, "bad-witness-merkle-match"),
        (_missing_commitment, "unexpected-witness"),
        (_wrong_height, "bad-cb-height"),
        (_too_much, "bad-cb-amount"),
        (_too_early, "time-too-old"),
        (_commitment_before_another, "bad-witness-merkle-match"),
    ],
)
def test_a_spoiled_block_is_rejected(
    chain: RegtestChain, spoil: Callable[[RegtestChain, Template], bytes], reason: str
) -> None:
    chain.add_transactions(4)
    template = assemble(_parsed(chain), OPERATOR)
    assert chain.submit(spoil(chain, template)) == reason
    assert chain.height == 105
    # What was spoiled is the only thing that was wrong.
    assert chain.submit(mine_block(template)) is None


def test_a_block_of_a_lost_tip_is_kept_aside_and_the_next_is_of_the_new(
    chain: RegtestChain,
) -> None:
    old = assemble(_parsed(chain), OPERATOR)
    chain.reorganise(2)
    assert chain.submit(mine_block(old)) == "inconclusive"
    assert chain.submit(mine_block(old)) == "duplicate"
    assert chain.submit(mine_block(assemble(_parsed(chain), OPERATOR))) is None


def test_the_scripts_are_those_of_addresses() -> None:
    assert SCRIPTS["p2tr"] == output_script(
        "bcrt1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqc8gma6", "regtest"
    )
