"""An operator for the audit's tests: trains tiny jobs and records them on a real chain.

What it records is right unless a test tampers with it; then it is what a dishonest operator could
get past the contract.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from potnode.chain.contract import encode_create_job, encode_record
from potnode.chain.embedded import EmbeddedChain
from potnode.chain.keys import Key
from potnode.chain.ports import Transport
from potnode.chain.rpc import Connection, EmbeddedTransport, RpcLedger
from potnode.chain.sender import Sender, deploy
from potnode.data.catalog import Catalog
from potnode.data.dataset import Dataset
from potnode.data.freeze import freeze
from potnode.engine.engine import Engine
from potnode.engine.state import EngineState
from potnode.spec import work
from potnode.spec.hashing import be32, sha256
from potnode.spec.layers import Linear
from potnode.spec.manifest import Classes, Evolution, Manifest, Seeded
from potnode.spec.manifest_json import encode_manifest
from potnode.spec.params import JobParams, job_id
from potnode.spec.record import MinerRow, StepRecord, TemplateRow
from potnode.spec.record import encode_record as record_bytes
from potnode.trainer import ClosedStep, Trainer, TrainingShare
from tests.builders import make_template

GAS_LIMIT = 50_000_000
BITS = 8
STEPS = 6
SCRIPT = bytes.fromhex("0014") + b"\xab" * 20
PLAIN = MinerRow(b"\x11" * 20, BITS)
PAID_ELSEWHERE = MinerRow(b"\x22" * 20, BITS + 1, SCRIPT)
MANIFEST = Manifest(
    dataset="tiny",
    task=Classes(),
    input=(6,),
    layers=(Linear(5, 6, "relu"), Linear(3, 4, "none")),
    train=(0, 1, 2, 3),
    initial=Seeded(sha256(b"seed"), (4096, 0, 4096, 0), (0, 0, 0, 0)),
    perturbation=(2, 1),
    strategy=Evolution("momentum", 400, 100, batch_start=4),
)

Tamper = Callable[[StepRecord], StepRecord]


def tiny_dataset() -> bytes:
    """24 training and 8 held-out samples of three kinds."""
    rng = np.random.default_rng(5)
    inputs, targets = rng.integers(-127, 128, (32, 6)), rng.integers(0, 3, 32)
    return freeze(inputs, targets, train_count=24, classes=3)


def plain_template(age: int = 0) -> TemplateRow:
    """Pays nobody in particular; one sibling in its branch."""
    return make_template(7, age=age, siblings=1)


def paying_template() -> TemplateRow:
    """The output before the last pays the script of the miner's row."""
    template = make_template(8)
    script = template.coinbase.index(bytes.fromhex("160014"))
    coinbase = template.coinbase[:script] + template.coinbase[script + 23 :]
    return replace(template, script_at=script, coinbase=coinbase)


@dataclass
class Operator:
    """A funded key, the contract on an embedded chain, and datasets in a folder."""

    transport: Transport
    key: Key
    ledger: RpcLedger
    folder: Path
    _salts: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    _engines: dict[bytes, Engine] = field(default_factory=dict)

    @classmethod
    def on(cls, chain: EmbeddedChain, key: Key, folder: Path) -> Operator:
        transport = EmbeddedTransport(chain)
        connection = Connection(transport)
        receipt = deploy(Sender(connection, key, gas_limit=GAS_LIMIT))
        assert receipt.contract is not None
        return cls(transport, key, RpcLedger(connection, receipt.contract), folder)

    @property
    def catalog(self) -> Catalog:
        return Catalog(self.folder)

    def engine(self, manifest: Manifest, dataset: Dataset, *_: Any) -> Engine:
        """One engine a model: to test it and start its threads takes longer than a job's audit."""
        key = encode_manifest(manifest) + dataset.root
        return self._engines.setdefault(key, Engine(manifest, dataset, threads=1))

    def create(
        self, manifest: bytes | None = None, *, model: Manifest = MANIFEST, **changes: Any
    ) -> Operated:
        """A job on the chain. `changes` replace params that every check accepts; a population
        without a start is the same in all steps."""
        dataset = self.catalog.by_name(model.dataset)
        engine = self.engine(model, dataset)
        manifest = encode_manifest(model) if manifest is None else manifest
        params = JobParams(
            owner=self.key.address,
            operator=self.key.address,
            manifest_hash=sha256(manifest),
            initial_root=engine.root(engine.initial()),
            data_root=dataset.root,
            train_count=24,
            held_out_count=8,
            population=6,
            population_start=6,
            batch_size=7,
            min_bits=BITS,
            window=2,
            step_limit=STEPS,
            validate_every=4,
            pot_per_step=1000,
            operator_fee=10,
            challenge_window=60,
            response_window=30,
            stall_timeout=600,
            salt=sha256(be32(next(self._salts))),
        )
        changes = {"population_start": changes.get("population", 6)} | changes
        params = replace(params, **changes)
        escrow = params.step_limit * (params.pot_per_step + params.operator_fee)
        self.send(encode_create_job(params, manifest), value=escrow)
        identity = job_id(self.ledger.chain.chain_id, self.ledger.contract, params)
        # The operator of a faulty job trains what its manifest should have been.
        root = engine.root(engine.initial())
        trainer = Trainer(identity, replace(params, initial_root=root), model, engine)
        return Operated(self, identity, params, manifest, trainer)

    def send(self, call_data: bytes, *, value: int = 0) -> None:
        sender = Sender(self.ledger.chain, self.key, gas_limit=GAS_LIMIT)
        sender.execute("a test's transaction", self.ledger.contract, call_data, value=value)


