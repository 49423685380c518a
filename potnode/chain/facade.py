"""JSON-RPC in front of the embedded chain, for web3 clients, wallets and this package's own ledger.

`request` never raises: whatever is asked, the answer is an object with `result` or `error`. Two
doors lead to the same methods: `Facade(chain)` only reads, and is what `/rpc` serves to strangers;
`Facade(chain, writable=True)` also takes signed transactions, and stays inside the process.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from eth.abc import BlockHeaderAPI
from eth_utils.crypto import keccak

from potnode.chain.embedded import GAS_LIMIT, Call, EmbeddedChain, base_fee
from potnode.chain.errors import CallReverted, ChainError, RpcError
from potnode.chain.hexes import HexError, data, parse_data, parse_quantity, quantity
from potnode.chain.logindex import MAX_TOPICS, LogFilter
from potnode.chain.objects import block_object, log_object, receipt_object, transaction_object

MAX_BATCH = 100
MAX_CHOICES = 100
"""Addresses, or alternatives of one topic, in a log filter."""
MAX_FEE_HISTORY = 1024
READER_GAS = 5_000_000
"""Most gas a stranger's call may use: some seconds of interpreting, when nothing is mined."""

PARSE_ERROR = -32700
INVALID_REQUEST = -32600
METHOD_NOT_FOUND = -32601
INVALID_PARAMS = -32602
INTERNAL_ERROR = -32603

_BLOCK_TAGS = frozenset({"latest", "pending", "safe", "finalized"})
_CALL_KEYS = frozenset(
    [
        "from",
        "to",
        "gas",
        "gasPrice",
        "maxFeePerGas",
        "maxPriorityFeePerGas",
        "value",
        "data",
        "input",
        "nonce",
        "type",
        "chainId",
        "accessList",
    ]
)
_LOG_KEYS = frozenset({"fromBlock", "toBlock", "address", "topics", "blockHash"})

_log = logging.getLogger(__name__)

Params = Sequence[Any]
Response = dict[str, Any]


class _BadParams(Exception):
    """The parameters of a request are not what the method takes."""


