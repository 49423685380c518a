"""Addresses: the script of each kind, and what is refused."""

from __future__ import annotations

import pytest
from btclib import b32, b58
from hypothesis import given
from hypothesis import strategies as st

from potnode.work.errors import InvalidAddress
from potnode.work.payout import LONGEST_SCRIPT, NETWORKS, Network, output_script

BTCLIB = {
    "main": "mainnet",
    "test": "testnet",
    "testnet4": "testnet4",
    "signet": "signet",
    "regtest": "regtest",
}


@pytest.mark.parametrize(
    ("address", "network", "script"),
    [
        # BIP173
        (
            "BC1QW508D6QEJXTDG4Y5R3ZARVARY0C5XW7KV8F3T4",
            "main",
            "0014751e76e8199196d454941c45d1b3a323f1433bd6",
        ),
        (
            "tb1qrp33g0q5c5txsp9arysrx4k6zdkfs4nce4xj0gdcccefvpysxf3q0sl5k7",
            "test",
            "00201863143c14c5166804bd19203356da136c985678cd4d27a1b8c6329604903262",
        ),
        (
            "tb1qqqqqp399et2xygdj5xreqhjjvcmzhxw4aywxecjdzew6hylgvsesrxh6hy",
            "signet",
            "0020000000c4a5cad46221b2a187905e5266362b99d5e91c6ce24d165dab93e86433",
        ),
        # BIP350
        (
            "bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqzk5jj0",
            "main",
            "512079be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798",
        ),
        (
            "tb1pqqqqp399et2xygdj5xreqhjjvcmzhxw4aywxecjdzew6hylgvsesf3hn0c",
            "testnet4",
            "5120000000c4a5cad46221b2a187905e5266362b99d5e91c6ce24d165dab93e86433",
        ),
        # The genesis block's key hash, and an address of BIP16's first years
        (
            "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa",
            "main",
            "76a91462e907b15cbf27d5425399ebf6f0fb50ebb88f1888ac",
        ),
        (
            "3P14159f73E4gFr7JterCCQh9QjiTjiZrG",
            "main",
            "a914e9c3dd0c07aac76179ebc76a6c78d4d67c6c160a87",
        ),
    ],
)
def test_known_addresses(address: str, network: Network, script: str) -> None:
    assert output_script(address, network).hex() == script


@pytest.mark.parametrize(
    ("address", "said"),
    [
        # BIP350: checksums of the other kind, and what else is invalid
        ("bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqh2y7hd", "not a Bitcoin address"),
        ("BC1S0XLXVLHEMJA6C4DQV22UAPCTQUPFHLXM9H8Z3K2E72Q4K9HCZ7VQ54WELL", "not a Bitcoin address"),
        ("bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kemeawh", "not a Bitcoin address"),
        ("bc1p38j9r5y49hruaue7wxjce0updqjuyyx0kh56v8s25huc6995vvpql3jow4", "not a Bitcoin address"),
        ("BC130XLXVLHEMJA6C4DQV22UAPCTQUPFHLXM9H8Z3K2E72Q4K9HCZ7VQ7ZWS8R", "not a Bitcoin address"),
        ("bc1pw5dgrnzv", "not a Bitcoin address"),
        ("BC1QR508D6QEJXTDG4Y5R3ZARVARYV98GJ9P", "not a Bitcoin address"),
        ("bc1gmk9yu", "not a Bitcoin address"),
        # BIP350: valid, of versions without rules
        ("BC1SW50QGDZ25J", "no rules yet"),
        ("bc1zw508d6qejxtdg4y5r3zarvaryvaxxpcs", "no rules yet"),
        (
            "bc1pw508d6qejxtdg4y5r3zarvary0c5xw7kw508d6qejxtdg4y5r3zarvary0c5xw7kt5nd6y",
            "no rules yet",
        ),
        # Other networks
        ("tb1qw508d6qejxtdg4y5r3zarvary0c5xw7kxpjzsx", "another network than 'main'"),
        ("mipcBbFg9gMiCh81Kj8tqqdgoZub1ZJRfn", "another network than 'main'"),
        ("2MzQwSSnBHWHqSAqtTVQ6v47XtaisrJa1Vc", "another network than 'main'"),
        # Anything else
        ("1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNb", "not a Bitcoin address"),
        ("0x" + "aa" * 20, "not a Bitcoin address"),
        ("", "1 to 90 ASCII characters"),
        ("1" * 91, "1 to 90 ASCII characters"),
        ("bc1\N{GREEK SMALL LETTER ALPHA}", "1 to 90 ASCII characters"),
        (" 1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa", "no spaces"),
    ],
)
def test_what_is_no_address_of_main(address: str, said: str) -> None:
    with pytest.raises(InvalidAddress, match=said):
        output_script(address, "main")


@given(
    network=st.sampled_from(NETWORKS),
    hash160=st.binary(min_size=20, max_size=20),
    program=st.binary(min_size=32, max_size=32),
)
def test_every_kind_on_every_network(network: Network, hash160: bytes, program: bytes) -> None:
    name = BTCLIB[network]
    made = {
        b58.address_from_h160("p2pkh", hash160, name): b"\x76\xa9\x14" + hash160 + b"\x88\xac",
        b58.address_from_h160("p2sh", hash160, name): b"\xa9\x14" + hash160 + b"\x87",
        b32.address_from_witness(0, hash160, name): b"\x00\x14" + hash160,
        b32.address_from_witness(0, program, name): b"\x00\x20" + program,
        b32.address_from_witness(1, program, name): b"\x51\x20" + program,
    }
    for address, script in made.items():
        assert output_script(address, network) == script
        assert len(script) <= LONGEST_SCRIPT
        other: Network = "test" if network == "main" else "main"
        with pytest.raises(InvalidAddress, match="another network"):
            output_script(address, other)


def test_regtest_has_a_prefix_of_its_own_for_segwit() -> None:
    address = b32.address_from_witness(0, bytes(20), "regtest")
    for network in NETWORKS:
        if network != "regtest":
            with pytest.raises(InvalidAddress, match="another network"):
                output_script(address, network)


@given(text=st.text(max_size=100))
def test_other_text_is_refused(text: str) -> None:
    with pytest.raises(InvalidAddress):
        output_script(text, "main")


@given(
    program=st.binary(min_size=20, max_size=20),
    at=st.integers(4, 41),
    to=st.sampled_from("qpzry9x8"),
)
def test_one_wrong_character_is_noticed(program: bytes, at: int, to: str) -> None:
    address = b32.address_from_witness(0, program, "mainnet")
    wrong = address[:at] + to + address[at + 1 :]
    if wrong == address:
        return
    with pytest.raises(InvalidAddress):
        output_script(wrong, "main")
