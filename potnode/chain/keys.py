"""The node's own key: a keystore v3 file, made on the first run.

Responsible for the file, its permissions and its password. A `Key` signs and knows its address; the
secret itself shows in no repr, log or error, and no method hands it out.

By default the password is random and lies beside the keystore, readable by the owner alone: this
protects backups and copies of the keystore, not the account of whoever can read the whole data
directory. An operator who wants more gives a password from elsewhere and no such file is made.
"""

from __future__ import annotations

import json
import os
import secrets
from pathlib import Path
from typing import Any

from eth_account import Account
from eth_account.signers.local import LocalAccount

from potnode.chain.errors import KeyFileError, WrongPassword

KEY_NAME = "operator.json"
PASSWORD_NAME = "operator.password"  # noqa: S105 - a file's name
SCRYPT_WORK = 2**18
"""scrypt's n, as geth has it: about 0.7 s and 256 MiB for every guess at a password."""
SCRYPT_WORK_RANDOM = 2**14
"""For passwords made by this module: 256 random bits are beyond guessing at any price, so each
start of a node need not pay for slowness. 16 MiB, about 0.05 s. Tests use it too."""
_PASSWORD_BYTES = 32


class Key:
    """A private key that signs transactions. `address` has 20 bytes."""

    __slots__ = ("_account", "address")

    def __init__(self, account: LocalAccount) -> None:
        self._account = account
        self.address = bytes.fromhex(account.address[2:])

    @classmethod
    def random(cls) -> Key:
        """A new key that is kept nowhere."""
        return cls(Account.create(secrets.token_hex(32)))

    @property
    def checksum_address(self) -> str:
        """The address as people write it (EIP-55)."""
        return str(self._account.address)

    def sign_transaction(self, transaction: dict[str, Any]) -> tuple[bytes, bytes]:
        """Sign a transaction of the usual JSON-RPC fields; raw bytes and their 32-byte hash."""
        signed = self._account.sign_transaction(transaction)
        return bytes(signed.raw_transaction), bytes(signed.hash)

    def __repr__(self) -> str:
        return f"Key({self.checksum_address})"

    def __reduce__(self) -> str | tuple[Any, ...]:
        raise TypeError("a key is not to be pickled or copied")

    def _encrypted(self, password: str, work: int) -> dict[str, Any]:
        return dict(Account.encrypt(self._account.key, password, kdf="scrypt", iterations=work))


def load_or_create(directory: Path, *, password: str | None = None, work: int | None = None) -> Key:
    """The key in `directory`, made on the first call.

    Args:
        directory: made with mode 0700 if it is missing. Holds the files KEY_NAME and, unless a
            password is given, PASSWORD_NAME, both 0600.
        password: the operator's own; None for one in the password file.
        work: scrypt's n for a new file; None takes SCRYPT_WORK for a given password and
            SCRYPT_WORK_RANDOM for one made here. An existing file states its own.

    Raises:
        WrongPassword: the password does not open the file. KeyFileError: a file is missing,
            unreadable or malformed.
    """
    path = directory / KEY_NAME
    if path.exists():
        return load(directory, password=password)
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    if password is None:
        password = secrets.token_hex(_PASSWORD_BYTES)
        work = SCRYPT_WORK_RANDOM if work is None else work
        # First the password, then what it opens: a crash between the two leaves no locked key
        # behind.
        _write_private(directory / PASSWORD_NAME, password + "\n")
    key = Key.random()
    _write_private(path, json.dumps(key._encrypted(password, work or SCRYPT_WORK)) + "\n")
    return key


def load(directory: Path, *, password: str | None = None) -> Key:
    """The key in `directory`, which must exist. Arguments and errors as of `load_or_create`."""
    path = directory / KEY_NAME
    if password is None:
        password = _read(
            directory / PASSWORD_NAME, "give the password another way, or restore this file"
        ).strip()
    text = _read(path, "restore it from a backup")
    try:
        secret = Account.decrypt(json.loads(text), password)
    except ValueError as error:
        # eth-keyfile says "MAC mismatch" for a wrong password; everything else is the file's fault.
        if "MAC" in str(error):
            raise WrongPassword(
                f"the password does not open {path}: give the one it was made with"
            ) from None
        raise KeyFileError(f"{path} is not a keystore: restore it from a backup") from None
    except (KeyError, TypeError, NotImplementedError):
        raise KeyFileError(
            f"{path} is not a keystore of version 3: restore it from a backup"
        ) from None
    return Key(Account.from_key(secret))


def _read(path: Path, remedy: str) -> str:
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise KeyFileError(f"{path} can't be read ({reason}): {remedy}") from error


def _write_private(path: Path, text: str) -> None:
    """Write a file of mode 0600 whole or not at all; it never exists with other permissions."""
    temporary = path.with_name(path.name + ".new")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise KeyFileError(
            f"{path} can't be written ({error.strerror}): check the disk and its permissions"
        ) from error
