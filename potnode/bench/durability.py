"""How many shares a second the store makes durable, as the pool asks it to."""

from __future__ import annotations

import secrets
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path

from potnode.jobs import digits_draft
from potnode.rows import template_record
from potnode.spec.params import encode_params
from potnode.store.rows import JobRow, ShareRow, TemplateRecord
from potnode.store.store import Store
from potnode.work.jobs import template_row
from potnode.work.standalone import Standalone


def durable_shares_per_s(count: int, in_flight: int) -> float:
    """Store `count` shares, so many of them unacknowledged at a time, in a temporary directory."""
    with keeping() as keep:
        waiting: deque[Future[bool]] = deque()
        started = time.perf_counter()
        for _ in range(count):
            if len(waiting) >= in_flight:
                waiting.popleft().result()
            waiting.append(keep(secrets.token_bytes(32)))
        for future in waiting:
            future.result()
        return count / (time.perf_counter() - started)


@contextmanager
def keeping() -> Iterator[Callable[[bytes], Future[bool]]]:
    """A function that stores the share of a hash, in a database that ends with the context."""
    with (
        tempfile.TemporaryDirectory(prefix="potnode-bench-") as directory,
        Store(f"sqlite:///{Path(directory) / 'bench.sqlite'}") as store,
    ):
        job = _job(store)
        template = template_record(template_row(Standalone(job).current(0)))
        yield lambda digest: store.add_share(_share(job, template, digest))


def _job(store: Store) -> bytes:
    draft = digits_draft(bytes(20))
    row = JobRow(
        job_id=secrets.token_bytes(32),
        chain_id=1,
        contract=bytes(20),
        params=encode_params(draft.params),
        manifest=draft.manifest,
        created_at=0,
    )
    store.add_job(row).result()
    return row.job_id


def _share(job: bytes, template: TemplateRecord, digest: bytes) -> ShareRow:
    return ShareRow(
        hash=digest,
        job_id=job,
        work_step=0,
        miner=bytes(20),
        worker="bench",
        bits=14,
        script=b"",
        template=template,
        extranonce=digest[:16],
        version_le=bytes(4),
        ntime_le=bytes(4),
        nonce_le=bytes(4),
        received_at=time.time_ns(),
    )
