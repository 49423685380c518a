"""Keystore files: private, durable, and silent about what is in them."""

from __future__ import annotations

import copy
import json
import pickle
import traceback
from pathlib import Path

import pytest
from eth_account import Account

from potnode.chain.errors import KeyFileError, WrongPassword
from potnode.chain.keys import (
    KEY_NAME,
    PASSWORD_NAME,
    SCRYPT_WORK_RANDOM,
    Key,
    load,
    load_or_create,
)


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_the_first_run_makes_a_key_and_the_next_finds_it(tmp_path: Path) -> None:
    folder = tmp_path / "keys"
    key = load_or_create(folder)
    assert (mode(folder), mode(folder / KEY_NAME), mode(folder / PASSWORD_NAME)) == (
        0o700,
        0o600,
        0o600,
    )
    assert sorted(p.name for p in folder.iterdir()) == [KEY_NAME, PASSWORD_NAME]
    assert load_or_create(folder).address == load(folder).address == key.address
    document = json.loads((folder / KEY_NAME).read_text())
    assert document["version"] == 3
    assert document["crypto"]["kdfparams"]["n"] == SCRYPT_WORK_RANDOM


def test_a_given_password_is_not_written(tmp_path: Path) -> None:
    key = load_or_create(tmp_path, password="correct horse", work=SCRYPT_WORK_RANDOM)
    assert [p.name for p in tmp_path.iterdir()] == [KEY_NAME]
    assert load(tmp_path, password="correct horse").address == key.address


def test_any_client_opens_the_file(tmp_path: Path) -> None:
    key = load_or_create(tmp_path, password="x", work=SCRYPT_WORK_RANDOM)
    secret = Account.decrypt((tmp_path / KEY_NAME).read_text(), "x")
    assert Account.from_key(secret).address == key.checksum_address


def test_a_wrong_password_is_told_apart(tmp_path: Path) -> None:
    load_or_create(tmp_path, password="right", work=SCRYPT_WORK_RANDOM)
    with pytest.raises(WrongPassword) as caught:
        load(tmp_path, password="".join(reversed("abracadabra")))
    shown = "".join(traceback.format_exception(caught.value))
    assert "arbadacarba" not in shown
    assert str(tmp_path / KEY_NAME) in shown


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", '{"version": 1}', '{"version": 3}', '{"version": 3, "crypto": {}}']
)
def test_a_file_that_is_no_keystore(tmp_path: Path, text: str) -> None:
    (tmp_path / KEY_NAME).write_text(text)
    with pytest.raises(KeyFileError) as caught:
        load_or_create(tmp_path, password="x")
    assert not isinstance(caught.value, WrongPassword)


def test_a_lost_password_file(tmp_path: Path) -> None:
    load_or_create(tmp_path)
    (tmp_path / PASSWORD_NAME).unlink()
    with pytest.raises(KeyFileError, match=PASSWORD_NAME):
        load_or_create(tmp_path)
    assert (tmp_path / KEY_NAME).exists()


def test_a_folder_that_can_not_be_written(tmp_path: Path) -> None:
    (tmp_path / (PASSWORD_NAME + ".new")).mkdir()
    with pytest.raises(KeyFileError, match="can't be written"):
        load_or_create(tmp_path)


def test_the_secret_shows_nowhere(tmp_path: Path) -> None:
    key = load_or_create(tmp_path, password="x", work=SCRYPT_WORK_RANDOM)
    secret = bytes(Account.decrypt((tmp_path / KEY_NAME).read_text(), "x"))
    for shown in (repr(key), str(key), f"{key}"):
        assert secret.hex() not in shown
        assert key.checksum_address in shown
    for copier in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError):
            copier(key)
    assert not hasattr(key, "__dict__")


def test_keys_differ() -> None:
    assert Key.random().address != Key.random().address