@dataclass
class Operated:
    """A job in training. `records` holds what is on the chain, `states` what is right."""

    operator: Operator
    job_id: bytes
    params: JobParams
    manifest: bytes
    trainer: Trainer[EngineState]
    records: list[StepRecord] = field(default_factory=list)
    closed: list[ClosedStep[EngineState]] = field(default_factory=list)
    _nonces: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def train(self, steps: int, tamper: Tamper | None = None) -> Operated:
        """Mine, compute and record steps; `tamper` changes each record before it is sent."""
        for _ in range(steps):
            for share in self.shares():
                self.trainer.admit(share, durable=True)
            self.close(tamper)
        return self

    def shares(self) -> list[TrainingShare]:
        """A step's shares: of two miners, one of them paid by its script, and some late ones."""
        step, late = self.trainer.step, max(self.trainer.step - 1, 0)
        kinds = [
            (plain_template(), PLAIN, step),
            (paying_template(), PAID_ELSEWHERE, step),
            (plain_template(), PLAIN, late),
        ]
        return [
            self.mine(*kind) for kind, _ in zip(itertools.cycle(kinds), range(self.trainer.wanted))
        ]

    def close(self, tamper: Tamper | None = None) -> None:
        """Compute the next step from the shares admitted and record it."""
        plan = self.trainer.plan()
        assert plan is not None
        closed = self.trainer.compute(plan)
        record = tamper(closed.record) if tamper else closed.record
        step_data = record_bytes(record)
        head = work.next_head(closed.prev_head, step_data)
        self.operator.send(encode_record(closed.prev_head, step_data))
        closed = replace(closed, record=record, step_data=step_data, head=head)
        self.trainer.commit(closed)
        self.closed.append(closed)
        self.records.append(record)

    def repeat(self, shares: Sequence[TrainingShare]) -> None:
        """Count shares that were counted before, next to new ones: what no honest trainer does."""
        heads = {0: work.head_zero(self.job_id)}
        heads |= {step.record.step + 1: step.head for step in self.closed}
        self.trainer = Trainer(
            self.job_id,
            self.params,
            MANIFEST,
            self.operator.engine(MANIFEST, self.operator.catalog.by_name("tiny")),
            state=self.trainer.state,
            heads=heads,
        )
        fresh = self.shares()[len(shares) :]
        for share in [*shares, *fresh]:
            self.trainer.admit(share, durable=True)
        self.close()

    def mine(
        self,
        template: TemplateRow,
        miner: MinerRow,
        work_step: int,
        *,
        accept: Callable[[bytes], bool] = lambda _: True,
    ) -> TrainingShare:
        """A share of a step's work; `accept` is one more condition on its hash."""
        heads = [work.head_zero(self.job_id), *(step.head for step in self.closed)]
        commitment = work.work_id(self.job_id, work_step, heads[work_step])
        marker = work.marker(commitment, miner.miner, miner.bits)
        extranonce = be32(next(self._nonces)).rjust(work.EXTRANONCE_SIZE, b"\0")
        coinbase = work.fill_coinbase(
            template.coinbase, template.script_at, extranonce, marker, miner.script
        )
        version_le, ntime_le = bytes.fromhex("0000ff20"), bytes.fromhex("00105e5f")
        header = work.header(
            version_le=version_le,
            prev_hash_le=template.prev_hash_le,
            root=work.merkle_root(coinbase, template.branch),
            ntime_le=ntime_le,
            nbits_le=template.nbits_le,
            nonce_le=bytes(4),
        )
        for number in itertools.count():
            nonce_le = number.to_bytes(4, "little")
            hash_ = work.share_hash(header[:76] + nonce_le)
            if work.meets(hash_, miner.bits) and accept(hash_):
                return TrainingShare(
                    hash_, work_step, template, miner, extranonce, version_le, ntime_le, nonce_le
                )
        raise AssertionError("count() does not end")
