"""JSON views of jobs, for command line and API: hashes are hex without 0x, addresses with 0x."""

from __future__ import annotations

from itertools import groupby
from typing import Any

from potnode.chain.reader import ChainJob, job_state
from potnode.chain.rpc import RpcLedger
from potnode.spec.errors import InvalidJob
from potnode.spec.layers import Conv2d, Embedding, Gru, Layer, Linear
from potnode.spec.manifest import Manifest
from potnode.spec.manifest_json import check_job
from potnode.spec.schedule import shares_before

_KINDS: dict[type[Layer], str] = {
    Conv2d: "conv",
    Linear: "linear",
    Embedding: "embedding",
    Gru: "gru",
}


def describe_model(manifest: Manifest) -> str:
    """The layers that have a width, in few words: `64-32-10`, or `conv 8-16, linear 10`."""
    wide = [x for x in manifest.layers if isinstance(x, Conv2d | Linear | Embedding | Gru)]
    if len(manifest.input) == 1 and all(isinstance(layer, Linear) for layer in manifest.layers):
        return "-".join(map(str, [*manifest.input, *(layer.out for layer in wide)]))
    groups = groupby(wide, key=lambda layer: _KINDS[type(layer)])
    return ", ".join(f"{kind} {'-'.join(str(x.out) for x in same)}" for kind, same in groups)


def describe_job(ledger: RpcLedger, job: ChainJob) -> dict[str, Any]:
    """A job's terms, and how far the contract says it is.

    `dataset` and `model` are None where the manifest breaks the rules: then nobody can train it.
    """
    params = job.params
    state = job_state(ledger, job.job_id)
    try:
        manifest = check_job(params, job.manifest)
    except InvalidJob:
        manifest = None
    return {
        "job": job.job_id.hex(),
        "owner": "0x" + params.owner.hex(),
        "operator": "0x" + params.operator.hex(),
        "dataset": manifest.dataset if manifest else None,
        "model": describe_model(manifest) if manifest else None,
        "parameters": manifest.parameters if manifest else None,
        "population": params.population,
        "population_start": params.population_start,
        "candidates_per_share": params.candidates_per_share,
        "batch_size": params.batch_size,
        "min_bits": params.min_bits,
        "window": params.window,
        "steps": state.steps if state else 0,
        "step_limit": params.step_limit,
        "proofs": shares_before(params, state.steps if state else 0),
        "validate_every": params.validate_every,
        "pot_per_step": str(params.pot_per_step),
        "operator_fee": str(params.operator_fee),
        "token": "0x" + params.token.hex(),
        "refutable": params.refutable,
        "closed": state.closed if state else False,
        "state_root": (state.state_root if state and state.steps else params.initial_root).hex(),
        "data_root": params.data_root.hex(),
        "manifest_hash": params.manifest_hash.hex(),
        "transaction": job.tx_hash.hex(),
        "block": job.block_number,
    }
