"""The pool and its workers: who mines, how fast, and what came of it."""

from __future__ import annotations

from typing import Annotated

from anyio import CapacityLimiter
from anyio.to_thread import run_sync
from fastapi import APIRouter, Query

from potnode.api.models import (
    Connection,
    FoundBlock,
    FoundBlockPage,
    HostPort,
    Pool,
    Training,
    Work,
    Worker,
    WorkerPage,
)
from potnode.api.params import PageQuery, WorkerQuery, job_bytes
from potnode.api.ports import NodeView
from potnode.api.present import address, at, difficulty, moment, optional_hex
from potnode.api.problems import documented
from potnode.bitcoin import ParentChain
from potnode.campaign import Progress
from potnode.store.rows import ShareStatus, WorkerSummary
from potnode.work import blocks
from potnode.work.address import evm_address

# Summaries read every share: one at a time, so that they never take all of the database's readers.
_SUMMARIES_AT_ONCE = 1

_Key = tuple[str, str]


def routes(node: NodeView) -> APIRouter:
    """`/pool` and `/workers`."""
    router = APIRouter(tags=["pool"])
    summaries = CapacityLimiter(_SUMMARIES_AT_ONCE)

    @router.get("/pool", responses=documented(503))
    async def pool() -> Pool:
        """The pool as a whole."""
        counters, progress, stratum = node.counters(), node.progress(), node.stratum_address
        return Pool(
            training=None if progress is None else _training(progress),
            miners=len(node.miners()),
            connections=counters.connections,
            accepted=counters.accepted,
            rejected={str(int(code)): count for code, count in sorted(counters.rejects.items())},
            blocks=counters.blocks,
            last_transaction=optional_hex(node.last_transaction()),
            stratum=None if stratum is None else HostPort(host=stratum[0], port=stratum[1]),
            work=_work(node.parent()),
            problems=list(node.problems()),
        )

    @router.get("/pool/blocks", responses=documented(422, 503))
    async def found_blocks(query: Annotated[PageQuery, Query()]) -> FoundBlockPage:
        """Blocks of the parent chain that this node's miners found, the latest first."""
        parent = node.parent()
        found = [] if parent is None else parent.blocks.blocks()
        start = query.cursor or 0
        end = start + query.limit
        return FoundBlockPage(
            items=[_found_block(block) for block in found[start:end]],
            next=end if end < len(found) else None,
        )

    @router.get("/workers", responses=documented(422, 503))
    async def workers(query: Annotated[WorkerQuery, Query()]) -> WorkerPage:
        """Everyone who is connected or has delivered a share; most work first.

        The order changes while shares come in, so pages are a snapshot each.
        """
        connected = _connections(node)
        job_id = None if query.job is None else job_bytes(query.job)
        stored = await run_sync(node.store.workers, job_id, limiter=summaries)
        found = [_worker(summary, connected) for summary in stored]
        found += [_idle(key, connections) for key, connections in connected.items()]
        start = query.cursor or 0
        end = start + query.limit
        return WorkerPage(items=found[start:end], next=end if end < len(found) else None)

    return router


def _work(parent: ParentChain | None) -> Work:
    if parent is None:
        return Work(
            source="standalone", height=None, parent=None, updated_at=None, found_blocks=None
        )
    source = parent.source
    return Work(
        source="bitcoind",
        height=source.height or None,
        parent=parent.parent(),
        updated_at=at(source.last_update) if source.last_update else None,
        found_blocks=len(parent.blocks.blocks()),
    )


def _found_block(block: blocks.FoundBlock) -> FoundBlock:
    return FoundBlock(
        hash=block.hash,
        height=block.height,
        finder=block.finder,
        found_at=at(block.found_at),
        status=block.status,
        answers={name: answer.state for name, answer in block.answers.items()},
        on_disk=block.on_disk,
    )


def _training(progress: Progress) -> Training:
    return Training(
        job=progress.job_id.hex(),
        step=progress.step,
        step_limit=progress.step_limit,
        shares=progress.shares,
        waiting=progress.waiting,
        expired=progress.expired,
        refused=dict(progress.refused),
        hash_rate=progress.hash_rate,
        evaluations_per_s=progress.evaluations_per_s,
        steps_per_s=progress.steps_per_s,
        loss_bits=progress.loss,
        accuracy=progress.accuracy,
        recorder_lag=progress.recorder_lag,
    )


def _connections(node: NodeView) -> dict[_Key, list[Connection]]:
    """The connections of each connected worker."""
    found: dict[_Key, list[Connection]] = {}
    stats = node.connection_stats()
    for miner in node.miners():
        bits = node.miner_bits(miner.connection_id)
        seen = stats[miner.connection_id]
        connection = Connection(
            user_agent=miner.user_agent,
            bits=bits,
            difficulty=None if bits is None else difficulty(bits),
            connected_at=at(seen.connected_at),
            accepted=seen.accepted,
            rejected=seen.rejected,
            tls=seen.tls,
        )
        key = (evm_address(miner.account), miner.worker)
        found.setdefault(key, []).append(connection)
    return found


def _worker(summary: WorkerSummary, connected: dict[_Key, list[Connection]]) -> Worker:
    """A worker with shares; its connections are taken out of `connected`."""
    account = address(summary.miner)
    return Worker(
        miner=account,
        worker=summary.worker,
        connections=connected.pop((account, summary.worker), []),
        shares=summary.shares,
        work=str(summary.work),
        by_status=summary.by_status,
        last_share_at=moment(summary.last_received_at),
    )


def _idle(key: _Key, connections: list[Connection]) -> Worker:
    """A worker that is connected and has delivered nothing."""
    return Worker(
        miner=key[0],
        worker=key[1],
        connections=connections,
        shares=0,
        work="0",
        by_status=dict.fromkeys(ShareStatus, 0),
        last_share_at=None,
    )
