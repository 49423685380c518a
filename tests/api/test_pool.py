from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from starlette.testclient import TestClient

from potnode.bitcoin import ParentChain
from potnode.spec.hashing import sha256d
from tests.api.conftest import BITS, OTHER_MINER, RECORDED, FakeNode, World
from tests.builders import MINER


def get(client: TestClient, path: str) -> Any:
    response = client.get("/api/v1" + path)
    assert response.status_code == 200, response.text
    return response.json()


def test_the_pool_says_how_training_goes(client: TestClient, world: World) -> None:
    pool = get(client, "/pool")
    training = pool.pop("training")
    assert pool == {
        "miners": 3,
        "connections": 7,
        "accepted": 24,
        "rejected": {"22": 1, "23": 3},
        "blocks": 0,
        "last_transaction": "77" * 32,
        "stratum": {"host": "127.0.0.1", "port": 3333},
        "work": {
            "source": "standalone",
            "height": None,
            "parent": None,
            "updated_at": None,
            "found_blocks": None,
        },
        "problems": [],
    }
    assert training == {
        "job": world.job_id.hex(),
        "step": RECORDED + 1,
        "step_limit": 1000,
        "shares": 27,
        "waiting": 3,
        "expired": 1,
        "refused": {"duplicate": 1, "stale": 2},
        "hash_rate": 5e6,
        "evaluations_per_s": 1000.5,
        "steps_per_s": 2.5,
        "loss_bits": 1.25,
        "accuracy": 0.75,
        "recorder_lag": 1,
    }


def test_a_pool_without_a_job_says_so(client: TestClient, node: FakeNode) -> None:
    node.training = node.transaction = node.stratum_address = None
    node.found_problems = ["there is no job to train"]
    pool = get(client, "/pool")
    assert pool["training"] is None
    assert pool["last_transaction"] is None
    assert pool["stratum"] is None
    assert pool["problems"] == ["there is no job to train"]


def test_workers_are_those_who_delivered_and_those_who_are_here(client: TestClient) -> None:
    page = get(client, "/workers")
    assert page["next"] is None
    other, rig, new = page["items"]
    shares = (RECORDED + 2) * 2
    assert (other["miner"], other["worker"]) == ("0x" + OTHER_MINER.hex(), "rig")
    assert other["connections"] == []
    assert (other["shares"], other["work"]) == (shares, str(shares << (BITS + 1)))
    assert (rig["miner"], rig["worker"]) == ("0x" + MINER.hex(), "rig")
    assert rig["work"] == str(shares << BITS)
    assert [each["bits"] for each in rig["connections"]] == [BITS + 1, BITS + 2]
    assert rig["connections"][0]["difficulty"] == 2.0 ** (BITS + 1 - 32)
    assert rig["connections"][0]["user_agent"] == "cpuminer/2.5"
    assert sum(rig["by_status"].values()) == shares
    assert rig["last_share_at"] == "2023-11-14T22:13:20.123456Z"
    assert (new["miner"], new["worker"], new["work"]) == ("0x" + "33" * 20, "new", "0")
    assert new["connections"] == [
        {
            "user_agent": "cpuminer/2.5",
            "bits": None,
            "difficulty": None,
            "connected_at": "2023-11-14T22:13:20.500000Z",
            "accepted": 5,
            "rejected": 1,
            "tls": False,
        }
    ]
    assert new["last_share_at"] is None


def test_a_miner_of_a_solo_pool_is_shown_by_its_address(client: TestClient, node: FakeNode) -> None:
    solo = replace(node.connected[0], account="0x" + MINER.hex() + "+0014" + "11" * 20)
    node.connected = [solo]
    workers = get(client, "/workers")["items"]
    [found] = [worker for worker in workers if worker["connections"]]
    assert (found["miner"], found["worker"]) == ("0x" + MINER.hex(), "rig")
    assert found["shares"] > 0


def test_real_templates_and_found_blocks(client: TestClient, parent: ParentChain) -> None:
    parent.source.height = 9
    parent.source.last_update = 1_700_000_000.0
    assert get(client, "/pool")["work"] == {
        "source": "bitcoind",
        "height": 9,
        "parent": None,
        "updated_at": "2023-11-14T22:13:20Z",
        "found_blocks": 2,
    }
    first = get(client, "/pool/blocks?limit=1")
    assert first["next"] == 1
    second = get(client, "/pool/blocks?limit=1&cursor=1")
    assert second["next"] is None
    [late], [early] = first["items"], second["items"]
    assert (late["height"], early["height"]) == (8, 7)
    assert late["hash"] == sha256d(bytes(79) + b"\x08")[::-1].hex()
    assert (late["finder"], late["status"], late["answers"]) == ("0xaa.rig", "pending", {})
    assert late["on_disk"]


def test_without_a_bitcoind_there_are_no_blocks(client: TestClient) -> None:
    assert get(client, "/pool/blocks") == {"items": [], "next": None}


def test_where_miners_connect_from_is_not_shown(client: TestClient) -> None:
    assert "203.0.113.9" not in client.get("/api/v1/workers").text


def test_workers_page_by_page(client: TestClient) -> None:
    first = get(client, "/workers?limit=2")
    second = get(client, f"/workers?limit=2&cursor={first['next']}")
    assert [worker["worker"] for worker in first["items"]] == ["rig", "rig"]
    assert [worker["worker"] for worker in second["items"]] == ["new"]
    assert second["next"] is None


def test_workers_of_a_job_nobody_worked_for(client: TestClient, node: FakeNode) -> None:
    node.connected = []
    assert get(client, f"/workers?job={'ab' * 32}") == {"items": [], "next": None}


@pytest.mark.parametrize("cursor", [3, 1000, 2**63 - 1])
def test_a_cursor_beyond_the_workers_shows_none(client: TestClient, cursor: int) -> None:
    assert get(client, f"/workers?cursor={cursor}") == {"items": [], "next": None}
