"""The trainer: pure state machine of one job, whatever its strategy. Shares in, steps out.

Responsible for which share counts in which step, and for a step's record, head and new state. It
promises every share it admits a step inside the share's window, so nothing acknowledged expires,
and a record that has room for its template: a step's templates are among those of the queue, so
the queue never holds more distinct ones than a record may.
Not responsible for checking proof of work (`stratum`), durability (`potnode.store`), or the chain.
It does no I/O; heavy arithmetic happens in `compute`, which changes nothing and may run in a
thread.
"""

from __future__ import annotations

import enum
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from potnode.engine.ports import Evaluator
from potnode.spec import work
from potnode.spec.draw import candidate_keys
from potnode.spec.errors import SpecError
from potnode.spec.feedback import NO_FEEDBACK
from potnode.spec.manifest import Manifest
from potnode.spec.params import JobParams
from potnode.spec.record import (
    MAX_TEMPLATES,
    Entry,
    MinerRow,
    StepRecord,
    TemplateRow,
    Validation,
    canonical_order,
    encode_record,
)
from potnode.spec.schedule import shares_at, step_terms

S = TypeVar("S")


class TrainerError(Exception):
    """The trainer was asked for something its state does not allow: the calling code's mistake."""


class Admission(enum.Enum):
    """Answer to a share: whether it will count."""

    ADMITTED = "admitted"
    DUPLICATE = "duplicate"
    # Its window would have passed before its turn, or its template is one more than a record holds
    # (MAX_TEMPLATES, docs/protocol.md section 7) beside those that wait: it must be mined anew.
    STALE = "stale"
    FINISHED = "finished"  # the steps left are all spoken for


@dataclass(frozen=True, slots=True)
class TrainingShare:
    """A valid share waiting for its step: it stands for as many candidates as the job says.

    hash: H, 32 digest bytes. work_step: the step its template commits to. template: with age 0, the
    age being known only when it counts. extranonce: 16 bytes; version_le, ntime_le, nonce_le: 4
    bytes each as in the header.
    """

    hash: bytes
    work_step: int
    template: TemplateRow
    miner: MinerRow
    extranonce: bytes
    version_le: bytes
    ntime_le: bytes
    nonce_le: bytes


@dataclass(frozen=True, slots=True)
class Feedback:
    """Pairs that steps use beside the dataset: how many, and the data_root that says so."""

    count: int = 0
    data_root: bytes = NO_FEEDBACK


@dataclass(frozen=True, slots=True)
class StepPlan:
    """The shares of a step, ascending by H, and the work commitment that draws its batch.

    As many as the schedule has for the step: P(s) / C. feedback: the pairs it uses beside the
    dataset.
    """

    step: int
    shares: tuple[TrainingShare, ...]
    work: bytes
    feedback: Feedback


@dataclass(frozen=True, slots=True)
class ClosedStep(Generic[S]):
    """A computed step: its canonical bytes and all that follows from them.

    hashes: in the order of the record's entries. losses, coefficients: of each share's candidates,
    C of each, in the same order. state: after the step.
    """

    record: StepRecord
    step_data: bytes
    prev_head: bytes
    head: bytes
    hashes: tuple[bytes, ...]
    losses: tuple[tuple[int, ...], ...]
    coefficients: tuple[tuple[int, ...], ...]
    state: S

    @property
    def step(self) -> int:
        """Number of the step, from 0."""
        return self.record.step

    @property
    def validation(self) -> Validation | None:
        """Held-out loss and hits, on validation steps."""
        return self.record.validation


@dataclass(slots=True)
class _Waiting:
    share: TrainingShare
    durable: bool


