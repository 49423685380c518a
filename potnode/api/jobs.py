"""Jobs and their steps: jobs as the contract has them, steps as this node closed them."""

from __future__ import annotations

import threading
from typing import Annotated

from fastapi import APIRouter, Query, Response

from potnode.api.errors import NotFound
from potnode.api.models import Job, JobDetail, JobPage, StepDetail, StepPage
from potnode.api.params import JobPath, PageQuery, StepPath, job_bytes
from potnode.api.ports import NodeView
from potnode.api.present import step as present_step
from potnode.api.present import step_entry, step_fields
from potnode.api.problems import documented
from potnode.chain.reader import ChainJob, job_state, list_jobs, read_job
from potnode.chain.rpc import RpcLedger
from potnode.engine.export import Model, encode_model
from potnode.engine.state import from_bytes
from potnode.spec.manifest_json import decode_manifest
from potnode.spec.params import decode_params
from potnode.views import describe_job

MODEL_TYPE = "application/octet-stream"


class _JobList:
    """The contract's jobs in order of creation, read once for each newest block."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._block: int | None = None
        self._jobs: tuple[ChainJob, ...] = ()

    def read(self, ledger: RpcLedger) -> tuple[ChainJob, ...]:
        with self._lock:
            block = ledger.chain.latest_block()
            if block != self._block:
                self._jobs = tuple(list_jobs(ledger))
                self._block = block
            return self._jobs


def routes(node: NodeView) -> APIRouter:
    """`/jobs` and everything below."""
    router = APIRouter(prefix="/jobs", tags=["jobs"])
    on_chain = _JobList()

    @router.get("", responses=documented(422, 502, 503))
    def jobs(query: Annotated[PageQuery, Query()]) -> JobPage:
        """The contract's jobs, newest first."""
        ledger = node.ledger
        known = on_chain.read(ledger)
        end = len(known) if query.cursor is None else min(query.cursor, len(known))
        start = max(0, end - query.limit)
        return JobPage(
            items=[
                Job.model_validate(describe_job(ledger, job)) for job in reversed(known[start:end])
            ],
            next=start or None,
        )

    @router.get("/{job}", responses=documented(404, 422, 502, 503))
    def job(job: JobPath) -> JobDetail:
        """One job of the contract with its manifest."""
        found = read_job(node.ledger, job_bytes(job))
        manifest = found.manifest.decode("ascii") if found.manifest.isascii() else None
        return JobDetail.model_validate({**describe_job(node.ledger, found), "manifest": manifest})

    @router.get("/{job}/steps", responses=documented(404, 422, 502, 503))
    def steps(job: JobPath, query: Annotated[PageQuery, Query()]) -> StepPage:
        """The steps of a job that this node closed, newest first."""
        job_id = job_bytes(job)
        held_out = _held_out(node, job_id)
        page = node.store.steps(job_id, limit=query.limit, cursor=query.cursor)
        return StepPage(items=[present_step(view, held_out) for view in page.items], next=page.next)

    @router.get("/{job}/steps/{step}", responses=documented(404, 422, 502, 503))
    def step(job: JobPath, step: StepPath) -> StepDetail:
        """One step with its record."""
        job_id = job_bytes(job)
        held_out = _held_out(node, job_id)
        view = node.store.step(job_id, step)
        step_data = node.store.step_data(job_id, step)
        if view is None or step_data is None:
            raise NotFound(f"this node has closed no step {step} of the job")
        entries = [step_entry(each) for each in node.store.step_proofs(job_id, step)]
        return StepDetail.model_validate(
            {
                **step_fields(view, held_out),
                "entries": entries,
                "step_data": step_data.hex(),
            }
        )

    @router.get(
        "/{job}/model",
        response_class=Response,
        responses={
            200: {
                "description": "A safetensors file.",
                "content": {MODEL_TYPE: {"schema": {"type": "string", "format": "binary"}}},
            },
            **documented(404, 422, 502, 503),
        },
    )
    def model(job: JobPath) -> Response:
        """The model after the last closed step, as safetensors: weights, and what proves them."""
        job_id = job_bytes(job)
        _held_out(node, job_id)
        row, checkpoint = node.store.job(job_id), node.store.checkpoint(job_id)
        if row is None or checkpoint is None:
            raise NotFound(
                "this node has closed no step of the job, so there is no model of it yet"
            )
        manifest = decode_manifest(row.manifest)
        state = from_bytes(manifest, checkpoint.masters_le + checkpoint.momenta_le)
        steps_done = checkpoint.step + 1
        name = f"{manifest.dataset}-{job_id.hex()[:8]}-{steps_done}.safetensors"
        return Response(
            encode_model(Model(job_id, steps_done, manifest, state)),
            media_type=MODEL_TYPE,
            headers={"Content-Disposition": f'attachment; filename="{name}"'},
        )

    return router


def _held_out(node: NodeView, job_id: bytes) -> int:
    """How many held-out samples a job has. Raises NotFound if neither node nor chain knows it."""
    row = node.store.job(job_id)
    if row is not None:
        return decode_params(row.params).held_out_count
    if job_state(node.ledger, job_id) is None:
        raise NotFound("neither this node nor the contract has such a job: see /api/v1/jobs")
    return 0
