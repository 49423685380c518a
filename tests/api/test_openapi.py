"""Requests made up from the OpenAPI document: answers must be as the document says."""

from __future__ import annotations

from typing import Any, cast

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis.strategies import SearchStrategy
from schemathesis import GenerationMode
from schemathesis.schemas import BaseSchema

from potnode.api.app import create_app
from potnode.api.ports import NodeView
from tests.api.conftest import FakeNode, World

# The document does not depend on the node.
_PATHS = create_app(cast("NodeView", None)).openapi()["paths"]
OPERATIONS = [(path, method) for path, methods in _PATHS.items() for method in methods]
WITH_PARAMETERS = [(path, m) for path, m in OPERATIONS if "parameters" in _PATHS[path][m]]
WITH_NAMES = [(path, method) for path, method in OPERATIONS if "{" in path]


@pytest.fixture
def document(node: FakeNode) -> BaseSchema:
    return schemathesis.openapi.from_asgi("/openapi.json", create_app(node))


def _searchable(case: schemathesis.Case[Any]) -> schemathesis.Case[Any]:
    """A search that can be: what the document can't say of it is that its range has an order."""
    if (case.path, case.method.lower()) == ("/job", "post"):
        given = cast("dict[str, Any]", case.body)
        low = int(given["nonce_range"][0]) // 2
        # To the document 2.0 is an integer.
        whole = {name: int(n) for name, n in given.items() if isinstance(n, float)}
        seed = given["seed"].encode("ascii", "replace").decode("ascii")
        right = {"seed": seed, "nonce_range": [low, low + 10], "dataset": "digits", "layer": None}
        case.body = {**given, **whole, **right}
    return case


def validate(cases: SearchStrategy[schemathesis.Case[Any]]) -> None:
    """Every check schemathesis knows, on a handful of requests."""

    @given(case=cases)
    @settings(
        max_examples=10,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    def check(case: schemathesis.Case[Any]) -> None:
        case.call_and_validate()

    check()


@pytest.mark.parametrize(("path", "method"), OPERATIONS)
def test_good_requests_are_answered_as_documented(
    document: BaseSchema, path: str, method: str
) -> None:
    validate(document[path][method].as_strategy().map(_searchable))


@pytest.mark.parametrize(("path", "method"), WITH_PARAMETERS)
def test_bad_requests_are_refused_as_documented(
    document: BaseSchema, path: str, method: str
) -> None:
    validate(document[path][method].as_strategy(generation_mode=GenerationMode.NEGATIVE))


@pytest.mark.parametrize(("path", "method"), WITH_NAMES)
def test_what_is_there_is_shown_as_documented(
    document: BaseSchema, world: World, path: str, method: str
) -> None:
    known = {
        "job": world.job_id.hex(),
        "step": 4,
        "share_hash": world.hashes[0][0][::-1].hex(),
    }
    names = {name: value for name, value in known.items() if f"{{{name}}}" in path}
    validate(document[path][method].as_strategy(path_parameters=names))
