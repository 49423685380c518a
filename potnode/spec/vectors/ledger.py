"""Golden jobs: whole ledgers with every number computed, so that they can be replayed and audited.

A tiny network on a tiny dataset; each job shows other shapes of records. Used for record.json, and
by tests that need a job's history without waiting for one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from potnode.spec import dataset, evaluate, search, state, work
from potnode.spec.draw import candidate_keys, draw
from potnode.spec.hashing import be32, sha256
from potnode.spec.layers import Linear
from potnode.spec.manifest import (
    Classes,
    Evolution,
    Greedy,
    Manifest,
    Seeded,
    Strategy,
    Weights,
)
from potnode.spec.manifest_json import check_job, encode_manifest
from potnode.spec.network import forward_weights
from potnode.spec.params import JobParams, job_id
from potnode.spec.record import (
    MinerRow,
    StepRecord,
    Validation,
    canonical_order,
    encode_record,
    verify_work,
)
from potnode.spec.schedule import step_terms
from potnode.spec.step import advance as advance_state
from potnode.spec.vectors.form import pattern
from potnode.spec.vectors.shares import COMMITMENT, P2WPKH, Draft, Share, draft, find

CHAIN_ID = 31337
CONTRACT = bytes.fromhex("00000000000000000000000000000000000074ea")
OWNER = bytes.fromhex("0000000000000000000000000000000000000a11")
OPERATOR = bytes.fromhex("0000000000000000000000000000000000000b0b")
TRAIN, HELD_OUT, INPUTS, CLASSES = 24, 8, 6, 3
BATCH_SIZE = 4
INT8, INT4 = Weights(127, 8), Weights(7, 12)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A golden job before it runs: its terms, and which shares each step takes."""

    name: str
    population: int
    min_bits: int
    window: int
    step_limit: int
    validate_every: int
    steps: int
    shares: Callable[[int], list[tuple[Draft, MinerRow]]]
    population_start: int = 0  # 0: the same
    candidates: int = 1
    rule: str = "momentum"
    perturbation_shift: int = 1
    last_shift: int | None = None  # None: the same
    batch_start: int = BATCH_SIZE
    greedy_margin: int | None = None  # None: strategy evolution
    weights: Weights = INT8


@dataclass(slots=True)
class Ledger:
    """A golden job and its history so far. heads and states have one more item than records."""

    plan: Plan
    manifest: Manifest
    manifest_bytes: bytes
    params: JobParams
    job: bytes
    heads: list[bytes]
    states: list[state.State]
    records: list[StepRecord] = field(default_factory=list)
    step_data: list[bytes] = field(default_factory=list)
    hashes: list[list[bytes]] = field(default_factory=list)

    def work_of_age(self, step: int) -> Callable[[int], bytes]:
        """The commitments a record of `step` is checked with."""
        return lambda age: work.work_id(self.job, step - age, self.heads[step - age])


def dataset_file() -> bytes:
    """32 samples of 6 inputs; the class is the place of the largest of the first three."""
    header = dataset.DatasetHeader("classes", TRAIN, HELD_OUT, INPUTS, CLASSES)
    data = dataset.encode_header(header)
    for i in range(header.count):
        raw = pattern(INPUTS, f"sample {i}")
        inputs = bytes(1 if b == 128 else b for b in raw)  # -128 is no input
        signed = [b - 256 if b > 127 else b for b in inputs[:CLASSES]]
        data += inputs + be32(signed.index(max(signed)))
    return data


