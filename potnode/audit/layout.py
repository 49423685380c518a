"""Where the fields of events are: names for bytes, so that a changed one can be named.

The names are those the decoders use; a length or a count has the name of what it measures.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from potnode.spec.params import ABI_TYPES, WORD
from potnode.spec.record import StepRecord

Span = tuple[str, int]
"""A field and its size in bytes."""


def record_spans(record: StepRecord) -> Iterator[Span]:
    """The fields of `step_data` in order (docs/protocol.md section 7)."""
    yield from (("version", 1), ("job", 32), ("step", 4), ("miners", 2))
    for i, miner in enumerate(record.miners):
        yield f"miners[{i}].miner", 20
        yield f"miners[{i}].bits", 1
        yield f"miners[{i}].script", 1 + len(miner.script)
    yield "templates", 1
    for i, template in enumerate(record.templates):
        yield f"templates[{i}].age", 1
        yield f"templates[{i}].prev_hash", 32
        yield f"templates[{i}].nbits", 4
        yield f"templates[{i}].script_at", 2
        yield f"templates[{i}].coinbase", 2 + len(template.coinbase)
        yield f"templates[{i}].branch", 1 + 32 * len(template.branch)
    for i, entry in enumerate(record.entries):
        for name, size in (
            ("template", 1),
            ("miner", 2),
            ("extranonce", 16),
            ("version", 4),
            ("ntime", 4),
            ("nonce", 4),
            *((f"losses[{j}]", 5) for j in range(len(entry.losses))),
        ):
            yield f"entries[{i}].{name}", size
    yield "data_root", 32
    if record.validation is not None:
        yield from (("validation.loss", 5), ("validation.hits", 4))
    yield "state_root", 32


def step_event_spans(record: StepRecord, size: int) -> Iterator[Span]:
    """The fields of a StepRecorded event's data; `size` is that of the record in bytes."""
    yield from (("prev_head", WORD), ("new_head", WORD), ("data", 2 * WORD))
    yield from record_spans(record)
    yield "data", -size % WORD


def creation_event_spans(manifest_size: int) -> Iterator[Span]:
    """The fields of a JobCreated event's data."""
    yield from ((f"params.{name}", WORD) for name in ABI_TYPES)
    yield "data", 2 * WORD
    yield "manifest", manifest_size
    yield "data", -manifest_size % WORD


def differing(shown: bytes, expected: bytes, spans: Iterable[Span]) -> Iterator[tuple[str, str]]:
    """(field, what differs in it) of every field of `expected` that `shown` has otherwise."""
    if len(shown) != len(expected):
        yield "data", f"{len(shown)} bytes are shown, {len(expected)} were sent"
        return
    at = 0
    for name, size in spans:
        part, right = shown[at : at + size], expected[at : at + size]
        if part != right:
            first = next(i for i in range(size) if part[i] != right[i])
            shown_byte, sent_byte = f"{part[first]:#04x}", f"{right[first]:#04x}"
            yield name, f"byte {first} of {size} is shown as {shown_byte}, but sent as {sent_byte}"
        at += size
