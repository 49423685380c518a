"""Errors as clients see them: application/problem+json (RFC 9457), whatever went wrong.

Responsible for turning exceptions into answers that say what to do and show nothing of the inside.
What is nobody's mistake but ours is logged and answered by `edge.py`.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.responses import Response

from potnode.api.errors import ApiError
from potnode.chain.errors import ChainError, ChainUnavailable, JobUnknown
from potnode.literal.errors import BadSearch, LiteralError, TooManySearches, UnknownSearch
from potnode.store.errors import (
    StoreBusy,
    StoreClosed,
    StoreError,
    StoreFull,
    StoreUnavailable,
)

MEDIA_TYPE = "application/problem+json"
_SCHEMA = {"$ref": "#/components/schemas/Problem"}

log = logging.getLogger(__name__)


class Mistake(BaseModel):
    """One thing that is wrong with a request."""

    place: str = Field(
        description="`path`, `query`, `header` or `body`, and the name", examples=["query.limit"]
    )
    problem: str = Field(examples=["Input should be less than or equal to 1000"])


class Problem(BaseModel):
    """An error (RFC 9457)."""

    type: str = Field("about:blank", description="Always about:blank: the status says it all.")
    title: str = Field(description="The status in words.", examples=["Not Found"])
    status: int = Field(description="The HTTP status.", examples=[404])
    detail: str = Field(description="What is wrong and what to do.")
    mistakes: list[Mistake] | None = Field(None, description="With 422: each parameter refused.")
    problems: list[str] | None = Field(None, description="Of /readyz: why the node is not ready.")


_MEANINGS = {
    401: "Writing needs a bearer token.",
    403: "This request may not write.",
    404: "There is no such thing here.",
    405: "Another method is needed.",
    409: "What is asked for does not fit what is there.",
    413: "The body is too long.",
    415: "The body is of another kind.",
    422: "A parameter or the body is malformed, out of range or unknown.",
    429: "No more are taken now.",
    500: "A fault of the node; its log has more.",
    502: "The chain's answer makes no sense.",
    503: "The node, its database or its chain is not available now.",
}


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """`responses` of a route that may be answered with these problems, for the OpenAPI document."""
    return {
        status: {
            "description": _MEANINGS[status],
            "content": {MEDIA_TYPE: {"schema": _SCHEMA}},
        }
        for status in sorted(statuses)
    }


def problem_response(
    status: int,
    detail: str,
    *,
    mistakes: Sequence[Mistake] | None = None,
    problems: Sequence[str] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """The answer to a request that failed."""
    problem = Problem(
        title=HTTPStatus(status).phrase,
        status=status,
        detail=detail,
        mistakes=None if mistakes is None else list(mistakes),
        problems=None if problems is None else list(problems),
    )
    return Response(
        problem.model_dump_json(exclude_none=True),
        status_code=status,
        media_type=MEDIA_TYPE,
        headers=headers,
    )


def _told(mistake: Any) -> str:
    """A mistake of pydantic's, but without the names of classes that no client knows."""
    named = "instance of" in mistake["msg"]
    return "Input should be an object" if named else mistake["msg"]


def install(app: FastAPI) -> None:
    """Answer every error of a request to `app` with a problem."""

    @app.exception_handler(ApiError)
    async def refused(_: Request, error: ApiError) -> Response:
        return problem_response(error.status, error.detail, headers=error.headers)

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> Response:
        mistakes = [
            Mistake(place=".".join(map(str, each["loc"])), problem=_told(each))
            for each in error.errors()
        ]
        detail = "; ".join(f"{each.place}: {each.problem}" for each in mistakes)
        return problem_response(422, detail, mistakes=mistakes)

    @app.exception_handler(HTTPException)
    async def no_route(_: Request, error: HTTPException) -> Response:
        details = {
            404: "there is nothing at this address: /docs lists every route",
            405: "this address takes another method: see the Allow header",
        }
        detail = details.get(error.status_code, "the request can't be answered")
        return problem_response(error.status_code, detail, headers=error.headers)

    @app.exception_handler(ChainError)
    async def chain_failed(_: Request, error: ChainError) -> Response:
        if isinstance(error, JobUnknown):
            return problem_response(404, "the contract does not have such a job: see /api/v1/jobs")
        log.warning("a reader of the API met a failing chain: %s", error)
        if isinstance(error, ChainUnavailable):
            return problem_response(503, "the chain does not answer now: try again later")
        return problem_response(502, "the chain's answer makes no sense: see the node's log")

    @app.exception_handler(LiteralError)
    async def search_refused(_: Request, error: LiteralError) -> Response:
        if isinstance(error, BadSearch):
            mistake = Mistake(place=f"body.{error.field}", problem=error.problem)
            return problem_response(422, f"{mistake.place}: {error.problem}", mistakes=[mistake])
        if isinstance(error, UnknownSearch):
            return problem_response(404, str(error))
        return problem_response(429 if isinstance(error, TooManySearches) else 503, str(error))

    @app.exception_handler(StoreError)
    async def store_failed(_: Request, error: StoreError) -> Response:
        if isinstance(error, StoreBusy | StoreClosed | StoreFull | StoreUnavailable):
            log.warning("a reader of the API met a failing database: %s", error)
            return problem_response(503, "the node's database is not available: try again later")
        log.error("the database failed a reader of the API: %s", error)
        return problem_response(500, "the node's database failed: see the node's log")
