"""Is the node alive, is it ready, and how is it doing: for supervisors, proxies and Prometheus."""

from __future__ import annotations

from collections.abc import Callable

from anyio import CapacityLimiter, move_on_after
from anyio.to_thread import run_sync
from fastapi import APIRouter, Response
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_1_0_0, generate_latest

from potnode.api.metrics import registry
from potnode.api.models import Health
from potnode.api.ports import NodeView
from potnode.api.problems import documented, problem_response
from potnode.chain.errors import ChainError
from potnode.store.errors import StoreError

PROBE_SECONDS = 3.0
# A chain that hangs keeps its thread for longer than a probe waits; others need theirs.
_PROBES_AT_ONCE = 2


def routes(node: NodeView) -> APIRouter:
    """`/healthz`, `/readyz` and `/metrics`."""
    router = APIRouter(tags=["health"])
    probes = CapacityLimiter(_PROBES_AT_ONCE)
    figures = registry(node)

    @router.get("/healthz")
    async def healthz() -> Health:
        """Alive: the event loop turns."""
        return Health(status="ok")

    @router.get("/readyz", response_model=Health, responses=documented(503))
    async def readyz() -> Response | Health:
        """Ready for miners: there is a job to train, and database and chain answer."""
        problems = list(node.problems())
        for name, probe in (("database", _ask_database), ("chain", _ask_chain)):
            found = await _probe(name, probe)
            if found is not None:
                problems.append(found)
        if problems:
            return problem_response(503, "; ".join(problems), problems=problems)
        return Health(status="ready")

    @router.get(
        "/metrics",
        response_class=Response,
        responses={
            200: {
                "description": "Prometheus text format.",
                "content": {"text/plain": {"schema": {"type": "string"}}},
            }
        },
    )
    async def metrics() -> Response:
        """Figures for Prometheus; docs/api.md lists them."""
        return Response(
            generate_latest(figures), headers={"Content-Type": CONTENT_TYPE_PLAIN_1_0_0}
        )

    async def _probe(name: str, ask: Callable[[NodeView], None]) -> str | None:
        with move_on_after(PROBE_SECONDS):
            try:
                await run_sync(ask, node, limiter=probes, abandon_on_cancel=True)
            except (ChainError, StoreError):
                return f"the {name} fails: see the node's log"
            return None
        return f"the {name} does not answer within {PROBE_SECONDS:g} s"

    return router


def _ask_database(node: NodeView) -> None:
    node.store.jobs()


def _ask_chain(node: NodeView) -> None:
    node.ledger.chain.latest_block()
