"""A node to look at: a real store and a real embedded chain, with jobs and steps on both."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import mkdtemp

import pytest
from starlette.testclient import TestClient

from potnode.api.app import create_app
from potnode.api.writing import WriteRules
from potnode.bitcoin import ParentChain
from potnode.campaign import Progress
from potnode.chain.embedded import EmbeddedChain
from potnode.chain.facade import Facade
from potnode.chain.keys import Key
from potnode.chain.recorder import Progress as Recorded
from potnode.chain.rpc import Connection, EmbeddedTransport, RpcLedger
from potnode.chain.sender import Sender, deploy
from potnode.clock import SystemClock
from potnode.config import WorkSettings
from potnode.data.catalog import Catalog
from potnode.engine.state import initial
from potnode.literal.searches import Searches
from potnode.recording import Recording
from potnode.spec import work
from potnode.spec.hashing import sha256
from potnode.spec.manifest_json import decode_manifest
from potnode.spec.params import encode_params
from potnode.spec.parent import standalone_parent
from potnode.spec.record import MinerRow, StepRecord, encode_record, verify_work
from potnode.store import (
    Checkpoint,
    EntryResult,
    JobRow,
    ShareRow,
    StepRow,
    Store,
    TemplateRecord,
    sqlite_url,
)
from potnode.work.parent import ParentBlock
from stratum.counters import ConnectionStats
from stratum.errors import RejectCode
from stratum.server import Counters, MinerView
from tests.builders import MINER, Job, make_job, make_record, make_template

RECORDED = 5
"""Steps of the first job that are on the chain; one more is closed and on its way."""
STANDALONE_STEP = 2
"""All other steps were mined on a block."""
BLOCK = (1, 2)
"""Step and place of the share that the pool took for a block."""
BITS = 4
NOW_NS = 1_700_000_000_123_456_789
OTHER_MINER = bytes.fromhex("22" * 20)
WORKER = "rig"
JUNK_MANIFEST = b"\xff\x00 no manifest at all"


OPEN = WriteRules(token=None, loopback=True, hosts=frozenset({"testserver"}))
"""Of a node that its own machine alone reaches; the test's client calls it testserver."""


@dataclass
class FakeNode:
    """A `NodeView` whose figures a test can set."""

    store: Store
    ledger: RpcLedger
    facade: Facade | None
    operator: bytes
    searches: Searches
    write_rules: WriteRules = OPEN
    stratum_address: tuple[str, int] | None = ("127.0.0.1", 3333)
    training: Progress | None = None
    connected: list[MinerView] = field(default_factory=list)
    counted: Counters = field(default_factory=Counters)
    transaction: bytes | None = None
    found_problems: list[str] = field(default_factory=list)
    chain: ParentChain | None = None

    def progress(self) -> Progress | None:
        return self.training

    def miners(self) -> Sequence[MinerView]:
        return self.connected

    def miner_bits(self, connection_id: int) -> int | None:
        return BITS + connection_id if connection_id < 100 else None

    def connection_stats(self) -> Mapping[int, ConnectionStats]:
        return {
            view.connection_id: ConnectionStats(1_700_000_000.5, 5, 1, None, 9, False)
            for view in self.connected
        }

    def parent(self) -> ParentChain | None:
        return self.chain

    def counters(self) -> Counters:
        return self.counted

    def last_transaction(self) -> bytes | None:
        return self.transaction

    def problems(self) -> Sequence[str]:
        return self.found_problems


