"""Records that break one rule each, and the field the specification must name.

Wherever a fault leaves the work computable, the shares are found for the faulty record itself, so
that nothing but the rule broken can refuse it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from potnode.spec.errors import InvalidRecord
from potnode.spec.record import (
    MAX_MINERS,
    MAX_TEMPLATES,
    Entry,
    MinerRow,
    StepRecord,
    decode_record,
    encode_record,
    entry_size,
    verify_work,
)
from potnode.spec.vectors.ledger import Ledger, branch, make_record, mine, miner
from potnode.spec.vectors.shares import COMMITMENT, P2WPKH, Draft, draft, find
from potnode.spec.work import meets

STEP = 2  # of the golden job "four": a validation step, with templates of age 0, 1 and 2
BITS = 8  # a share that is good by accident is rare enough for none to be met
SINGLE = miner(5, BITS)
WITH_SCRIPT = miner(5, BITS, P2WPKH)


@dataclass(frozen=True, slots=True)
class Fault:
    """A record of `step` that must be refused. field: where the specification finds the fault."""

    what: str
    field: str
    step: int
    step_data: bytes


def faults(ledger: Ledger) -> list[Fault]:
    """Faulty records of the golden job "four"; ValueError if one is not refused where it says."""
    found = [
        *_form_faults(ledger),
        *_row_faults(ledger),
        *_coinbase_faults(ledger),
        *_work_faults(ledger),
    ]
    for fault in found:
        named = refused_at(ledger, fault)
        if named != fault.field:
            raise ValueError(f"{fault.what!r} is refused at {named}, not at {fault.field}")
    return found


def refused_at(ledger: Ledger, fault: Fault) -> str | None:
    """The field a fault is refused at; None where the record is accepted."""
    try:
        record = decode_record(fault.step_data, ledger.params)
        verify_work(record, ledger.work_of_age(fault.step))
    except InvalidRecord as error:
        return error.field
    return None


def uniform(
    ledger: Ledger, template: Draft, row: MinerRow = SINGLE, step: int = STEP
) -> StepRecord:
    """A record whose four shares have one template and one miner; good if the template is."""
    return make_record(ledger, step, mine(ledger, step, [(template, row)] * 4))


def _form_faults(ledger: Ledger) -> list[Fault]:
    good, data = ledger.records[STEP], ledger.step_data[STEP]
    tail = 32 + 9 + 32  # data_root, validation, state_root
    size = entry_size(1)
    last_entry = data[-tail - size : -tail]
    odd = ledger.step_data[STEP + 1]  # a step without validation
    odd_validated = odd[:-32] + data[-32 - 9 : -32] + odd[-32:]
    return [
        Fault("nothing at all", "version", STEP, b""),
        Fault("another version", "version", STEP, b"\x02" + data[1:]),
        Fault("ends inside the job id", "job", STEP, data[:20]),
        Fault("ends inside the last field", "state_root", STEP, data[:-1]),
        Fault("a byte too many", "end", STEP, data + b"\x00"),
        Fault(
            "a step past the job's last", "step", STEP, data[:33] + b"\x00\x00\x00\x06" + data[37:]
        ),
        Fault(
            "no validation on a validation step",
            "state_root",
            STEP,
            data[: -32 - 9] + data[-32:],
        ),
        Fault("validation on another step", "end", STEP + 1, odd_validated),
        Fault("no miner row", "miners", STEP, encode_record(replace(good, miners=()))),
        Fault("no template", "templates", STEP, encode_record(replace(good, templates=()))),
        Fault(
            "a miner row too many",
            "miners",
            STEP,
            encode_record(replace(good, miners=good.miners[:1] * (MAX_MINERS + 1))),
        ),
        Fault(
            "a template too many",
            "templates",
            STEP,
            encode_record(replace(good, templates=good.templates[:1] * (MAX_TEMPLATES + 1))),
        ),
        Fault("an entry too few", "validation.hits", STEP, data[: -tail - size] + data[-tail:]),
        Fault("an entry too many", "end", STEP, data[:-tail] + last_entry + data[-tail:]),
        Fault("a loss too few", "state_root", STEP, data[: -tail - 5] + data[-tail:]),
        Fault(
            "a loss too many", "end", STEP, data[:-tail] + data[-tail - 5 : -tail] + data[-tail:]
        ),
    ]


def _row_faults(ledger: Ledger) -> list[Fault]:
    good, one = ledger.records[STEP], uniform(ledger, draft())
    miners, templates, entries = good.miners, good.templates, good.entries
    swap = {0: 1, 1: 0}
    first, *others = one.entries
    cases = [
        (
            "miner rows out of order",
            "miners[1]",
            replace(
                good,
                miners=(miners[1], miners[0], *miners[2:]),
                entries=tuple(replace(e, miner=swap.get(e.miner, e.miner)) for e in entries),
            ),
        ),
        (
            "a miner row twice",
            "miners[1]",
            replace(
                one,
                miners=one.miners * 2,
                entries=(first, *(replace(e, miner=1) for e in others)),
            ),
        ),
        (
            "a miner row without entry",
            f"miners[{len(miners)}]",
            replace(good, miners=(*miners, MinerRow(b"\xff" * 20, 9))),
        ),
        (
            "a miner row that is not there",
            "entries[1].miner",
            replace(one, entries=(first, replace(others[0], miner=1), *others[1:])),
        ),
        (
            "templates not in order of use",
            "entries[0].template",
            replace(
                good,
                templates=(templates[1], templates[0], *templates[2:]),
                entries=tuple(
                    replace(e, template=swap.get(e.template, e.template)) for e in entries
                ),
            ),
        ),
        (
            "a template twice",
            "templates[1]",
            replace(
                one,
                templates=one.templates * 2,
                entries=(first, *(replace(e, template=1) for e in others)),
            ),
        ),
        (
            "a template without entry",
            f"templates[{len(templates)}]",
            replace(good, templates=(*templates, draft(tag=77).row)),
        ),
        (
            "a template that is not there",
            "entries[3].template",
            replace(one, entries=(*one.entries[:3], replace(one.entries[3], template=1))),
        ),
        (
            "entries out of order",
            "entries[1].hash",
            replace(one, entries=(others[0], first, *others[1:])),
        ),
        ("an entry twice", "entries[1].hash", replace(one, entries=(first, first, *others[1:]))),
        ("bits below the job's", "miners[0].bits", uniform(ledger, draft(), miner(5, 3))),
        (
            "a payout script of 253 bytes",
            "miners[0].script",
            uniform(ledger, draft(outputs=[b""], payout_at=0), miner(5, BITS, b"\x51" * 253)),
        ),
        (
            "a payout script without a place",
            "entries[0].miner",
            uniform(ledger, draft(), WITH_SCRIPT),
        ),
        (
            "a place without a payout script",
            "entries[0].miner",
            uniform(ledger, draft(outputs=[b""], payout_at=0)),
        ),
        (
            "17 merkle siblings",
            "templates[0].branch",
            uniform(ledger, draft(branch=branch(17))),
        ),
    ]
    return [Fault(what, field, STEP, encode_record(record)) for what, field, record in cases]


def _coinbase_faults(ledger: Ledger) -> list[Fault]:
    plain = draft(outputs=[P2WPKH, COMMITMENT])
    size = len(plain.row.coinbase)
    count_at = plain.extranonce_at + 16 + 4
    marker_at = size - 36
    last_at = marker_at - 15
    paid = draft(outputs=[b"", COMMITMENT], payout_at=0)
    paid_last_at = len(paid.row.coinbase) - 51
    body = plain.row.coinbase
    marker_first = (
        body[: count_at + 1] + body[last_at:-4] + body[count_at + 1 : last_at] + body[-4:]
    )
    cases = [
        ("two inputs", _patched(plain, 4, b"\x02")),
        ("an input that spends something", _patched(plain, 5, b"\x01")),
        ("an input of index 0", _patched(plain, 37, bytes(4))),
        ("a scriptSig of 16 bytes", draft(script_sig=b"")),
        ("a scriptSig of 101 bytes", draft(script_sig=b"\x01" * 85)),
        ("an extranonce hole that is not zero", _patched(plain, plain.extranonce_at + 15, b"\x01")),
        ("a marker hole that is not zero", _patched(plain, marker_at + 31, b"\x01")),
        ("no output", _patched(plain, count_at, b"\x00")),
        ("an output fewer than counted", _patched(plain, count_at, b"\x04")),
        ("an output more than counted", _patched(plain, count_at, b"\x02")),
        ("253 outputs counted", _patched(plain, count_at, b"\xfd")),
        ("an output script of 253 bytes", draft(outputs=[b"\x51" * 253])),
        ("a marker output with a value", _patched(plain, last_at, b"\x01")),
        ("a marker output of another length", _patched(plain, last_at + 8, b"\x25")),
        ("a marker output without POT1", _patched(plain, last_at + 14, b"2")),
        (
            "a marker output that is not the last",
            replace(
                plain,
                row=replace(plain.row, coinbase=marker_first),
                marker_from_end=36 + last_at - count_at - 1,
            ),
        ),
        (
            "three bytes of locktime",
            replace(plain, row=replace(plain.row, coinbase=body[:-1]), marker_from_end=35),
        ),
        (
            "five bytes of locktime",
            replace(plain, row=replace(plain.row, coinbase=body + b"\x00"), marker_from_end=37),
        ),
        ("756 bytes", draft(outputs=[b"\x51" * 252, b"\x51" * 252, b"\x51" * 100])),
    ]
    found = [(what, "templates[0].coinbase", uniform(ledger, t)) for what, t in cases]
    scripted = [
        ("a place inside an output's value", _moved(paid, paid.row.script_at - 1)),
        ("a place behind an output's script", _moved(paid, paid.row.script_at + 1)),
        ("a place in the marker's output", _moved(paid, paid_last_at + 8)),
        ("a place past the end", _moved(paid, 4000)),
    ]
    found += [
        (what, "templates[0].coinbase", uniform(ledger, t, WITH_SCRIPT)) for what, t in scripted
    ]
    long_paid = draft(outputs=[b"\x51" * 252, b"", b"\x51" * 100], payout_at=1)
    room = 755 - len(long_paid.row.coinbase)  # the length byte takes one more
    found.append(
        (
            "756 bytes with the payout script",
            "entries[0].coinbase",
            uniform(ledger, long_paid, miner(5, BITS, b"\x51" * room)),
        )
    )
    good = ledger.records[STEP]
    cut = replace(good.templates[0], coinbase=good.templates[0].coinbase[:50])
    found.append(
        (
            "50 bytes",
            "templates[0].coinbase",
            replace(good, templates=(cut, *good.templates[1:])),
        )
    )
    return [Fault(what, field, STEP, encode_record(record)) for what, field, record in found]


def _patched(template: Draft, at: int, patch: bytes) -> Draft:
    data = template.row.coinbase
    patched = data[:at] + patch + data[at + len(patch) :]
    return replace(template, row=replace(template.row, coinbase=patched))


def _moved(template: Draft, script_at: int) -> Draft:
    return replace(template, row=replace(template.row, script_at=script_at))


def _work_faults(ledger: Ledger) -> list[Fault]:
    template = draft(branch=branch(2))
    one = uniform(ledger, template)
    row, first = one.templates[0], one.entries[0]
    wrong = [
        ("another miner's share", replace(one, miners=(miner(6, BITS),))),
        ("bits raised after the fact", replace(one, miners=(replace(SINGLE, bits=BITS + 1),))),
        ("another age", replace(one, templates=(replace(row, age=1),))),
        ("another parent", replace(one, templates=(replace(row, prev_hash_le=bytes(32)),))),
        ("another nbits", replace(one, templates=(replace(row, nbits_le=bytes(4)),))),
        ("another sibling", replace(one, templates=(replace(row, branch=(bytes(32),) * 2),))),
        ("a sibling fewer", replace(one, templates=(replace(row, branch=row.branch[:1]),))),
        ("another extranonce", _with_first(one, replace(first, extranonce=bytes(16)))),
        ("another version", _with_first(one, replace(first, version_le=bytes(4)))),
        ("another time", _with_first(one, replace(first, ntime_le=b"\xff" * 4))),
        ("another nonce", _with_first(one, replace(first, nonce_le=b"\xff" * 4))),
    ]
    found = [Fault(what, "entries[0].hash", STEP, encode_record(r)) for what, r in wrong]
    shares = mine(ledger, STEP, [(template, SINGLE)] * 3)
    commitment = ledger.work_of_age(STEP)
    shares.append(find(template, SINGLE, commitment, (STEP, 3), accept=_misses_narrowly))
    missed = sorted(share.hash_ for share in shares).index(shares[-1].hash_)
    record = make_record(ledger, STEP, shares)
    what = f"a hash good for {BITS - 1} bits where {BITS} are agreed"
    found.append(Fault(what, f"entries[{missed}].hash", STEP, encode_record(record)))
    too_old = uniform(ledger, draft(age=3), step=3)
    found.append(Fault("an age past the window", "templates[0].age", 3, encode_record(too_old)))
    earliest = ledger.work_of_age(1)(1)
    shares = [find(draft(age=2), SINGLE, lambda _: earliest, (1, i)) for i in range(4)]
    found.append(
        Fault(
            "an age before step 0",
            "templates[0].age",
            1,
            encode_record(make_record(ledger, 1, shares)),
        )
    )
    return found


def _with_first(record: StepRecord, first: Entry) -> StepRecord:
    return replace(record, entries=(first, *record.entries[1:]))


def _misses_narrowly(hash_: bytes) -> bool:
    return meets(hash_, BITS - 1) and not meets(hash_, BITS)
