from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from eth_utils.address import is_checksum_address
from starlette.testclient import TestClient
from web3 import HTTPProvider, Web3

from potnode.api.app import create_app
from potnode.api.chain import MAX_BODY
from tests.api.conftest import RECORDED, FakeNode, World
from tests.api.serving import served


def call(client: TestClient, body: bytes | str) -> Any:
    response = client.post("/rpc", content=body)
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "application/json"
    return response.json()


def test_the_chain_says_all_that_reading_the_contract_takes(
    client: TestClient, world: World
) -> None:
    chain = client.get("/api/v1/chain").json()
    assert chain["chain_id"] == world.ledger.chain.chain_id
    assert chain["contract"].lower() == "0x" + world.ledger.contract.hex()
    assert chain["operator"].lower() == "0x" + world.key.address.hex()
    assert is_checksum_address(chain["contract"])
    assert is_checksum_address(chain["operator"])
    assert chain["head"] == world.ledger.chain.latest_block()
    assert chain["embedded"] is True
    assert {"record", "JobCreated"} <= {entry.get("name") for entry in chain["abi"]}


def test_rpc_answers_one_and_many(client: TestClient, world: World) -> None:
    head = hex(world.ledger.chain.latest_block())
    one = {"jsonrpc": "2.0", "id": 1, "method": "eth_blockNumber", "params": []}
    assert call(client, json.dumps(one)) == {"jsonrpc": "2.0", "id": 1, "result": head}
    both = call(client, json.dumps([one, {**one, "id": "b"}]))
    assert [answer["id"] for answer in both] == [1, "b"]


def test_rpc_has_no_answer_to_a_notification(client: TestClient) -> None:
    response = client.post("/rpc", json={"jsonrpc": "2.0", "method": "eth_blockNumber"})
    assert response.status_code == 204
    assert response.content == b""


def test_rpc_only_reads(client: TestClient) -> None:
    body = {"jsonrpc": "2.0", "id": 1, "method": "eth_sendRawTransaction", "params": ["0x00"]}
    assert call(client, json.dumps(body))["error"]["code"] == -32601


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"\x00\xff\xfe" * 100, b"nul", b"[" * 100_000, b"[]", b"7", b'"' * 3],
    ids=["empty", "half", "binary", "word", "deep", "no requests", "number", "quotes"],
)
def test_rpc_answers_garbage_with_an_error_of_its_own(client: TestClient, body: bytes) -> None:
    assert call(client, body)["error"]["code"] in (-32700, -32600)


def test_rpc_takes_a_body_of_just_the_limit(client: TestClient) -> None:
    assert call(client, b" " * MAX_BODY)["error"]["code"] == -32700


def test_rpc_refuses_a_longer_body(client: TestClient) -> None:
    response = client.post("/rpc", content=b" " * (MAX_BODY + 1))
    assert response.status_code == 413
    assert str(MAX_BODY) in response.json()["detail"]


def test_rpc_stops_reading_a_body_that_does_not_say_its_length(client: TestClient) -> None:
    sent = 0

    def endless() -> Iterator[bytes]:
        nonlocal sent
        for _ in range(64):
            sent += 1
            yield bytes(1 << 16)

    response = client.post("/rpc", content=endless())
    assert response.status_code == 413


def test_rpc_by_get_says_how(client: TestClient) -> None:
    response = client.get("/rpc")
    assert response.status_code == 405
    assert response.headers["allow"] == "POST"
    assert "POST" in response.json()["detail"]


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_there_is_no_rpc_for_someone_elses_chain(
    client: TestClient, node: FakeNode, method: str
) -> None:
    node.facade = None
    response = client.request(method, "/rpc")
    assert response.status_code == 404
    assert "/api/v1/chain" in response.json()["detail"]
    assert client.get("/api/v1/chain").json()["embedded"] is False


async def test_web3_reads_the_contract(node: FakeNode, world: World) -> None:
    async with served(create_app(node)) as server:
        found = await server.in_thread(_read_contract, world.job_id)
    steps, proofs, root, head, last_block = found
    assert steps == RECORDED
    assert proofs == RECORDED * 4
    assert root == world.records[RECORDED - 1].state_root
    assert head != bytes(32)
    assert last_block == world.ledger.chain.latest_block()


def _read_contract(url: str, job_id: bytes) -> tuple[int, int, bytes, bytes, int]:
    import requests

    described = requests.get(f"{url}/api/v1/chain", timeout=20).json()
    web3 = Web3(HTTPProvider(f"{url}/rpc"))
    assert web3.eth.chain_id == described["chain_id"]
    pot = web3.eth.contract(described["contract"], abi=described["abi"])
    steps = pot.functions.steps(job_id).call()
    assert len(pot.events.StepRecorded().get_logs(from_block=0)) == steps
    return (
        steps,
        pot.functions.proofCount(job_id).call(),
        pot.functions.stateRoot(job_id).call(),
        pot.functions.heads(job_id, steps).call(),
        web3.eth.block_number,
    )