@dataclass(frozen=True)
class World:
    """What was put where. `jobs`: in the order of creation; only the first has steps.

    `records`: the steps of the first job. `waiting`: hashes of shares no step took, `expired`: of
    one whose window passed.
    """

    folder: Path
    store: Store
    chain: EmbeddedChain
    ledger: RpcLedger
    key: Key
    jobs: list[tuple[bytes, Job]]
    records: list[StepRecord]
    hashes: list[list[bytes]]
    waiting: list[bytes]
    expired: bytes

    @property
    def job_id(self) -> bytes:
        return self.jobs[0][0]


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Built once: no test changes it."""
    folder = tmp_path_factory.mktemp("api")
    key = Key.random()
    with (
        EmbeddedChain.open(folder, fund=[key.address], clock=lambda: int(time.time())) as chain,
        Store(sqlite_url(folder / "node.sqlite")) as store,
    ):
        yield _build(folder, chain, store, key)


def _build(folder: Path, chain: EmbeddedChain, store: Store, key: Key) -> World:
    connection = Connection(EmbeddedTransport(chain))
    sender = Sender(connection, key, gas_limit=30_000_000)
    contract = deploy(sender).contract
    assert contract is not None
    ledger = RpcLedger(connection, contract)
    recording = Recording(ledger, sender, store, SystemClock(), confirmations=0)
    first = make_job(key.address, candidates_per_share=2, population=8)
    junk = make_job(key.address, salt=b"\x03" * 32)
    drafts = [
        first,
        make_job(key.address, salt=b"\x02" * 32),
        Job(replace(junk.params, manifest_hash=sha256(JUNK_MANIFEST)), JUNK_MANIFEST),
    ]
    jobs = [(recording.recorder.create_job(job.params, job.manifest), job) for job in drafts]
    job_id = jobs[0][0]
    store.add_job(
        JobRow(
            job_id=job_id,
            chain_id=connection.chain_id,
            contract=contract,
            params=encode_params(first.params),
            manifest=first.manifest,
            created_at=NOW_NS,
        )
    ).result()
    miners = [MinerRow(MINER, BITS), MinerRow(OTHER_MINER, BITS + 1)]
    heads = [work.head_zero(job_id)]
    records: list[StepRecord] = []
    hashes: list[list[bytes]] = []
    waiting: list[bytes] = []
    state = initial(decode_manifest(first.manifest)).to_bytes()
    for step in range(RECORDED + 1):
        template = make_template()
        if step == STANDALONE_STEP:
            template = replace(template, prev_hash_le=standalone_parent(job_id))
        record = make_record(first.params, job_id, step, heads, miners=miners, templates=[template])
        step_hashes = _add_shares(store, record, heads)
        heads.append(work.next_head(heads[-1], encode_record(record)))
        if step == RECORDED:  # acknowledged meanwhile: the last of them expires with this step
            waiting = _add_shares(
                store, make_record(first.params, job_id, step + 1, heads, miners=miners), heads
            )
        _close(store, record, step_hashes, heads, state, expired=waiting[-1:])
        records.append(record)
        hashes.append(step_hashes)
        if step < RECORDED:
            while recording.recorder.step_once() is not Recorded.IDLE:
                pass
    return World(
        folder, store, chain, ledger, key, jobs, records, hashes, waiting[:-1], expired=waiting[-1]
    )


def _add_shares(store: Store, record: StepRecord, heads: list[bytes]) -> list[bytes]:
    """The record's entries as a pool stores them when they come in; their hashes."""
    commitment = work.work_id(record.job_id, record.step, heads[record.step])
    hashes = verify_work(record, lambda _: commitment)
    for index, (hash_, entry) in enumerate(zip(hashes, record.entries, strict=True)):
        row, miner = record.templates[entry.template], record.miners[entry.miner]
        template = TemplateRecord(
            prev_hash_le=row.prev_hash_le,
            nbits_le=row.nbits_le,
            script_at=row.script_at,
            coinbase=row.coinbase,
            branch=row.branch,
        )
        share = ShareRow(
            hash=hash_,
            job_id=record.job_id,
            work_step=record.step,
            miner=miner.miner,
            worker=WORKER,
            bits=miner.bits,
            script=miner.script,
            template=template,
            extranonce=entry.extranonce,
            version_le=entry.version_le,
            ntime_le=entry.ntime_le,
            nonce_le=entry.nonce_le,
            received_at=NOW_NS,
            is_block=(record.step, index) == BLOCK,
        )
        assert store.add_share(share).result()
    return hashes


