from __future__ import annotations

from typing import Any

import pytest
from starlette.testclient import TestClient

from potnode.chain.errors import BadChainData, ChainUnavailable
from potnode.engine.export import decode_model
from potnode.engine.state import initial
from potnode.spec.hashing import sha256
from potnode.spec.manifest_json import decode_manifest
from potnode.spec.record import encode_record
from potnode.spec.schedule import shares_before
from potnode.spec.work import next_head
from tests.api.conftest import BLOCK, JUNK_MANIFEST, RECORDED, FakeNode, World

UNKNOWN = "ab" * 32


def get(client: TestClient, path: str) -> Any:
    response = client.get("/api/v1" + path)
    assert response.status_code == 200, response.text
    return response.json()


def test_jobs_come_newest_first(client: TestClient, world: World) -> None:
    page = get(client, "/jobs")
    assert [job["job"] for job in page["items"]] == [id_.hex() for id_, _ in reversed(world.jobs)]
    assert page["next"] is None


@pytest.mark.parametrize("limit", [1, 2, 3])
def test_jobs_page_by_page(client: TestClient, world: World, limit: int) -> None:
    found, cursor = [], ""
    while True:
        page = get(client, f"/jobs?limit={limit}{cursor}")
        found += [job["job"] for job in page["items"]]
        assert 1 <= len(page["items"]) <= limit
        if page["next"] is None:
            break
        cursor = f"&cursor={page['next']}"
    assert found == [id_.hex() for id_, _ in reversed(world.jobs)]


def test_a_cursor_beyond_the_jobs_begins_at_the_newest(client: TestClient, world: World) -> None:
    assert get(client, f"/jobs?limit=1&cursor={2**63 - 1}")["items"][0]["job"] == (
        world.jobs[-1][0].hex()
    )


def test_a_job_has_its_terms_its_state_and_its_manifest(client: TestClient, world: World) -> None:
    job = get(client, f"/jobs/{world.job_id.hex()}")
    params = world.jobs[0][1].params
    assert job["owner"] == "0x" + world.key.address.hex()
    assert (job["dataset"], job["model"], job["parameters"]) == ("tiny", "4-4-3", 35)
    assert job["steps"] == RECORDED
    assert (job["population"], job["population_start"]) == (8, 8)
    assert job["candidates_per_share"] == 2
    assert job["proofs"] == shares_before(params, RECORDED) == RECORDED * 4
    assert job["pot_per_step"] == str(params.pot_per_step)
    assert job["state_root"] == world.records[RECORDED - 1].state_root.hex()
    assert sha256(job["manifest"].encode()).hex() == job["manifest_hash"]


@pytest.mark.parametrize("spelling", ["0x{}", "{}"])
def test_a_hash_may_have_any_usual_spelling(
    client: TestClient, world: World, spelling: str
) -> None:
    asked = spelling.format(world.job_id.hex().upper())
    assert get(client, f"/jobs/{asked}")["job"] == world.job_id.hex()


def test_a_job_with_a_senseless_manifest_is_shown_as_such(client: TestClient, world: World) -> None:
    job = get(client, f"/jobs/{world.jobs[-1][0].hex()}")
    assert job["manifest"] is None
    assert job["dataset"] is None
    assert job["model"] is None
    assert job["manifest_hash"] == sha256(JUNK_MANIFEST).hex()


def test_steps_come_newest_first(client: TestClient, world: World) -> None:
    page = get(client, f"/jobs/{world.job_id.hex()}/steps")
    assert [step["step"] for step in page["items"]] == list(range(RECORDED, -1, -1))
    assert [step["status"] for step in page["items"]] == ["new"] + ["final"] * RECORDED
    assert page["next"] is None


def test_steps_page_by_page(client: TestClient, world: World) -> None:
    found, cursor = [], ""
    for _ in range(3):
        page = get(client, f"/jobs/{world.job_id.hex()}/steps?limit=2{cursor}")
        found += [step["step"] for step in page["items"]]
        cursor = f"&cursor={page['next']}"
    assert page["next"] is None
    assert found == list(range(RECORDED, -1, -1))


