from __future__ import annotations

from typing import Any

import pytest
from starlette.testclient import TestClient

from potnode.chain.errors import ChainUnavailable
from potnode.spec.hashing import sha256, sha256d
from potnode.store import Store
from tests.api.conftest import (
    BITS,
    BLOCK,
    OTHER_MINER,
    RECORDED,
    STANDALONE_STEP,
    FakeNode,
    World,
)
from tests.builders import MINER

UNKNOWN = "ab" * 32


def get(client: TestClient, path: str) -> Any:
    response = client.get("/api/v1/proofs" + path)
    assert response.status_code == 200, response.text
    return response.json()


def shown(hash_: bytes) -> str:
    return hash_[::-1].hex()


def test_a_recorded_proof_says_where_it_counts(client: TestClient, world: World) -> None:
    hash_, record = world.hashes[2][3], world.records[2]
    proof = get(client, "/" + shown(hash_))
    assert proof["hash"] == shown(hash_)
    assert proof["job"] == world.job_id.hex()
    assert (proof["status"], proof["step"], proof["index"]) == ("final", 2, 3)
    losses = record.entries[3].losses
    assert (proof["loss"], proof["coefficient"]) == (losses[0], 2)
    assert proof["candidates"] == [
        {"loss": losses[0], "coefficient": 2},
        {"loss": losses[1], "coefficient": 12},
    ]
    receipt = world.ledger.chain.receipt(bytes.fromhex(proof["transaction"]))
    assert receipt is not None
    assert receipt.block_number == proof["block"]
    assert proof["received_at"] == "2023-11-14T22:13:20.123456Z"


def test_every_proof_carries_the_header_it_stands_for(client: TestClient, world: World) -> None:
    hashes = [hash_ for step in world.hashes for hash_ in step] + world.waiting + [world.expired]
    for hash_ in hashes:
        proof = get(client, "/" + shown(hash_))
        header = bytes.fromhex(proof["header"])
        assert sha256d(header) == hash_
        assert header[76:] == bytes.fromhex(proof["nonce"])[::-1]
        assert header[68:72] == bytes.fromhex(proof["ntime"])[::-1]
        assert header[:4] == bytes.fromhex(proof["version"])[::-1]
        assert header[4:36] == bytes.fromhex(proof["template"]["prev_hash"])
        assert header[72:76] == bytes.fromhex(proof["template"]["nbits"])[::-1]


def test_a_proof_says_on_which_block_it_was_mined(client: TestClient, world: World) -> None:
    for step, hashes in enumerate(world.hashes):
        for hash_ in hashes:
            proof = get(client, "/" + shown(hash_))
            header = bytes.fromhex(proof["header"])
            if step == STANDALONE_STEP:
                assert proof["parent"] is None
            else:
                assert proof["parent"] == shown(header[4:36]) == shown(sha256(b"parent"))


def test_a_share_that_was_a_block_is_marked(client: TestClient, world: World) -> None:
    step, index = BLOCK
    marked = [proof["hash"] for proof in all_items(client, "limit=1000") if proof["is_block"]]
    assert marked == [shown(world.hashes[step][index])]
    assert get(client, "/" + marked[0])["is_block"] is True
    assert get(client, "/" + shown(world.hashes[step][index + 1]))["is_block"] is False


class _Forgetful:
    """A store that has no steps."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def step(self, job_id: bytes, step: int) -> None:
        del job_id, step

    def __getattr__(self, name: str) -> object:
        return getattr(self._store, name)


def test_heads_this_node_never_had_come_from_the_chain(
    client: TestClient, node: FakeNode, world: World
) -> None:
    node.store = _Forgetful(world.store)  # type: ignore[assignment]
    for step in range(RECORDED + 1):  # the chain has the head before the step after the last
        header = get(client, "/" + shown(world.hashes[step][0]))["header"]
        assert sha256d(bytes.fromhex(header)) == world.hashes[step][0]
    assert get(client, "/" + shown(world.waiting[0]))["header"] is None


class _DeadLedger:
    contract = bytes(20)

    def call(self, data: bytes, *, block: int | None = None) -> bytes:
        raise ChainUnavailable("the test has cut the line")


def test_a_share_is_shown_while_the_chain_is_away(
    client: TestClient, node: FakeNode, world: World
) -> None:
    node.store = _Forgetful(world.store)  # type: ignore[assignment]
    node.ledger = _DeadLedger()  # type: ignore[assignment]
    proof = get(client, "/" + shown(world.hashes[1][0]))
    assert proof["header"] is None
    assert proof["status"] == "final"


def test_a_share_is_pending_until_its_step_is_on_the_chain(
    client: TestClient, world: World
) -> None:
    waits = get(client, "/" + shown(world.waiting[0]))
    assert waits["status"] == "pending"
    for name in ("step", "index", "loss", "coefficient", "transaction", "block"):
        assert waits[name] is None
    assert waits["work_step"] == RECORDED + 1
    closed = get(client, "/" + shown(world.hashes[RECORDED][0]))
    assert (closed["status"], closed["step"], closed["index"]) == ("pending", RECORDED, 0)
    assert closed["transaction"] is None


def test_a_share_whose_window_passed_is_expired(client: TestClient, world: World) -> None:
    assert get(client, "/" + shown(world.expired))["status"] == "expired"


def test_digest_order_is_another_hash(client: TestClient, world: World) -> None:
    assert client.get(f"/api/v1/proofs/{world.hashes[0][0].hex()}").status_code == 404


def test_an_unknown_share_is_not_found(client: TestClient) -> None:
    response = client.get(f"/api/v1/proofs/{UNKNOWN}")
    assert response.status_code == 404
    assert "acknowledged no share" in response.json()["detail"]


def all_items(client: TestClient, query: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    cursor = ""
    while True:
        page = get(client, f"?{query}{cursor}")
        found += page["items"]
        if page["next"] is None:
            return found
        cursor = f"&cursor={page['next']}"


@pytest.mark.parametrize("limit", [1, 7, 9, 1000])
def test_pages_show_every_proof_once(client: TestClient, world: World, limit: int) -> None:
    everything = {shown(hash_) for step in world.hashes for hash_ in step}
    everything |= {shown(hash_) for hash_ in (*world.waiting, world.expired)}
    found = [proof["hash"] for proof in all_items(client, f"limit={limit}")]
    assert len(found) == len(everything)
    assert set(found) == everything


def test_proofs_of_a_miner(client: TestClient, world: World) -> None:
    del world
    for address, bits in ((MINER, BITS), (OTHER_MINER, BITS + 1)):
        found = all_items(client, f"miner=0x{address.hex().upper()}&limit=5")
        assert len(found) == (RECORDED + 2) * 2
        assert {proof["miner"] for proof in found} == {"0x" + address.hex()}
        assert {proof["bits"] for proof in found} == {bits}
        assert {proof["difficulty"] for proof in found} == {2.0 ** (bits - 32)}


def test_proofs_by_status_and_job(client: TestClient, world: World) -> None:
    job = world.job_id.hex()
    assert len(all_items(client, f"job={job}&status=final")) == RECORDED * 4
    assert len(all_items(client, "status=pending")) == 4 + len(world.waiting)
    assert [p["hash"] for p in all_items(client, "status=expired")] == [shown(world.expired)]
    assert all_items(client, f"job={UNKNOWN}") == []
    assert all_items(client, f"miner={'00' * 20}") == []