def _close(
    store: Store,
    record: StepRecord,
    hashes: list[bytes],
    heads: list[bytes],
    state: bytes,
    expired: list[bytes],
) -> None:
    seen = record.validation
    row = StepRow(
        job_id=record.job_id,
        step=record.step,
        prev_head=heads[-2],
        head=heads[-1],
        step_data=encode_record(record),
        state_root=record.state_root,
        closed_at=NOW_NS,
        validation_loss=seen.loss if seen else None,
        hits=seen.hits if seen else None,
    )
    entries = [
        EntryResult(
            hash=hash_,
            index=i,
            losses=entry.losses,
            coefficients=tuple(i - 1 + 10 * j for j in range(len(entry.losses))),
        )
        for i, (hash_, entry) in enumerate(zip(hashes, record.entries, strict=True))
    ]
    half = len(state) // 2
    checkpoint = Checkpoint(
        job_id=record.job_id,
        step=record.step,
        head=heads[-1],
        state_root=record.state_root,
        masters_le=state[:half],
        momenta_le=state[half:],
    )
    store.save_step(row, entries, checkpoint, expired).result()


@pytest.fixture
def node(world: World) -> FakeNode:
    """A node of the test's own, to change at will."""
    return make_node(world)


def make_node(world: World) -> FakeNode:
    """The node, in training, with three connections of two workers. It takes literal searches on,
    and does not run them."""
    return FakeNode(
        store=world.store,
        ledger=world.ledger,
        facade=Facade(world.chain),
        operator=world.key.address,
        searches=Searches(Path(mkdtemp(dir=world.folder)), Catalog(), threads=2),
        training=progress(world.job_id),
        connected=[
            miner(1, MINER, WORKER),
            miner(2, MINER, WORKER),
            miner(100, bytes.fromhex("33" * 20), "new"),
        ],
        counted=Counters(
            connections=7,
            accepted=24,
            junk=2,
            rejects=Counter({RejectCode.LOW_DIFFICULTY: 3, RejectCode.DUPLICATE: 1}),
        ),
        transaction=b"\x77" * 32,
    )


@pytest.fixture
def client(node: FakeNode) -> Iterator[TestClient]:
    """Requests to the node's application, within one event loop."""
    with TestClient(create_app(node), follow_redirects=False) as made:
        yield made


def miner(connection_id: int, address: bytes, worker: str) -> MinerView:
    return MinerView(
        connection_id=connection_id,
        account="0x" + address.hex(),
        worker=worker,
        user_agent="cpuminer/2.5",
        suggested_difficulty=None,
        fixed_difficulty=None,
        minimum_difficulty=None,
        version_mask=0,
        extranonce1=bytes(4),
        peer="203.0.113.9:5555",
    )


def progress(job_id: bytes) -> Progress:
    return Progress(
        job_id=job_id,
        step=RECORDED + 1,
        step_limit=1000,
        shares=27,
        waiting=3,
        expired=1,
        refused={"duplicate": 1, "stale": 2},
        hash_rate=5e6,
        evaluations_per_s=1000.5,
        steps_per_s=2.5,
        loss=1.25,
        accuracy=0.75,
        recorder_lag=1,
    )


@pytest.fixture
def parent(tmp_path: Path, node: FakeNode) -> ParentChain:
    """The node's templates are real: one bitcoind, that is away, and two blocks found before."""
    settings = WorkSettings.model_validate(
        {
            "source": "bitcoind",
            "network": "regtest",
            "bitcoind": ("http://user:password@127.0.0.1:1",),
            "payout_address": "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080",
        }
    )
    chain = ParentChain.open(settings, tmp_path, SystemClock(), lambda _: None)
    assert chain is not None
    for height in (7, 8):
        header = bytes(79) + bytes([height])
        chain.blocks.found(ParentBlock(height, (), False), header, bytes(100), finder="0xaa.rig")
    node.chain = chain
    return chain
