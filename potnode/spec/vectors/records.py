"""record.json, job.json, work.json, target.json: what the contracts must agree with."""

from __future__ import annotations

from potnode.spec import work
from potnode.spec.hashing import keccak256, sha256
from potnode.spec.params import encode_params, job_id
from potnode.spec.record import Entry, StepRecord, entry_header, pay
from potnode.spec.vectors.faults import faults
from potnode.spec.vectors.form import hexed, hexes, number
from potnode.spec.vectors.ledger import CHAIN_ID, CONTRACT, Ledger, dataset_file

Document = dict[str, object]


def record_document(ledgers: dict[str, Ledger]) -> Document:
    """Golden jobs with every record, and faulty records of the job "four"."""
    found = faults(ledgers["four"])
    return {
        "about": "jobs recorded from step 0 on; invalid records must be refused at invalid.field",
        "chainId": CHAIN_ID,
        "contract": hexed(CONTRACT),
        "datasetFile": hexed(dataset_file()),
        "jobCount": len(ledgers),
        "jobs": [_job(ledger) for ledger in ledgers.values()],
        "invalid": {
            "job": list(ledgers).index("four"),
            "count": len(found),
            "what": [f.what for f in found],
            "field": [f.field for f in found],
            "step": [f.step for f in found],
            "stepData": hexes(f.step_data for f in found),
        },
    }


def _job(ledger: Ledger) -> Document:
    params = ledger.params
    return {
        "name": ledger.plan.name,
        "jobId": hexed(ledger.job),
        "params": hexed(encode_params(params)),
        "manifest": hexed(ledger.manifest_bytes),
        "population": params.population,
        "populationStart": params.population_start,
        "candidatesPerShare": params.candidates_per_share,
        "minBits": params.min_bits,
        "window": params.window,
        "stepLimit": params.step_limit,
        "validateEvery": params.validate_every,
        "potPerStep": number(params.pot_per_step),
        "stepCount": len(ledger.records),
        "heads": hexes(ledger.heads),
        "stepData": hexes(ledger.step_data),
        "stateRoots": hexes([params.initial_root, *(r.state_root for r in ledger.records)]),
        "steps": [_step(ledger, step) for step in range(len(ledger.records))],
    }


def _step(ledger: Ledger, step: int) -> Document:
    record, hashes = ledger.records[step], ledger.hashes[step]
    commitment = ledger.work_of_age(step)
    validation = record.validation
    return {
        "step": step,
        "work": hexed(commitment(0)),
        "hashes": hexes(hashes),
        "headers": hexes(entry_header(record, i, commitment) for i in range(len(hashes))),
        "losses": [list(entry.losses) for entry in record.entries],
        "entryMiner": [entry.miner for entry in record.entries],
        "entryTemplate": [entry.template for entry in record.entries],
        "miners": hexes(row.miner for row in record.miners),
        "bits": [row.bits for row in record.miners],
        "scripts": hexes(row.script for row in record.miners),
        "pay": [str(amount) for amount in pay(record, ledger.params.pot_per_step)],
        "templateAge": [row.age for row in record.templates],
        "coinbases": hexes(row.coinbase for row in record.templates),
        "scriptAt": [row.script_at for row in record.templates],
        "branchLengths": [len(row.branch) for row in record.templates],
        "validates": validation is not None,
        "validationLoss": validation.loss if validation else 0,
        "validationHits": validation.hits if validation else 0,
    }


def job_document(ledgers: dict[str, Ledger]) -> Document:
    """Params as the contract encodes them, and the job ids they have on several chains."""
    chains = [
        (CHAIN_ID, CONTRACT),
        (1, CONTRACT),
        (CHAIN_ID, b"\xff" * 20),
        (2**256 - 1, b"\x01" * 20),
    ]
    cases = [(ledger, chain, contract) for ledger in ledgers.values() for chain, contract in chains]
    return {
        "chainIds": [str(chain) for _, chain, _ in cases],
        "contracts": hexes(contract for _, _, contract in cases),
        "params": hexes(encode_params(ledger.params) for ledger, _, _ in cases),
        "jobIds": hexes(
            job_id(chain, contract, ledger.params) for ledger, chain, contract in cases
        ),
        "manifests": hexes(ledger.manifest_bytes for ledger in ledgers.values()),
        "manifestHashes": hexes(sha256(ledger.manifest_bytes) for ledger in ledgers.values()),
    }


def work_document(ledgers: dict[str, Ledger]) -> Document:
    """Heads, commitments, markers, and coinbases filled up to the share's hash."""
    four = ledgers["four"]
    steps = [0, 1, 2**32 - 1]
    miners = [bytes(20), b"\xff" * 20, four.records[0].miners[0].miner]
    bits = [0, 14, 255]
    works = [work.work_id(four.job, step, four.heads[0]) for step in steps]
    fills = [
        _fill(record, i, entry, ledger, step)
        for ledger in (ledgers["one"], four, ledgers["edges"])
        for step, record in enumerate(ledger.records)
        for i, entry in enumerate(record.entries)
    ]
    return {
        "jobId": hexed(four.job),
        "headZero": hexed(work.head_zero(four.job)),
        "stepData": hexed(four.step_data[0]),
        "stepDataHash": hexed(keccak256(four.step_data[0])),
        "nextHead": hexed(four.heads[1]),
        "workSteps": steps,
        "workHead": hexed(four.heads[0]),
        "works": hexes(works),
        "markerMiners": hexes(miners),
        "markerBits": bits,
        "markers": hexes(work.marker(w, m, b) for w, m, b in zip(works, miners, bits, strict=True)),
        "fillCount": len(fills),
        "fill": {key: [fill[key] for fill in fills] for key in fills[0]},
    }


def _fill(record: StepRecord, i: int, entry: Entry, ledger: Ledger, step: int) -> Document:
    row, miner = record.templates[entry.template], record.miners[entry.miner]
    commitment = ledger.work_of_age(step)
    marker = work.marker(commitment(row.age), miner.miner, miner.bits)
    args = (row.coinbase, row.script_at, entry.extranonce, marker, miner.script)
    coinbase = work.fill_coinbase(*args)
    form = work.coinbase_form(row.coinbase, row.script_at)
    return {
        "template": hexed(row.coinbase),
        "scriptAt": row.script_at,
        "extranonceAt": form.extranonce_at,
        "markerAt": form.marker_at,
        "extranonce": hexed(entry.extranonce),
        "marker": hexed(marker),
        "script": hexed(miner.script),
        "coinbase": hexed(coinbase),
        "branch": hexed(b"".join(row.branch)),
        "merkleRoot": hexed(work.merkle_root(coinbase, row.branch)),
        "header": hexed(entry_header(record, i, commitment)),
        "hash": hexed(ledger.hashes[step][i]),
        "bits": miner.bits,
    }


def target_document() -> Document:
    """The target of every bits, and hashes on both sides of some."""
    edge_bits = [0, 1, 14, 32, 100, 240, 255]
    values = [(b, work.target(b) + d) for b in edge_bits for d in (-1, 0, 1)]
    cases = [(b, v.to_bytes(32, "little")) for b, v in values if v >= 0]
    return {
        "bits": list(range(256)),
        "targets": hexes(work.target(b).to_bytes(32, "big") for b in range(256)),
        "hashes": hexes(hash_ for _, hash_ in cases),
        "hashBits": [b for b, _ in cases],
        "meets": [work.meets(hash_, b) for b, hash_ in cases],
    }
