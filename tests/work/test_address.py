"""User names: what a miner is paid by, in either currency."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from potnode.spec.record import MinerRow
from potnode.work.address import Accounts, evm_address, miner_row, payee
from potnode.work.errors import InvalidAddress
from stratum.errors import Unauthorized

ADDRESS = "0x" + "ab" * 20
SCRIPTS = {"bc1qgood": bytes.fromhex("0014") + b"\x11" * 20, "3Good": b"\xa9" * 23}


def script_of(address: str) -> bytes:
    if address not in SCRIPTS:
        raise InvalidAddress(f"{address} is not an address")
    return SCRIPTS[address]


POOLED = Accounts()
SOLO = Accounts(script_of)


@given(address=st.binary(min_size=20, max_size=20), worker=st.text(max_size=20))
def test_user_names_are_addresses_with_workers(address: bytes, worker: str) -> None:
    for user in ("0x" + address.hex(), "0x" + address.hex().upper(), f"0x{address.hex()}.{worker}"):
        account = POOLED.account_of(user)
        assert account == evm_address(account) == "0x" + address.hex()
        assert payee(account) == (address, b"")


@pytest.mark.parametrize(
    "user",
    [
        "",
        "bc1qxyz",
        "0x12",
        "0x" + "g" * 40,
        "0x" + "a" * 41,
        "a" * 40,
        ADDRESS + "+",
        ADDRESS + "/",
    ],
)
@pytest.mark.parametrize("accounts", [POOLED, SOLO])
def test_other_user_names_are_refused(accounts: Accounts, user: str) -> None:
    with pytest.raises(Unauthorized, match="40 hex digits"):
        accounts.account_of(user)


@pytest.mark.parametrize(
    ("user", "password"),
    [
        (f"{ADDRESS}+bc1qgood", "x"),
        (f"{ADDRESS}+bc1qgood.s9", ""),
        (f"{ADDRESS}.s9", "btc=bc1qgood"),
        (f"{ADDRESS.upper().replace('X', 'x')}.s9", "d=1024,BTC=bc1qgood"),
        (f"{ADDRESS}+bc1qgood", "btc=3Good"),
    ],
)
def test_a_solo_miner_is_paid_by_its_own_script(user: str, password: str) -> None:
    account = SOLO.account_of(user, password)
    assert payee(account) == (b"\xab" * 20, SCRIPTS["bc1qgood"])
    assert evm_address(account) == ADDRESS


def test_what_a_solo_miner_gets_wrong_it_is_told() -> None:
    with pytest.raises(Unauthorized, match="append \\+BITCOIN_ADDRESS"):
        SOLO.account_of(ADDRESS, "x")
    with pytest.raises(Unauthorized, match="bc1qbad is not an address"):
        SOLO.account_of(f"{ADDRESS}+bc1qbad")
    with pytest.raises(Unauthorized, match="leave out"):
        POOLED.account_of(f"{ADDRESS}+bc1qgood")


def test_a_password_for_a_solo_pool_is_no_matter_elsewhere() -> None:
    assert POOLED.account_of(ADDRESS, "btc=bc1qgood") == ADDRESS


def test_rows_of_the_same_miner_are_one_object() -> None:
    account = "0x" + "ab" * 20 + "+" + SCRIPTS["bc1qgood"].hex()
    row = miner_row(account, 40, pays_script=True)
    assert row == MinerRow(b"\xab" * 20, 40, SCRIPTS["bc1qgood"])
    assert miner_row(account, 40, pays_script=True) is row
    assert miner_row(account, 41, pays_script=True).bits == 41
    assert miner_row(account, 40, pays_script=False).script == b""
