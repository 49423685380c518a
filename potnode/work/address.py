"""Miner user names: an EVM address, where it is paid in bitcoin too, and a worker's name.

    0x<40 hex>[+BITCOIN ADDRESS][.worker]

The first is what a record pays (docs/protocol.md section 2). The second is for pools in solo mode,
where a block pays the miner that found it; the password option `btc=` says the same. An *account*
is the two in one spelling, `0x<40 hex>[+<hex of the payout script>]`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

from potnode.spec.record import MinerRow
from potnode.work.errors import InvalidAddress
from stratum import passwords
from stratum.errors import Unauthorized

PASSWORD_OPTION = "btc"  # noqa: S105 - the name of an option, no secret
_USER = re.compile(r"0x([0-9a-fA-F]{40})(?:\+([0-9A-Za-z]{1,100}))?(?:\.(.*))?", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Accounts:
    """Which user names a pool serves.

    script_of: in solo mode, the output script of a bitcoin address; raises InvalidAddress with what
    is wrong. None where blocks pay the operator.
    """

    script_of: Callable[[str], bytes] | None = None

    def account_of(self, user: str, password: str = "") -> str:
        """The account of a user name.

        Raises:
            stratum.errors.Unauthorized: a user name of another form, a bitcoin address that is
                wrong, missing in solo mode or given without it; says what to use instead.
        """
        match = _USER.fullmatch(user)
        if match is None:
            raise Unauthorized(
                "the user name must be 0x + 40 hex digits (an EVM address), then .worker"
            )
        account = "0x" + match.group(1).lower()
        payout = match.group(2) or passwords.options(password).get(PASSWORD_OPTION)
        if self.script_of is None:
            if match.group(2):
                raise Unauthorized(
                    "this pool pays blocks to its operator: leave out + and the bitcoin address"
                )
            return account
        if not payout:
            raise Unauthorized(
                "this pool pays blocks to whoever finds them: append +BITCOIN_ADDRESS to the user "
                "name, before .worker, or put btc=BITCOIN_ADDRESS into the password"
            )
        try:
            return f"{account}+{self.script_of(payout).hex()}"
        except InvalidAddress as error:
            raise Unauthorized(str(error)) from None


def evm_address(account: str) -> str:
    """The EVM address of an account, 0x and 40 hex digits."""
    return account.partition("+")[0]


def payee(account: str) -> tuple[bytes, bytes]:
    """The 20-byte address of an account, and its payout script (b"" without one)."""
    address, _, script = account.partition("+")
    return bytes.fromhex(address[2:]), bytes.fromhex(script)


@lru_cache(maxsize=16_384)
def miner_row(account: str, bits: int, *, pays_script: bool) -> MinerRow:
    """What a record says of an account at these bits; with its script where templates pay that.

    The same object for the same miner: each of the jobs it still knows refers to one.
    """
    address, script = payee(account)
    return MinerRow(address, bits, script if pays_script else b"")
