"""Bitcoin addresses: to which script a block's reward goes.

Checksums and prefixes are btclib's business; this module decides which kinds of address are paid
and that an address is of the network the node runs on. Not for miners' EVM addresses: those are
`potnode.work.address`.
"""

from __future__ import annotations

from typing import Final, Literal, get_args

from potnode.work.errors import InvalidAddress

Network = Literal["main", "test", "testnet4", "signet", "regtest"]
"""Chains by the name `getblockchaininfo` gives them."""

NETWORKS: Final[tuple[Network, ...]] = get_args(Network)

LONGEST_SCRIPT: Final = 34
"""Bytes of the longest payout script there is: that of P2WSH and P2TR."""

_BTCLIB_NAMES: Final = {
    "main": "mainnet",
    "test": "testnet",
    "testnet4": "testnet4",
    "signet": "signet",
    "regtest": "regtest",
}
_LONGEST_ADDRESS = 90  # BIP173


def output_script(address: str, network: Network) -> bytes:
    """The output script of an address: P2PKH, P2SH, P2WPKH, P2WSH or P2TR.

    Test networks share prefixes (all base58 ones, and `tb` but for regtest's `bcrt`), so an address
    of one of them can be taken for another's; one of main never.

    Raises:
        InvalidAddress: malformed, of another network, or of a witness version or length that no
            rule gives a meaning to yet, where anyone could take the money.
    """
    # Here because it takes 0.15 s, which commands that need no address should not wait for.
    from btclib import b32, b58
    from btclib.exceptions import BTClibException
    from btclib.network import NETWORKS as PREFIXES

    if not address or len(address) > _LONGEST_ADDRESS or not address.isascii():
        raise InvalidAddress("a Bitcoin address has 1 to 90 ASCII characters")
    if address != address.strip():
        raise InvalidAddress("a Bitcoin address has no spaces around it")
    ours = PREFIXES[_BTCLIB_NAMES[network]]
    try:
        if b32.is_segwit_prefixed(address):
            version, program, found = b32.witness_from_address(address)
            if PREFIXES[found].hrp != ours.hrp:
                raise _of_other_network(address, network)
            return _witness_script(version, program)
        kind, hash160, found = b58.h160_from_address(address)
    except BTClibException as error:
        raise InvalidAddress(f"{address!r} is not a Bitcoin address: {error}") from error
    if PREFIXES[found].p2pkh != ours.p2pkh:
        raise _of_other_network(address, network)
    if kind == "p2pkh":
        return b"\x76\xa9\x14" + hash160 + b"\x88\xac"
    return b"\xa9\x14" + hash160 + b"\x87"


def _witness_script(version: int, program: bytes) -> bytes:
    if version > 1 or (version == 1 and len(program) != 32):
        raise InvalidAddress(
            f"witness version {version} with {len(program)} bytes has no rules yet: "
            "anyone could spend it"
        )
    return bytes([0x50 + version if version else 0, len(program)]) + program


def _of_other_network(address: str, network: Network) -> InvalidAddress:
    return InvalidAddress(f"{address!r} is an address of another network than {network!r}")
