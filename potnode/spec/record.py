"""The step record: what one step leaves on the chain, byte for byte (docs/protocol.md section 7).

Responsible for the canonical encoding, its decoding, and the check of every entry's work. Whether
the losses and the state root are right takes the dataset: that is `potnode.audit`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from potnode.spec import work
from potnode.spec.errors import InvalidCoinbase, InvalidRecord
from potnode.spec.hashing import be16, be32, be40
from potnode.spec.params import MAX_SHARES, JobParams
from potnode.spec.schedule import shares_at

VERSION = 1
MAX_MINERS = MAX_SHARES  # no row without an entry
# The largest record, and its settlement, must each fit a transaction of 16,777,216 gas (EIP-7825).
MAX_TEMPLATES = 64
_ENTRY_SIZE, _LOSS_SIZE = 31, 5


@dataclass(frozen=True, slots=True)
class MinerRow:
    """miner: 20-byte payout address. bits: 0..255, its agreed difficulty. script: 0..252 bytes."""

    miner: bytes
    bits: int
    script: bytes = b""


@dataclass(frozen=True, slots=True)
class TemplateRow:
    """What the shares of one template have in common.

    age: steps between the step committed to and this one. prev_hash_le: 32 bytes, nbits_le: 4
    bytes, both as in the header. coinbase: with its holes zero and without the payout script.
    script_at: the place of that script, 0 for none. branch: merkle siblings of the coinbase, 32
    bytes each, at most 16.
    """

    age: int
    prev_hash_le: bytes
    nbits_le: bytes
    script_at: int
    coinbase: bytes
    branch: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class Entry:
    """One share and its candidates' losses; template and miner are indices of rows.

    extranonce: 16 bytes; version_le, ntime_le, nonce_le: 4 bytes each, as in the header. losses:
    one u40 for each candidate of a share, in their order.
    """

    template: int
    miner: int
    extranonce: bytes
    version_le: bytes
    ntime_le: bytes
    nonce_le: bytes
    losses: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Validation:
    """Held-out loss sum (u40) and hits (u32) with the weights after the step."""

    loss: int
    hits: int


@dataclass(frozen=True, slots=True)
class StepRecord:
    """A step as it is recorded; see the module's section of the protocol for every part.

    data_root: 32 bytes, any value: what they name is no part of a record's form.
    """

    job_id: bytes
    step: int
    miners: tuple[MinerRow, ...]
    templates: tuple[TemplateRow, ...]
    entries: tuple[Entry, ...]
    validation: Validation | None
    state_root: bytes
    data_root: bytes = bytes(32)


def entry_size(candidates: int) -> int:
    """Bytes of an entry of a job with so many candidates a share, 1..64."""
    return _ENTRY_SIZE + _LOSS_SIZE * candidates


def encode_record(record: StepRecord) -> bytes:
    """Bytes of a record; canonical if `check_record` accepts it, which is not asked here."""
    parts = [bytes([VERSION]), record.job_id, be32(record.step), be16(len(record.miners))]
    parts += [_miner_bytes(row) for row in record.miners]
    parts.append(bytes([len(record.templates)]))
    parts += [_template_bytes(row) for row in record.templates]
    for e in record.entries:
        parts += [
            bytes([e.template]),
            be16(e.miner),
            e.extranonce,
            e.version_le,
            e.ntime_le,
            e.nonce_le,
        ]
        parts += [be40(loss) for loss in e.losses]
    parts.append(record.data_root)
    if record.validation is not None:
        parts += [be40(record.validation.loss), be32(record.validation.hits)]
    parts.append(record.state_root)
    return b"".join(parts)


def decode_record(step_data: bytes, params: JobParams) -> StepRecord:
    """Parse the bytes of a record of the job with `params`; check all that needs no header hashed.

    That `job_id` is the job's, and `step` the next one, is the caller's to compare: both depend on
    the chain. Work is checked by `verify_work`.

    Raises:
        InvalidRecord: not canonical; `.field` names the place.
    """
    reader = _Reader(step_data)
    version = reader.integer(1, "version")
    if version != VERSION:
        raise InvalidRecord(
            "version", f"is {version}, this version of the protocol knows {VERSION}"
        )
    job_id = reader.take(32, "job")
    step = reader.integer(4, "step")
    if step >= params.step_limit:
        raise InvalidRecord("step", f"is {step}, the job ends at {params.step_limit}")
    miners = tuple(_read_miner(reader, i) for i in range(reader.integer(2, "miners")))
    templates = tuple(_read_template(reader, i) for i in range(reader.integer(1, "templates")))
    candidates = params.candidates_per_share
    entries = tuple(_read_entry(reader, i, candidates) for i in range(shares_at(params, step)))
    data_root = reader.take(32, "data_root")
    validation = None
    if params.is_validation_step(step):
        validation = Validation(
            reader.integer(5, "validation.loss"), reader.integer(4, "validation.hits")
        )
    record = StepRecord(
        job_id,
        step,
        miners,
        templates,
        entries,
        validation,
        reader.take(32, "state_root"),
        data_root,
    )
    reader.finish()
    check_record(record, params)
    return record


def check_record(record: StepRecord, params: JobParams) -> None:
    """Canonical form: order, use and distinctness of rows, ages, forms of coinbases.

    Raises:
        InvalidRecord: at the first rule that is broken.
    """
    if not 1 <= len(record.miners) <= MAX_MINERS:
        raise InvalidRecord("miners", f"must be 1..{MAX_MINERS} rows")
    if not 1 <= len(record.templates) <= MAX_TEMPLATES:
        raise InvalidRecord("templates", f"must be 1..{MAX_TEMPLATES} rows")
    _check_counts(record, params)
    if len(record.data_root) != 32:
        raise InvalidRecord("data_root", f"must be 32 bytes, not {len(record.data_root)}")
    if (record.validation is not None) != params.is_validation_step(record.step):
        raise InvalidRecord("validation", "must be there on validation steps and only there")
    keys = [_miner_bytes(row) for row in record.miners]
    for i, row in enumerate(record.miners):
        if row.bits < params.min_bits:
            raise InvalidRecord(
                f"miners[{i}].bits", f"{row.bits} is below the job's {params.min_bits}"
            )
        if len(row.script) > work.MAX_SCRIPT:
            raise InvalidRecord(
                f"miners[{i}].script", f"has {len(row.script)} bytes, allowed are {work.MAX_SCRIPT}"
            )
        # The fixed 22 bytes decide first, the script after them: bytes compare the same way.
        if i and keys[i] <= keys[i - 1]:
            raise InvalidRecord(f"miners[{i}]", "rows must ascend strictly")
    for i, template in enumerate(record.templates):
        _check_template(template, i, record.step, params)
        if template in record.templates[:i]:
            raise InvalidRecord(f"templates[{i}]", "stands there twice")
    _check_use(record)


def entry_header(record: StepRecord, index: int, work_of_age: Callable[[int], bytes]) -> bytes:
    """The 80-byte header entry `index` stands for.

    Args:
        work_of_age: the work commitment of the step that many steps before the record's.

    Raises:
        InvalidRecord: its coinbase cannot be built.
    """
    entry = record.entries[index]
    template, miner = record.templates[entry.template], record.miners[entry.miner]
    try:
        coinbase = work.fill_coinbase(
            template.coinbase,
            template.script_at,
            entry.extranonce,
            work.marker(work_of_age(template.age), miner.miner, miner.bits),
            miner.script,
        )
    except InvalidCoinbase as error:
        raise InvalidRecord(f"entries[{index}].coinbase", str(error)) from error
    root = work.merkle_root(coinbase, template.branch)
    return work.header(
        version_le=entry.version_le,
        prev_hash_le=template.prev_hash_le,
        root=root,
        ntime_le=entry.ntime_le,
        nbits_le=template.nbits_le,
        nonce_le=entry.nonce_le,
    )


def verify_work(record: StepRecord, work_of_age: Callable[[int], bytes]) -> list[bytes]:
    """H of every entry, after checking that each is a share and that they ascend strictly.

    Raises:
        InvalidRecord: an entry misses its target, or the order is broken (so none is there twice).
    """
    hashes: list[bytes] = []
    for i, entry in enumerate(record.entries):
        hash_ = work.share_hash(entry_header(record, i, work_of_age))
        if not work.meets(hash_, record.miners[entry.miner].bits):
            raise InvalidRecord(f"entries[{i}].hash", f"{hash_[::-1].hex()} misses its target")
        if hashes and hash_ <= hashes[-1]:
            raise InvalidRecord(f"entries[{i}].hash", "entries must ascend strictly by hash")
        hashes.append(hash_)
    return hashes


def pay(record: StepRecord, pot: int) -> list[int]:
    """What each miner row earns of the step's pot: in proportion to 2^bits for each of its entries.

    One floor division a row; what remains, less than one unit a row, goes to the job's owner.
    """
    weights = [0] * len(record.miners)
    for entry in record.entries:
        weights[entry.miner] += 1 << record.miners[entry.miner].bits
    total = sum(weights)
    return [pot * weight // total for weight in weights]


def _check_counts(record: StepRecord, params: JobParams) -> None:
    shares, candidates = shares_at(params, record.step), params.candidates_per_share
    if len(record.entries) != shares:
        raise InvalidRecord("entries", f"must be {shares}, not {len(record.entries)}")
    for i, entry in enumerate(record.entries):
        if len(entry.losses) != candidates:
            raise InvalidRecord(
                f"entries[{i}].losses", f"must be {candidates}, not {len(entry.losses)}"
            )


def _check_template(template: TemplateRow, i: int, step: int, params: JobParams) -> None:
    if template.age > params.window or template.age > step:
        raise InvalidRecord(
            f"templates[{i}].age", f"{template.age} is outside the window or before step 0"
        )
    try:
        form = work.coinbase_form(template.coinbase, template.script_at)
    except InvalidCoinbase as error:
        raise InvalidRecord(f"templates[{i}].coinbase", str(error)) from error
    if len(template.branch) > work.MAX_BRANCH:
        raise InvalidRecord(f"templates[{i}].branch", f"must be at most {work.MAX_BRANCH} siblings")
    holes = (
        template.coinbase[form.extranonce_at : form.extranonce_at + work.EXTRANONCE_SIZE]
        + template.coinbase[form.marker_at : form.marker_at + 32]
    )
    if any(holes):
        raise InvalidRecord(f"templates[{i}].coinbase", "its extranonce and marker must be zero")


def _check_use(record: StepRecord) -> None:
    used_miners: set[int] = set()
    first_unused = 0
    for i, entry in enumerate(record.entries):
        if entry.template > first_unused or entry.template >= len(record.templates):
            raise InvalidRecord(
                f"entries[{i}].template", "templates must stand in the order of first use"
            )
        first_unused = max(first_unused, entry.template + 1)
        if entry.miner >= len(record.miners):
            raise InvalidRecord(f"entries[{i}].miner", f"there is no row {entry.miner}")
        has_script = bool(record.miners[entry.miner].script)
        if has_script != (record.templates[entry.template].script_at != 0):
            raise InvalidRecord(
                f"entries[{i}].miner", "a payout script and its place must come together"
            )
        used_miners.add(entry.miner)
    if first_unused != len(record.templates):
        raise InvalidRecord(f"templates[{first_unused}]", "is not used")
    for i in range(len(record.miners)):
        if i not in used_miners:
            raise InvalidRecord(f"miners[{i}]", "is not used")


def _miner_bytes(row: MinerRow) -> bytes:
    return row.miner + bytes([row.bits, len(row.script)]) + row.script


def _template_bytes(row: TemplateRow) -> bytes:
    head = (
        bytes([row.age])
        + row.prev_hash_le
        + row.nbits_le
        + be16(row.script_at)
        + be16(len(row.coinbase))
    )
    return head + row.coinbase + bytes([len(row.branch)]) + b"".join(row.branch)


class _Reader:
    """A cursor over the record's bytes that names the field it fails in."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def take(self, size: int, field: str) -> bytes:
        if self._at + size > len(self._data):
            raise InvalidRecord(field, "the record ends before it")
        self._at += size
        return self._data[self._at - size : self._at]

    def integer(self, size: int, field: str) -> int:
        return int.from_bytes(self.take(size, field), "big")

    def finish(self) -> None:
        if self._at != len(self._data):
            raise InvalidRecord("end", f"{len(self._data) - self._at} bytes follow the record")


