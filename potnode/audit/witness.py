"""What the transaction behind an event says: which of the event's bytes a node has changed.

An event that does not fit the contract's own hashes was not emitted so. The transaction that caused
it carries the same bytes; where these do fit, what differs is named byte by byte. A node may lie
about the transaction too, and an account may record through a contract of its own: then there is no
witness, and an audit says what it finds without one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from potnode.audit.layout import creation_event_spans, differing, step_event_spans
from potnode.chain.contract import encode_create_job, encode_record, event_topic, head_after
from potnode.chain.errors import BadChainData, ChainUnavailable, RpcError
from potnode.chain.ports import Chain, Ledger, Log
from potnode.chain.reader import head_at
from potnode.spec.errors import SpecError
from potnode.spec.params import ABI_TYPES, WORD, JobParams, decode_params, job_id
from potnode.spec.record import decode_record

_SELECTOR = 4
_STRUCT = WORD * len(ABI_TYPES)

# What was found before stands without a witness, and must not be lost for want of one.
_NO_ANSWER = (ChainUnavailable, RpcError, BadChainData)

Difference = tuple[str, str]
"""A field, and what is wrong with it."""


def changed_in_step(
    log: Log, ledger: Ledger, params: JobParams, *, identity: bytes, step: int, head: bytes
) -> list[Difference]:
    """What a StepRecorded event has otherwise than its transaction; empty without a witness.

    Args:
        identity: 32-byte job id. head: that before the step. What the transaction carries counts
            only if it leads from there to the head that the contract keeps.
    """
    sent = _call_data(ledger.chain, log)
    prev_head = sent[_SELECTOR : _SELECTOR + WORD]
    step_data = _dynamic(sent, _SELECTOR + 2 * WORD)
    if prev_head != head or encode_record(prev_head, step_data) != sent:
        return []
    new_head = head_after(prev_head, step_data)
    try:
        if head_at(ledger, identity, step + 1) != new_head:
            return []
        record = decode_record(step_data, params)
    except (*_NO_ANSWER, SpecError):
        return []
    # The event's data are the call's, with the new head after the previous one.
    expected = prev_head + new_head + (3 * WORD).to_bytes(WORD, "big")
    expected += sent[_SELECTOR + 2 * WORD :]
    topics = [event_topic("StepRecorded"), identity, step.to_bytes(WORD, "big")]
    spans = step_event_spans(record, len(step_data))
    return [
        *_topics(log.topics, topics, ("event", "job", "step")),
        *differing(log.data, expected, spans),
    ]


def changed_in_creation(log: Log, ledger: Ledger, identity: bytes) -> list[Difference]:
    """What a JobCreated event has otherwise than its transaction; empty without a witness.

    Args:
        identity: the 32-byte job id that the transaction's params must have.
    """
    sent = _call_data(ledger.chain, log)
    manifest = _dynamic(sent, _SELECTOR + _STRUCT + WORD)
    try:
        params = decode_params(sent[_SELECTOR : _SELECTOR + _STRUCT])
    except SpecError:
        return []
    if encode_create_job(params, manifest) != sent:
        return []
    if job_id(ledger.chain.chain_id, ledger.contract, params) != identity:
        return []
    topics = [event_topic("JobCreated"), identity, params.owner.rjust(WORD, b"\0")]
    return [
        *_topics(log.topics, topics, ("event", "job", "owner")),
        *differing(log.data, sent[_SELECTOR:], creation_event_spans(len(manifest))),
    ]


def _call_data(chain: Chain, log: Log) -> bytes:
    try:
        return chain.call_data(log.transaction_hash) or b""
    except _NO_ANSWER:
        return b""


def _dynamic(sent: bytes, at: int) -> bytes:
    """The bytes whose length word is at `at`, as far as they are there."""
    return sent[at + WORD : at + WORD + int.from_bytes(sent[at : at + WORD], "big")]


def _topics(
    shown: Sequence[bytes], expected: Sequence[bytes], names: Sequence[str]
) -> Iterator[Difference]:
    if len(shown) != len(expected):
        yield "event", f"has {len(shown)} topics, not {len(expected)}"
        return
    for part, right, name in zip(shown, expected, names, strict=True):
        if part != right:
            yield name, f"the event's topic is {part.hex()}, must be {right.hex()}"
