"""The article's search over HTTP: as curl sends it, and what is refused."""

from __future__ import annotations

import json
import subprocess
import time
from typing import Any

import pytest
from starlette.testclient import TestClient

from potnode.api.app import create_app
from potnode.api.literal import MAX_BODY
from potnode.literal import searches
from potnode.literal.expansion import MAX_SEED
from potnode.literal.files import STATUSES
from potnode.literal.request import MAX_CANDIDATES
from tests.api.conftest import FakeNode
from tests.api.serving import served

CALL = {"seed": "conv1_layer", "nonce_range": [0, 1000000]}


def submit(client: TestClient, **changes: object) -> str:
    response = client.post("/job", json={**CALL, **changes})
    assert response.status_code == 202, response.text
    identity: str = response.json()["id"]
    return identity


def refused(client: TestClient, body: str | bytes, status: int = 422) -> Any:
    response = client.post("/job", content=body, headers={"Content-Type": "application/json"})
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    return response.json()


async def test_the_call_of_the_article_works_as_written(node: FakeNode) -> None:
    """curl itself, with the content type it gives such a body."""
    async with served(create_app(node)) as server:

        def curl(url: str) -> subprocess.CompletedProcess[str]:
            call = '{"seed": "conv1_layer", "nonce_range": [0, 1000000]}'
            return subprocess.run(
                ["curl", "-sS", "-w", "%{http_code}", "-X", "POST", f"{url}/job", "-d", call],
                capture_output=True,
                text=True,
                check=False,
            )

        answer = await server.in_thread(curl)
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.endswith("202")
    identity = json.loads(answer.stdout[:-3])["id"]
    assert node.searches.get(identity).request.nonce_range == (0, 1_000_000)


def test_a_new_search_has_not_begun(client: TestClient) -> None:
    found = client.get(f"/job/{submit(client)}").json()
    assert found["status"] == "queued"
    assert found["progress"] == {"done": 0, "total": 2_000_000}
    assert found["request"] == {
        **CALL,
        "net": "conv",
        "layer": None,
        "dataset": "digits",
        "rounds": 2,
        "narrow": "layer",
        "keep": 10,
        "batch": 256,
    }
    assert (found["hashes_per_s"], found["best"], found["ledger"], found["rounds"]) == (
        0.0,
        [],
        None,
        [],
    )


def test_a_finished_search_shows_what_it_found(node: FakeNode, client: TestClient) -> None:
    identity = submit(
        client, nonce_range=[10, 110], batch=8, keep=3, narrow="range", layer="fc1_layer"
    )
    node.searches.start()
    while (found := client.get(f"/job/{identity}").json())["status"] in ("queued", "running"):
        time.sleep(0.02)
    node.searches.close()
    assert found["status"] == "finished"
    assert found["progress"] == {"done": 150, "total": 150}
    assert found["hashes_per_s"] > 0
    first, second = found["rounds"]
    assert (first["layer"], first["nonce_range"]) == ("fc1_layer", [10, 110])
    assert second["nonce_range"][1] - second["nonce_range"][0] == 50
    assert found["best"] == second["best"]
    assert found["ledger"] == second["ledger"]
    assert set(found["best"][0]) == {"nonce", "loss"}
    ledger = first["ledger"]
    assert ledger["evaluated"] == 100
    assert ledger["records"] == len(ledger["items"])
    assert ledger["expected"] == pytest.approx(5.187, abs=1e-3)  # 1 + 1/2 + ... + 1/100
    assert ledger["items"][0]["evaluated"] == 1
    assert ledger["items"][0]["expected"] == pytest.approx(1, abs=0.1)
    assert ledger["items"][-1]["loss"] == first["best"][0]["loss"]
    assert 0 <= first["held_out"]["accuracy"] <= 1


def test_searches_are_listed_newest_first(client: TestClient) -> None:
    made = [submit(client) for _ in range(3)]
    page = client.get("/job?limit=2").json()
    assert [each["id"] for each in page["items"]] == [made[2], made[1]]
    rest = client.get(f"/job?cursor={page['next']}").json()
    assert [each["id"] for each in rest["items"]] == [made[0]]
    assert rest["next"] is None
    assert {each["status"] for each in page["items"]} <= set(STATUSES)


def test_a_search_is_cancelled(client: TestClient) -> None:
    identity = submit(client)
    for _ in range(2):
        response = client.delete(f"/job/{identity}")
        assert (response.status_code, response.json()["status"]) == (200, "cancelled")
    assert client.get(f"/job/{identity}").json()["status"] == "cancelled"


