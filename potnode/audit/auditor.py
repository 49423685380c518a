"""The auditor: replays a job from chain and dataset, and names the first step that is wrong.

Responsible for what a node answers, which it does not trust: events must fit the contract's
hashes, and the contract's figures those of the replay (`potnode.audit.replay`). A step after a
wrong one has no defined truth, so the audit ends with the first wrong step and reports every
difference in it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TypeVar

from potnode.audit.replay import Replay, Rules, Truth
from potnode.audit.report import AuditReport, Finding, History
from potnode.audit.terms import compare_dataset, compare_kept, read_manifest
from potnode.audit.witness import Difference, changed_in_creation, changed_in_step
from potnode.chain.contract import (
    JobState,
    decode_job_state,
    decode_result,
    decode_step_recorded,
    encode_call,
    event_topic,
    head_after,
    is_ours,
)
from potnode.chain.errors import BadChainData, JobUnknown
from potnode.chain.ports import Ledger, Log
from potnode.chain.reader import ChainJob, read_job
from potnode.data.catalog import Catalog
from potnode.data.errors import MissingPart
from potnode.data.feedback import read_feedback
from potnode.data.imported import imported_weights
from potnode.engine.cost import Limits, cost
from potnode.engine.engine import Engine
from potnode.engine.workers import available_cores
from potnode.spec.errors import SpecError
from potnode.spec.manifest import Pairs
from potnode.spec.schedule import shares_before

OnStep = Callable[[int, int], None]
T = TypeVar("T")
_HEADS = ("prev_head", "new_head")


@dataclass(frozen=True, slots=True)
class _Kept:
    """What the contract says of a job after one block: its terms, steps, last head and root."""

    job: JobState
    steps: int
    head: bytes
    state_root: bytes


class Auditor:
    """Audits one job. on_step(done, total) is called after every right step."""

    def __init__(
        self,
        ledger: Ledger,
        catalog: Catalog,
        *,
        device: str = "cpu",
        threads: int | None = None,
        slow: int = 0,
        parts: Sequence[Path] = (),
        limits: Limits | None = None,
        on_step: OnStep | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Prepare.

        Args:
            slow: how many steps, evenly spread, the specification recomputes as well as the engine.
            parts: folders where feedback may be. limits: the most a job may cost here, if any.
        """
        self._ledger = ledger
        self._catalog = catalog
        self._device = device
        self._threads = threads
        self._slow = slow
        self._parts = tuple(parts)
        self._limits = limits
        self._on_step = on_step or (lambda _done, _total: None)
        self._monotonic = monotonic

    def audit(self, job_id: bytes) -> AuditReport:
        """Replay the job as the chain has it now; steps recorded meanwhile are left out.

        Raises:
            JobUnknown, DataError (dataset, weights or feedback are not here), ChainUnavailable,
                RpcError, EngineError (the device can't be used, or
                the job costs more than the limits): no audit could be made.
        """
        started = self._monotonic()
        report = AuditReport(job_id)
        try:
            self._audit(job_id, report)
        except BadChainData as error:
            report.findings.append(Finding(error.step, error.field or "chain", str(error)))
        report.seconds = self._monotonic() - started
        return report

    def _audit(self, job_id: bytes, report: AuditReport) -> None:
        chain = self._ledger.chain
        block = chain.latest_block()
        kept = self._kept(job_id, block)
        if not is_ours(chain.code(self._ledger.contract)):
            problem = "is another program than this version's contract: its word binds nobody"
            report.findings.append(Finding(None, "contract", problem))
        job = self._job(job_id, report)
        if job is None:
            return
        params = job.params
        report.history = History(
            chain_id=chain.chain_id,
            contract=self._ledger.contract,
            block=block,
            head=kept.head,
            recorded=kept.steps,
            step_limit=params.step_limit,
            closed=kept.job.closed,
        )
        manifest, findings = read_manifest(params, job.manifest)
        report.findings += [*compare_kept(kept.job, params), *findings]
        if manifest is None:
            return
        report.manifest, report.held_out = job.manifest, params.held_out_count
        if self._limits is not None:
            threads = self._threads or available_cores()
            self._limits.check(cost(manifest, params, threads))
        dataset = self._catalog.by_root(params.data_root)
        findings = list(compare_dataset(params, manifest, dataset))
        report.findings += findings
        if findings:
            return
        imported = imported_weights(self._catalog, manifest)
        engine = Engine(manifest, dataset, self._device, self._threads, imported)
        state = engine.initial()
        root = engine.root(state)
        if root != params.initial_root:
            problem = f"is {params.initial_root.hex()}, the manifest's weights have {root.hex()}"
            report.findings.append(Finding(None, "params.initial_root", problem))
            return
        slow_steps = frozenset(i * kept.steps // self._slow for i in range(self._slow))
        takes_feedback = isinstance(manifest.task, Pairs)
        folders = self._parts if takes_feedback else ()
        feedback = read_feedback(job_id, manifest.input_size, folders)
        if takes_feedback:
            engine.add_feedback(feedback.pairs)
        rules = Rules(job_id, params, engine, dataset, slow_steps, feedback, folders)
        self._replay(job, Replay(rules, state, root), kept, block, report)

    def _replay(
        self, job: ChainJob, replay: Replay, kept: _Kept, block: int, report: AuditReport
    ) -> None:
        topics = [event_topic("StepRecorded"), job.job_id]
        findings: list[Finding] = []
        logs = self._ledger.logs(topics, first_block=job.block_number, last_block=block)
        try:
            for log in logs:
                findings = self._step(log, job, replay)
                if findings:
                    break
                self._on_step(replay.step, kept.steps)
        except MissingPart:
            findings = self._made_up(logs, replay)
            if not findings:
                raise
        except BadChainData as error:  # where the next step must stand is something else
            findings = [Finding(replay.step, error.field or "event", str(error))]
        report.findings += findings or _compare_end(replay, kept)
        report.steps = replay.step
        report.shares = shares_before(job.params, replay.step)
        report.spec_steps = replay.spec_steps
        report.state, report.state_root = replay.state, replay.root
        report.validation = replay.validation
        report.parents = replay.parents

    def _made_up(self, logs: Iterator[Log], replay: Replay) -> list[Finding]:
        """A finding on the next step's data_root if a later one shows that no pairs are missing.

        Counts of pairs never fall, so a later root that is known here bounds those before it.
        """
        try:
            for log in logs:
                step_data = decode_step_recorded(log, bound=False).step_data
                pairs = replay.pairs_named(step_data)
                if pairs:
                    problem = f"is the root of no number of pairs; a later step uses {pairs}"
                    return [Finding(replay.step, "data_root", problem)]
        except (BadChainData, SpecError):
            return []  # what follows is no history either
        return []

    def _kept(self, job_id: bytes, block: int) -> _Kept:
        def view(name: str, *arguments: object, decode: Callable[[bytes], T]) -> T:
            call = encode_call(name, job_id, *arguments)
            try:
                return decode(self._ledger.call(call, block=block))
            except BadChainData as error:
                raise BadChainData(str(error), field=name) from error

        job = view("jobs", decode=decode_job_state)
        if not any(job.owner):
            raise JobUnknown(
                f"the contract at 0x{self._ledger.contract.hex()} has no job 0x{job_id.hex()}"
            )
        total = view("steps", decode=lambda answer: int(decode_result("steps", answer)[0]))
        head = view("heads", total, decode=lambda answer: bytes(decode_result("heads", answer)[0]))
        root = view("stateRoot", decode=lambda answer: bytes(decode_result("stateRoot", answer)[0]))
        return _Kept(job, total, head, root)

    def _job(self, job_id: bytes, report: AuditReport) -> ChainJob | None:
        try:
            return read_job(self._ledger, job_id)
        except BadChainData as error:
            changed: list[Difference] = []
            if error.field is not None:  # else the answer is not even an event
                logs = self._ledger.logs([event_topic("JobCreated"), job_id])
                for log in islice(logs, 1):
                    changed = changed_in_creation(log, self._ledger, job_id)
            found = [*changed, (error.field or "chain", str(error))]
        report.findings += [Finding(None, *each) for each in _once(found)]
        return None

    def _step(self, log: Log, job: ChainJob, replay: Replay) -> list[Finding]:
        """Differences of one step; if there are none, the replay moves past it."""
        step, head = replay.step, replay.head
        found: list[Difference] = []
        missing: MissingPart | None = None
        try:
            recorded = decode_step_recorded(log, bound=False)
        except BadChainData as error:
            found.append((error.field or "event", str(error)))
        else:
            new_head = head_after(head, recorded.step_data)
            truth: Truth | None = None
            findings: list[Finding] = []
            try:
                truth, findings = replay.check(recorded.step_data)
            except MissingPart as error:
                missing = error
            for field, shown, right in (
                ("job", recorded.job_id.hex(), job.job_id.hex()),
                ("step", recorded.step, step),
                ("prev_head", recorded.prev_head.hex(), head.hex()),
                ("new_head", recorded.new_head.hex(), new_head.hex()),
            ):
                if shown != right:
                    found.append((field, f"the event has {shown}, must be {right}"))
            if truth is not None and not findings and not found:
                replay.advance(truth, new_head)
                return []
            found = [*((f.field, f.problem) for f in findings), *found]
        changed = changed_in_step(
            log, self._ledger, job.params, identity=job.job_id, step=step, head=head
        )
        # The place in a record says more than the heads that no longer fit it.
        found = sorted(_once([*changed, *found]), key=lambda each: each[0] in _HEADS)
        if missing is not None and not found:
            raise missing
        return [Finding(step, *each) for each in found]


def _compare_end(replay: Replay, kept: _Kept) -> list[Finding]:
    """The contract's own figures must be those of the replay."""
    if replay.step != kept.steps:
        problem = f"the contract has {kept.steps}, the events show {replay.step}"
        return [Finding(min(replay.step, kept.steps), "steps", problem)]
    last = max(replay.step - 1, 0)
    return [
        Finding(last, field, f"the contract keeps {shown}, must be {right}")
        for field, shown, right in (
            ("heads", kept.head.hex(), replay.head.hex()),
            ("stateRoot", kept.state_root.hex(), replay.root.hex()),
            ("jobs.steps", kept.job.steps, replay.step),
            ("jobs.state_root", kept.job.state_root.hex(), replay.root.hex()),
        )
        if shown != right
    ]


def _once(found: list[Difference]) -> Iterator[Difference]:
    """One difference a field: the first, which says most."""
    seen: set[str] = set()
    for field, problem in found:
        if field not in seen:
            seen.add(field)
            yield field, problem
