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
    validate(document[path][method].as_strategy())


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
