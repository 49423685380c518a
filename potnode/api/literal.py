"""`/job`: the article's literal search, as the article calls it.

The routes stand at the root and not below /api/v1, and take what `curl -d '{...}'` sends: JSON that
says it is a form.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from anyio import CapacityLimiter
from anyio.to_thread import run_sync
from fastapi import APIRouter, Depends, Path, Query, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import from_json

from potnode.api.body import limited_json
from potnode.api.models import (
    HeldOutFigures,
    KeptNonce,
    NonceRecord,
    SearchAccepted,
    SearchDetail,
    SearchLedger,
    SearchPage,
    SearchProgress,
    SearchRequest,
    SearchRound,
)
from potnode.api.models import Search as SearchModel
from potnode.api.params import PageQuery
from potnode.api.ports import NodeView
from potnode.api.present import at
from potnode.api.problems import documented
from potnode.api.writing import documented_writes, guard
from potnode.config import nearest
from potnode.literal.expansion import MAX_SEED
from potnode.literal.files import Round, Search
from potnode.literal.ledger import Kept, Ledger, expected_records
from potnode.literal.request import (
    MAX_BATCH,
    MAX_CANDIDATES,
    MAX_KEEP,
    MAX_NONCE,
    MAX_ROUNDS,
    candidates,
)
from potnode.literal.request import Request as Wanted

MAX_BODY = 1 << 14
_CALLS_AT_ONCE = 2

_Nonce = Annotated[int, Field(ge=0, le=MAX_NONCE)]
_Id = Annotated[str, Path(pattern=r"^[0-9a-f]{16}$", description="What `POST /job` answered.")]
_DEFAULTS = Wanted(seed="", nonce_range=(0, 0))


class SearchBody(BaseModel):
    """What `POST /job` takes. Strict: 1.5, "3", true and 1e3 are no integers."""

    model_config = ConfigDict(extra="forbid", strict=True)

    seed: str = Field(
        min_length=1, max_length=MAX_SEED, description=f"At most {MAX_SEED} bytes of UTF-8."
    )
    nonce_range: list[_Nonce] = Field(
        min_length=2,
        max_length=2,
        description="The first nonce, and the one after the last: at most "
        f"{MAX_CANDIDATES} nonces.",
    )
    net: Literal["conv", "mlp"] = Field("conv", description="Which net is searched.")
    layer: str | None = Field(
        None, description="The layer of the first round: by default the one called like the seed."
    )
    dataset: str = Field(_DEFAULTS.dataset, description="Data to score on, of classes.")
    rounds: int = Field(_DEFAULTS.rounds, ge=1, le=MAX_ROUNDS)
    narrow: Literal["layer", "range"] = Field(
        "layer",
        description="The next round: the next layer, this one fixed to its best; or half the "
        "range, around the best.",
    )
    keep: int = Field(_DEFAULTS.keep, ge=1, le=MAX_KEEP, description="Nonces kept of a round.")
    batch: int = Field(_DEFAULTS.batch, ge=1, le=MAX_BATCH, description="Samples of a round.")


def _body_document() -> dict[str, Any]:
    return {
        "required": True,
        "description": "JSON, even where the content type says form: curl's default is taken.",
        "content": {
            "application/json": {
                "schema": SearchBody.model_json_schema(),
                "example": {"seed": "conv1_layer", "nonce_range": [0, 1_000_000]},
            }
        },
    }


def routes(node: NodeView) -> APIRouter:
    """`/job` and `/job/{id}`."""
    router = APIRouter(prefix="/job", tags=["literal search"])
    calls = CapacityLimiter(_CALLS_AT_ONCE)
    writing = [Depends(guard(node))]

    @router.post(
        "",
        status_code=202,
        dependencies=writing,
        openapi_extra={"requestBody": _body_document()},
        responses=documented_writes(413, 415, 422, 429, 503),
    )
    async def submit(request: Request) -> SearchAccepted:
        """Take a search on: it is on disk when this answers, and runs when those before it are
        over."""
        wanted = _wanted(await limited_json(request, MAX_BODY))
        search = await run_sync(node.searches.submit, wanted, limiter=calls)
        return SearchAccepted(id=search.id)

    @router.get("", responses=documented(422))
    def searches(query: Annotated[PageQuery, Query()]) -> SearchPage:
        """Literal searches, newest first."""
        items, cursor = node.searches.page(query.limit, query.cursor)
        return SearchPage(
            items=[SearchModel.model_validate(_fields(search)) for search in items], next=cursor
        )

    @router.get("/{id}", responses=documented(404, 422))
    def search(id: _Id) -> SearchDetail:  # noqa: A002  # the article's name
        """One search: how far it is, and what it found."""
        return _detail(node.searches.get(id))

    @router.delete("/{id}", dependencies=writing, responses=documented_writes(404, 422))
    def cancel(id: _Id) -> SearchDetail:  # noqa: A002
        """End a search, and keep what it found. One that is over stays as it is."""
        return _detail(node.searches.cancel(id))

    return router


def _wanted(body: bytes) -> Wanted:
    """The request in a body; RequestValidationError with every mistake in it."""
    try:
        # pydantic's own parser: Python's would take brackets 100,000 deep, and NaN.
        found = SearchBody.model_validate(from_json(body, allow_inf_nan=False))
    except ValidationError as error:
        raise RequestValidationError(
            [
                {"loc": ("body", *each["loc"]), "msg": _message(each["type"], each)}
                for each in error.errors(include_url=False)
            ]
        ) from None
    except ValueError as error:
        raise RequestValidationError([{"loc": ("body",), "msg": f"is not JSON: {error}"}]) from None
    low, high = found.nonce_range
    return Wanted(**found.model_dump(exclude={"nonce_range"}), nonce_range=(low, high))


def _message(kind: str, mistake: Any) -> str:
    if kind != "extra_forbidden":
        return str(mistake["msg"])
    return "unknown field" + nearest(str(mistake["loc"][-1]), list(SearchBody.model_fields))


def _fields(search: Search) -> dict[str, object]:
    request = search.request
    rate = search.hashes / search.seconds if search.seconds else 0.0
    return {
        "id": search.id,
        "status": search.status,
        "created_at": at(search.created_at),
        "request": SearchRequest(
            seed=request.seed,
            nonce_range=list(request.nonce_range),
            net=request.net,
            layer=request.layer,
            dataset=request.dataset,
            rounds=request.rounds,
            narrow=request.narrow,
            keep=request.keep,
            batch=request.batch,
        ),
        "progress": SearchProgress(
            done=sum(each.ledger.evaluated for each in search.rounds), total=candidates(request)
        ),
        "seconds": round(search.seconds, 3),
        "hashes_per_s": round(rate, 1),
        "best": _kept(search.rounds[-1].ledger.kept) if search.rounds else [],
        "error": search.error,
    }


def _detail(search: Search) -> SearchDetail:
    rounds = [_round(each) for each in search.rounds]
    return SearchDetail.model_validate(
        {
            **_fields(search),
            "ledger": rounds[-1].ledger if rounds else None,
            "rounds": rounds,
        }
    )


def _kept(kept: list[Kept]) -> list[KeptNonce]:
    return [KeptNonce(nonce=each.nonce, loss=each.loss) for each in kept]


def _round(found: Round) -> SearchRound:
    judged = None
    if found.held_out_loss is not None and found.held_out_accuracy is not None:
        judged = HeldOutFigures(loss=found.held_out_loss, accuracy=found.held_out_accuracy)
    return SearchRound(
        layer=found.layer,
        nonce_range=list(found.nonce_range),
        best=_kept(found.ledger.kept),
        ledger=_ledger(found.ledger),
        held_out=judged,
    )


def _ledger(ledger: Ledger) -> SearchLedger:
    return SearchLedger(
        evaluated=ledger.evaluated,
        records=len(ledger.records),
        expected=expected_records(ledger.evaluated),
        items=[
            NonceRecord(
                nonce=each.nonce,
                loss=each.loss,
                evaluated=each.evaluated,
                expected=expected_records(each.evaluated),
            )
            for each in ledger.records
        ],
    )
