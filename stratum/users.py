"""Users: who may submit over one connection, and for which worker.

The first account that is authorised binds the connection, because the coinbase of a job pays one.
Further user names of the same account are its other workers: proxies put many behind one socket.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from stratum.errors import Reject, RejectCode
from stratum.passwords import MAX_PASSWORD

MAX_USER: Final = 128
"""Longest user name: cgminer and ESP-Miner build a whole submit in 1,024 bytes."""

MAX_USERS_KNOWN: Final = 16
"""User names of one connection whose account is remembered; others are looked up each time."""

_BAD_USER = Reject(RejectCode.UNAUTHORIZED, f"User name is not 1..{MAX_USER} printable characters")
_LONG_PASSWORD = Reject(
    RejectCode.UNAUTHORIZED, f"Password is longer than {MAX_PASSWORD} characters"
)
_OTHER_ACCOUNT = Reject(RejectCode.UNAUTHORIZED, "This connection works for another account")

AccountOf = Callable[[str, str], str | Reject]
"""From user name and password to the account, in one spelling however it was written."""


def split_user(user: str) -> tuple[str, str]:
    """Return account and worker of a user name: what is before and after its first dot."""
    account, _, worker = user.partition(".")
    return account, worker


class Users:
    """The user names of one connection.

    Attributes to read: account (None until one is authorised), worker (of the first user name that
    was).
    """

    __slots__ = ("_account_of", "_password", "_workers", "account", "worker")

    def __init__(self, account_of: AccountOf) -> None:
        self.account: str | None = None
        self.worker = ""
        self._account_of = account_of
        self._password = ""
        self._workers: dict[str, str] = {}

    def __len__(self) -> int:
        """How many user names are remembered."""
        return len(self._workers)

    def authorize(self, user: str, password: str) -> Reject | None:
        """Let a user in, or say why not. The first one binds the connection to its account."""
        if len(password) > MAX_PASSWORD:
            return _LONG_PASSWORD
        account = self._lookup(user, password)
        if isinstance(account, Reject):
            return account
        if self.account is None:
            self.account = account
            self.worker = split_user(user)[1]
            self._password = password
        elif account != self.account:
            return _OTHER_ACCOUNT
        self._remember(user)
        return None

    def worker_of(self, user: str) -> str | None:
        """Return the worker a submit of this user counts for, None where it may not submit.

        A name that was never authorised is fine when it is of the same account; it is looked up
        with the password that bound the connection, as a submit brings none.
        """
        worker = self._workers.get(user)
        if worker is None and self.account is not None:
            if self._lookup(user, self._password) != self.account:
                return None
            worker = self._remember(user)
        return worker

    def _lookup(self, user: str, password: str) -> str | Reject:
        if not 1 <= len(user) <= MAX_USER or not user.isprintable():
            return _BAD_USER
        return self._account_of(user, password)

    def _remember(self, user: str) -> str:
        worker = split_user(user)[1]
        if len(self._workers) < MAX_USERS_KNOWN:
            self._workers[user] = worker
        return worker