class Facade:
    """Answers JSON-RPC requests. Safe to use from any thread."""

    def __init__(self, chain: EmbeddedChain, *, writable: bool = False) -> None:
        self._chain = chain
        self._gas_cap = GAS_LIMIT if writable else READER_GAS
        self._methods: dict[str, tuple[Callable[[Params], Any], int, int]] = {
            # name: (method, fewest parameters, most parameters)
            "eth_chainId": (lambda _: quantity(chain.chain_id), 0, 0),
            "net_version": (lambda _: str(chain.chain_id), 0, 0),
            "net_listening": (lambda _: True, 0, 0),
            "net_peerCount": (lambda _: quantity(0), 0, 0),
            "web3_clientVersion": (lambda _: "potnode/embedded/prague", 0, 0),
            "web3_sha3": (lambda params: data(keccak(_bytes(params[0]))), 1, 1),
            "eth_syncing": (lambda _: False, 0, 0),
            "eth_mining": (lambda _: False, 0, 0),
            "eth_accounts": (lambda _: [], 0, 0),
            "eth_blockNumber": (lambda _: quantity(chain.head().block_number), 0, 0),
            "eth_gasPrice": (self._gas_price, 0, 0),
            "eth_maxPriorityFeePerGas": (lambda _: quantity(0), 0, 0),
            "eth_feeHistory": (self._fee_history, 2, 3),
            "eth_getBalance": (self._balance, 1, 2),
            "eth_getCode": (self._code, 1, 2),
            "eth_getStorageAt": (self._storage, 2, 3),
            "eth_getTransactionCount": (self._nonce, 1, 2),
            "eth_call": (self._call, 1, 2),
            "eth_estimateGas": (self._estimate, 1, 2),
            "eth_getLogs": (self._logs, 1, 1),
            "eth_getBlockByNumber": (self._block_by_number, 1, 2),
            "eth_getBlockByHash": (self._block_by_hash, 1, 2),
            "eth_getBlockTransactionCountByNumber": (self._block_size, 1, 1),
            "eth_getTransactionByHash": (self._transaction, 1, 1),
            "eth_getTransactionReceipt": (self._receipt, 1, 1),
            "eth_getBlockReceipts": (self._block_receipts, 1, 1),
        }
        if writable:
            self._methods["eth_sendRawTransaction"] = (self._send, 1, 1)

    @property
    def methods(self) -> frozenset[str]:
        """The names this door answers."""
        return frozenset(self._methods)

    def request(self, method: str, params: Params) -> Response:
        """`{"result": ...}` or `{"error": {"code", "message"[, "data"]}}`."""
        if method not in self._methods:
            return _error(METHOD_NOT_FOUND, f"the method {_shown(method)} is not available here")
        function, fewest, most = self._methods[method]
        if not fewest <= len(params) <= most:
            wanted = str(fewest) if fewest == most else f"{fewest} to {most}"
            return _error(
                INVALID_PARAMS, f"{method} takes {wanted} parameters, {len(params)} were given"
            )
        try:
            return {"result": function(params)}
        except (_BadParams, HexError) as error:
            return _error(INVALID_PARAMS, f"{method}: {error}")
        except CallReverted as error:
            return _error(error.code, error.message, error.data)
        except RpcError as error:
            return _error(error.code, error.message)
        except ChainError as error:
            return _error(INTERNAL_ERROR, str(error))
        except Exception:  # noqa: BLE001 - see below
            # The last line of defence of a server's door: a stranger's request must not end the
            # node, and the answer must not show its insides.
            _log.exception("JSON-RPC method %s failed", method)
            return _error(INTERNAL_ERROR, "internal error: see the node's log")

    def handle(self, body: bytes) -> bytes:
        """Answer the body of an HTTP POST, a request or a batch; empty for notifications alone."""
        try:
            asked = json.loads(body)
        except (ValueError, RecursionError):
            return _encoded(_envelope(None, _error(PARSE_ERROR, "the body is not JSON")))
        if not isinstance(asked, list):
            answer = self._answer(asked)
            return b"" if answer is None else _encoded(answer)
        if not 1 <= len(asked) <= MAX_BATCH:
            refusal = _error(INVALID_REQUEST, f"a batch holds 1 to {MAX_BATCH} requests")
            return _encoded(_envelope(None, refusal))
        answers = [answer for answer in map(self._answer, asked) if answer is not None]
        return _encoded(answers) if answers else b""

    def _answer(self, asked: Any) -> Response | None:
        if not isinstance(asked, dict) or not isinstance(asked.get("method"), str):
            return _envelope(None, _error(INVALID_REQUEST, "a request is an object with a method"))
        identity = asked.get("id")
        if not isinstance(identity, str | int | float | None):
            return _envelope(None, _error(INVALID_REQUEST, "an id is a string, a number or null"))
        params = asked.get("params", [])
        if not isinstance(params, list):
            return _envelope(identity, _error(INVALID_PARAMS, "params is an array"))
        response = self.request(asked["method"], params)
        return _envelope(identity, response) if "id" in asked else None

    # Methods

    def _gas_price(self, _: Params) -> str:
        return quantity(base_fee(self._chain.head()))

    def _fee_history(self, params: Params) -> Response:
        asked = params[0]
        count = (
            asked
            if isinstance(asked, int) and not isinstance(asked, bool)
            else parse_quantity(asked)
        )
        percentiles = params[2] if len(params) > 2 else None
        if percentiles is not None and not isinstance(percentiles, list):
            raise _BadParams("reward percentiles are an array")
        newest = self._header(params[1])
        count = min(count, MAX_FEE_HISTORY, newest.block_number + 1)
        oldest = newest.block_number + 1 - count
        headers = [self._known_header(number) for number in range(oldest, newest.block_number + 1)]
        fees = [quantity(base_fee(header)) for header in headers]
        found: Response = {
            "oldestBlock": quantity(oldest),
            # One more than blocks: the fee of the block after the newest, which is at most an
            # eighth higher.
            "baseFeePerGas": [*fees, quantity(base_fee(newest))],
            "gasUsedRatio": [header.gas_used / header.gas_limit for header in headers],
        }
        if percentiles is not None:
            found["reward"] = [[quantity(0)] * len(percentiles) for _ in headers]
        return found

    def _balance(self, params: Params) -> str:
        return quantity(self._chain.balance(_address(params[0]), self._state_block(params, 1)))

    def _code(self, params: Params) -> str:
        return data(self._chain.code(_address(params[0]), self._state_block(params, 1)))

    def _nonce(self, params: Params) -> str:
        return quantity(self._chain.nonce(_address(params[0]), self._state_block(params, 1)))

    def _storage(self, params: Params) -> str:
        slot = (
            _bytes(params[1], 32) if isinstance(params[1], str) and len(params[1]) == 66 else None
        )
        number = int.from_bytes(slot, "big") if slot is not None else parse_quantity(params[1])
        word = self._chain.storage(_address(params[0]), number, self._state_block(params, 2))
        return data(word.to_bytes(32, "big"))

    def _call(self, params: Params) -> str:
        return data(self._chain.call(self._message(params[0]), self._state_block(params, 1)))

    def _estimate(self, params: Params) -> str:
        return quantity(
            self._chain.estimate_gas(self._message(params[0]), self._state_block(params, 1))
        )

    def _logs(self, params: Params) -> list[Response]:
        asked = params[0]
        if not isinstance(asked, dict) or not set(asked) <= _LOG_KEYS:
            raise _BadParams(f"a log filter is an object of {', '.join(sorted(_LOG_KEYS))}")
        if asked.get("blockHash") is not None:
            if asked.get("fromBlock") is not None or asked.get("toBlock") is not None:
                raise _BadParams("a log filter has either blockHash or fromBlock and toBlock")
            header = self._chain.header(_bytes(asked["blockHash"], 32))
            if header is None:
                raise RpcError(-32000, "unknown block")
            first = last = int(header.block_number)
        else:
            first = self._block_number(asked.get("fromBlock") or "latest")
            last = self._block_number(asked.get("toBlock") or "latest")
            if first > last:
                raise _BadParams(f"fromBlock {first} is after toBlock {last}")
        wanted = LogFilter(
            first, last, _choice(asked.get("address"), 20), _topics(asked.get("topics"))
        )
        return [log_object(entry) for entry in self._chain.logs(wanted)]

    def _block_by_number(self, params: Params) -> Response | None:
        header = self._chain.header(self._block_number(params[0]))
        return self._block_of(header, params)

    def _block_by_hash(self, params: Params) -> Response | None:
        return self._block_of(self._chain.header(_bytes(params[0], 32)), params)

    def _block_of(self, header: BlockHeaderAPI | None, params: Params) -> Response | None:
        full = params[1] if len(params) > 1 else False
        if not isinstance(full, bool):
            raise _BadParams(
                "the second parameter says with true or false whether transactions come whole"
            )
        return None if header is None else block_object(self._chain.block(header)[0], full)

    def _block_size(self, params: Params) -> str | None:
        header = self._chain.header(self._block_number(params[0]))
        return None if header is None else quantity(len(self._chain.block(header)[0].transactions))

    def _transaction(self, params: Params) -> Response | None:
        mined = self._chain.mined(_bytes(params[0], 32))
        return (
            None
            if mined is None
            else transaction_object(mined.transaction, mined.index, mined.block.header)
        )

    def _receipt(self, params: Params) -> Response | None:
        mined = self._chain.mined(_bytes(params[0], 32))
        return None if mined is None else receipt_object(mined)

    def _block_receipts(self, params: Params) -> list[Response] | None:
        header = self._chain.header(self._block_number(params[0]))
        if header is None:
            return None
        mined = [self._chain.mined(tx.hash) for tx in self._chain.block(header)[0].transactions]
        return [receipt_object(each) for each in mined if each is not None]

    def _send(self, params: Params) -> str:
        return data(self._chain.send_raw_transaction(_bytes(params[0])))

    # Parameters

    def _message(self, asked: object) -> Call:
        call = _message(asked)
        gas = self._gas_cap if call.gas is None else min(call.gas, self._gas_cap)
        return replace(call, gas=gas)

    def _block_number(self, tag: object) -> int:
        if tag == "earliest":
            return 0
        if isinstance(tag, str) and tag in _BLOCK_TAGS:
            return self._chain.head().block_number
        return parse_quantity(tag)

    def _state_block(self, params: Params, position: int) -> BlockHeaderAPI:
        return self._header(params[position] if len(params) > position else "latest")

    def _header(self, tag: object) -> BlockHeaderAPI:
        if isinstance(tag, dict):  # EIP-1898
            if set(tag) <= {"blockHash", "requireCanonical"} and "blockHash" in tag:
                return self._known_header(_bytes(tag["blockHash"], 32))
            if set(tag) == {"blockNumber"}:
                return self._known_header(self._block_number(tag["blockNumber"]))
            raise _BadParams("a block object has blockHash or blockNumber")
        return self._known_header(self._block_number(tag))

    def _known_header(self, number_or_hash: int | bytes) -> BlockHeaderAPI:
        header = self._chain.header(number_or_hash)
        if header is None:
            raise RpcError(-32000, "header not found")
        return header


