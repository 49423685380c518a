"""JSON-RPC as strangers meet it: through web3 over HTTP, and by hand."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from web3 import HTTPProvider, Web3
from web3.exceptions import ContractCustomError, Web3RPCError

from potnode.chain import facade as facade_module
from potnode.chain import reader
from potnode.chain.contract import artifact, encode_call, event_topic
from potnode.chain.embedded import EmbeddedChain
from potnode.chain.facade import MAX_BATCH, Facade
from potnode.chain.hexes import data, quantity
from potnode.chain.keys import Key
from tests.chain.conftest import World, embedded_world
from tests.chain.test_embedded import transfer

COUNT = 3


@pytest.fixture
def recorded(chain: EmbeddedChain, key: Key) -> tuple[World, bytes]:
    """A chain with a job of three recorded steps."""
    world = embedded_world(chain, key)
    job, job_id = world.new_job()
    world.close_steps(job, job_id, COUNT)
    recorder = world.recorder()
    for _ in range(COUNT):
        recorder.step_once()
    return world, job_id


@pytest.fixture
def url(chain: EmbeddedChain) -> Iterator[str]:
    """A plain HTTP server in front of the reading door."""
    facade = Facade(chain)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            answer = facade.handle(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def test_web3_reads_the_contract(
    url: str, chain: EmbeddedChain, recorded: tuple[World, bytes]
) -> None:
    world, job_id = recorded
    web3 = Web3(HTTPProvider(url))
    assert web3.is_connected()
    assert web3.eth.chain_id == chain.chain_id
    assert web3.eth.block_number == chain.head().block_number
    assert web3.client_version.startswith("potnode/")
    contract = web3.eth.contract(
        address=Web3.to_checksum_address(world.contract), abi=list(artifact().abi)
    )
    assert contract.functions.steps(job_id).call() == COUNT
    assert contract.functions.jobs(job_id).call()[4] == COUNT
    events = contract.events.StepRecorded.get_logs(from_block=0, argument_filters={"job": job_id})
    items = list(world.outbox.items.values())
    assert [event["args"]["stepData"] for event in events] == [item.step_data for item in items]
    assert [event["args"]["step"] for event in events] == [0, 1, 2]
    (created,) = contract.events.JobCreated.get_logs(from_block=0)
    assert created["args"]["job"] == job_id
    with pytest.raises(ContractCustomError):
        contract.functions.close(bytes(32)).call()


def test_web3_reads_blocks_and_transactions(url: str, recorded: tuple[World, bytes]) -> None:
    world, _ = recorded
    web3 = Web3(HTTPProvider(url))
    tx_hash = world.outbox.items[recorded[1], 1].tx_hash or b""
    receipt = web3.eth.get_transaction_receipt(tx_hash.hex())  # type: ignore[arg-type]
    transaction = web3.eth.get_transaction(tx_hash.hex())  # type: ignore[arg-type]
    block = web3.eth.get_block(receipt["blockNumber"], full_transactions=True)
    assert receipt["status"] == 1
    assert transaction["from"] == world.key.checksum_address
    assert transaction["blockHash"] == block["hash"] == receipt["blockHash"]
    whole: Any = block["transactions"][0]
    assert whole["hash"] == transaction["hash"]
    assert block["parentHash"] == web3.eth.get_block(block["number"] - 1)["hash"]
    assert web3.eth.get_block(block["hash"])["transactions"] == [transaction["hash"]]
    assert receipt["effectiveGasPrice"] == transaction["gasPrice"]
    assert web3.eth.get_logs({"blockHash": block["hash"]}) == receipt["logs"]
    sender = Web3.to_checksum_address(world.key.address)
    assert int(web3.eth.get_transaction_count(sender)) == int(web3.eth.block_number)
    assert web3.eth.get_code(Web3.to_checksum_address(world.contract))
    history = web3.eth.fee_history(4, "latest", [50])
    assert len(history["baseFeePerGas"]) == 5
    assert len(history["gasUsedRatio"]) == 4
    assert web3.eth.gas_price <= web3.eth.get_block("earliest")["baseFeePerGas"]


def test_reading_doors_do_not_write(url: str, chain: EmbeddedChain, key: Key) -> None:
    web3 = Web3(HTTPProvider(url))
    with pytest.raises(Web3RPCError, match="not available here"):
        web3.eth.send_raw_transaction(transfer(chain, key, 0))
    assert chain.head().block_number == 0


def error_of(facade: Facade, method: str, *params: Any) -> tuple[int, str]:
    error = facade.request(method, list(params))["error"]
    return error["code"], error["message"]


ADDRESS = "0x" + "11" * 20


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("eth_getBalance", []),
        ("eth_getBalance", ["0x11"]),
        ("eth_getBalance", [ADDRESS[:-1] + "g"]),
        ("eth_getBalance", [ADDRESS, "newest"]),
        ("eth_getBalance", [ADDRESS, "0x01"]),
        ("eth_getBalance", [ADDRESS, {"number": "0x0"}]),
        ("eth_getBalance", [ADDRESS, "latest", "more"]),
        ("eth_getStorageAt", [ADDRESS, "slot"]),
        ("eth_call", ["data"]),
        ("eth_call", [{"to": ADDRESS, "date": "0x"}]),
        ("eth_call", [{"to": ADDRESS, "data": "0x1"}]),
        ("eth_call", [{"to": ADDRESS, "data": "0x11", "input": "0x22"}]),
        ("eth_getLogs", [[]]),
        ("eth_getLogs", [{"fromBlock": "0x1", "toBlock": "0x0"}]),
        ("eth_getLogs", [{"blockHash": "0x" + "00" * 32, "fromBlock": "0x0"}]),
        ("eth_getLogs", [{"topics": ["0x"]}]),
        ("eth_getLogs", [{"topics": [None] * 5}]),
        ("eth_getLogs", [{"address": [ADDRESS] * 101}]),
        ("eth_getBlockByNumber", ["latest", "yes"]),
        ("eth_getTransactionReceipt", [None]),
        ("eth_feeHistory", [True, "latest"]),
        ("eth_feeHistory", ["0x1", "latest", 50]),
    ],
)
def test_bad_params_are_named(chain: EmbeddedChain, method: str, params: list[Any]) -> None:
    code, message = error_of(Facade(chain), method, *params)
    assert code == -32602
    assert message.startswith(method)


def test_unknown_methods_and_blocks(chain: EmbeddedChain) -> None:
    facade = Facade(chain)
    for method in ("eth_sendRawTransaction", "eth_sign", "debug_traceCall", "", "__init__"):
        assert error_of(facade, method)[0] == -32601
    assert "eth_sendRawTransaction" in Facade(chain, writable=True).methods
    assert error_of(facade, "eth_getBalance", ADDRESS, "0x63")[0] == -32000
    unknown = "0x" + "ab" * 32
    assert error_of(facade, "eth_getLogs", {"blockHash": unknown})[0] == -32000
    for method in ("eth_getTransactionByHash", "eth_getTransactionReceipt"):
        assert facade.request(method, [unknown]) == {"result": None}
    assert facade.request("eth_getBlockByNumber", ["0x63", False]) == {"result": None}
    assert facade.request("eth_getBlockByHash", [unknown, False]) == {"result": None}
    # A node of the state's trie lies beside the headers, but it is no block.
    root = data(chain.head().state_root)
    assert facade.request("eth_getBlockByHash", [root, False]) == {"result": None}


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.text(max_size=8)
    | st.sampled_from([ADDRESS, "latest", "0x0", "0x", "0x" + "00" * 32]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                ["from", "to", "data", "value", "gas", "topics", "address", "blockHash", "x"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=8,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
@given(data=st.data())
def test_nothing_asked_raises(chain: EmbeddedChain, data: st.DataObject) -> None:
    facade = Facade(chain)
    method = data.draw(st.sampled_from(sorted(facade.methods)))
    answer = facade.request(method, data.draw(st.lists(JSON, max_size=3)))
    assert set(answer) in ({"result"}, {"error"})
    assert answer.get("error", {}).get("code") != -32603, answer


@given(body=st.binary(max_size=40) | JSON.map(lambda value: json.dumps(value).encode()))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_body_gets_an_answer(chain: EmbeddedChain, body: bytes) -> None:
    answer = json.loads(Facade(chain).handle(body))
    assert all("error" in each for each in (answer if isinstance(answer, list) else [answer]))


def test_envelopes(chain: EmbeddedChain) -> None:
    facade = Facade(chain)
    one = {"jsonrpc": "2.0", "id": "a", "method": "eth_chainId"}
    expected = {"jsonrpc": "2.0", "id": "a", "result": quantity(chain.chain_id)}
    assert json.loads(facade.handle(json.dumps(one).encode())) == expected
    silent = {"jsonrpc": "2.0", "method": "eth_chainId"}
    batch = [one, silent, {**one, "id": 7}]
    answers = json.loads(facade.handle(json.dumps(batch).encode()))
    assert answers == [expected, {**expected, "id": 7}]
    assert facade.handle(json.dumps(silent).encode()) == b""
    assert facade.handle(json.dumps([silent]).encode()) == b""
    assert json.loads(facade.handle(b"[]"))["error"]["code"] == -32600
    too_many = json.dumps([one] * (MAX_BATCH + 1)).encode()
    assert json.loads(facade.handle(too_many))["error"]["code"] == -32600
    named = json.dumps({**one, "params": {}}).encode()
    assert json.loads(facade.handle(named))["error"]["code"] == -32602
    listed = json.dumps({**one, "id": [1]}).encode()
    assert json.loads(facade.handle(listed))["error"]["code"] == -32600


def test_an_estimate_is_enough_and_no_more(recorded: tuple[World, bytes]) -> None:
    world, _ = recorded
    sender = world.sender()
    # settle makes inner calls and writes storage: its estimate must hold as it is.
    item = next(iter(world.outbox.items.values()))
    call = encode_call("settle", item.step_data)
    gas = sender.chain.estimate_gas(world.contract, call, sender=world.key.address)
    short = sender.sign(world.contract, call, gas=gas - 1)
    sender.chain.send_raw_transaction(short.raw)
    failed = sender.chain.receipt(short.hash)
    assert failed is not None
    assert not failed.succeeded
    exact = sender.sign(world.contract, call, gas=gas)
    sender.chain.send_raw_transaction(exact.raw)
    passed = sender.chain.receipt(exact.hash)
    assert passed is not None
    assert passed.succeeded
    assert reader.step_info(world.ledger(), recorded[1], 0).settled


def test_a_strangers_call_has_an_end(chain: EmbeddedChain, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(facade_module, "READER_GAS", 200_000)
    # Creation code that counts down from 10,000, which takes some 260,000 gas.
    loop = {"data": "0x6127105b60019003806003570000", "gas": quantity(1_000_000)}
    assert Facade(chain, writable=True).request("eth_call", [loop]) == {"result": "0x"}
    for method in ("eth_call", "eth_estimateGas"):
        code, message = error_of(Facade(chain), method, loop)
        assert (code, "OutOfGas" in message) == (-32000, True)
    assert Facade(chain).request("eth_call", [{"data": "0x00"}]) == {"result": "0x"}


def test_calls_see_old_states(recorded: tuple[World, bytes]) -> None:
    world, job_id = recorded
    ledger = world.ledger()
    blocks = [item.block_number or 0 for item in world.outbox.items.values()]
    assert [reader.steps(ledger, job_id, block=block) for block in blocks] == [1, 2, 3]


def test_log_filters(recorded: tuple[World, bytes], chain: EmbeddedChain) -> None:
    world, job_id = recorded
    facade = Facade(chain)

    def found(**asked: Any) -> list[int]:
        answer = facade.request("eth_getLogs", [{"fromBlock": "0x0", **asked}])
        return [int(log["blockNumber"], 16) for log in answer["result"]]

    step, created = data(event_topic("StepRecorded")), data(event_topic("JobCreated"))
    blocks = [item.block_number or 0 for item in world.outbox.items.values()]
    birth = blocks[0] - 1
    assert found() == [birth, *blocks]
    assert found(address=data(world.contract)) == [birth, *blocks]
    assert found(address=ADDRESS) == []
    assert found(address=[ADDRESS, data(world.contract)], topics=[step]) == blocks
    assert found(topics=[[step, created]]) == [birth, *blocks]
    assert found(topics=[None, data(job_id)]) == [birth, *blocks]
    assert found(topics=[None, None, data((1).to_bytes(32, "big"))]) == [blocks[1]]
    assert found(topics=[step, None, None, None]) == []
    assert found(topics=[step], toBlock=quantity(blocks[1])) == blocks[:2]
    assert found(topics=[step], fromBlock=quantity(blocks[1])) == blocks[1:]
    assert found(topics=[step], fromBlock="latest") == blocks[2:]
