from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from potnode.api.app import create_app
from tests.api.conftest import FakeNode, World, make_node

V1 = "/api/v1"
HASH = "ab" * 32


@pytest.fixture(scope="module")
def client(world: World) -> Iterator[TestClient]:
    """One application for all: no request here changes anything."""
    with TestClient(create_app(make_node(world)), follow_redirects=False) as made:
        yield made


def problem(client: TestClient, path: str, status: int, method: str = "GET") -> Any:
    response = client.request(method, path)
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    document = response.json()
    assert document["type"] == "about:blank"
    assert document["status"] == status
    assert document["title"]
    assert document["detail"]
    return document


@pytest.mark.parametrize(
    "bad",
    [
        "0",
        "0x",
        HASH[:-1],
        HASH + "0",
        "g" * 64,
        "0X" + HASH,
        "0x0x" + HASH,
        HASH + "%0A",
        "%00" * 64,
    ],
)
@pytest.mark.parametrize("path", ["/jobs/{}", "/jobs/{}/steps", "/jobs/{}/model", "/proofs/{}"])
def test_a_malformed_hash_is_refused(client: TestClient, path: str, bad: str) -> None:
    found = problem(client, V1 + path.format(bad), 422)
    assert found["mistakes"][0]["place"].startswith("path.")


@pytest.mark.parametrize(
    ("query", "place"),
    [
        ("limit=0", "query.limit"),
        ("limit=1001", "query.limit"),
        ("limit=" + "9" * 400, "query.limit"),
        ("limit=-1", "query.limit"),
        ("limit=ten", "query.limit"),
        ("limit=", "query.limit"),
        ("limit=1.5", "query.limit"),
        ("limit=%FF%00", "query.limit"),
        ("cursor=-1", "query.cursor"),
        (f"cursor={2**63}", "query.cursor"),
        ("cursor=abc", "query.cursor"),
        ("cursor=null", "query.cursor"),
        ("page=2", "query.page"),
    ],
)
@pytest.mark.parametrize("path", ["/jobs", f"/jobs/{HASH}/steps", "/proofs", "/workers"])
def test_a_malformed_query_is_refused(
    client: TestClient, path: str, query: str, place: str
) -> None:
    found = problem(client, f"{V1}{path}?{query}", 422)
    assert [mistake["place"] for mistake in found["mistakes"]] == [place]
    assert place in found["detail"]


@pytest.mark.parametrize(
    "query",
    [
        "job=1",
        "miner=0x12",
        f"miner={HASH}",
        "miner=0x" + "g" * 40,
        "status=lost",
        "status=",
        "minner=",
    ],
)
def test_a_malformed_filter_is_refused(client: TestClient, query: str) -> None:
    problem(client, f"{V1}/proofs?{query}", 422)


@pytest.mark.parametrize("step", ["-1", str(2**32), "9" * 5000, "x", "1.5", "%00"])
def test_a_malformed_step_is_refused(client: TestClient, world: World, step: str) -> None:
    problem(client, f"{V1}/jobs/{world.job_id.hex()}/steps/{step}", 422)


@pytest.mark.parametrize(
    "path",
    [
        "/nothing",
        "/api",
        V1,
        f"{V1}/jobs/",
        f"{V1}/proofs/{HASH}/more",
        "/docs/..%2fapp.py",
        "/%00%ff",
    ],
)
def test_there_is_nothing_at_other_addresses(client: TestClient, path: str) -> None:
    found = problem(client, path, 404)
    assert "/docs" in found["detail"]


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "QUERY", "NONSENSE"])
def test_nothing_here_writes(client: TestClient, world: World, method: str) -> None:
    paths = ["/jobs", f"/jobs/{world.job_id.hex()}", "/proofs", "/workers", "/pool", "/chain"]
    for path in paths:
        problem(client, V1 + path, 405, method)


def test_a_refused_method_comes_with_those_that_are_not(client: TestClient) -> None:
    assert client.delete(f"{V1}/pool").headers["allow"] == "GET"


@pytest.fixture
def faulty(node: FakeNode) -> FastAPI:
    app = create_app(node)

    @app.get("/fault")
    def fault() -> None:
        raise RuntimeError("secret inside")

    return app


def test_a_fault_is_logged_and_shows_nothing(
    faulty: FastAPI, caplog: pytest.LogCaptureFixture
) -> None:
    with TestClient(faulty) as client, caplog.at_level(logging.ERROR, "potnode.api"):
        found = problem(client, "/fault", 500)
        assert client.get("/fault").headers["x-content-type-options"] == "nosniff"
    assert "secret" not in str(found)
    assert "GET /fault failed" in caplog.text
    assert "secret inside" in caplog.text


@pytest.mark.parametrize("path", ["/healthz", "/nothing", f"{V1}/jobs", f"{V1}/jobs?limit=0"])
def test_every_answer_is_closed_to_pages_of_others(client: TestClient, path: str) -> None:
    headers = client.get(path, headers={"Origin": "https://elsewhere.example"}).headers
    assert not [name for name in headers if name.startswith("access-control-")]
    assert headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    ("path", "status"), [("/healthz", 200), (f"{V1}/pool", 200), ("/docs", 200), ("/nothing", 404)]
)
def test_head_is_get_without_the_body(client: TestClient, path: str, status: int) -> None:
    got, asked = client.get(path), client.head(path)
    assert got.status_code == asked.status_code == status
    assert asked.content == b""
    assert asked.headers == got.headers