@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_an_unknown_search_is_not_found(client: TestClient, method: str) -> None:
    response = client.request(method, "/job/" + "ab" * 8)
    assert response.status_code == 404
    assert "there is no search" in response.json()["detail"]
    assert client.request(method, "/job/1").status_code == 422


def test_a_body_that_is_no_object_is_told_in_words_of_json(client: TestClient) -> None:
    assert refused(client, "[]")["detail"] == "body: Input should be an object"


def test_so_many_wait_that_no_more_are_taken(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(searches, "MAX_WAITING", 1)
    submit(client)
    assert "wait already" in refused(client, json.dumps(CALL), 429)["detail"]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[5, 5]", "half-open"),
        ("[6, 5]", "half-open"),
        ("[-1, 5]", "greater than or equal to 0"),
        ("[0, 18446744073709551616]", "less than or equal to"),
        (f"[0, {'9' * 4000}]", "less than or equal to"),
        (f"[0, {MAX_CANDIDATES + 1}]", f"at most {MAX_CANDIDATES}"),
        ("[0, 1.5]", "valid integer"),
        ("[0, 2.0]", "valid integer"),
        ('[0, "3"]', "valid integer"),
        ("[false, true]", "valid integer"),
        ("[0, 1e3]", "valid integer"),
        ("[0, null]", "valid integer"),
        ("[0]", "at least 2 items"),
        ("[0, 1, 2]", "at most 2 items"),
        ("[]", "at least 2 items"),
        ('"0-5"', "valid list"),
        ("null", "valid list"),
        ('{"0": 1}', "valid list"),
    ],
)
def test_a_range_that_is_none_is_refused(client: TestClient, text: str, problem: str) -> None:
    found = refused(client, f'{{"seed": "s", "nonce_range": {text}}}')
    assert problem in found["detail"]
    assert all(each["place"].startswith("body.nonce_range") for each in found["mistakes"])


@pytest.mark.parametrize(
    ("changes", "place", "problem"),
    [
        ({"seed": ""}, "body.seed", "at least 1"),
        ({"seed": "x" * (MAX_SEED + 1)}, "body.seed", f"at most {MAX_SEED}"),
        ({"seed": "ü" * 22}, "body.seed", f"not 1 to {MAX_SEED}"),
        ({"seed": 7}, "body.seed", "valid string"),
        ({"rounds": 17}, "body.rounds", "less than or equal to 16"),
        ({"keep": 0}, "body.keep", "greater than or equal to 1"),
        ({"batch": True}, "body.batch", "valid integer"),
        ({"net": "cnv"}, "body.net", "'conv' or 'mlp'"),
        ({"layer": "conv2_layer"}, "body.layer", "did you mean conv1_layer"),
        ({"dataset": "digit"}, "body.dataset", "did you mean 'digits'"),
        ({"narrow": "both"}, "body.narrow", "'layer' or 'range'"),
        ({"nonces": [0, 5]}, "body.nonces", "did you mean nonce_range"),
        ({"xyzzy": 1}, "body.xyzzy", "unknown field"),
    ],
)
def test_any_other_mistake_is_named(
    client: TestClient, changes: dict[str, object], place: str, problem: str
) -> None:
    found = refused(client, json.dumps({**CALL, **changes}))
    assert [each["place"] for each in found["mistakes"]] == [place]
    assert problem in found["detail"]


@pytest.mark.parametrize(
    "body",
    [
        "",
        "seed=conv1_layer",
        "{",
        "[" * 5000,
        '{"seed": NaN}',
        "\ufeff{}",
        b"\xff",
        '["seed"]',
        "7",
    ],
)
def test_a_body_that_is_no_request_is_refused(client: TestClient, body: str | bytes) -> None:
    assert refused(client, body)["mistakes"][0]["place"] == "body"


def test_a_long_body_and_other_kinds_are_refused(client: TestClient) -> None:
    refused(client, b" " * (MAX_BODY + 1), 413)
    for kind in ("text/plain", "multipart/form-data; boundary=x", "application/xml"):
        response = client.post("/job", content=json.dumps(CALL), headers={"Content-Type": kind})
        assert response.status_code == 415
    kinds = ("application/json; charset=utf-8", "application/x-www-form-urlencoded", "")
    for kind in kinds:
        response = client.post("/job", content=json.dumps(CALL), headers={"Content-Type": kind})
        assert response.status_code == 202, response.text
