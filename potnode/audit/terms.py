"""The terms of a job: whether contract, event, manifest and dataset speak of one and the same.

Responsible for all that is settled before the first step; the steps are `potnode.audit.replay`'s.
"""

from __future__ import annotations

from collections.abc import Iterator

from potnode.audit.report import Finding
from potnode.chain.contract import JobState
from potnode.data.dataset import Dataset
from potnode.spec.errors import InvalidJob
from potnode.spec.manifest import DATASET_KINDS, Manifest
from potnode.spec.manifest_json import check_job
from potnode.spec.params import JobParams, check_params

# What the contract keeps of the params, under the same names.
_KEPT = (
    "owner",
    "operator",
    "population",
    "population_start",
    "candidates_per_share",
    "min_bits",
    "window",
    "step_limit",
    "validate_every",
    "token",
    "pot_per_step",
    "operator_fee",
    "challenge_window",
    "stall_timeout",
)


def compare_kept(kept: JobState, params: JobParams) -> Iterator[Finding]:
    """The contract must keep a job by the terms of its event."""
    for name in _KEPT:
        here, there = getattr(kept, name), getattr(params, name)
        if here != there:
            yield Finding(
                None, f"jobs.{name}", f"the contract keeps {_shown(here)}, not {_shown(there)}"
            )


def read_manifest(params: JobParams, manifest: bytes) -> tuple[Manifest | None, list[Finding]]:
    """The manifest, if params and manifest keep the rules; else which of them does not."""
    try:
        check_params(params)
    except InvalidJob as error:
        return None, [Finding(None, "params", str(error))]
    try:
        return check_job(params, manifest), []
    except InvalidJob as error:
        return None, [Finding(None, "manifest", str(error))]


def compare_dataset(params: JobParams, manifest: Manifest, dataset: Dataset) -> Iterator[Finding]:
    """Counts, kind and shape of the dataset must be those of params and model (section 1)."""
    header, kind = dataset.header, DATASET_KINDS[type(manifest.task)]
    if header.kind != kind:
        yield Finding(None, "manifest.task", f"is {kind}, the dataset is of kind {header.kind}")
        return
    for field, stated, found in (
        ("params.train_count", params.train_count, header.train_count),
        ("params.held_out_count", params.held_out_count, header.held_out_count),
        ("manifest.input", manifest.input_size, header.input_size),
    ):
        if stated != found:
            yield Finding(None, field, f"is {stated}, the dataset has {found}")
    # A model may tell more classes apart than there are.
    fits = header.outputs == manifest.outputs
    if not fits and not (kind == "classes" and header.outputs < manifest.outputs):
        problem = f"has {manifest.outputs} outputs, the dataset {header.outputs}"
        yield Finding(None, "manifest.model", problem)


def _shown(value: object) -> str:
    return "0x" + value.hex() if isinstance(value, bytes) else str(value)
