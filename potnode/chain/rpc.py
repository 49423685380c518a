"""A chain by JSON-RPC: the embedded one in this process, or any node by URL.

`HttpTransport` and `EmbeddedTransport` differ in how a request travels; `Connection` is everything
that can be asked of a chain (the port `Chain`); `RpcLedger` is a connection with the contract's
address (the port `Ledger`). The words nodes use for their errors are understood here and nowhere
else.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NoReturn, TypeVar
from urllib.parse import urlsplit

import requests
from eth_utils.crypto import keccak
from web3 import HTTPProvider
from web3.types import RPCEndpoint

from potnode.chain.embedded import EmbeddedChain
from potnode.chain.errors import (
    BadChainData,
    CallReverted,
    ChainUnavailable,
    ContractMissing,
    FeeTooLow,
    InsufficientFunds,
    NonceTooLow,
    RpcError,
    TransactionRejected,
    WrongChain,
)
from potnode.chain.facade import METHOD_NOT_FOUND, Facade
from potnode.chain.hexes import HexError, data, parse_data, parse_quantity, quantity
from potnode.chain.ports import Fees, Log, Receipt, Transport
from potnode.chain.retry import Backoff

TIMEOUT = 20.0
"""Seconds for one HTTP request."""
READ_ATTEMPTS = 4
"""Of a read, before it counts as failed. The transport never sends a transaction twice."""
LOG_SPAN = 5_000
"""Blocks asked for in one eth_getLogs; halved whenever a node finds it too many."""
DEFAULT_TIP = 10**9
"""Wei per gas offered to miners where the node has no opinion."""

# What clients say (geth, erigon, nethermind, besu, reth, anvil), in lower case.
_KNOWN_ALREADY = (
    "already known",
    "alreadyknown",
    "known transaction",
    "already imported",
    "already in mempool",
)
_NONCE_TOO_LOW = ("nonce too low", "nonce is too low", "oldnonce", "nonce_too_low")
_FEE_TOO_LOW = (
    "underpriced",
    "fee too low",
    "feetoolow",
    "less than block base fee",
    "gas price too low",
    "gas price below",
)
_NO_FUNDS = ("insufficient funds", "insufficient balance", "insufficientfunds")

T = TypeVar("T")


class EmbeddedTransport:
    """Asks the chain in this process; transactions are taken too."""

    def __init__(self, chain: EmbeddedChain) -> None:
        self._facade = Facade(chain, writable=True)

    def request(self, method: str, params: Sequence[Any]) -> Any:
        """See `Transport`."""
        return _result_of(method, self._facade.request(method, params))


class HttpTransport:
    """Asks a node over HTTP, through web3's provider. Safe to use from several threads.

    `sleep` is how it waits between attempts of a read.
    """

    def __init__(
        self,
        url: str,
        *,
        timeout: float = TIMEOUT,
        backoff: Backoff | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        # Retrying is done below: web3's own would send transactions again, and without jitter.
        self._provider = HTTPProvider(
            url, request_kwargs={"timeout": timeout}, exception_retry_configuration=None
        )
        self._backoff = backoff or Backoff()
        self._sleep = sleep
        # Only scheme and host are ever shown: the rest of such URLs often is somebody's access key.
        parts = urlsplit(url)
        self.name = f"{parts.scheme}://{parts.hostname or ''}" + (
            f":{parts.port}" if parts.port else ""
        )

    def __repr__(self) -> str:
        return f"HttpTransport({self.name})"

    def request(self, method: str, params: Sequence[Any]) -> Any:
        """See `Transport`."""
        attempts = 1 if method == "eth_sendRawTransaction" else READ_ATTEMPTS
        for attempt in range(attempts):
            try:
                return self._request_once(method, params)
            except ChainUnavailable:
                if attempt == attempts - 1:
                    raise
                self._sleep(self._backoff.wait(attempt))
        raise AssertionError("unreachable: the last attempt returns or raises")

    def _request_once(self, method: str, params: Sequence[Any]) -> Any:
        try:
            response = self._provider.make_request(RPCEndpoint(method), list(params))
        except requests.RequestException as error:
            # The exception's own text has the whole URL in it.
            kind = type(error).__name__
            status = error.response.status_code if error.response is not None else None
            detail = kind if status is None else f"HTTP status {status}"
            raise ChainUnavailable(
                f"the node at {self.name} did not answer {method} ({detail}): "
                "check that it runs and can be reached"
            ) from None
        except ValueError:
            raise ChainUnavailable(
                f"the node at {self.name} answered {method} with something that is no JSON"
            ) from None
        return _result_of(method, response)


def _result_of(method: str, response: object) -> Any:
    if not isinstance(response, dict):
        raise BadChainData(f"the node answered {method} with no JSON-RPC object")
    error = response.get("error")
    if error is None:
        if "result" not in response:
            raise BadChainData(f"the node answered {method} with neither result nor error")
        return response["result"]
    if isinstance(error, dict):
        code = error.get("code")
        raise RpcError(
            code if isinstance(code, int) else 0,
            str(error.get("message", "no message")),
            error.get("data"),
        )
    raise RpcError(0, str(error))


class Connection:
    """A chain that is known to be the expected one. Shares `Transport`'s errors."""

    def __init__(
        self, transport: Transport, *, chain_id: int | None = None, name: str = "the node"
    ) -> None:
        """`chain_id` pins the chain: raises WrongChain if the node serves another (None: any)."""
        self._transport = transport
        self._chain_id = self._quantity("eth_chainId", [])
        if chain_id is not None and self._chain_id != chain_id:
            raise WrongChain(chain_id, self._chain_id, name)

    @property
    def chain_id(self) -> int:
        """EIP-155 id."""
        return self._chain_id

    def request(self, method: str, params: Sequence[Any]) -> Any:
        """One request as it is."""
        return self._transport.request(method, params)

    def _quantity(self, method: str, params: Sequence[Any]) -> int:
        return _parsed(method, parse_quantity, self.request(method, params))

    def latest_block(self) -> int:
        """Number of the newest block."""
        return self._quantity("eth_blockNumber", [])

    def block_timestamp(self, number: int | None = None) -> int:
        """Seconds since 1970 of a block (None: the newest)."""
        return _parsed("eth_getBlockByNumber", parse_quantity, self._block(number).get("timestamp"))

    def _block(self, number: int | None) -> dict[str, Any]:
        block = self.request("eth_getBlockByNumber", [_tag(number), False])
        if not isinstance(block, dict):
            raise BadChainData(f"the node has no block {'latest' if number is None else number}")
        return block

    def balance(self, address: bytes) -> int:
        """Wei of a 20-byte address."""
        return self._quantity("eth_getBalance", [data(address), "latest"])

    def code(self, address: bytes) -> bytes:
        """Runtime code at an address, empty if there is none."""
        return _parsed(
            "eth_getCode", parse_data, self.request("eth_getCode", [data(address), "latest"])
        )

    def next_nonce(self, address: bytes) -> int:
        """Nonce of the address's next transaction, those waiting to be mined counted."""
        return self._quantity("eth_getTransactionCount", [data(address), "pending"])

    def fees(self) -> Fees:
        """Twice the newest base fee, which lasts for six full blocks of increases, and the node's
        tip.
        """
        base = self._block(None).get("baseFeePerGas")
        if base is None:
            raise BadChainData(
                "the chain has no base fee: potnode needs a chain with EIP-1559 transactions"
            )
        try:
            tip = self._quantity("eth_maxPriorityFeePerGas", [])
        except RpcError as error:
            if error.code != METHOD_NOT_FOUND:
                raise
            tip = DEFAULT_TIP
        return Fees(2 * _parsed("baseFeePerGas", parse_quantity, base) + tip, tip)

    def call(self, to: bytes, call_data: bytes, *, block: int | None = None) -> bytes:
        """Run call data on a contract. Raises CallReverted."""
        message = {"to": data(to), "data": data(call_data)}
        try:
            return _parsed("eth_call", parse_data, self.request("eth_call", [message, _tag(block)]))
        except RpcError as error:
            _raise_revert(error)

    def estimate_gas(
        self, to: bytes | None, call_data: bytes, *, sender: bytes, value: int = 0
    ) -> int:
        """Gas of a transaction (`to` None: a contract creation). Raises CallReverted."""
        message = {"from": data(sender), "data": data(call_data), "value": quantity(value)}
        if to is not None:
            message["to"] = data(to)
        try:
            # By default nodes estimate on top of what is pending, where a record that is to be
            # replaced has been recorded already.
            return self._quantity("eth_estimateGas", [message, "latest"])
        except RpcError as error:
            _raise_revert(error)

    def send_raw_transaction(self, raw: bytes) -> bytes:
        """Hand over a signed transaction; its 32-byte hash. See `Ledger` for the errors."""
        try:
            sent = self.request("eth_sendRawTransaction", [data(raw)])
        except RpcError as error:
            said = error.message.lower()
            if any(words in said for words in _KNOWN_ALREADY):
                return keccak(raw)
            kind = TransactionRejected
            for words, candidate in (
                (_NONCE_TOO_LOW, NonceTooLow),
                (_FEE_TOO_LOW, FeeTooLow),
                (_NO_FUNDS, InsufficientFunds),
            ):
                if any(word in said for word in words):
                    kind = candidate
                    break
            raise kind(error.message, error.code, error.data) from error
        return _parsed("eth_sendRawTransaction", lambda value: parse_data(value, 32), sent)

    def receipt(self, transaction_hash: bytes) -> Receipt | None:
        """The receipt, or None while the transaction is in no block."""
        found = self.request("eth_getTransactionReceipt", [data(transaction_hash)])
        if found is None or (isinstance(found, dict) and found.get("blockNumber") is None):
            return None
        return _parsed("eth_getTransactionReceipt", _receipt, found)

    def call_data(self, transaction_hash: bytes) -> bytes | None:
        """What a transaction was sent with, or None if the node does not have it."""
        method = "eth_getTransactionByHash"
        found = self.request(method, [data(transaction_hash)])
        return None if found is None else _parsed(method, lambda t: parse_data(t["input"]), found)

    def logs(
        self, address: bytes, topics: Sequence[bytes | None], first_block: int, last_block: int
    ) -> Iterator[Log]:
        """Events of a contract from `first_block` to `last_block` inclusive, in order."""
        span = LOG_SPAN
        at = first_block
        wanted = [None if topic is None else data(topic) for topic in topics]
        while at <= last_block:
            end = min(at + span - 1, last_block)
            asked = {
                "address": data(address),
                "topics": wanted,
                "fromBlock": quantity(at),
                "toBlock": quantity(end),
            }
            try:
                found = self.request("eth_getLogs", [asked])
            except RpcError:
                # Nodes limit blocks or results, each with its own words: fewer blocks help in all
                # cases.
                if span == 1:
                    raise
                span = max(1, min(span, end - at + 1) // 2)
                continue
            if not isinstance(found, list):
                raise BadChainData("the node answered eth_getLogs with no array")
            yield from (_parsed("eth_getLogs", _log, entry) for entry in found)
            at = end + 1


class RpcLedger:
    """The port `Ledger` over a connection: the contract at one address."""

    def __init__(self, connection: Connection, contract: bytes, *, first_block: int = 0) -> None:
        """`first_block` is where reading events begins: the contract's creation, or 0.

        Raises ContractMissing if there is no code at the 20-byte address.
        """
        if not connection.code(contract):
            raise ContractMissing(
                f"there is no contract at 0x{contract.hex()} on chain {connection.chain_id}: "
                "check the address, or deploy the contract first"
            )
        self._connection = connection
        self.first_block = first_block
        self._contract = contract

    @property
    def chain(self) -> Connection:
        """The chain the contract lives on."""
        return self._connection

    @property
    def contract(self) -> bytes:
        """The contract's 20-byte address."""
        return self._contract

    def call(self, data: bytes, *, block: int | None = None) -> bytes:
        """Run call data on the contract. Raises CallReverted."""
        return self._connection.call(self._contract, data, block=block)

    def logs(
        self,
        topics: Sequence[bytes | None],
        *,
        first_block: int | None = None,
        last_block: int | None = None,
    ) -> Iterator[Log]:
        """The contract's events in chain order."""
        first = self.first_block if first_block is None else first_block
        last = self._connection.latest_block() if last_block is None else last_block
        return self._connection.logs(self._contract, topics, first, last)


def _tag(block: int | None) -> str:
    return "latest" if block is None else quantity(block)


def _parsed(what: str, parse: Callable[[Any], T], value: Any) -> T:
    try:
        return parse(value)
    except (HexError, KeyError, TypeError, AttributeError) as error:
        raise BadChainData(f"the node answered {what} with something malformed: {error}") from error


def _receipt(found: dict[str, Any]) -> Receipt:
    created = found.get("contractAddress")
    return Receipt(
        transaction_hash=parse_data(found["transactionHash"], 32),
        block_number=parse_quantity(found["blockNumber"]),
        block_hash=parse_data(found["blockHash"], 32),
        succeeded=parse_quantity(found["status"]) == 1,
        gas_used=parse_quantity(found["gasUsed"]),
        contract=None if created is None else parse_data(created, 20),
    )


def _log(entry: dict[str, Any]) -> Log:
    return Log(
        topics=tuple(parse_data(topic, 32) for topic in entry["topics"]),
        data=parse_data(entry["data"]),
        block_number=parse_quantity(entry["blockNumber"]),
        log_index=parse_quantity(entry["logIndex"]),
        transaction_hash=parse_data(entry["transactionHash"], 32),
    )


def _raise_revert(error: RpcError) -> NoReturn:
    """Tell a revert from other errors: geth, anvil and others give its data beside code 3 or in
    words.
    """
    detail = error.data
    if isinstance(detail, dict):
        detail = detail.get("data", detail.get("result"))
    reverted = error.code == 3 or "revert" in error.message.lower()
    if not reverted:
        raise error
    try:
        revert_data = parse_data(detail) if isinstance(detail, str) else b""
    except HexError:
        revert_data = b""
    raise CallReverted(error.message, revert_data) from error
