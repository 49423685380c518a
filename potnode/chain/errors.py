"""Every error this package raises on purpose, under one root.

    ChainError
    ├── ChainUnavailable          the node does not answer; the same call may work later
    ├── WrongChain                the node answers for another chain id
    ├── ContractMissing           no code (or other code) at the contract's address
    ├── ChainDirectoryInUse       another process has the embedded chain open
    ├── ChainStorageFull          the disk is full; nothing was half-written
    ├── ChainStorageFailed        the embedded chain's files can't be opened or written
    ├── CorruptChain              the embedded chain's files do not hold a chain
    ├── RpcError                  the node answered with a JSON-RPC error
    │   ├── CallReverted          a call or estimate reverted; carries the revert data
    │   └── TransactionRejected   the node would not take a transaction
    │       ├── NonceTooLow
    │       ├── FeeTooLow
    │       └── InsufficientFunds
    ├── RecordRefused             the contract refuses a transaction; carries the decoded reason
    ├── HeadConflict              the chain recorded another step than the one in the outbox
    ├── BadChainData              the chain's answer is not what the contract emits
    ├── JobUnknown                no such job in the contract
    └── KeyFileError              a keystore can't be read or written
        └── WrongPassword

Messages say what is wrong, where, and what to do. No message ever contains a key or a password.
"""

from __future__ import annotations


class ChainError(Exception):
    """Root of the errors of `potnode.chain`."""


class ChainUnavailable(ChainError):
    """The node could not be reached or did not answer in time. Retrying later is right."""


class WrongChain(ChainError):
    """The node serves another chain than the one this job or data directory belongs to."""

    def __init__(self, expected: int, found: int, where: str) -> None:
        super().__init__(
            f"{where} serves chain {found}, but chain {expected} was expected: "
            "point the node at the right URL, or correct the configured chain id"
        )
        self.expected = expected
        self.found = found


class ContractMissing(ChainError):
    """There is no contract, or not this one, at the configured address."""


class ChainDirectoryInUse(ChainError):
    """Another process holds the embedded chain's files."""


class ChainStorageFull(ChainError):
    """The disk (or the database's page limit) is full. The last change was rolled back whole."""


class ChainStorageFailed(ChainError):
    """The embedded chain's files can't be used: wrong permissions, or a failing disk."""


class CorruptChain(ChainError):
    """The embedded chain's files can't be read as a chain this version understands."""


class RpcError(ChainError):
    """The node answered with a JSON-RPC error object.

    `code` and `data` are the object's members (`data` may be None).
    """

    def __init__(self, code: int, message: str, data: object = None) -> None:
        super().__init__(f"{message} (JSON-RPC error {code})")
        self.code = code
        self.message = message
        self.data = data


class CallReverted(RpcError):
    """A call or gas estimate reverted; `revert_data` is what the contract returned, or empty."""

    def __init__(self, message: str, revert_data: bytes) -> None:
        super().__init__(3, message, "0x" + revert_data.hex())
        self.revert_data = revert_data


class TransactionRejected(RpcError):
    """The node did not take the transaction; it is in no block and no pool."""

    def __init__(self, message: str, code: int = -32000, data: object = None) -> None:
        super().__init__(code, message, data)


class NonceTooLow(TransactionRejected):
    """The sender's nonce has moved on: this or another transaction with it was mined."""


class FeeTooLow(TransactionRejected):
    """The offered fee is below what the node or a replacement of a pending transaction demands."""


class InsufficientFunds(TransactionRejected):
    """The sender can't pay for value and gas."""


class RecordRefused(ChainError):
    """The contract refuses a transaction. `reason` is its custom error in readable form; `job_id`
    is set where it ends the recording of that job."""

    def __init__(self, what: str, reason: str, job_id: bytes | None = None) -> None:
        super().__init__(f"the contract refuses {what}: {reason}")
        self.what = what
        self.reason = reason
        self.job_id = job_id


class HeadConflict(ChainError):
    """The chain holds another record of this step than the one that was to be written."""


class BadChainData(ChainError):
    """The chain's answer can't be what the contract emits: malformed, out of range or
    contradictory.

    `step` and `field` name the place where one is known, else they are None.
    """

    def __init__(self, message: str, *, step: int | None = None, field: str | None = None) -> None:
        super().__init__(message)
        self.step = step
        self.field = field


class JobUnknown(ChainError):
    """The contract knows no job of this id."""


class KeyFileError(ChainError):
    """A keystore or password file is missing, unreadable or malformed."""


class WrongPassword(KeyFileError):
    """The password does not open the keystore."""