def _bytes(value: object, length: int | None = None) -> bytes:
    return parse_data(value, length)


def _address(value: object) -> bytes:
    return parse_data(value, 20)


def _message(asked: object) -> Call:
    if not isinstance(asked, dict):
        raise _BadParams("a call is an object")
    unknown = set(asked) - _CALL_KEYS
    if unknown:
        raise _BadParams(f"a call has no member {_shown(min(unknown))}")
    given = {key: value for key, value in asked.items() if value is not None}
    if "data" in given and "input" in given and given["data"] != given["input"]:
        raise _BadParams("data and input differ: give one")
    return Call(
        sender=_address(given["from"]) if "from" in given else bytes(20),
        to=_address(given["to"]) if "to" in given else None,
        data=_bytes(given.get("input", given.get("data", "0x"))),
        value=parse_quantity(given.get("value", "0x0")),
        gas=parse_quantity(given["gas"]) if "gas" in given else None,
    )


def _choice(value: object, length: int) -> tuple[bytes, ...]:
    if value is None:
        return ()
    values = value if isinstance(value, list) else [value]
    if len(values) > MAX_CHOICES:
        raise _BadParams(f"at most {MAX_CHOICES} alternatives can be given")
    return tuple(parse_data(each, length) for each in values)


def _topics(value: object) -> tuple[tuple[bytes, ...], ...]:
    if value is None:
        return ()
    if not isinstance(value, list) or len(value) > MAX_TOPICS:
        raise _BadParams(f"topics is an array of at most {MAX_TOPICS}")
    return tuple(_choice(each, 32) for each in value)


def _error(code: int, message: str, detail: object = None) -> Response:
    error: Response = {"code": code, "message": message}
    if detail is not None:
        error["data"] = detail
    return {"error": error}


def _envelope(identity: object, response: Response) -> Response:
    return {"jsonrpc": "2.0", "id": identity, **response}


def _encoded(answer: object) -> bytes:
    return json.dumps(answer, separators=(",", ":")).encode()


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
