"""Talking to nodes: refused addresses and chains, dead lines, odd answers."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

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
from potnode.chain.hexes import HexError, parse_data, parse_quantity
from potnode.chain.ports import Fees
from potnode.chain.retry import Backoff
from potnode.chain.rpc import LOG_SPAN, READ_ATTEMPTS, Connection, HttpTransport, RpcLedger
from tests.chain.conftest import World, free_port


class Scripted:
    """Answers by method: a value, an error to raise, or a function of the parameters."""

    def __init__(self, **answers: Any) -> None:
        self.answers = {"eth_chainId": "0x7", **answers}
        self.asked: list[tuple[str, Sequence[Any]]] = []

    def request(self, method: str, params: Sequence[Any]) -> Any:
        self.asked.append((method, params))
        answer = self.answers[method]
        if isinstance(answer, Callable):  # type: ignore[arg-type]
            answer = answer(params)
        if isinstance(answer, Exception):
            raise answer
        return answer


def test_an_address_without_code(world: World) -> None:
    with pytest.raises(ContractMissing, match="no contract at 0x5555"):
        RpcLedger(Connection(world.transport), b"\x55" * 20)


def test_another_chain(world: World) -> None:
    connection = Connection(world.transport)
    assert Connection(world.transport, chain_id=connection.chain_id).chain_id > 0
    with pytest.raises(WrongChain, match="but chain 1 was expected") as caught:
        Connection(world.transport, chain_id=1, name="https://node.example")
    assert caught.value.found == connection.chain_id


def test_a_dead_node_is_tried_again_and_then_unavailable() -> None:
    pauses: list[float] = []
    url = f"http://127.0.0.1:{free_port()}/v3/secret-access-key"
    transport = HttpTransport(
        url, timeout=1, sleep=pauses.append, backoff=Backoff(1.0, 3.0, lambda: 1.0)
    )
    with pytest.raises(ChainUnavailable, match="did not answer eth_chainId") as caught:
        Connection(transport)
    assert pauses == [1.0, 2.0, 3.0]
    assert len(pauses) == READ_ATTEMPTS - 1
    assert "secret" not in str(caught.value) + repr(transport)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__
    pauses.clear()
    with pytest.raises(ChainUnavailable):
        transport.request("eth_sendRawTransaction", ["0x00"])
    assert pauses == []


@pytest.fixture
def served() -> Iterator[tuple[str, list[tuple[int, bytes]]]]:
    """A server that answers with the (status, body) pairs of a list, the last one for ever."""
    answers: list[tuple[int, bytes]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            status, body = answers.pop(0) if len(answers) > 1 else answers[0]
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", answers
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_node_that_comes_back(served: tuple[str, list[tuple[int, bytes]]]) -> None:
    url, answers = served
    good = json.dumps({"jsonrpc": "2.0", "id": 1, "result": "0x7"}).encode()
    answers += [(503, b"later"), (200, b"<html>"), (429, b""), (200, good)]
    assert Connection(HttpTransport(url, sleep=lambda _: None)).chain_id == 7


@pytest.mark.parametrize("body", [b"[]", b"{}", b'{"jsonrpc":"2.0","id":1}', b'{"result": 7}'])
def test_answers_that_are_none(served: tuple[str, list[tuple[int, bytes]]], body: bytes) -> None:
    url, answers = served
    answers.append((200, body))
    with pytest.raises((BadChainData, ChainUnavailable)):
        Connection(HttpTransport(url, sleep=lambda _: None))


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        ("nonce too low: next nonce 4, tx nonce 3", NonceTooLow),
        ("OldNonce, Current nonce: 5, nonce of rejected tx: 3", NonceTooLow),
        ("replacement transaction underpriced", FeeTooLow),
        ("max fee per gas less than block base fee", FeeTooLow),
        ("FeeTooLow, MaxFeePerGas too low", FeeTooLow),
        ("insufficient funds for gas * price + value", InsufficientFunds),
        ("Insufficient funds for gas", InsufficientFunds),
        ("exceeds block gas limit", TransactionRejected),
    ],
)
def test_refusals_of_transactions_are_told_apart(
    message: str, kind: type[TransactionRejected]
) -> None:
    node = Scripted(eth_sendRawTransaction=RpcError(-32000, message))
    with pytest.raises(TransactionRejected) as caught:
        Connection(node).send_raw_transaction(b"\x02")
    assert type(caught.value) is kind


@pytest.mark.parametrize("message", ["already known", "AlreadyKnown", "Known transaction"])
def test_a_transaction_the_node_has_is_no_error(message: str) -> None:
    from eth_utils.crypto import keccak

    node = Scripted(eth_sendRawTransaction=RpcError(-32000, message))
    assert Connection(node).send_raw_transaction(b"\x02") == keccak(b"\x02")


@pytest.mark.parametrize(
    ("error", "data"),
    [
        (RpcError(3, "execution reverted", "0x1234"), b"\x12\x34"),
        (RpcError(-32000, "execution reverted"), b""),
        (RpcError(-32015, "VM execution error: reverted", {"data": "0x12"}), b"\x12"),
        (RpcError(3, "execution reverted", "Reverted 0x"), b""),
    ],
)
def test_reverts_in_many_words(error: RpcError, data: bytes) -> None:
    connection = Connection(Scripted(eth_call=error, eth_estimateGas=error))
    with pytest.raises(CallReverted) as caught:
        connection.call(bytes(20), b"")
    assert caught.value.revert_data == data
    with pytest.raises(CallReverted):
        connection.estimate_gas(bytes(20), b"", sender=bytes(20))


def test_other_errors_of_calls_stay_what_they_are() -> None:
    connection = Connection(Scripted(eth_call=RpcError(-32000, "header not found")))
    with pytest.raises(RpcError, match="header not found") as caught:
        connection.call(bytes(20), b"")
    assert not isinstance(caught.value, CallReverted)


def test_fees_without_an_opinion_on_tips() -> None:
    missing = RpcError(-32601, "no such method")
    node = Scripted(eth_getBlockByNumber={"baseFeePerGas": "0xa"}, eth_maxPriorityFeePerGas=missing)
    assert Connection(node).fees() == Fees(20 + 10**9, 10**9)
    node.answers["eth_maxPriorityFeePerGas"] = "0x2"
    assert Connection(node).fees() == Fees(22, 2)
    node.answers["eth_getBlockByNumber"] = {}
    with pytest.raises(BadChainData, match="no base fee"):
        Connection(node).fees()


def test_logs_are_asked_for_in_ranges_a_node_can_take() -> None:
    limit = 700

    def logs(params: Sequence[Any]) -> Any:
        first, last = (parse_quantity(params[0][name]) for name in ("fromBlock", "toBlock"))
        if last - first >= limit:
            return RpcError(-32005, "query exceeds max block range")
        hash_ = "0x" + "00" * 32
        return [
            {
                "topics": [hash_],
                "data": "0x",
                "blockNumber": hex(block),
                "logIndex": "0x0",
                "transactionHash": hash_,
            }
            for block in range(first, last + 1)
        ]

    node = Scripted(eth_getLogs=logs)
    found = Connection(node).logs(bytes(20), [None], 10, LOG_SPAN + 2000)
    assert [log.block_number for log in found] == list(range(10, LOG_SPAN + 2001))


def test_a_node_that_gives_no_logs_at_all() -> None:
    node = Scripted(eth_getLogs=RpcError(-32000, "no"))
    with pytest.raises(RpcError, match="no"):
        list(Connection(node).logs(bytes(20), [None], 0, 10))


@pytest.mark.parametrize(
    "value", [None, 7, "7", "0x", "0x07", "0xg", "0x 7", "0x" + "f" * 65, "-0x1"]
)
def test_quantities_are_strict(value: object) -> None:
    with pytest.raises(HexError):
        parse_quantity(value)


@pytest.mark.parametrize("value", [None, 7, "", "00", "0x0", "0x 0", "0x0g", "0x00 00"])
def test_data_is_strict(value: object) -> None:
    with pytest.raises(HexError):
        parse_data(value)
    with pytest.raises(HexError, match="bytes"):
        parse_data("0x00", 2)


def test_backoff_grows_to_its_cap() -> None:
    steady = Backoff(0.5, 4.0, lambda: 1.0)
    assert [steady.wait(n) for n in (0, 1, 2, 3, 4, 10**6)] == [0.5, 1.0, 2.0, 4.0, 4.0, 4.0]
    assert 0 <= Backoff().wait(3) <= 2.0
