"""Small valid jobs and records for the tests of every package.

`make_job` gives parameters and a manifest that every check accepts; `make_record` mines a step for
it with hashlib (16 hashes a share at the default 4 bits). Losses and state roots are made up unless
they are given: such records satisfy the contract and the decoder, but no audit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import Any

from potnode.spec import work
from potnode.spec.draw import candidate_keys
from potnode.spec.hashing import be32, be64, sha256
from potnode.spec.layers import Linear
from potnode.spec.manifest import Classes, Evolution, Manifest, Seeded
from potnode.spec.manifest_json import encode_manifest
from potnode.spec.params import JobParams
from potnode.spec.record import (
    Entry,
    MinerRow,
    StepRecord,
    TemplateRow,
    Validation,
    canonical_order,
    encode_record,
    entry_header,
)
from potnode.spec.schedule import shares_at
from stratum.server import MinerView

MINER = bytes.fromhex("11" * 20)
"""Payout address of the shares that `make_record` mines by default."""


@dataclass(frozen=True, slots=True)
class Job:
    """A job as it is created: `manifest` is the canonical bytes."""

    params: JobParams
    manifest: bytes


def make_job(owner: bytes, **changes: Any) -> Job:
    """A tiny job (a 4-4-3 network, 4 entries a step, 4 bits) of an owner who is also the operator.

    `changes` replace fields of the parameters; `manifest_hash` always follows from the manifest,
    and a population without a start is the same in all steps.
    """
    manifest = encode_manifest(
        Manifest(
            dataset="tiny",
            task=Classes(),
            input=(4,),
            layers=(Linear(4, 8, "relu"), Linear(3, 4, "none")),
            train=(0, 1, 2, 3),
            initial=Seeded(bytes(32), std=(16, 0, 16, 0), mean=(0, 0, 0, 0)),
            perturbation=(0, 0),
            strategy=Evolution("momentum", eta0=80, eta1=10, batch_start=8),
        )
    )
    params = JobParams(
        owner=owner,
        operator=owner,
        manifest_hash=sha256(manifest),
        initial_root=sha256(b"initial"),
        data_root=sha256(b"data"),
        train_count=16,
        held_out_count=4,
        population=4,
        population_start=4,
        batch_size=8,
        min_bits=4,
        window=2,
        step_limit=1000,
        validate_every=4,
        pot_per_step=1000,
        operator_fee=10,
    )
    changes = {"population_start": changes.get("population", 4)} | changes
    return Job(replace(params, **changes), manifest)


def make_template(tag: int = 0, *, age: int = 0, siblings: int = 0) -> TemplateRow:
    """A template in canonical form; different tags give different templates."""
    script_sig = be32(tag) + bytes(1) + bytes(work.EXTRANONCE_SIZE)
    marker_output = bytes(8) + bytes([38]) + work.MARKER_PREFIX + bytes(32)
    coinbase = (
        bytes.fromhex("02000000")
        + b"\x01"
        + bytes(32)
        + b"\xff" * 4
        + bytes([len(script_sig)])
        + script_sig
        + b"\xff" * 4
        + b"\x02"
        + (5_000_000_000).to_bytes(8, "little")
        + bytes([22])
        + b"\x00\x14"
        + bytes(20)
        + marker_output
        + bytes(4)
    )
    branch = tuple(sha256(be32(tag) + be32(i)) for i in range(siblings))
    return TemplateRow(age, sha256(b"parent"), bytes.fromhex("ffff001d"), 0, coinbase, branch)


def make_record(
    job: JobParams,
    job_id: bytes,
    step: int,
    heads: Sequence[bytes],
    *,
    miners: Sequence[MinerRow] | None = None,
    templates: Sequence[TemplateRow] | None = None,
    loss: Callable[[bytes], int] = lambda key: int.from_bytes(key[:3], "big"),
    validation: Validation | None = None,
    state_root: bytes | None = None,
) -> StepRecord:
    """Mine the shares of `step` and put them in canonical order.

    `heads[s]` is the head before step s, known up to `step`. Entry i is hashed for `miners[i %
    ...]` on `templates[i % ...]` (one of each by default, the template of age 0). `loss` gives a
    candidate's loss by its key.
    """
    miners = miners or [MinerRow(MINER, job.min_bits)]
    templates = templates or [make_template()]
    if validation is None and job.is_validation_step(step):
        validation = Validation(loss=1000 + step, hits=1)
    shares = []
    for index in range(shares_at(job, step)):
        miner, template = miners[index % len(miners)], templates[index % len(templates)]
        at = step - template.age
        commitment = work.work_id(job_id, at, heads[at])
        hash_, entry = _mine(miner, template, commitment, be32(step) + be32(index))
        losses = tuple(map(loss, candidate_keys([hash_], job.candidates_per_share)))
        shares.append((hash_, template, miner, replace(entry, losses=losses)))
    root = sha256(b"state" + be64(step)) if state_root is None else state_root
    return canonical_order(job_id, step, shares, validation, root)


def make_chain_of_records(job: JobParams, job_id: bytes, length: int) -> list[tuple[bytes, bytes]]:
    """The first `length` steps of a job: (previous head, step_data) each."""
    heads = [work.head_zero(job_id)]
    records = []
    for step in range(length):
        step_data = encode_record(make_record(job, job_id, step, heads))
        records.append((heads[-1], step_data))
        heads.append(work.next_head(heads[-1], step_data))
    return records


def _mine(
    miner: MinerRow, template: TemplateRow, commitment: bytes, tag: bytes
) -> tuple[bytes, Entry]:
    """One share: its hash and an entry whose loss is still to be set."""
    extranonce = tag.rjust(work.EXTRANONCE_SIZE, b"\0")
    for nonce in count():
        entry = Entry(
            template=0,
            miner=0,
            extranonce=extranonce,
            version_le=bytes.fromhex("00000020"),
            ntime_le=bytes.fromhex("00105e5f"),
            nonce_le=nonce.to_bytes(4, "little"),
            losses=(),
        )
        if nonce == 0:
            alone = StepRecord(bytes(32), 0, (miner,), (template,), (entry,), None, bytes(32))
            header = entry_header(alone, 0, lambda _: commitment)
        hash_ = work.share_hash(header[:76] + entry.nonce_le)
        if work.meets(hash_, miner.bits):
            return hash_, entry
    raise AssertionError("count() does not end")


def miner_view(**changes: Any) -> MinerView:
    """A miner as a pool sees it: an ASIC without wishes, unless `changes` say otherwise."""
    fields: dict[str, Any] = {
        "connection_id": 1,
        "account": "0x" + "ab" * 20,
        "worker": "w",
        "user_agent": "bmminer/2.0.0",
        "suggested_difficulty": None,
        "fixed_difficulty": None,
        "minimum_difficulty": None,
        "version_mask": 0,
        "extranonce1": bytes(4),
        "peer": "127.0.0.1:1",
    }
    return MinerView(**(fields | changes))
