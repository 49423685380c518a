"""What the recorder and the readers need from outside, and the values that pass between.

`Chain` and `Ledger` (a chain with our contract on it) are the same wherever the chain runs:
`potnode.chain.rpc` implements them once, over a transport that is either the embedded chain or an
HTTP node. `Outbox` is durable memory, which the node's store implements.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol


class Transport(Protocol):
    """One way of asking a node by JSON-RPC."""

    def request(self, method: str, params: Sequence[Any]) -> Any:
        """The `result`. Raises ChainUnavailable, or RpcError if the node answers with an error."""
        ...


@dataclass(frozen=True, slots=True)
class Fees:
    """EIP-1559 offer, in wei per gas."""

    max_fee: int
    max_priority_fee: int


@dataclass(frozen=True, slots=True)
class Receipt:
    """A mined transaction. Hashes are 32 bytes; `contract` is the 20-byte address it created, if
    any.
    """

    transaction_hash: bytes
    block_number: int
    block_hash: bytes
    succeeded: bool
    gas_used: int
    contract: bytes | None


@dataclass(frozen=True, slots=True)
class Log:
    """One event of the contract. Topics and hashes are 32 bytes."""

    topics: tuple[bytes, ...]
    data: bytes
    block_number: int
    log_index: int
    transaction_hash: bytes


class Chain(Protocol):
    """A chain, and the one node that speaks for it.

    Every method may raise ChainUnavailable, RpcError or BadChainData. Addresses have 20 bytes.
    """

    @property
    def chain_id(self) -> int:
        """EIP-155 id, checked when the connection was made."""
        ...

    def latest_block(self) -> int:
        """Number of the newest block."""
        ...

    def balance(self, address: bytes) -> int:
        """Wei of an address."""
        ...

    def estimate_gas(
        self, to: bytes | None, call_data: bytes, *, sender: bytes, value: int = 0
    ) -> int:
        """Gas of a transaction (`to` None: a contract creation). Raises CallReverted."""
        ...

    def fees(self) -> Fees:
        """What a transaction should offer to be mined soon."""
        ...

    def next_nonce(self, address: bytes) -> int:
        """Nonce of the address's next transaction, those waiting to be mined counted."""
        ...

    def send_raw_transaction(self, raw: bytes) -> bytes:
        """Hand over a signed transaction; its 32-byte hash. One that the node has already is no
        error.

        Raises NonceTooLow, FeeTooLow, InsufficientFunds or another TransactionRejected.
        """
        ...

    def receipt(self, transaction_hash: bytes) -> Receipt | None:
        """The receipt, or None while the transaction is in no block."""
        ...

    def code(self, address: bytes) -> bytes:
        """What runs at an address after the newest block; empty where nothing does."""
        ...

    def call_data(self, transaction_hash: bytes) -> bytes | None:
        """What a transaction (32-byte hash) was sent with, or None if the node does not have it."""
        ...


class Ledger(Protocol):
    """The contract on its chain. Methods may raise ChainUnavailable, RpcError or BadChainData."""

    @property
    def chain(self) -> Chain:
        """The chain the contract lives on."""
        ...

    @property
    def contract(self) -> bytes:
        """The contract's 20-byte address."""
        ...

    def call(self, data: bytes, *, block: int | None = None) -> bytes:
        """Run call data on the contract after `block` (None: the newest). Raises CallReverted."""
        ...

    def logs(
        self,
        topics: Sequence[bytes | None],
        *,
        first_block: int | None = None,
        last_block: int | None = None,
    ) -> Iterator[Log]:
        """The contract's events in chain order, asked for in bounded ranges of blocks.

        A topic of None matches any. Without bounds: from the contract's first block to the newest.
        """
        ...


class OutboxStatus(StrEnum):
    """Of a step's transaction. `new`: to be signed; `signed`: its bytes are durable, perhaps sent;
    `sent`: a node took it; `mined`: in a block; `final`: deep enough; `reverted`: refused for
    good."""

    NEW = "new"
    SIGNED = "signed"
    SENT = "sent"
    MINED = "mined"
    FINAL = "final"
    REVERTED = "reverted"


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboxItem:
    """A closed step on its way to the chain.

    `nonce`, `raw_tx` and `tx_hash` are those of the newest signed transaction, None before there is
    one.
    """

    job_id: bytes
    step: int
    prev_head: bytes
    step_data: bytes
    status: OutboxStatus = OutboxStatus.NEW
    nonce: int | None = None
    raw_tx: bytes | None = None
    tx_hash: bytes | None = None
    block_number: int | None = None


class Outbox(Protocol):
    """Durable memory of the recorder: each method returns once its change is on disk.

    A step enters it in the same database transaction that closes the step, so what is in it is what
    must come to be on chain.
    """

    def unfinished(self, limit: int) -> Sequence[OutboxItem]:
        """Up to `limit` items neither final nor reverted, a job's in order of steps."""
        ...

    def mark_signed(
        self, job_id: bytes, step: int, *, nonce: int, raw_tx: bytes, tx_hash: bytes
    ) -> None:
        """Keep the transaction that is about to be sent, in place of an earlier one."""
        ...

    def mark_sent(self, job_id: bytes, step: int) -> None:
        """A node has the transaction (or had: a reorganisation took it out of its block)."""
        ...

    def mark_mined(self, job_id: bytes, step: int, *, tx_hash: bytes, block_number: int) -> None:
        """The step is recorded in this block, by this transaction."""
        ...

    def mark_final(self, job_id: bytes, step: int) -> None:
        """The block is deep enough to stay."""
        ...

    def mark_reverted(self, job_id: bytes, step: int) -> None:
        """The contract will never take this step."""
        ...
