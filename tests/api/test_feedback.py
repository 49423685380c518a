"""Feedback over HTTP: what is taken, what is refused, and what an auditor gets."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

from potnode.api.app import create_app
from potnode.api.feedback import MAX_BODY
from potnode.api.writing import WriteRules
from potnode.data.feedback import Part, Roots
from potnode.spec.feedback import MAX_PAIRS
from potnode.spec.layers import Linear
from potnode.spec.manifest import Evolution, Manifest, Pairs, Seeded
from potnode.spec.manifest_json import encode_manifest
from potnode.store import FeedbackRow, JobRow, JobStatus, PartRow, Store, sqlite_url
from tests.api.conftest import World, make_node

SIZE = 3
JOB_ID, OTHER_TASK = bytes.fromhex("ab" * 32), bytes.fromhex("cd" * 32)
PATH = f"/api/v1/jobs/{JOB_ID.hex()}/feedback"
PREFERENCES = Manifest(
    dataset="taste",
    task=Pairs(),
    input=(SIZE,),
    layers=(Linear(4, 6, "relu"), Linear(1, 2, "none")),
    train=(0, 1, 2, 3),
    initial=Seeded(bytes(32), (16, 0, 16, 0), (0, 0, 0, 0)),
    perturbation=(0, 0),
    strategy=Evolution("momentum", 80, 10, 8),
)


@pytest.fixture
def url(tmp_path: Path) -> str:
    return sqlite_url(tmp_path / "node.sqlite")


@pytest.fixture
def store(url: str, world: World) -> Iterator[Store]:
    """A job of preferences, and one of classes."""
    manifests = {JOB_ID: encode_manifest(PREFERENCES), OTHER_TASK: world.jobs[0][1].manifest}
    with Store(url) as opened:
        for job_id, manifest in manifests.items():
            row = JobRow(
                job_id=job_id,
                chain_id=1,
                contract=bytes(20),
                params=b"",
                manifest=manifest,
                created_at=1,
            )
            assert opened.add_job(row).result()
        yield opened


@pytest.fixture
def client(world: World, store: Store) -> Iterator[TestClient]:
    with TestClient(create_app(replace(make_node(world), store=store))) as made:
        yield made


def pairs(count: int, seed: int = 0) -> list[dict[str, list[int]]]:
    values = np.random.default_rng(seed).integers(-127, 128, (count, 2, SIZE)).tolist()
    return [{"preferred": preferred, "other": other} for preferred, other in values]


def flat(sent: list[dict[str, list[int]]]) -> list[list[int]]:
    return [pair["preferred"] + pair["other"] for pair in sent]


def problem(response: Any, status: int) -> dict[str, Any]:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    said: dict[str, Any] = response.json()
    return said


def test_pairs_are_on_disk_when_the_answer_comes(
    client: TestClient, store: Store, url: str
) -> None:
    first, second = pairs(2), pairs(1000, seed=1)
    for sent, total in ((first, 2), (second, 1002)):
        answer = client.post(PATH, json={"pairs": sent})
        assert answer.status_code == 202
        assert answer.json() == {"accepted": len(sent), "total": total}
    with Store(url) as other:  # as after a crash: the one that wrote is not closed
        kept = np.frombuffer(other.feedback_pairs(JOB_ID, 0, 2000), np.int8)
    assert kept.reshape(-1, 2 * SIZE).tolist() == flat(first + second)


def test_parts_are_shown_newest_first_and_served_as_files(client: TestClient, store: Store) -> None:
    nothing = client.get(PATH).json()
    assert nothing == {
        "job": JOB_ID.hex(),
        "total": 0,
        "frozen": 0,
        "data_root": "00" * 32,
        "items": [],
        "next": None,
    }
    sent = pairs(7)
    client.post(PATH, json={"pairs": sent})
    roots = Roots()
    for first, count in ((0, 4), (4, 2)):
        for pair in flat(sent)[first : first + count]:
            roots.add(np.array(pair, np.int8).tobytes())
        row = PartRow(
            job_id=JOB_ID, first=first, count=count, data_root=roots.data_root, frozen_at=1
        )
        store.freeze_feedback(row).result()
    shown = client.get(PATH).json()
    assert (shown["total"], shown["frozen"]) == (7, 6)
    assert shown["data_root"] == shown["items"][0]["data_root"] == roots.data_root.hex()
    assert [(part["first"], part["count"]) for part in shown["items"]] == [(4, 2), (0, 4)]
    page = client.get(f"{PATH}?limit=1").json()
    assert [part["first"] for part in page["items"]] == [4]
    page = client.get(f"{PATH}?limit=1&cursor={page['next']}").json()
    assert [part["first"] for part in page["items"]] == [0]
    assert page["next"] is None
    file = client.get(f"{PATH}/parts/4")
    assert f'filename="{JOB_ID.hex()}.4.potfeed"' in file.headers["content-disposition"]
    part = Part.from_bytes(file.content, where="the answer")
    assert (part.first, part.pairs.tolist()) == (4, flat(sent)[4:6])
    problem(client.get(f"{PATH}/parts/5"), 404)


def test_a_call_is_counted_once_under_its_key(client: TestClient) -> None:
    sent, key = {"pairs": pairs(2)}, {"Idempotency-Key": "one"}
    for _ in range(2):
        answer = client.post(PATH, json=sent, headers=key)
        assert (answer.status_code, answer.json()) == (202, {"accepted": 2, "total": 2})
    assert client.post(PATH, json=sent).json()["total"] == 4
    said = problem(client.post(PATH, json={"pairs": pairs(2, seed=5)}, headers=key), 409)
    assert "take a new one" in said["detail"]
    for bad in ("", "x" * 129, "a b"):
        problem(client.post(PATH, json=sent, headers={"Idempotency-Key": bad}), 422)


@pytest.mark.parametrize(
    ("body", "place"),
    [
        (b"", "body"),
        (b"[" * 100_000, "body"),
        ({}, "body.pairs"),
        ({"pairs": []}, "body.pairs"),
        ({"pairs": pairs(1001)}, "body.pairs"),
        ({"pairs": pairs(1), "more": 1}, "body.more"),
        ({"pairs": [{"preferred": [1, 2, 3]}]}, "body.pairs.0.other"),
        (
            {"pairs": [*pairs(2), {"preferred": [1, 2], "other": [1, 2, 3]}]},
            "body.pairs.2.preferred",
        ),
        ({"pairs": [{"preferred": [1, 2, 3], "other": []}]}, "body.pairs.0.other"),
        ({"pairs": [{"preferred": [1, 2, -128], "other": [0] * 3}]}, "body.pairs.0.preferred.2"),
        ({"pairs": [{"preferred": [1, 2, 128], "other": [0] * 3}]}, "body.pairs.0.preferred.2"),
        ({"pairs": [{"preferred": [1, 2.0, 3], "other": [0] * 3}]}, "body.pairs.0.preferred.1"),
        ({"pairs": [{"preferred": [True, 2, 3], "other": [0] * 3}]}, "body.pairs.0.preferred.0"),
        ({"pairs": [{"preferred": ["1", 2, 3], "other": [0] * 3}]}, "body.pairs.0.preferred.0"),
    ],
)
def test_a_body_that_is_none_is_refused_with_its_place(
    client: TestClient, store: Store, body: Any, place: str
) -> None:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    said = problem(client.post(PATH, content=content), 422)
    assert said["mistakes"][0]["place"] == place
    assert store.feedback(JOB_ID).total == 0


def test_many_mistakes_make_a_short_answer(client: TestClient) -> None:
    bad = {"pairs": [{"preferred": ["x"] * 500, "other": ["y"] * 500}] * 500}
    response = client.post(PATH, json=bad)
    assert len(problem(response, 422)["mistakes"]) < 5
    assert len(response.content) < 2000


def test_a_long_body_is_refused(client: TestClient) -> None:
    problem(client.post(PATH, content=b" " * (MAX_BODY + 1)), 413)


def test_only_jobs_that_learn_preferences_take_feedback(
    client: TestClient, store: Store, world: World
) -> None:
    sent = {"pairs": pairs(1)}
    for unknown in (world.job_id.hex(), "00" * 32):
        for response in (
            client.post(f"/api/v1/jobs/{unknown}/feedback", json=sent),
            client.get(f"/api/v1/jobs/{unknown}/feedback"),
            client.get(f"/api/v1/jobs/{unknown}/feedback/parts/0"),
        ):
            assert "operator's node" in problem(response, 404)["detail"]
    other = f"/api/v1/jobs/{OTHER_TASK.hex()}/feedback"
    assert "task pairs" in problem(client.post(other, json=sent), 409)["detail"]
    problem(client.get(other), 409)
    store.set_job_status(JOB_ID, JobStatus.FINISHED).result()
    assert "no more feedback" in problem(client.post(PATH, json=sent), 409)["detail"]
    assert client.get(PATH).status_code == 200


def test_a_job_that_has_enough_says_so(client: TestClient, store: Store) -> None:
    full = FeedbackRow(
        job_id=JOB_ID, count=MAX_PAIRS - 1, pairs=bytes(2 * SIZE * (MAX_PAIRS - 1)), received_at=1
    )
    store.add_feedback(full).result()
    assert "2 are too many" in problem(client.post(PATH, json={"pairs": pairs(2)}), 409)["detail"]
    assert client.post(PATH, json={"pairs": pairs(1)}).json()["total"] == MAX_PAIRS


def test_only_who_may_write_may_give_feedback(world: World, store: Store) -> None:
    rules = WriteRules(token="0123456789abcdef", loopback=True)
    node = replace(make_node(world), store=store, write_rules=rules)
    with TestClient(create_app(node)) as client:
        problem(client.post(PATH, json={"pairs": pairs(1)}), 401)
        assert client.get(PATH).json()["total"] == 0
        shown = {"Authorization": "Bearer 0123456789abcdef"}
        assert client.post(PATH, json={"pairs": pairs(1)}, headers=shown).status_code == 202


def test_without_a_database_nothing_is_accepted(client: TestClient, store: Store) -> None:
    store.close()
    problem(client.post(PATH, json={"pairs": pairs(1)}), 503)


def test_a_body_of_another_kind_is_refused(client: TestClient) -> None:
    body = json.dumps({"pairs": [{"preferred": [1, 2, 3], "other": [3, 2, 1]}]})
    answer = client.post(PATH, content=body, headers={"content-type": "text/xml"})
    assert answer.status_code == 415
    assert client.post(PATH, content=body).status_code == 202  # as curl -d sends it, or unnamed
