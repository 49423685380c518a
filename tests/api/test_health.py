from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient

from potnode import __version__
from potnode.api import health
from potnode.api.metrics import METRICS
from potnode.bitcoin import ParentChain
from potnode.chain.errors import ChainUnavailable
from potnode.store.errors import StoreUnavailable
from stratum.errors import RejectCode
from stratum.limits import Refusal
from tests.api.conftest import RECORDED, FakeNode


def test_a_node_that_can_answer_is_alive(client: TestClient, node: FakeNode) -> None:
    node.found_problems = ["there is no job to train"]
    response = client.get("/healthz")
    assert (response.status_code, response.json()) == (200, {"status": "ok"})


def test_a_ready_node_says_so(client: TestClient) -> None:
    response = client.get("/readyz")
    assert (response.status_code, response.json()) == (200, {"status": "ready"})


def test_a_node_that_is_not_ready_says_why(client: TestClient, node: FakeNode) -> None:
    node.found_problems = ["there is no job to train"]
    response = client.get("/readyz")
    assert response.status_code == 503
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["problems"] == ["there is no job to train"]


class _Chain:
    """A ledger and its chain that do what the test says when asked for the newest block."""

    def __init__(self, error: Exception | None = None, wait: threading.Event | None = None) -> None:
        self._error = error
        self._wait = wait

    @property
    def chain(self) -> _Chain:
        return self

    def latest_block(self) -> int:
        if self._wait is not None:
            self._wait.wait(20)
        if self._error is not None:
            raise self._error
        return 0


def test_a_node_without_its_chain_is_not_ready(client: TestClient, node: FakeNode) -> None:
    node.ledger = _Chain(ChainUnavailable("secret"))  # type: ignore[assignment]
    response = client.get("/readyz")
    assert response.status_code == 503
    assert response.json()["problems"] == ["the chain fails: see the node's log"]


class _NoDatabase:
    def jobs(self) -> None:
        raise StoreUnavailable("secret")


def test_a_node_without_its_database_is_not_ready(client: TestClient, node: FakeNode) -> None:
    node.store = _NoDatabase()  # type: ignore[assignment]
    response = client.get("/readyz")
    assert response.status_code == 503
    assert response.json()["problems"] == ["the database fails: see the node's log"]
    assert client.get("/api/v1/proofs").status_code == 500


@pytest.fixture
def hanging(node: FakeNode, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The node's chain never answers."""
    monkeypatch.setattr(health, "PROBE_SECONDS", 0.05)
    wait = threading.Event()
    node.ledger = _Chain(wait=wait)  # type: ignore[assignment]
    yield
    wait.set()


@pytest.mark.usefixtures("hanging")
def test_a_probe_of_a_chain_that_hangs_ends(client: TestClient) -> None:
    for _ in range(5):  # more often than there are threads for it
        problems = client.get("/readyz").json()["problems"]
        assert "the chain does not answer within 0.05 s" in problems
    assert client.get("/healthz").status_code == 200


def scraped(client: TestClient) -> dict[str, dict[tuple[str, ...], float]]:
    """Sample name -> label values -> value."""
    response = client.get("/metrics")
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/plain; version=")
    found: dict[str, dict[tuple[str, ...], float]] = {}
    for family in text_string_to_metric_families(response.text):
        for sample in family.samples:
            found.setdefault(sample.name, {})[tuple(sample.labels.values())] = sample.value
    return found


def test_every_metric_is_scraped(client: TestClient, parent: ParentChain) -> None:
    names = set(scraped(client))
    histogram = "potnode_stratum_submit_seconds"
    parts = {f"{histogram}_{part}" for part in ("bucket", "count", "sum")}
    assert parts <= names
    ours = {name for name in names - parts if name.startswith("potnode_")}
    assert ours | {histogram} == set(METRICS)
    assert "process_resident_memory_bytes" in names


def test_metrics_are_the_nodes_figures(client: TestClient) -> None:
    found = scraped(client)
    assert found["potnode_build_info"] == {(__version__,): 1}
    assert found["potnode_ready"] == {(): 1}
    assert found["potnode_miners"] == {(): 3}
    assert found["potnode_stratum_shares_accepted_total"] == {(): 24}
    assert found["potnode_stratum_rejects_total"][(str(int(RejectCode.LOW_DIFFICULTY)),)] == 3
    assert len(found["potnode_stratum_rejects_total"]) == len(RejectCode)
    assert found["potnode_step"] == {(): RECORDED + 1}
    assert found["potnode_shares_refused_total"] == {("duplicate",): 1, ("stale",): 2}
    assert found["potnode_validation_accuracy"] == {(): 0.75}


def test_metrics_of_the_parent_chain(
    client: TestClient, node: FakeNode, parent: ParentChain
) -> None:
    parent.source.height = 840_000
    found = scraped(client)
    assert found["potnode_parent_height"] == {(): 840_000}
    assert found["potnode_parent_blocks"][("pending",)] == 2
    assert sum(found["potnode_parent_blocks"].values()) == 2
    assert found["potnode_parent_problems"][()] >= 2
    node.chain = None
    assert not any(name.startswith("potnode_parent") for name in scraped(client))


def test_metrics_of_connections(client: TestClient, node: FakeNode) -> None:
    node.counted.idle = 2
    node.counted.refused[Refusal.FULL] = 3
    node.counted.tls_failed = 4
    for seconds in (0.000_5, 0.000_5, 100.0):
        node.counted.submit_latency.add(seconds)
    found = scraped(client)
    assert found["potnode_stratum_closed_total"][("idle",)] == 2
    assert found["potnode_stratum_refused_connections_total"][(Refusal.FULL.value,)] == 3
    assert found["potnode_stratum_failures_total"][("tls",)] == 4
    buckets = found["potnode_stratum_submit_seconds_bucket"]
    assert buckets[("0.000512",)] == 2
    assert buckets[("+Inf",)] == found["potnode_stratum_submit_seconds_count"][()] == 3
    assert found["potnode_stratum_submit_seconds_sum"][()] == pytest.approx(100.001)


def test_metrics_before_the_first_job(client: TestClient, node: FakeNode) -> None:
    node.training = None
    node.found_problems = ["there is no job to train"]
    found = scraped(client)
    assert found["potnode_ready"] == {(): 0}
    assert "potnode_step" not in found


def test_two_nodes_in_one_process_have_metrics_of_their_own(node: FakeNode) -> None:
    from potnode.api.app import create_app

    with TestClient(create_app(node)) as first, TestClient(create_app(node)) as second:
        assert first.get("/metrics").status_code == second.get("/metrics").status_code == 200
