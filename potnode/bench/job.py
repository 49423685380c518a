"""A small digits job from shares to audit, each part timed: trainer, embedded chain, auditor.

Its shares are mined at 4 bits, so that hashing costs nothing: everything else is what a node does.
"""

from __future__ import annotations

import itertools
import secrets
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from potnode.audit.auditor import Auditor
from potnode.chain.contract import encode_record, head_after
from potnode.chain.embedded import EmbeddedChain
from potnode.chain.keys import Key
from potnode.chain.recorder import create_job
from potnode.chain.rpc import Connection, EmbeddedTransport, RpcLedger
from potnode.chain.sender import Sender, deploy
from potnode.data.catalog import Catalog
from potnode.data.digits import digits
from potnode.engine.engine import Engine
from potnode.errors import PotnodeError
from potnode.jobs import digits_draft
from potnode.spec import work
from potnode.spec.hashing import be32
from potnode.spec.manifest_json import decode_manifest
from potnode.spec.record import MinerRow
from potnode.trainer import Trainer, TrainingShare
from potnode.work.jobs import Commitment, JobMaker, WorkTag, extranonce
from potnode.work.standalone import Standalone
from potnode.work.template import Template
from stratum.headers import header80, merkle_root, sha256d

MIN_BITS = 4
GAS_LIMIT = 50_000_000
TRANSFERS = 200


@dataclass(frozen=True, slots=True)
class JobFigures:
    """What one run of a job took.

    record_gas: of the last step's transaction. transfers_per_s: plain transfers, one to a block.
    Times are means a step, in seconds.
    """

    steps: int
    population: int
    compute_s: float
    record_s: float
    record_gas: int
    transfers_per_s: float
    audit_s: float
    evaluations_per_s: float

    def document(self) -> dict[str, Any]:
        """The figures as JSON."""
        return asdict(self)


def measure_job(steps: int) -> JobFigures:
    """Train, record and audit a digits job of so many steps in a temporary directory."""
    with tempfile.TemporaryDirectory(prefix="potnode-bench-") as directory:
        key = Key.random()
        with EmbeddedChain.open(
            Path(directory), fund=[key.address], clock=lambda: int(time.time())
        ) as chain:
            connection = Connection(EmbeddedTransport(chain))
            sender = Sender(connection, key, gas_limit=GAS_LIMIT)
            ledger = RpcLedger(connection, deploy(sender).contract or b"")
            return _measure(ledger, sender, key, steps)


def _measure(ledger: RpcLedger, sender: Sender, key: Key, steps: int) -> JobFigures:
    draft = digits_draft(key.address, steps=steps)
    params = replace(draft.params, min_bits=MIN_BITS)
    identity = create_job(ledger, sender, params, draft.manifest)
    manifest = decode_manifest(draft.manifest)
    engine = Engine(manifest, digits())
    trainer = Trainer(identity, params, manifest, engine, next_head=head_after)
    computing = recording = 0.0
    gas = candidates = 0
    for _ in range(steps):
        for share in itertools.islice(shares(trainer, key.address), trainer.wanted):
            trainer.admit(share, durable=True)
        plan = trainer.plan()
        if plan is None:
            raise PotnodeError("the shares of the measurement were not admitted")
        started = time.perf_counter()
        closed = trainer.compute(plan)
        trainer.commit(closed)
        candidates += len(closed.hashes) * params.candidates_per_share
        computing += time.perf_counter() - started
        started = time.perf_counter()
        receipt = sender.execute(
            "the step", ledger.contract, encode_record(closed.prev_head, closed.step_data)
        )
        recording += time.perf_counter() - started
        gas = receipt.gas_used
    report = Auditor(ledger, Catalog()).audit(identity)
    if not report.passed:
        raise PotnodeError(report.text())
    started = time.perf_counter()
    for _ in range(TRANSFERS):
        sender.execute("a transfer", key.address, b"", value=1)
    transferring = time.perf_counter() - started
    return JobFigures(
        steps=steps,
        population=params.population,
        compute_s=computing / steps,
        record_s=recording / steps,
        record_gas=gas,
        transfers_per_s=TRANSFERS / transferring,
        audit_s=report.seconds / steps,
        evaluations_per_s=candidates / computing,
    )


def shares(trainer: Trainer[Any], miner: bytes) -> Iterator[TrainingShare]:
    """Valid shares of the trainer's present step at MIN_BITS, mined here, without end."""
    template = Standalone(trainer.job_id).current(int(time.time()))
    commitment = Commitment(trainer.job_id, trainer.step, trainer.head, trainer.work())
    maker, counter = JobMaker(template, commitment), secrets.randbits(32)
    while True:
        counter += 1
        job = maker.job(
            MinerRow(miner, MIN_BITS), account="0x" + miner.hex(), counter=counter, clean=False
        )
        yield _solve(template, job.coinb1, job.coinb2, job.tag)


def _solve(template: Template, coinb1: bytes, coinb2: bytes, tag: object) -> TrainingShare:
    if not isinstance(tag, WorkTag) or tag.commitment is None:
        raise TypeError("a job of this node carries a WorkTag with its commitment")
    root = merkle_root(sha256d(coinb1 + bytes(12) + coinb2), template.branch)
    version_le = template.version.to_bytes(4, "little")
    ntime_le = template.ntime.to_bytes(4, "little")
    for nonce in itertools.count():
        nonce_le = be32(nonce)[::-1]
        hash_ = sha256d(
            header80(
                version_le=version_le,
                prev_hash_le=template.prev_hash_le,
                merkle_root_le=root,
                ntime_le=ntime_le,
                nbits_le=template.nbits.to_bytes(4, "little"),
                nonce_le=nonce_le,
            )
        )
        if work.meets(hash_, tag.miner.bits):
            return TrainingShare(
                hash=hash_,
                work_step=tag.commitment.step,
                template=tag.row,
                miner=tag.miner,
                extranonce=extranonce(coinb1, bytes(4), bytes(8)),
                version_le=version_le,
                ntime_le=ntime_le,
                nonce_le=nonce_le,
            )
    raise AssertionError("itertools.count has no end")
