"""docs/api.md against the application it describes."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, cast

import pytest

from potnode.api.app import create_app
from potnode.api.metrics import METRICS
from potnode.api.params import MAX_LIMIT
from potnode.api.ports import NodeView
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


@pytest.mark.parametrize("status", [*ShareStatus, *TxStatus])
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
    ],
)
def test_an_example_has_exactly_the_members_of_its_model(
    route: str, place: tuple[str | int, ...], model: str
) -> None:
    example = _example(route)
    for key in place:
        example = example[key]
    assert list(example) == list(DOCUMENT["components"]["schemas"][model]["properties"])


def test_limits_are_those_of_the_application() -> None:
    assert f"1 to {MAX_LIMIT} (50)" in TEXT
    parameters = DOCUMENT["paths"]["/api/v1/proofs"]["get"]["parameters"]
    limit = next(each for each in parameters if each["name"] == "limit")["schema"]
    assert (limit["minimum"], limit["maximum"], limit["default"]) == (1, MAX_LIMIT, 50)
