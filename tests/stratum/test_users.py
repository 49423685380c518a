from __future__ import annotations

from stratum.errors import Reject, RejectCode
from stratum.users import MAX_USER, MAX_USERS_KNOWN, Users, split_user
from tests.stratum.support import ALICE, BOB, account_or_reject


def test_the_worker_is_what_follows_the_first_dot() -> None:
    assert split_user("a.b.c") == ("a", "b.c")
    assert split_user("a") == ("a", "")
    assert split_user("a.") == ("a", "")
    assert split_user(".b") == ("", "b")


def test_nobody_may_submit_before_somebody_is_authorised() -> None:
    users = Users(account_or_reject)
    assert users.worker_of(ALICE) is None
    assert users.account is None


def test_the_first_account_binds() -> None:
    users = Users(account_or_reject)
    assert isinstance(users.authorize("nobody", ""), Reject)
    assert users.authorize(f"{ALICE}.s9", "") is None
    assert users.authorize(f"{ALICE}.s19", "") is None
    refused = users.authorize(BOB, "")
    assert isinstance(refused, Reject)
    assert refused.code is RejectCode.UNAUTHORIZED
    assert (users.account, users.worker) == (ALICE, "s9")
    workers = [users.worker_of(f"{ALICE}.{name}") for name in ("s9", "s19", "other")]
    assert workers == ["s9", "s19", "other"]
    assert users.worker_of(BOB) is None


def test_only_so_many_names_are_remembered_and_all_of_them_work() -> None:
    asked: list[str] = []

    def account_of(user: str, password: str) -> str | Reject:
        asked.append(user)
        return account_or_reject(user, password)

    users = Users(account_of)
    users.authorize(ALICE, "")
    names = [f"{ALICE}.{number}" for number in range(2 * MAX_USERS_KNOWN)]
    for _ in range(2):
        assert [users.worker_of(name) for name in names] == [str(n) for n in range(len(names))]
    assert len(users) == MAX_USERS_KNOWN
    assert [asked.count(name) for name in names] == [1] * 15 + [2] * 17


def test_names_that_are_none_are_not_looked_up() -> None:
    asked: list[str] = []

    def account_of(user: str, _password: str) -> str:
        asked.append(user)
        return "account"

    users = Users(account_of)
    for user in ("", "a\n", "\x7f", "a" * (MAX_USER + 1)):
        assert isinstance(users.authorize(user, ""), Reject)
    assert users.authorize("a" * MAX_USER, "") is None
    assert asked == ["a" * MAX_USER]
    assert users.worker_of("a\n") is None
