"""Feedback: what people prefer, added to a job of preferences while it is trained."""

from __future__ import annotations

import time
from array import array
from itertools import chain
from math import prod
from typing import Annotated

import numpy as np
from anyio import CapacityLimiter
from anyio.to_thread import run_sync
from fastapi import APIRouter, Depends, Header, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, FailFast, Field, ValidationError

from potnode.api.body import limited_json
from potnode.api.errors import Conflict, NotFound
from potnode.api.models import Feedback, FeedbackAnswer, FeedbackPart
from potnode.api.params import JobPath, PageQuery, PartPath, job_bytes
from potnode.api.ports import NodeView
from potnode.api.present import moment
from potnode.api.problems import documented
from potnode.api.writing import documented_writes, guard
from potnode.data.feedback import Part, part_name
from potnode.spec.manifest import Pairs
from potnode.spec.manifest_json import decode_manifest
from potnode.store.errors import FeedbackRefused
from potnode.store.feedback import MAX_KEY, FeedbackRow
from potnode.store.rows import JobRow, JobStatus

MAX_PAIRS_A_CALL = 1000
MAX_BODY = 2 << 20
PART_TYPE = "application/octet-stream"
# Bodies are parsed beside the event loop, but with its interpreter: two at a time are enough.
_CALLS_AT_ONCE = 2

_Value = Annotated[int, Field(strict=True, ge=-127, le=127)]
# The first mistake says enough; a list of two million would only cost the node.
_Input = Annotated[list[_Value], FailFast()]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class FeedbackPair(_Body):
    """Two inputs, of which one is preferred. Values as the network takes them."""

    preferred: _Input
    other: _Input


class FeedbackCall(_Body):
    """Pairs to add."""

    pairs: Annotated[
        list[FeedbackPair], Field(min_length=1, max_length=MAX_PAIRS_A_CALL), FailFast()
    ]


_INPUT = {"type": "array", "items": {"type": "integer", "minimum": -127, "maximum": 127}}
_BODY = {
    "required": True,
    "description": f"At most {MAX_BODY} bytes.",
    "content": {
        "application/json": {
            "schema": {
                "type": "object",
                "required": ["pairs"],
                "additionalProperties": False,
                "properties": {
                    "pairs": {
                        "type": "array",
                        "minItems": 1,
                        "maxItems": MAX_PAIRS_A_CALL,
                        "items": {
                            "type": "object",
                            "required": ["preferred", "other"],
                            "additionalProperties": False,
                            "properties": {"preferred": _INPUT, "other": _INPUT},
                        },
                    }
                },
            },
            "example": {"pairs": [{"preferred": [12, -7, 0], "other": [3, 5, -90]}]},
        }
    },
}

_Key = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=MAX_KEY,
        pattern="^[!-~]+$",
        description="Names the call: sent again under the same key, its pairs count once.",
    ),
]


def routes(node: NodeView) -> APIRouter:
    """`/jobs/{job}/feedback` and its parts."""
    router = APIRouter(prefix="/jobs/{job}/feedback", tags=["feedback"])
    calls = CapacityLimiter(_CALLS_AT_ONCE)

    @router.post(
        "",
        status_code=202,
        dependencies=[Depends(guard(node))],
        openapi_extra={"requestBody": _BODY},
        responses=documented_writes(404, 409, 413, 415, 422, 503),
    )
    async def add(job: JobPath, request: Request, key: _Key = None) -> FeedbackAnswer:
        """Add pairs: on disk when this answers, and used from one of the next steps on."""
        body = await limited_json(request, MAX_BODY)
        return await run_sync(_add, node, job_bytes(job), body, key, limiter=calls)

    @router.get("", responses=documented(404, 409, 422, 503))
    def feedback(job: JobPath, query: Annotated[PageQuery, Query()]) -> Feedback:
        """How much feedback a job has, and its parts, newest first."""
        row, _ = _job(node, job_bytes(job))
        # What is frozen between the two queries counts already, and is listed the next time.
        page = node.store.feedback_page(row.job_id, limit=query.limit, cursor=query.cursor)
        view = node.store.feedback(row.job_id)
        return Feedback(
            job=row.job_id.hex(),
            total=view.total,
            frozen=view.frozen,
            data_root=view.data_root.hex(),
            items=[
                FeedbackPart(
                    first=part.first,
                    count=part.count,
                    data_root=part.data_root.hex(),
                    frozen_at=moment(part.frozen_at),
                )
                for part in page.items
            ],
            next=page.next,
        )

    @router.get(
        "/parts/{first}",
        response_class=Response,
        responses={
            200: {
                "description": "A part's file (docs/protocol.md, Feedback).",
                "content": {PART_TYPE: {"schema": {"type": "string", "format": "binary"}}},
            },
            **documented(404, 409, 422, 503),
        },
    )
    def part(job: JobPath, first: PartPath) -> Response:
        """One part as the file an auditor needs."""
        row, size = _job(node, job_bytes(job))
        found = node.store.feedback_part(row.job_id, first)
        if found is None:
            raise NotFound(f"no part of this job's feedback begins with pair {first}")
        values = node.store.feedback_pairs(row.job_id, first, found.count)
        pairs = np.frombuffer(values, np.int8).reshape(found.count, 2 * size)
        name = part_name(row.job_id, first)
        return Response(
            Part(first, pairs).to_bytes(),
            media_type=PART_TYPE,
            headers={"Content-Disposition": f'attachment; filename="{name}"'},
        )

    return router


def _job(node: NodeView, job_id: bytes) -> tuple[JobRow, int]:
    """A job that takes feedback, and how many values an input of it has."""
    row = node.store.job(job_id)
    if row is None:
        raise NotFound("this node trains no such job: feedback goes to the operator's node")
    manifest = decode_manifest(row.manifest)
    if not isinstance(manifest.task, Pairs):
        raise Conflict("this job learns no preferences: only jobs of task pairs have feedback")
    return row, prod(manifest.input)


def _add(node: NodeView, job_id: bytes, body: bytes, key: str | None) -> FeedbackAnswer:
    row, size = _job(node, job_id)
    if row.status is not JobStatus.OPEN:
        raise Conflict("this job is trained to its end: it takes no more feedback")
    try:
        call = FeedbackCall.model_validate_json(body)
    except ValidationError as error:
        mistakes = error.errors(include_url=False, include_context=False, include_input=False)
        raise RequestValidationError(
            [{**each, "loc": ("body", *each["loc"])} for each in mistakes]
        ) from None
    for i, pair in enumerate(call.pairs):
        for name, values in (("preferred", pair.preferred), ("other", pair.other)):
            if len(values) != size:
                problem = f"has {len(values)} values, an input of this job has {size}"
                raise RequestValidationError(
                    [{"type": "length", "loc": ("body", "pairs", i, name), "msg": problem}]
                )
    joined = array("b", chain.from_iterable((*pair.preferred, *pair.other) for pair in call.pairs))
    feedback = FeedbackRow(
        job_id=job_id,
        count=len(call.pairs),
        pairs=joined.tobytes(),
        received_at=time.time_ns(),
        key=key,
    )
    try:
        total = node.store.add_feedback(feedback).result()
    except FeedbackRefused as error:
        raise Conflict(str(error)) from error
    return FeedbackAnswer(accepted=len(call.pairs), total=total)