def open_job(plan: Plan) -> Ledger:
    """A golden job before its first step."""
    strategy: Strategy = Greedy(plan.greedy_margin or 0, plan.batch_start)
    if plan.greedy_margin is None:
        eta0 = 2000 if plan.rule == "momentum" else 80
        strategy = Evolution(plan.rule, eta0, 10, plan.batch_start)
    shift, last_shift = plan.perturbation_shift, plan.last_shift
    manifest = Manifest(
        dataset="tiny",
        task=Classes(),
        input=(INPUTS,),
        layers=(Linear(5, 6, "relu"), Linear(CLASSES, 3, "none")),
        train=(0, 1, 2, 3),
        initial=Seeded(sha256(plan.name.encode()), (4096, 0, 4096, 0), (0, 0, 0, 0)),
        weights=plan.weights,
        perturbation=(shift, shift if last_shift is None else last_shift),
        strategy=strategy,
    )
    manifest_bytes = encode_manifest(manifest)
    initial = state.initial_state(manifest)
    params = JobParams(
        owner=OWNER,
        operator=OPERATOR,
        manifest_hash=sha256(manifest_bytes),
        initial_root=state.state_root(initial, manifest.weights),
        data_root=dataset.dataset_root(dataset_file()),
        train_count=TRAIN,
        held_out_count=HELD_OUT,
        population=plan.population,
        population_start=plan.population_start or plan.population,
        candidates_per_share=plan.candidates,
        batch_size=BATCH_SIZE,
        min_bits=plan.min_bits,
        window=plan.window,
        step_limit=plan.step_limit,
        validate_every=plan.validate_every,
        pot_per_step=10**18 + 1,
        operator_fee=10**15,
        challenge_window=3600,
        response_window=600,
        stall_timeout=86_400,
        salt=sha256(b"salt of " + plan.name.encode()),
    )
    check_job(params, manifest_bytes)
    job = job_id(CHAIN_ID, CONTRACT, params)
    heads = [work.head_zero(job)]
    return Ledger(plan, manifest, manifest_bytes, params, job, heads, [initial])


def mine(ledger: Ledger, step: int, requests: Sequence[tuple[Draft, MinerRow]]) -> list[Share]:
    """A share for each request, in no order; the step and the request's place make extranonces."""
    commitment = ledger.work_of_age(step)
    return [find(t, m, commitment, (step, i)) for i, (t, m) in enumerate(requests)]


def make_record(ledger: Ledger, step: int, shares: Sequence[Share]) -> StepRecord:
    """The record of a step from its shares, every number computed; nothing is checked."""
    record, _ = _run(ledger, step, shares)
    return record


def advance(ledger: Ledger) -> None:
    """Run and record the next step of the plan."""
    step = len(ledger.records)
    shares = mine(ledger, step, ledger.plan.shares(step))
    record, after = _run(ledger, step, shares)
    data = encode_record(record)
    ledger.records.append(record)
    ledger.hashes.append(verify_work(record, ledger.work_of_age(step)))
    ledger.step_data.append(data)
    ledger.states.append(after)
    ledger.heads.append(work.next_head(ledger.heads[step], data))


def _run(ledger: Ledger, step: int, shares: Sequence[Share]) -> tuple[StepRecord, state.State]:
    manifest, params, data = ledger.manifest, ledger.params, dataset_file()
    header = dataset.decode_header(data)
    samples = [dataset.read_sample(data, header, i) for i in range(header.count)]
    before, terms = ledger.states[step], step_terms(manifest, params, step)
    weights = forward_weights(before.masters, manifest.weights)
    commitment = ledger.work_of_age(step)(0)
    batch = [samples[i] for i in search.batch_indices(commitment, TRAIN, terms.batch_size)]
    ordered = sorted(shares, key=lambda share: share.hash_)
    candidates = params.candidates_per_share
    keys = candidate_keys((share.hash_ for share in ordered), candidates)
    losses = [
        evaluate.candidate_loss(manifest, weights, batch, draw(manifest, key), terms.shift)
        for key in keys
    ]
    after, _ = advance_state(
        manifest,
        before,
        keys,
        losses,
        terms,
        commitment,
        train_count=TRAIN,
        sample=samples.__getitem__,
    )
    validation = None
    if params.is_validation_step(step):
        held_out = samples[TRAIN:]
        trained = forward_weights(after.masters, manifest.weights)
        figures = evaluate.validation(manifest, trained, held_out)
        validation = Validation(*figures)
    own_losses = [tuple(losses[at : at + candidates]) for at in range(0, len(losses), candidates)]
    rows = [
        (share.hash_, share.template, share.miner, replace(share.entry, losses=own))
        for share, own in zip(ordered, own_losses, strict=True)
    ]
    return canonical_order(
        ledger.job, step, rows, validation, state.state_root(after, manifest.weights)
    ), after


def run_job(plan: Plan) -> Ledger:
    """A golden job with all of its recorded steps."""
    ledger = open_job(plan)
    for _ in range(plan.steps):
        advance(ledger)
    return ledger


def miner(n: int, bits: int, script: bytes = b"") -> MinerRow:
    """The row of golden miner `n`."""
    return MinerRow(pattern(20, f"miner {n}"), bits, script)


def branch(count: int) -> list[bytes]:
    """Merkle siblings."""
    return [sha256(b"sibling" + be32(i)) for i in range(count)]


