"""Parameters of requests: their forms, and the bytes they stand for.

A hash is 64 hex digits, `0x` before them or not. What does not fit is refused before a route runs;
an unknown query parameter too, because a filter with a typo would show everything.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import Path
from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema

from potnode.access import parse_hash
from potnode.store.rows import ShareStatus

HASH = r"^(0x)?[0-9a-fA-F]{64}$"
ADDRESS = r"^(0x)?[0-9a-fA-F]{40}$"
MAX_LIMIT = 1000
_MAX_CURSOR = 2**63 - 1

JobPath = Annotated[str, Path(pattern=HASH, description="The job's id: 64 hex digits.")]
StepPath = Annotated[int, Path(ge=0, le=2**32 - 1, description="A step, counted from 0.")]
PartPath = Annotated[int, Path(ge=0, le=2**31 - 1, description="Its first pair, counted from 0.")]
SharePath = Annotated[
    str, Path(pattern=HASH, description="A share's hash: 64 hex digits in display order.")
]


# A parameter that may be left out is an optional value here, but has no null in the document: there
# is no way to write one in a query.
_Cursor = Annotated[
    int | None,
    Field(ge=0, le=_MAX_CURSOR, description="`next` of the page before."),
    WithJsonSchema({"type": "integer", "minimum": 0, "maximum": _MAX_CURSOR}),
]
_Job = Annotated[
    str | None,
    Field(pattern=HASH, description="Of this job only."),
    WithJsonSchema({"type": "string", "pattern": HASH}),
]
_Miner = Annotated[
    str | None,
    Field(pattern=ADDRESS, description="Paid to this address only."),
    WithJsonSchema({"type": "string", "pattern": ADDRESS}),
]
_Status = Annotated[
    ShareStatus | None,
    Field(description="In this state only."),
    WithJsonSchema({"type": "string", "enum": list(ShareStatus)}),
]


class PageQuery(BaseModel):
    """Which part of a list."""

    model_config = ConfigDict(extra="forbid")

    limit: int = Field(50, ge=1, le=MAX_LIMIT, description="Items at most.")
    cursor: _Cursor = None


class WorkerQuery(PageQuery):
    """Which workers."""

    job: _Job = None


class ProofQuery(PageQuery):
    """Which proofs."""

    job: _Job = None
    miner: _Miner = None
    status: _Status = None


def job_bytes(text: str) -> bytes:
    """The 32 bytes of a job id of the form `HASH`."""
    return parse_hash(text, "a job id")


def share_bytes(text: str) -> bytes:
    """The 32 digest bytes of a share hash of the form `HASH`: display order reverses them."""
    return parse_hash(text, "a share hash")[::-1]


def address_bytes(text: str) -> bytes:
    """The 20 bytes of an address of the form `ADDRESS`."""
    return bytes.fromhex(text.removeprefix("0x"))
