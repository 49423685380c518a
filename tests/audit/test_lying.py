"""Audits through a node that lies in one byte: each lie is found, in its step and its field."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from potnode.audit.report import AuditReport
from potnode.chain.contract import encode_call, head_after
from potnode.chain.errors import RpcError
from potnode.chain.hexes import data
from potnode.spec.params import WORD
from tests.audit.conftest import audit
from tests.audit.lying import (
    STEP_DATA_AT,
    Lie,
    Remembered,
    created_layout,
    flipped,
    in_event_data,
    in_logs,
    in_topic,
    in_view,
    lying_ledger,
    record_layout,
)
from tests.audit.operating import STEPS, Operated, Operator

pytestmark = pytest.mark.usefixtures("quick_engine")

STEP, CREATION = "StepRecorded", "JobCreated"
# What the contract keeps of a job (contracts/src/interfaces/IPot.sol, struct Job), a word each.
JOB_WORDS = (
    ("operator", 20),
    ("population", 2),
    ("min_bits", 1),
    ("window", 1),
    ("steps", 4),
    ("step_limit", 4),
    ("owner", 20),
    ("validate_every", 4),
    ("closed", 1),
    ("population_start", 2),
    ("candidates_per_share", 1),
    ("token", 20),
    ("created_at", 8),
    ("pot_per_step", 16),
    ("operator_fee", 16),
    ("challenge_window", 8),
    ("stall_timeout", 8),
    ("state_root", 32),
    ("escrow", 32),
)
# Of the contract's own course of business; no number of the training depends on them.
NOT_AUDITED = ("closed", "created_at", "escrow")


@pytest.fixture(scope="module")
def remembered(operator: Operator) -> Remembered:
    return Remembered(operator.transport)


class Listener:
    """Audits the honest job through liars."""

    def __init__(self, operator: Operator, job: Operated, remembered: Remembered) -> None:
        self.job = job
        self._operator = operator
        self._remembered = remembered

    def hear(self, lie: Lie) -> AuditReport:
        ledger = lying_ledger(self._remembered, self._operator.ledger.contract, lie)
        return audit(self._operator, self.job.job_id, ledger)

    def first(self, lie: Lie) -> tuple[int | None, str]:
        """Step and field of the first finding, of which there must be one."""
        report = self.hear(lie)
        assert not report.passed
        return report.findings[0].step, report.findings[0].field


@pytest.fixture
def listener(operator: Operator, honest: Operated, remembered: Remembered) -> Listener:
    return Listener(operator, honest, remembered)


def decoder_name(field: str) -> str:
    """Lengths have the name of what they measure."""
    return field.removesuffix("_len")


def test_a_truthful_node(listener: Listener) -> None:
    assert listener.hear(lambda _method, _params, answer: answer).passed


def test_every_byte_of_a_record(listener: Listener) -> None:
    """Step 1 has late shares, a payout script and merkle branches; others have validation too."""
    step = 1
    layout = record_layout(listener.job.records[step])
    for at, field in enumerate(layout):
        lie = in_event_data(STEP, step, STEP_DATA_AT + at, 1 << (at % 8))
        assert listener.first(lie) == (step, decoder_name(field)), f"byte {at}"


@pytest.mark.parametrize("step", [0, 4, 5])
def test_a_byte_of_every_field_of_other_records(listener: Listener, step: int) -> None:
    rng = random.Random(step)
    layout = record_layout(listener.job.records[step])
    for field in dict.fromkeys(layout):
        at = rng.choice([i for i, name in enumerate(layout) if name == field])
        lie = in_event_data(STEP, step, STEP_DATA_AT + at, rng.randrange(1, 256))
        assert listener.first(lie) == (step, decoder_name(field)), f"byte {at}"


def test_every_byte_of_the_words_around_a_record(listener: Listener) -> None:
    step = 1
    size = len(listener.job.closed[step].step_data)
    fields = ["prev_head"] * WORD + ["new_head"] * WORD + ["data"] * (2 * WORD)
    for at, field in enumerate(fields):
        assert listener.first(in_event_data(STEP, step, at)) == (step, field), f"byte {at}"
    assert size % WORD, "else there is no padding to change"
    for at in range(STEP_DATA_AT + size, STEP_DATA_AT + size + -size % WORD):
        assert listener.first(in_event_data(STEP, step, at)) == (step, "data"), f"byte {at}"


def test_every_byte_of_a_steps_topics(listener: Listener) -> None:
    for topic, field in enumerate(("event", "job", "step")):
        for at in range(WORD):
            lie = in_topic(STEP, 3, topic, at, 0x80)
            assert listener.first(lie) == (3, field), f"topic {topic}, byte {at}"


def test_bytes_all_over_the_creation(listener: Listener) -> None:
    layout = created_layout(len(listener.job.manifest))
    step = 3  # which meets every word, and over eleven words every place in one
    for at, field in list(enumerate(layout))[::step]:
        lie = in_event_data(CREATION, 0, at, 1 << (at % 8))
        assert listener.first(lie) == (None, field), f"byte {at}"
    for topic, field in enumerate(("event", "job", "owner")):
        for at in range(WORD):
            lie = in_topic(CREATION, 0, topic, at)
            assert listener.first(lie) == (None, field), f"topic {topic}, byte {at}"


@pytest.mark.parametrize(
    ("view", "arguments"), [("steps", ()), ("heads", (STEPS,)), ("stateRoot", ())]
)
def test_every_byte_of_a_view(listener: Listener, view: str, arguments: tuple[int, ...]) -> None:
    selector = encode_call(view, bytes(32), *arguments)[:4]
    for at in range(WORD):
        step, field = listener.first(in_view(selector, at))
        assert field == view, f"byte {at}"
        if view != "steps":
            assert step == STEPS - 1
        elif at < WORD - 4:
            assert step is None, "a step is a 32-bit number: the answer means nothing"
        else:
            assert step == STEPS, "there are more steps than events, as far as the view goes"


def test_every_byte_of_what_the_contract_keeps_of_a_job(listener: Listener) -> None:
    selector = encode_call("jobs", bytes(32))[:4]
    for word, (name, size) in enumerate(JOB_WORDS):
        for at in range(WORD):
            lie = in_view(selector, WORD * word + at)
            if at < WORD - size:
                assert listener.first(lie) == (None, "jobs"), f"padding of {name}"
            elif name not in NOT_AUDITED:
                assert listener.first(lie)[1] == f"jobs.{name}", f"byte {at} of {name}"


def test_hidden_doubled_and_swapped_steps(listener: Listener) -> None:
    def events(change: Any) -> Lie:
        def lie(method: str, _: Sequence[Any], answer: Any) -> Any:
            return change(answer) if method == "eth_getLogs" and len(answer) == STEPS else answer

        return lie

    assert listener.first(events(lambda logs: logs[1:])) == (0, "step")
    assert listener.first(events(lambda logs: [*logs[:2], *logs[3:]])) == (2, "step")
    assert listener.first(events(lambda logs: [logs[0], *logs])) == (1, "step")
    assert listener.first(events(lambda logs: [logs[0], logs[2], logs[1]])) == (1, "step")
    assert listener.first(events(lambda logs: logs[:4])) == (4, "steps")
    assert listener.first(events(lambda logs: [])) == (0, "steps")
    assert listener.first(events(lambda logs: [*logs, logs[-1]])) == (STEPS, "step")


@pytest.mark.parametrize("answer", [None, 7, {}, [7], [{"topics": []}], [{"topics": None}]])
def test_answers_that_are_no_events(listener: Listener, answer: Any) -> None:
    lie: Lie = lambda method, _, honest: answer if method == "eth_getLogs" else honest  # noqa: E731
    report = listener.hear(lie)
    assert not report.passed
    assert [f.step for f in report.findings] == [None]


@pytest.mark.parametrize("event", [7, None, {}, {"topics": []}, {"topics": ["0x00"], "data": "0"}])
def test_an_answer_that_is_no_event_among_steps(listener: Listener, event: Any) -> None:
    report = listener.hear(in_logs(STEP, 2, lambda _: event))
    assert [(f.step, f.field) for f in report.findings] == [(2, "event")]
    assert (report.steps, report.state) == (2, listener.job.closed[1].state)


def no_such_transaction(_: Any) -> Any:
    raise RpcError(-32000, "not here")


@pytest.mark.parametrize(
    "transaction",
    [
        no_such_transaction,
        lambda _: None,
        lambda _: 7,
        lambda _: {"input": "0x"},
        lambda _: {"input": "0xabc"},
        lambda answer: {"input": answer["input"] + "00"},
        lambda answer: {"input": flipped(answer["input"], 300, 1)},
    ],
)
def test_a_finding_needs_no_witness(listener: Listener, transaction: Callable[[Any], Any]) -> None:
    at = record_layout(listener.job.records[4]).index("templates[1].prev_hash")
    in_event = in_event_data(STEP, 4, STEP_DATA_AT + at)

    def lie(method: str, params: Sequence[Any], answer: Any) -> Any:
        if method == "eth_getTransactionByHash":
            return transaction(answer)
        return in_event(method, params, answer)

    report = listener.hear(lie)
    assert {f.step for f in report.findings} == {4}
    named = [f.field for f in report.findings]
    assert "templates[1].prev_hash" not in named
    assert named[-1] == "new_head"
    assert named[0].startswith(("entries[", "templates[1]"))


def forged(job: Operated, step: int, at: int) -> Iterator[Lie]:
    """A record of which byte `at` is another, in the event and ever more of what belongs to it."""
    step_data = bytearray(job.closed[step].step_data)
    step_data[at] ^= 1
    head = head_after(job.closed[step].prev_head, bytes(step_data))

    def with_head(log: dict[str, Any]) -> dict[str, Any]:
        shown = bytearray.fromhex(flipped(log["data"], STEP_DATA_AT + at, 1)[2:])
        shown[WORD : 2 * WORD] = head
        return {**log, "data": data(bytes(shown))}

    in_event = in_logs(STEP, step, with_head)
    true_head = data(job.closed[step].head)

    def without_transaction(method: str, params: Sequence[Any], answer: Any) -> Any:
        return None if method == "eth_getTransactionByHash" else in_event(method, params, answer)

    def everywhere(method: str, params: Sequence[Any], answer: Any) -> Any:
        if method == "eth_call" and answer == true_head:
            return data(head)
        return without_transaction(method, params, answer)

    yield in_event
    yield without_transaction
    yield everywhere


@pytest.mark.parametrize(
    "field", ["entries[2].losses[0]", "validation.loss", "validation.hits", "state_root"]
)
def test_a_consistent_forgery_of_what_no_contract_checks(listener: Listener, field: str) -> None:
    step = 4
    at = record_layout(listener.job.records[step]).index(field)
    for lie in forged(listener.job, step, at):
        assert listener.first(lie) == (step, field)


def test_a_consistent_forgery_of_work(listener: Listener) -> None:
    step = STEPS - 1
    at = record_layout(listener.job.records[step]).index("entries[1].nonce")
    named = [listener.first(lie) for lie in forged(listener.job, step, at)]
    assert named[0] == (step, "entries[1].nonce")
    # By luck it is a share, of another loss or out of order.
    possible = {"entries[1].hash", "entries[1].losses[0]", "entries[2].hash"}
    assert {place for _, place in named[1:]} <= possible


def test_without_its_transaction_a_job_is_still_refused(listener: Listener) -> None:
    """Then only what the hashes say is known: the parameters are not those of the job's id."""
    for at in (31, 31 + 7 * WORD, 25 * WORD + 70):
        lie = in_event_data(CREATION, 0, at)

        def alone(method: str, params: Sequence[Any], answer: Any, lie: Lie = lie) -> Any:
            hidden = method == "eth_getTransactionByHash"
            return {"input": "0x" + "12" * 40} if hidden else lie(method, params, answer)

        step, field = listener.first(alone)
        assert (step, field) == (None, "manifest" if at > 25 * WORD else "params")