class Trainer(Generic[S]):
    """One job from any step on. Not thread-safe: one caller, except `compute`."""

    def __init__(
        self,
        job_id: bytes,
        params: JobParams,
        manifest: Manifest,
        evaluator: Evaluator[S],
        *,
        state: S | None = None,
        heads: Mapping[int, bytes] | None = None,
        counted: Mapping[bytes, int] | None = None,
        next_head: Callable[[bytes, bytes], bytes] = work.next_head,
    ) -> None:
        """Start a job, or go on with it.

        Args:
            state: state before the next step; None with `heads` None for a new job.
            heads: head before step s, for the next step and as many before it as the window has
                (fewer near the start); its largest key is the next step.
            counted: H -> step of the shares counted within the window before the next step.
            next_head: the specification's, or a native one: its keccak takes 7 ms a step.

        Raises:
            TrainerError: only one of `state` and `heads` is given.
            SpecError: the initial state does not have the job's root.
        """
        if (state is None) != (heads is None):
            raise TrainerError("to go on with a job both its state and its heads are needed")
        self.job_id = job_id
        self.params = params
        self._manifest = manifest
        self._evaluator = evaluator
        self._next_head = next_head
        self._heads: dict[int, bytes] = dict(heads) if heads else {0: work.head_zero(job_id)}
        self._counted: dict[bytes, int] = dict(counted or {})
        self._waiting: OrderedDict[bytes, _Waiting] = OrderedDict()
        # Waiting shares of each work step and template: what will be one row of a record.
        self._rows: Counter[tuple[int, TemplateRow]] = Counter()
        if state is None:
            state = evaluator.initial()
            if evaluator.root(state) != params.initial_root:
                raise SpecError("the manifest's initial weights do not have the job's initial_root")
        self._state = state
        self._feedback = Feedback()

    @property
    def step(self) -> int:
        """The next step to be closed; equal to the step limit when the job is finished."""
        return max(self._heads)

    @property
    def state(self) -> S:
        """The state before `step`."""
        return self._state

    @property
    def head(self) -> bytes:
        """The head before `step`."""
        return self._heads[self.step]

    @property
    def finished(self) -> bool:
        """Whether every step is closed."""
        return self.step >= self.params.step_limit

    @property
    def waiting(self) -> int:
        """Admitted shares that no step has counted yet."""
        return len(self._waiting)

    @property
    def wanted(self) -> int:
        """Shares the next step takes; 0 when the job is finished."""
        return 0 if self.finished else shares_at(self.params, self.step)

    def work(self) -> bytes:
        """The commitment new templates carry: that of the next step."""
        return work.work_id(self.job_id, self.step, self.head)

    def admit(self, share: TrainingShare, *, durable: bool = False) -> Admission:
        """Give a share its place in the queue, if the step of that place is in its window.

        First come, first counted: a share's place only ever moves forward, and which step a place
        falls into follows from the schedule alone, so the promise holds. A
        share that is not durable yet holds its place; `settle` or `forget` must follow.

        No plan needs more template rows than a record may have: shares are counted in steps of
        consecutive places, so the distinct templates of all that wait bound those of every step,
        and a share that would bring one too many is refused as stale.
        """
        if share.hash in self._waiting or share.hash in self._counted:
            return Admission.DUPLICATE
        step = self._step_of(len(self._waiting))
        if step >= self.params.step_limit:
            return Admission.FINISHED
        if not share.work_step <= step <= share.work_step + self.params.window:
            return Admission.STALE
        if not self._has_row(share):
            return Admission.STALE
        self._enqueue(share, durable)
        return Admission.ADMITTED

    def settle(self, hash_: bytes) -> None:
        """The share is on disk: it may be counted."""
        self._waiting[hash_].durable = True

    def forget(self, hash_: bytes) -> None:
        """The share could not be stored and was not acknowledged: those behind it move up."""
        self._dequeue(hash_)

    def use_feedback(self, feedback: Feedback) -> None:
        """Let steps planned from now on use these pairs, which the evaluator has.

        Raises:
            TrainerError: they are fewer than before.
        """
        if feedback.count < self._feedback.count:
            raise TrainerError(
                f"{feedback.count} pairs of feedback are fewer than the {self._feedback.count} of "
                "the step before"
            )
        self._feedback = feedback

    def plan(self) -> StepPlan | None:
        """The next step's shares, once as many as it takes are durable at the queue's front."""
        wanted = self.wanted
        if self.finished or len(self._waiting) < wanted:
            return None
        chosen = []
        for waiting in self._waiting.values():
            if not waiting.durable:
                return None
            chosen.append(waiting.share)
            if len(chosen) == wanted:
                break
        chosen.sort(key=lambda c: c.hash)
        return StepPlan(self.step, tuple(chosen), self.work(), self._feedback)

    def compute(self, plan: StepPlan) -> ClosedStep[S]:
        """Losses, update, root and record of a plan. Changes nothing here; deterministic; slow."""
        params, evaluator = self.params, self._evaluator
        terms = step_terms(self._manifest, params, plan.step)
        hashes = tuple(c.hash for c in plan.shares)
        keys = candidate_keys(hashes, params.candidates_per_share)
        batch = evaluator.batch(plan.work, terms.batch_size, plan.feedback.count)
        flat = evaluator.losses(self._state, keys, batch, terms)
        state, coefficients = evaluator.advance(
            self._state, keys, flat, plan.work, terms, plan.feedback.count
        )
        losses = _by_share(flat, params.candidates_per_share)
        validation = evaluator.validate(state) if params.is_validation_step(plan.step) else None
        record = canonical_order(
            self.job_id,
            plan.step,
            [_row(c, plan.step, each) for c, each in zip(plan.shares, losses, strict=True)],
            validation,
            evaluator.root(state),
            plan.feedback.data_root,
        )
        step_data = encode_record(record)
        return ClosedStep(
            record=record,
            step_data=step_data,
            prev_head=self.head,
            head=self._next_head(self.head, step_data),
            hashes=hashes,
            losses=losses,
            coefficients=_by_share(coefficients, params.candidates_per_share),
            state=state,
        )

    def commit(self, closed: ClosedStep[S]) -> None:
        """Make a computed step the past. Call it once the step is on disk.

        Raises:
            TrainerError: the step does not follow from the present head.
        """
        if closed.step != self.step or closed.prev_head != self.head:
            raise TrainerError(f"step {closed.step} does not follow from step {self.step - 1}")
        self._state = closed.state
        self._heads[closed.step + 1] = closed.head
        for hash_ in closed.hashes:
            self._dequeue(hash_)
            self._counted[hash_] = closed.step
        oldest = self.step - self.params.window
        self._heads = {s: h for s, h in self._heads.items() if s >= oldest}
        # A share of step w counts until w + window, and its template cannot be older than `oldest`.
        self._counted = {h: s for h, s in self._counted.items() if s >= oldest - 1}

    def expire(self) -> list[TrainingShare]:
        """Take out the shares that can no longer count.

        Empty while this trainer made the promises: only shares restored under other circumstances,
        or left at the job's end, can be among them.
        """
        gone: list[TrainingShare] = []
        step, room = self.step, self.wanted
        for waiting in list(self._waiting.values()):
            share = waiting.share
            if not room and step < self.params.step_limit:
                step += 1
                room = shares_at(self.params, step)
            if step > min(share.work_step + self.params.window, self.params.step_limit - 1):
                gone.append(share)
                self._dequeue(share.hash)
            else:
                room -= 1
        return gone

    def restore(self, shares: Iterable[TrainingShare]) -> list[TrainingShare]:
        """Queue acknowledged shares again after a restart, in the order of their arrival.

        Returns:
            Those that can no longer count, for the caller to mark as expired: as `expire` has it,
            and those whose template `admit` would find no room for.
        """
        without_row: list[TrainingShare] = []
        for share in shares:
            if share.hash in self._counted or share.hash in self._waiting:
                continue
            if self._has_row(share):
                self._enqueue(share, durable=True)
            else:
                without_row.append(share)
        return without_row + self.expire()

    def _step_of(self, place: int) -> int:
        """The step that counts the share of this place in the queue; step_limit if none does.

        The walk is short: no share waits for a step more than a window away.
        """
        step = self.step
        while step < self.params.step_limit:
            place -= shares_at(self.params, step)
            if place < 0:
                break
            step += 1
        return step

    def _has_row(self, share: TrainingShare) -> bool:
        row = (share.work_step, share.template)
        return row in self._rows or len(self._rows) < MAX_TEMPLATES

    def _enqueue(self, share: TrainingShare, durable: bool) -> None:
        self._waiting[share.hash] = _Waiting(share, durable)
        self._rows[share.work_step, share.template] += 1

    def _dequeue(self, hash_: bytes) -> None:
        share = self._waiting.pop(hash_).share
        row = (share.work_step, share.template)
        self._rows[row] -= 1
        if not self._rows[row]:
            del self._rows[row]


def _by_share(values: Sequence[int], each: int) -> tuple[tuple[int, ...], ...]:
    """Values of all candidates, `each` of a share after those of the share before."""
    return tuple(tuple(values[at : at + each]) for at in range(0, len(values), each))


def _row(
    c: TrainingShare, step: int, losses: tuple[int, ...]
) -> tuple[bytes, TemplateRow, MinerRow, Entry]:
    entry = Entry(0, 0, c.extranonce, c.version_le, c.ntime_le, c.nonce_le, losses)
    return c.hash, replace(c.template, age=step - c.work_step), c.miner, entry