def test_a_step_has_its_record(client: TestClient, world: World) -> None:
    record = world.records[1]
    step = get(client, f"/jobs/{world.job_id.hex()}/steps/1")
    assert bytes.fromhex(step["step_data"]) == encode_record(record)
    assert next_head(bytes.fromhex(step["prev_head"]), encode_record(record)).hex() == step["head"]
    assert step["state_root"] == record.state_root.hex()
    assert step["proofs"] == len(step["entries"]) == len(record.entries)
    assert step["validation"] is None
    assert step["closed_at"] == "2023-11-14T22:13:20.123456Z"
    for i, (entry, hash_) in enumerate(zip(step["entries"], world.hashes[1], strict=True)):
        row = record.miners[record.entries[i].miner]
        assert entry == {
            "index": i,
            "hash": hash_[::-1].hex(),
            "miner": "0x" + row.miner.hex(),
            "worker": "rig",
            "bits": row.bits,
            "loss": record.entries[i].losses[0],
            "coefficient": i - 1,
            "candidates": [
                {"loss": record.entries[i].losses[0], "coefficient": i - 1},
                {"loss": record.entries[i].losses[1], "coefficient": i + 9},
            ],
            "is_block": (1, i) == BLOCK,
        }
    receipt = world.ledger.chain.receipt(bytes.fromhex(step["transaction"]))
    assert receipt is not None
    assert receipt.block_number == step["block"]


def test_a_validation_step_says_how_good_the_model_is(client: TestClient, world: World) -> None:
    step = get(client, f"/jobs/{world.job_id.hex()}/steps/4")
    assert step["validation"] == {
        "loss": 1004,
        "hits": 1,
        "mean_loss_bits": 1004 / 4 / 256,
        "accuracy": 0.25,
    }


def test_the_model_proves_itself(client: TestClient, world: World) -> None:
    response = client.get(f"/api/v1/jobs/{world.job_id.hex()}/model")
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/octet-stream"
    assert response.headers["content-disposition"] == (
        f'attachment; filename="tiny-{world.job_id.hex()[:8]}-{RECORDED + 1}.safetensors"'
    )
    model = decode_model(response.content)
    manifest = decode_manifest(world.jobs[0][1].manifest)
    assert (model.job_id, model.step, model.manifest) == (world.job_id, RECORDED + 1, manifest)
    assert model.state == initial(manifest)


def test_a_job_this_node_has_not_begun_has_no_steps_and_no_model(
    client: TestClient, world: World
) -> None:
    job = world.jobs[1][0].hex()
    assert get(client, f"/jobs/{job}/steps") == {"items": [], "next": None}
    assert client.get(f"/api/v1/jobs/{job}/steps/0").status_code == 404
    response = client.get(f"/api/v1/jobs/{job}/model")
    assert response.status_code == 404
    assert "no model of it yet" in response.json()["detail"]


@pytest.mark.parametrize("below", ["", "/steps", "/steps/0", "/model"])
def test_an_unknown_job_is_not_found(client: TestClient, below: str) -> None:
    response = client.get(f"/api/v1/jobs/{UNKNOWN}{below}")
    assert response.status_code == 404
    assert "such a job" in response.json()["detail"]


def test_an_unknown_step_is_not_found(client: TestClient, world: World) -> None:
    for step in (RECORDED + 1, 2**32 - 1):
        response = client.get(f"/api/v1/jobs/{world.job_id.hex()}/steps/{step}")
        assert response.status_code == 404
        assert str(step) in response.json()["detail"]


class _BrokenLedger:
    """Answers nothing."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def __getattr__(self, name: str) -> object:
        raise self._error


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ChainUnavailable("http://secret-key@host did not answer"), 503),
        (BadChainData("secret bytes"), 502),
    ],
)
@pytest.mark.parametrize("path", ["/jobs", f"/jobs/{UNKNOWN}", "/chain"])
def test_a_failing_chain_is_not_the_clients_fault(
    client: TestClient, node: FakeNode, error: Exception, status: int, path: str
) -> None:
    node.ledger = _BrokenLedger(error)  # type: ignore[assignment]
    response = client.get("/api/v1" + path)
    assert response.status_code == status
    assert "secret" not in response.text
    assert response.json()["status"] == status
