"""Block templates are read strictly: what would make every block invalid is refused."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from potnode.spec import work
from potnode.spec.hashing import sha256d
from potnode.work.errors import TemplateRefused
from potnode.work.gbt import (
    coinbase_branch,
    commitment_script,
    merkle_root,
    parse,
    target_of,
)
from tests.bitcoin.chain import RegtestChain

Change = Callable[[dict[str, Any]], Any]


@pytest.fixture(name="template", scope="module")
def _template(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A good one, of a chain that Bitcoin Core's code accepted."""
    with RegtestChain(tmp_path_factory.mktemp("chain")) as chain:
        chain.mine(105)
        chain.add_transactions(3)
        return chain.template()


def _with(**changes: Any) -> Change:
    return lambda template: {**template, **changes}


def _without(key: str) -> Change:
    return lambda template: {name: value for name, value in template.items() if name != key}


def _first_transaction(**changes: Any) -> Change:
    def change(template: dict[str, Any]) -> dict[str, Any]:
        first, *others = template["transactions"]
        return {**template, "transactions": [{**first, **changes}, *others]}

    return change


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda _: None, "not a block template"),
        (lambda _: [], "not a block template"),
        (lambda _: {}, "not a block template"),
        (_without("height"), "missing required field `height`"),
        (_without("previousblockhash"), "previousblockhash"),
        (_with(height="106"), "height"),
        (_with(height=106.5), "height"),
        (_with(height=0), "height 0"),
        (_with(previousblockhash="ab" * 31), "previousblockhash is not 32 bytes"),
        (_with(previousblockhash="zz" * 32), "previousblockhash is not 32 bytes"),
        (_with(bits="207ffff"), "bits is not 4 bytes"),
        (_with(bits="1d00ffff"), "is not what bits"),
        (_with(bits="00000000", target="00" * 32), "are no target"),
        (_with(bits="20ffffff"), "are no target"),
        (_with(target="00" * 32), "is not what bits"),
        (_with(coinbasevalue=-1), "coinbasevalue -1"),
        (_with(coinbasevalue=21 * 10**14 + 1), "coinbasevalue 2100000000000001"),
        (_with(mintime=1 << 32), "mintime 4294967296"),
        (_with(curtime=0), "curtime 0"),
        (_with(version=1), "version 00000001"),
        (_with(version=1 << 40), "more than 32 bits"),
        (_with(version=0x1FFFE000), "version 00000000"),
        (_with(rules=["csv", "!segwit", "!unheard-of"]), "does not know: unheard-of"),
        (_with(rules=["!signet"], signet_challenge="51"), "signet"),
        (_with(vbrequired=1 << 20), "requires version bits"),
        (_with(default_witness_commitment="6a24aa21a9ed" + "00" * 32), "is not that of the trans"),
        (_with(default_witness_commitment="6a"), "is not that of the trans"),
        (_first_transaction(data="00"), "does not have the hash"),
        (_first_transaction(data="0 0"), "data of a transaction is not hex"),
        (_first_transaction(hash="00" * 32), "does not have the hash"),
        (_first_transaction(txid="00"), "txid is not 32 bytes"),
        (_first_transaction(depends=[1]), "depends on one that does not precede"),
        (_first_transaction(depends=[0]), "depends on one that does not precede"),
        (_first_transaction(fee=-5), "has fee -5"),
        (lambda t: {**t, "transactions": t["transactions"] * 2}, "twice"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_bad_templates_are_refused(template: dict[str, Any], change: Change, said: str) -> None:
    parse(json.dumps(template).encode())
    with pytest.raises(TemplateRefused, match=re.escape(said)):
        parse(json.dumps(change(template)).encode())


def test_every_key_that_is_used_is_needed(template: dict[str, Any]) -> None:
    optional = {"vbrequired", "longpollid"}
    used = {
        "version",
        "previousblockhash",
        "transactions",
        "coinbasevalue",
        "curtime",
        "bits",
        "height",
    }
    for key in template:
        changed = json.dumps(_without(key)(template)).encode()
        if key in used:
            with pytest.raises(TemplateRefused):
                parse(changed)
        else:
            assert parse(changed).longpollid == (
                template["longpollid"] if key != "longpollid" else None
            )
    assert optional | used <= set(template)


def test_what_a_server_leaves_out_follows_from_the_rest(template: dict[str, Any]) -> None:
    """BIP22 asks little of a server, and what stands in for bitcoind is not always bitcoind."""
    whole = parse(json.dumps(template).encode())
    template = copy.deepcopy(template)
    for key in ("default_witness_commitment", "target", "rules", "mintime"):
        template = _without(key)(template)
    for transaction in template["transactions"]:
        for key in ("hash", "depends", "fee", "sigops", "weight"):
            transaction.pop(key, None)
    least = parse(json.dumps(template).encode())
    assert (least.commitment, least.target) == (whole.commitment, whole.target)
    assert least.commitment is not None
    assert [t.wtxid_le for t in least.transactions] == [t.wtxid_le for t in whole.transactions]
    assert least.branch == whole.branch


@given(garbage=st.one_of(st.binary(max_size=200), st.text(max_size=200).map(str.encode)))
def test_garbage_is_refused(garbage: bytes) -> None:
    with pytest.raises(TemplateRefused):
        parse(garbage)


@given(data=st.data())
def test_a_value_of_another_type_is_refused_or_unused(
    template: dict[str, Any], data: st.DataObject
) -> None:
    key = data.draw(st.sampled_from(sorted(template)))
    value = data.draw(
        st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.just([]))
    )
    changed = {**template, key: value}
    try:
        parsed = parse(json.dumps(changed).encode())
    except TemplateRefused:
        return
    assert 1 <= parsed.height < 2**31
    assert parsed.target == target_of(parsed.nbits)
    assert parsed.value >= 0
    assert parsed.version & 0x1FFFE000 == 0


