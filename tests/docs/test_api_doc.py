"""docs/api.md against the application it describes."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, cast

import pytest

from potnode.api.app import create_app
from potnode.api.literal import MAX_BODY
from potnode.api.metrics import METRICS
from potnode.api.params import MAX_LIMIT
from potnode.api.ports import NodeView
from potnode.literal.expansion import MAX_SEED
from potnode.literal.files import STATUSES
from potnode.literal.request import MAX_BATCH, MAX_CANDIDATES, MAX_KEEP, MAX_ROUNDS, Request
from potnode.literal.searches import MAX_KEPT, MAX_WAITING
from potnode.store.rows import ShareStatus, TxStatus

TEXT = (Path(__file__).parents[2] / "docs" / "api.md").read_text("utf-8")
# Neither the document nor the set of routes depends on the node.
DOCUMENT = create_app(cast("NodeView", None)).openapi()
ROUTES = {
    f"{method.upper()} {path}"
    for path, operations in DOCUMENT["paths"].items()
    for method in operations
}


def test_every_route_has_its_section_and_every_section_a_route() -> None:
    assert set(re.findall(r"^### `([A-Z]+ /\S*)`$", TEXT, re.MULTILINE)) == ROUTES


def test_every_metric_is_in_the_table_with_its_meaning() -> None:
    rows = dict(re.findall(r"^\| `(potnode_\w+)` \| (.+) \|$", TEXT, re.MULTILINE))
    assert rows == METRICS


def test_every_error_of_the_document_is_in_the_table() -> None:
    documented = {
        status
        for operations in DOCUMENT["paths"].values()
        for operation in operations.values()
        for status in operation["responses"]
        if status.startswith(("4", "5"))
    }
    rows = set(re.findall(r"^\| (\d{3}) \|", TEXT, re.MULTILINE))
    assert documented <= rows


@pytest.mark.parametrize("status", [*ShareStatus, *TxStatus, *STATUSES])
def test_every_status_is_explained(status: str) -> None:
    assert f"`{status}`" in TEXT


def _example(route: str) -> Any:
    """The JSON of a route's section, without what it leaves out."""
    section = re.search(
        rf"^### `{re.escape(route)}`$(.*?)(?=^##|\Z)", TEXT, re.MULTILINE | re.DOTALL
    )
    assert section is not None
    example = re.search(r"```json\n(.*?)```", section[1], re.DOTALL)
    assert example is not None
    return json.loads(re.sub(r",?\s*\.\.\.(?=\s*\])", "", example[1]))


@pytest.mark.parametrize(
    ("route", "place", "model"),
    [
        ("GET /api/v1/jobs", (), "JobPage"),
        ("GET /api/v1/jobs", ("items", 0), "Job"),
        ("GET /api/v1/jobs/{job}/steps/{step}", (), "StepDetail"),
        ("GET /api/v1/jobs/{job}/steps/{step}", ("entries", 0), "StepEntry"),
        ("GET /api/v1/jobs/{job}/steps/{step}", ("validation",), "Validation"),
        ("POST /api/v1/jobs/{job}/feedback", (), "FeedbackAnswer"),
        ("GET /api/v1/jobs/{job}/feedback", (), "Feedback"),
        ("GET /api/v1/jobs/{job}/feedback", ("items", 0), "FeedbackPart"),
        ("GET /api/v1/proofs/{share_hash}", (), "ProofDetail"),
        ("GET /api/v1/proofs/{share_hash}", ("template",), "Template"),
        ("GET /api/v1/pool", (), "Pool"),
        ("GET /api/v1/pool", ("training",), "Training"),
        ("GET /api/v1/pool", ("stratum",), "HostPort"),
        ("GET /api/v1/pool", ("work",), "Work"),
        ("GET /api/v1/pool/blocks", (), "FoundBlockPage"),
        ("GET /api/v1/pool/blocks", ("items", 0), "FoundBlock"),
        ("GET /api/v1/workers", (), "WorkerPage"),
        ("GET /api/v1/workers", ("items", 0), "Worker"),
        ("GET /api/v1/workers", ("items", 0, "connections", 0), "Connection"),
        ("GET /api/v1/chain", (), "Chain"),
        ("POST /job", (), "SearchAccepted"),
        ("GET /job/{id}", (), "SearchDetail"),
        ("GET /job/{id}", ("request",), "SearchRequest"),
        ("GET /job/{id}", ("progress",), "SearchProgress"),
        ("GET /job/{id}", ("best", 0), "KeptNonce"),
        ("GET /job/{id}", ("ledger",), "SearchLedger"),
        ("GET /job/{id}", ("ledger", "items", 0), "NonceRecord"),
        ("GET /job/{id}", ("rounds", 0), "SearchRound"),
    ],
)
def test_an_example_has_exactly_the_members_of_its_model(
    route: str, place: tuple[str | int, ...], model: str
) -> None:
    example = _example(route)
    for key in place:
        example = example[key]
    assert list(example) == list(DOCUMENT["components"]["schemas"][model]["properties"])


def test_fields_of_a_literal_search_have_their_defaults_and_limits() -> None:
    section = TEXT.split("### `POST /job`")[1].split("###")[0]
    rows = dict(re.findall(r"^\| `(\w+)` \| ?(.*?) ?\|", section, re.MULTILINE))
    body = DOCUMENT["paths"]["/job"]["post"]["requestBody"]["content"]["application/json"]
    assert list(rows) == list(body["schema"]["properties"])
    defaults = Request(seed="", nonce_range=(0, 0))
    for name, default in rows.items():
        assert default == (f"`{getattr(defaults, name)}`" if default else ""), name
    for fact in (
        f"1 to {MAX_SEED} bytes",
        f"at most {MAX_CANDIDATES:,} nonces",
        f"1 to {MAX_ROUNDS} |",
        f"1 to {MAX_KEEP} |",
        f"1 to {MAX_BATCH} |",
        f"429 while {MAX_WAITING} searches wait",
        f"{MAX_KEPT} searches in all",
    ):
        assert fact in section, fact
    assert f"one for `/job` than {MAX_BODY >> 10} KiB" in TEXT


def test_limits_are_those_of_the_application() -> None:
    assert f"1 to {MAX_LIMIT} (50)" in TEXT
    parameters = DOCUMENT["paths"]["/api/v1/proofs"]["get"]["parameters"]
    limit = next(each for each in parameters if each["name"] == "limit")["schema"]
    assert (limit["minimum"], limit["maximum"], limit["default"]) == (1, MAX_LIMIT, 50)
