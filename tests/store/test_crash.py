"""What a node was told is on disk is there after it was killed without warning."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from potnode.store import Store
from tests.store.samples import JOB_ID, checkpoint, job

# Prints the hash of every share in the moment it is acknowledged.
SHARES = """
import os, sys
from potnode.store import Store
from tests.store.samples import share, template

store = Store(sys.argv[1])

def acknowledge(row):
    def done(future):
        if future.result():
            os.write(1, row.hash.hex().encode() + b"\\n")
    return done

for n in range(int(sys.argv[2]), 10**9):
    row = share(n, record=template(n // 50))
    store.add_share(row).add_done_callback(acknowledge(row))
    if n % 100 == 99:
        store.add_share(row).result()
"""

# Prints every step in the moment it is saved.
STEPS = """
import os, sys
from potnode.store import Store
from tests.store.samples import checkpoint, results, share, step_row

store = Store(sys.argv[1])
for step in range(int(sys.argv[2]), 10**9):
    rows = [share(step * 10 + n) for n in range(10)]
    for row in rows:
        store.add_share(row)
    entries = results(sorted(row.hash for row in rows[:8]))
    expired = [row.hash for row in rows[8:]]
    store.save_step(step_row(step), entries, checkpoint(step), expired).result()
    os.write(1, b"%d\\n" % step)
"""


def run_and_kill(program: str, url: str, first: int, lines: int) -> list[str]:
    """Whole lines the program wrote before it was killed, at least `lines`."""
    process = subprocess.Popen(
        [sys.executable, "-c", program, url, str(first)],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(Path.cwd())},
    )
    with process:
        assert process.stdout is not None
        heard = [process.stdout.readline() for _ in range(lines)]
        process.send_signal(signal.SIGKILL)
        heard += process.stdout.readlines()
    assert process.returncode == -signal.SIGKILL
    return [line.decode().strip() for line in heard if line.endswith(b"\n")]


@pytest.fixture
def with_job(url: str) -> str:
    with Store(url) as store:
        store.add_job(job()).result()
    return url


def test_every_acknowledged_share_survives_a_kill(with_job: str) -> None:
    acknowledged: set[str] = set()
    for n, lines in enumerate((1, 150, 1000)):
        acknowledged.update(run_and_kill(SHARES, with_job, n * 10**6, lines))
        with Store(with_job) as store:
            pending = store.pending_shares(JOB_ID)
            assert acknowledged <= {row.hash.hex() for row in pending}
            # Those that were stored without being acknowledged are known for what they are.
            assert store.add_share(pending[-1]).result() is False
    assert len(acknowledged) >= 1151


def test_every_saved_step_survives_a_kill_whole(with_job: str) -> None:
    first = 0
    for lines in (1, 40, 7):
        told = [int(line) for line in run_and_kill(STEPS, with_job, first, lines)]
        assert told == list(range(first, first + len(told)))
        with Store(with_job) as store:
            views = store.steps(JOB_ID, limit=1000).items
            last = views[0].step
            assert [view.step for view in views] == list(range(last + 1))[::-1]
            assert last >= told[-1]
            assert {view.proofs for view in views} == {8}
            assert store.checkpoint(JOB_ID) == checkpoint(last)
            assert [item.step for item in store.unfinished(1000)] == list(range(last + 1))
            counted = {p.hash for view in views for p in store.step_proofs(JOB_ID, view.step)}
            assert len(counted) == 8 * (last + 1)
            # What the next step wanted is there in part at most, and waits for it.
            first = last + 1
            assert len(store.pending_shares(JOB_ID)) <= 10