def test_cutting_takes_the_fees_off_and_needs_them(template: dict[str, Any]) -> None:
    whole = parse(json.dumps(template).encode())
    cut = parse(json.dumps(template).encode(), max_branch=1)
    assert (whole.dropped, cut.dropped) == (0, 2)
    assert cut.value == whole.value - 2000
    assert cut.transactions == whole.transactions[:1]
    without_fees = [
        {name: value for name, value in transaction.items() if name != "fee"}
        for transaction in template["transactions"]
    ]
    unknown = json.dumps({**template, "transactions": without_fees}).encode()
    assert parse(unknown).value == whole.value
    with pytest.raises(TemplateRefused, match="no fees to take off"):
        parse(unknown, max_branch=1)
    with pytest.raises(TemplateRefused, match="fees are more"):
        parse(json.dumps({**template, "coinbasevalue": 1999}).encode(), max_branch=1)


@given(
    leaves=st.lists(st.binary(min_size=32, max_size=32), max_size=40),
    coinbase=st.binary(min_size=65, max_size=200),
)
def test_the_branch_leads_from_the_coinbase_to_the_merkle_root(
    leaves: list[bytes], coinbase: bytes
) -> None:
    root = merkle_root([sha256d(coinbase), *leaves])
    assert work.merkle_root(coinbase, coinbase_branch(leaves)) == root


def test_the_merkle_root_and_commitment_of_known_blocks() -> None:
    # Block 170 of main: the coinbase and the first payment ever made.
    first = "b1fea52486ce0c62bb442b530a3f0132b826c74e473d1f2c220bfa78111c5082"
    second = "f4184fc596403b9d638783cf57adfe4c75c605f6356fbc91338530e9831e9e16"
    root = "7dac2c5666815c17a3b36427de37bb9d2e2c5ccec3f8633eb91a4205cb4c10ff"
    leaves = [bytes.fromhex(txid)[::-1] for txid in (first, second)]
    assert merkle_root(leaves)[::-1].hex() == root
    assert merkle_root(leaves[:1]) == leaves[0]
    # The commitment of every block without transactions: half of all regtest blocks have it.
    assert commitment_script([]).hex() == (
        "6a24aa21a9ede2f61c3f71d1defd3fa999dfa36953755c690689799962b48bebd836974e8cf9"
    )


def test_nesting_without_end_is_no_template() -> None:
    with pytest.raises(TemplateRefused, match="not a block template"):
        parse(b'{"unknown":' + b"[" * 100_000)


@pytest.mark.parametrize("nbits", [0, 0x00123456, 0x1D000000, 0x1D80FFFF, 0xFF00FFFF, 0x22FFFFFF])
def test_bits_that_are_no_target(nbits: int) -> None:
    with pytest.raises(TemplateRefused, match="are no target"):
        target_of(nbits)