def _one(step: int) -> list[tuple[Draft, MinerRow]]:
    return [(draft(tag=step), miner(0, 4))]


def _four(step: int) -> list[tuple[Draft, MinerRow]]:
    late = min(step, 2)
    with_script = draft(age=late, outputs=[b"", COMMITMENT], payout_at=0, branch=branch(4), tag=1)
    plain = draft(outputs=[P2WPKH, COMMITMENT], branch=branch(1), tag=2)
    return [
        (plain, miner(0, 4)),
        (with_script, miner(0, 5, P2WPKH)),
        (with_script, miner(1, 6, b"\x51")),
        (draft(age=min(step, 1), tag=3), miner(0, 4)),
    ]


def _sixty_four(step: int) -> list[tuple[Draft, MinerRow]]:
    template = draft(outputs=[P2WPKH, COMMITMENT], branch=branch(12), tag=step)
    older = draft(age=min(step, 1), outputs=[P2WPKH, COMMITMENT], branch=branch(11), tag=9)
    miners = [miner(i, 4 + i) for i in range(3)]
    return [(older if i % 5 == 4 else template, miners[i % 3]) for i in range(64)]


def _several(step: int) -> list[tuple[Draft, MinerRow]]:
    """One share in steps 0 and 1, two in 2 and 3, three in 4 and 5."""
    template = draft(outputs=[P2WPKH, COMMITMENT], branch=branch(2), tag=step)
    older = draft(age=min(step, 1), branch=branch(1), tag=9)
    return [(older if i else template, miner(i, 4)) for i in range(1 + step // 2)]


def _most_candidates(step: int) -> list[tuple[Draft, MinerRow]]:
    return [(draft(tag=step), miner(i, 2)) for i in range(3)]


def _three_hundred(step: int) -> list[tuple[Draft, MinerRow]]:
    template = draft(outputs=[P2WPKH, COMMITMENT], branch=branch(12), tag=step)
    return [(template, miner(i, i % 3)) for i in range(300)]


def _edges(step: int) -> list[tuple[Draft, MinerRow]]:
    """The smallest coinbase; the largest, with longest script and scriptSig; the longest branch."""
    smallest = draft(script_sig=b"\x51", tag=step)
    # 42 + 100 + 4 + 1, four outputs of 9 and 252 + 252 + 0 + 17, marker and locktime 51: 755.
    long_script = b"\x6a" * 252
    other = [b"\x6a" * 252, b"\x51" * 17]
    largest = draft(script_sig=b"\x01" * 84, outputs=[other[0], b"", b"", other[1]], payout_at=1)
    longest_branch = draft(outputs=[b""], payout_at=0, branch=branch(16), tag=3)
    return [
        (smallest, miner(0, 4)),
        (largest, miner(0, 4, long_script)),
        (longest_branch, miner(2, 4, b"\x00")),
        (draft(branch=branch(16), tag=4), miner(2, 4)),
    ]


PLANS = (
    Plan(
        name="one", population=1, min_bits=4, window=0, step_limit=2, validate_every=1,
        steps=2, shares=_one,
    ),
    Plan(
        name="four", population=4, min_bits=4, window=2, step_limit=6, validate_every=2,
        steps=4, shares=_four, rule="sign_momentum", perturbation_shift=2,
    ),
    Plan(
        name="sixty-four", population=64, min_bits=4, window=255, step_limit=1000,
        validate_every=100, steps=2, shares=_sixty_four,
    ),
    Plan(
        name="three-hundred", population=300, min_bits=0, window=1, step_limit=1, validate_every=7,
        steps=1, shares=_three_hundred, perturbation_shift=0,
    ),
    Plan(
        name="edges", population=4, min_bits=0, window=8, step_limit=3, validate_every=4,
        steps=3, shares=_edges,
    ),
    Plan(
        name="several", population=16, population_start=4, candidates=4, min_bits=4, window=1,
        step_limit=6, validate_every=2, steps=6, shares=_several, rule="sign_momentum",
    ),
    Plan(
        name="most-candidates", population=192, candidates=64, min_bits=0, window=0, step_limit=2,
        validate_every=1, steps=2, shares=_most_candidates,
    ),
    Plan(
        name="greedy", population=16, population_start=4, candidates=4, min_bits=4, window=1,
        step_limit=6, validate_every=3, steps=6, shares=_several, greedy_margin=20,
        perturbation_shift=6, last_shift=4, batch_start=1, weights=INT4,
    ),
)  # fmt: skip