def _read_miner(reader: _Reader, i: int) -> MinerRow:
    miner = reader.take(20, f"miners[{i}].miner")
    bits = reader.integer(1, f"miners[{i}].bits")
    size = reader.integer(1, f"miners[{i}].script")
    return MinerRow(miner, bits, reader.take(size, f"miners[{i}].script"))


def _read_template(reader: _Reader, i: int) -> TemplateRow:
    where = f"templates[{i}]"
    age = reader.integer(1, f"{where}.age")
    prev_hash_le = reader.take(32, f"{where}.prev_hash")
    nbits_le = reader.take(4, f"{where}.nbits")
    script_at = reader.integer(2, f"{where}.script_at")
    coinbase = reader.take(reader.integer(2, f"{where}.coinbase"), f"{where}.coinbase")
    siblings = reader.integer(1, f"{where}.branch")
    branch = tuple(reader.take(32, f"{where}.branch") for _ in range(siblings))
    return TemplateRow(age, prev_hash_le, nbits_le, script_at, coinbase, branch)


def _read_entry(reader: _Reader, i: int, candidates: int) -> Entry:
    where = f"entries[{i}]"
    return Entry(
        reader.integer(1, f"{where}.template"),
        reader.integer(2, f"{where}.miner"),
        reader.take(work.EXTRANONCE_SIZE, f"{where}.extranonce"),
        reader.take(4, f"{where}.version"),
        reader.take(4, f"{where}.ntime"),
        reader.take(4, f"{where}.nonce"),
        tuple(reader.integer(_LOSS_SIZE, f"{where}.losses[{j}]") for j in range(candidates)),
    )


def canonical_order(
    job_id: bytes,
    step: int,
    shares: Sequence[tuple[bytes, TemplateRow, MinerRow, Entry]],
    validation: Validation | None,
    state_root: bytes,
    data_root: bytes = bytes(32),
) -> StepRecord:
    """A record in canonical order from shares (H, template, miner, entry).

    The indices `template` and `miner` of the entries given are ignored and set here.
    """
    ordered = sorted(shares, key=lambda share: share[0])
    miners = sorted({share[2] for share in ordered}, key=_miner_bytes)
    miner_index = {row: i for i, row in enumerate(miners)}
    template_index: dict[TemplateRow, int] = {}
    entries = []
    for _, template, miner, e in ordered:
        at = template_index.setdefault(template, len(template_index))
        entries.append(
            Entry(
                at, miner_index[miner], e.extranonce, e.version_le, e.ntime_le, e.nonce_le, e.losses
            )
        )
    return StepRecord(
        job_id,
        step,
        tuple(miners),
        tuple(template_index),
        tuple(entries),
        validation,
        state_root,
        data_root,
    )
