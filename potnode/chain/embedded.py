"""A one-node Ethereum chain inside the process: py-evm (Prague) on a durable store.

Responsible for a chain that survives stop and start, kill and full disk: each transaction is mined
at once into a block of its own, and a block is on disk whole or not at all. It answers typed
questions about blocks, transactions, logs and state; `potnode.chain.facade` puts JSON-RPC in front
of it.

It has no pool, no peers, no reorganisations and no pruning: every old state can be asked for. Its
blocks are ordinary, its chain id is random, so no transaction of it is valid anywhere else.

Block timestamps come from the clock given, but grow by at least a second per block, as Ethereum
demands: a burst of transactions runs ahead of the clock and waits for it to catch up.
"""

from __future__ import annotations

import secrets
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import rlp
from eth.abc import (
    BlockAPI,
    BlockHeaderAPI,
    ComputationAPI,
    ReceiptAPI,
    SignedTransactionAPI,
    StateAPI,
)
from eth.chains.base import Chain
from eth.constants import BLANK_ROOT_HASH, CREATE_CONTRACT_ADDRESS, GAS_TX
from eth.exceptions import (
    CanonicalHeadNotFound,
    HeaderNotFound,
    PyEVMError,
    Revert,
    TransactionNotFound,
)
from eth.typing import AccountState, HeaderParams
from eth.vm.forks.cancun.constants import BLOB_TX_TYPE
from eth.vm.forks.prague.constants import STANDARD_TOKEN_COST, TOTAL_COST_FLOOR_PER_TOKEN
from eth.vm.spoof import SpoofTransaction
from eth_typing import Address
from eth_utils.exceptions import ValidationError

from potnode.chain.errors import (
    CallReverted,
    ChainStorageFailed,
    CorruptChain,
    FeeTooLow,
    InsufficientFunds,
    NonceTooLow,
    RpcError,
    TransactionRejected,
)
from potnode.chain.fastvm import FastPragueVM
from potnode.chain.kv import SqliteStore
from potnode.chain.logindex import LogEntry, LogFilter, find_logs, index_block

# py-evm raises the interpreter's recursion limit to 100,000 when it is imported; at that depth a
# document of nested brackets from a stranger ends the process instead of raising RecursionError.
# The deepest calls the EVM allows (1,024) need less than this.
RECURSION_LIMIT = 20_000
sys.setrecursionlimit(min(sys.getrecursionlimit(), RECURSION_LIMIT))

DATABASE_NAME = "chain.sqlite"
GAS_LIMIT = 60_000_000
"""Of every block. The largest step there can be has to fit."""
GENESIS_BALANCE = 10**27
"""Wei given to each funded address: coins without value, enough for any escrow."""
_ZERO_ADDRESS = bytes(20)


@dataclass(frozen=True, slots=True)
class Mined:
    """A transaction in its block. `receipts` are all of the block, in order."""

    transaction: SignedTransactionAPI
    index: int
    block: BlockAPI
    receipts: tuple[ReceiptAPI, ...]


@dataclass(frozen=True, slots=True)
class Call:
    """A message to run without mining. `to` is None for a contract creation; amounts in wei."""

    sender: bytes = _ZERO_ADDRESS
    to: bytes | None = None
    data: bytes = b""
    value: int = 0
    gas: int | None = None


def base_fee(header: BlockHeaderAPI) -> int:
    """Wei per gas a block burns; every block here has it, though py-evm's type allows for none."""
    return header.base_fee_per_gas or 0


