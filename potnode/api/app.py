"""The application: every route of a node's HTTP side put together, and the document of them."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, FastAPI

from potnode import __version__
from potnode.api import chain, docs, feedback, health, jobs, literal, pool, problems, proofs
from potnode.api.edge import Edge
from potnode.api.ports import NodeView

_DESCRIPTION = """\
Reads a node: jobs, steps, proofs, miners. What can be added here is feedback, for a job that learns
preferences, and literal searches, which run beside the jobs.

A hash is 64 hex digits; a share's hash is in display order, as block hashes are shown. Lists are
`{"items": [...], "next": cursor or null}`, newest first. Errors are `application/problem+json`.
"""


class _Api(FastAPI):
    """FastAPI whose document knows the errors."""

    def openapi(self) -> dict[str, Any]:
        """The OpenAPI document, made once."""
        if self.openapi_schema is None:
            document = super().openapi()
            schema = problems.Problem.model_json_schema(
                ref_template="#/components/schemas/{model}", mode="serialization"
            )
            nested = schema.pop("$defs")
            document["components"]["schemas"] |= {**nested, "Problem": schema}
        return super().openapi()


def create_app(node: NodeView) -> FastAPI:
    """All routes of a node's HTTP side. The node may still be starting; it is read when asked."""
    app = _Api(
        title="potnode",
        version=__version__,
        description=_DESCRIPTION,
        openapi_url=docs.OPENAPI_PATH,
        docs_url=None,
        redoc_url=None,
        # A redirect would carry the Host a client made up; a wrong address is simply not found.
        redirect_slashes=False,
        responses=problems.documented(500),
    )
    problems.install(app)
    v1 = APIRouter(prefix="/api/v1")
    for part in (jobs, feedback, proofs, pool, chain):
        v1.include_router(part.routes(node))
    app.include_router(v1)
    app.include_router(literal.routes(node))
    app.include_router(chain.rpc_routes(node))
    app.include_router(health.routes(node))
    app.include_router(docs.routes())
    app.add_middleware(Edge)
    return app