class EmbeddedChain:
    """Open with `EmbeddedChain.open`; use from any thread; `close` when done (or use `with`)."""

    def __init__(self, store: SqliteStore, chain: Chain, clock: Callable[[], int]) -> None:
        self._store = store
        self._chain = chain
        self._clock = clock
        self._lock = threading.RLock()
        self.chain_id: int = chain.chain_id

    @classmethod
    def open(
        cls, directory: Path, *, fund: Sequence[bytes], clock: Callable[[], int]
    ) -> EmbeddedChain:
        """Open the chain in `directory`, or found one there.

        `fund` are 20-byte addresses that get GENESIS_BALANCE in a new chain's first state; an
        existing chain ignores it. `clock` gives seconds since 1970. Raises ChainDirectoryInUse,
        CorruptChain, ChainStorageFull.
        """
        try:
            directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ChainStorageFailed(
                f"{directory} can't be made ({error.strerror}): check the path and its permissions"
            ) from error
        store = SqliteStore(directory / DATABASE_NAME)
        try:
            chain = (
                _found(store, fund, clock()) if store.meta("chain_id") is None else _reopen(store)
            )
        except BaseException:
            store.close()
            raise
        return cls(store, chain, clock)

    def close(self) -> None:
        """Let go of the files. Nothing is waiting to be written."""
        with self._lock:
            self._store.close()

    def __enter__(self) -> EmbeddedChain:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    # Blocks and transactions

    def head(self) -> BlockHeaderAPI:
        """The newest block's header."""
        with self._lock:
            return self._chain.get_canonical_head()

    def header(self, number_or_hash: int | bytes) -> BlockHeaderAPI | None:
        """A header by number or 32-byte hash, or None."""
        with self._lock:
            try:
                if isinstance(number_or_hash, int):
                    return self._chain.get_canonical_block_header_by_number(number_or_hash)  # type: ignore[arg-type]
                return self._chain.get_block_header_by_hash(number_or_hash)  # type: ignore[arg-type]
            except (HeaderNotFound, ValidationError):
                return None
            except (rlp.exceptions.RLPException, TypeError, ValueError):
                # Headers share their key space with trie nodes: a node's hash is no block's.
                return None

    def block(self, header: BlockHeaderAPI) -> tuple[BlockAPI, tuple[ReceiptAPI, ...]]:
        """The block of a header, with its receipts."""
        with self._lock:
            block = self._chain.get_block_by_header(header)
            return block, tuple(block.get_receipts(self._chain.chaindb))

    def mined(self, transaction_hash: bytes) -> Mined | None:
        """A transaction by its 32-byte hash, or None."""
        with self._lock:
            try:
                number, index = self._chain.get_canonical_transaction_index(transaction_hash)  # type: ignore[arg-type]
            except TransactionNotFound:
                return None
            block, receipts = self.block(self._chain.get_canonical_block_header_by_number(number))
            return Mined(block.transactions[index], index, block, receipts)

    def logs(self, wanted: LogFilter) -> list[LogEntry]:
        """Events that match, in chain order."""
        with self._lock:
            return find_logs(self._store, wanted)

    # State

    def balance(self, address: bytes, at: BlockHeaderAPI) -> int:
        """Wei of a 20-byte address after block `at`."""
        with self._lock:
            return self._state(at).get_balance(Address(address))

    def nonce(self, address: bytes, at: BlockHeaderAPI) -> int:
        """How many transactions the address has sent, after block `at`."""
        with self._lock:
            return self._state(at).get_nonce(Address(address))

    def code(self, address: bytes, at: BlockHeaderAPI) -> bytes:
        """The contract's runtime code, empty if there is none."""
        with self._lock:
            return self._state(at).get_code(Address(address))

    def storage(self, address: bytes, slot: int, at: BlockHeaderAPI) -> int:
        """One 256-bit storage word."""
        with self._lock:
            return self._state(at).get_storage(Address(address), slot)

    def _state(self, at: BlockHeaderAPI) -> StateAPI:
        # A costless state: with no base fee a call needs no balance for its gas. Nothing is
        # persisted, so the state is simply dropped after use.
        return self._chain.get_vm(at.copy(base_fee_per_gas=0)).state

    def call(self, call: Call, at: BlockHeaderAPI) -> bytes:
        """Run a message on the state after `at`; the bytes it returns.

        Raises CallReverted, or RpcError for other failures.
        """
        computation = self._run(call, _gas_ceiling(call, at), at)
        _raise_failure(computation)
        return computation.output

    def estimate_gas(self, call: Call, at: BlockHeaderAPI) -> int:
        """The gas limit a transaction needs to succeed. Raises CallReverted, RpcError."""
        ceiling = _gas_ceiling(call, at)
        computation = self._run(call, ceiling, at)
        _raise_failure(computation)
        zeros = call.data.count(0)
        tokens = zeros + STANDARD_TOKEN_COST * (len(call.data) - zeros)
        floor = GAS_TX + TOTAL_COST_FLOOR_PER_TOKEN * tokens
        used = max(ceiling - computation.get_gas_remaining(), floor)
        # What was used is enough unless an inner call kept back its 64th part: then search upwards.
        low, high, trial = used - 1, ceiling, used
        while high - low > 1:
            if self._run(call, trial, at).is_error:
                low = trial
                trial = min(trial + max(trial // 32, 1), (low + high) // 2)
            else:
                high = trial
                trial = (low + high) // 2
        return high

    def _run(self, call: Call, gas: int, at: BlockHeaderAPI) -> ComputationAPI:
        # Locked for one execution only, so that mining gets its turn between those of an estimate.
        with self._lock:
            return self._run_locked(call, gas, at)

    def _run_locked(self, call: Call, gas: int, at: BlockHeaderAPI) -> ComputationAPI:
        state = self._state(at)
        builder: Any = FastPragueVM.get_transaction_builder()
        unsigned = builder.new_unsigned_dynamic_fee_transaction(
            chain_id=self.chain_id,
            nonce=state.get_nonce(Address(call.sender)),
            max_priority_fee_per_gas=0,
            max_fee_per_gas=0,
            gas=gas,
            to=CREATE_CONTRACT_ADDRESS if call.to is None else Address(call.to),
            value=call.value,
            data=call.data,
            access_list=(),
        )
        transaction: Any = SpoofTransaction(unsigned, from_=call.sender)
        if gas < transaction.intrinsic_gas:
            raise RpcError(
                -32000, f"intrinsic gas too low: have {gas}, want {transaction.intrinsic_gas}"
            )
        executor = state.get_transaction_executor()
        message = executor.build_evm_message(transaction)
        return executor.build_computation(message, transaction)

    # Mining

    def send_raw_transaction(self, raw: bytes) -> bytes:
        """Mine a signed transaction into a block of its own; its 32-byte hash.

        A transaction that reverts is mined too, as on any chain. Raises NonceTooLow, FeeTooLow,
        InsufficientFunds or another TransactionRejected, and ChainStorageFull; then nothing
        changed.
        """
        transaction = _decode(raw)
        with self._lock:
            parent = self._chain.get_canonical_head()
            header = self._next_header(parent)
            self._check_acceptable(transaction, header)
            with self._store.transaction():
                try:
                    self._mine(transaction, header)
                except (ValidationError, PyEVMError) as error:
                    raise TransactionRejected(f"invalid transaction: {error}") from error
            return bytes(transaction.hash)

    def _next_header(self, parent: BlockHeaderAPI) -> BlockHeaderAPI:
        return self._chain.create_header_from_parent(
            parent,
            timestamp=max(self._clock(), parent.timestamp + 1),
            gas_limit=parent.gas_limit,
            mix_hash=secrets.token_bytes(32),
        )

    def _check_acceptable(self, transaction: SignedTransactionAPI, header: BlockHeaderAPI) -> None:
        # Said in the words of the usual clients, for their users and for potnode.chain.rpc.
        if transaction.chain_id != self.chain_id:
            raise TransactionRejected(
                f"invalid chain id for signer: have {transaction.chain_id} want {self.chain_id}"
            )
        sender = transaction.sender
        state = self._state(self._chain.get_canonical_head())
        nonce = state.get_nonce(sender)
        if transaction.nonce < nonce:
            raise NonceTooLow(f"nonce too low: next nonce {nonce}, tx nonce {transaction.nonce}")
        if transaction.nonce > nonce:
            raise TransactionRejected(
                f"nonce too high: next nonce {nonce}, tx nonce {transaction.nonce}: "
                "this chain queues nothing"
            )
        if transaction.max_fee_per_gas < base_fee(header):
            raise FeeTooLow(
                "max fee per gas less than block base fee: "
                f"maxFeePerGas {transaction.max_fee_per_gas}, baseFee {base_fee(header)}"
            )
        cost = transaction.gas * transaction.max_fee_per_gas + transaction.value
        balance = state.get_balance(sender)
        if balance < cost:
            raise InsufficientFunds(
                "insufficient funds for gas * price + value: "
                f"address 0x{sender.hex()} have {balance} want {cost}"
            )
        if transaction.gas > header.gas_limit:
            raise TransactionRejected(
                f"exceeds block gas limit: {transaction.gas} > {header.gas_limit}"
            )

    def _mine(self, transaction: SignedTransactionAPI, header: BlockHeaderAPI) -> None:
        vm = self._chain.get_vm(header)
        header_after, receipts, _ = vm.apply_all_transactions((transaction,), header)
        filled = vm.set_block_transactions_and_withdrawals(
            vm.get_block(), header_after, (transaction,), receipts
        )
        block = vm.mine_block(filled).block
        self._chain.chaindb.persist_block(block)
        index_block(self._store, block, receipts)

    def limit_pages(self, pages: int) -> None:
        """Refuse to let the database grow beyond `pages` pages of 4,096 bytes (a quota)."""
        with self._lock:
            self._store.limit_pages(pages)


def _chain_class(chain_id: int) -> type[Chain]:
    configured: type[Chain] = Chain.configure(
        __name__="EmbeddedVmChain", chain_id=chain_id, vm_configuration=((0, FastPragueVM),)
    )
    return configured


def _found(store: SqliteStore, fund: Sequence[bytes], now: int) -> Chain:
    # Above the registered chain ids, below 2^53 so that every JSON reader keeps it exact.
    chain_id = 2**40 + secrets.randbelow(2**53 - 2**40)
    parameters: dict[str, HeaderParams] = {
        "difficulty": 0,
        "gas_limit": GAS_LIMIT,
        "timestamp": now,
        "coinbase": _ZERO_ADDRESS,
        "mix_hash": secrets.token_bytes(32),
        "extra_data": b"",
        "transaction_root": BLANK_ROOT_HASH,
        "receipt_root": BLANK_ROOT_HASH,
    }
    state: AccountState = {
        Address(address): {"balance": GENESIS_BALANCE, "nonce": 0, "code": b"", "storage": {}}
        for address in fund
    }
    with store.transaction():
        chain = _chain_class(chain_id).from_genesis(store, parameters, state)
        store.set_meta("chain_id", str(chain_id))
    return chain  # type: ignore[return-value]


def _reopen(store: SqliteStore) -> Chain:
    try:
        chain = _chain_class(int(store.meta("chain_id") or ""))(store)
        chain.get_vm(chain.get_canonical_head()).state.get_balance(Address(_ZERO_ADDRESS))
    except (
        CanonicalHeadNotFound,
        HeaderNotFound,
        ValueError,
        KeyError,
        PyEVMError,
        rlp.exceptions.RLPException,
    ) as e:
        raise CorruptChain(
            f"{store.path} has no readable head block ({e!r}): "
            "restore it from a backup, or move it away to start anew"
        ) from e
    return chain


def _decode(raw: bytes) -> SignedTransactionAPI:
    try:
        transaction = FastPragueVM.get_transaction_builder().decode(raw)
        if getattr(transaction, "type_id", None) == BLOB_TX_TYPE:
            raise TransactionRejected("blob transactions are not supported by this chain")
        transaction.validate()
        # Recovering the sender is what proves the signature; py-evm's own check of it would do the
        # same again for three times the price. The sender stays cached in the transaction.
        _ = transaction.sender
    except TransactionRejected:
        raise
    except Exception as error:
        # py-evm lets whatever its decoders hit escape (RLP, type, value and index errors, bad
        # signatures); all of them say one thing: these bytes are no valid transaction.
        raise TransactionRejected(f"not a valid signed transaction: {error}") from error
    return transaction


def _gas_ceiling(call: Call, at: BlockHeaderAPI) -> int:
    return at.gas_limit if call.gas is None else min(call.gas, at.gas_limit)


def _raise_failure(computation: ComputationAPI) -> None:
    if not computation.is_error:
        return
    if isinstance(computation.error, Revert):
        raise CallReverted("execution reverted", bytes(computation.output))
    name = type(computation.error).__name__
    raise RpcError(-32000, f"execution failed: {name} {computation.error}".strip())
