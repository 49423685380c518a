"""From the store's rows to the API's models."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from potnode.api.models import Candidate, Proof, Step, StepEntry, Template, Validation
from potnode.spec.parent import standalone_parent
from potnode.store.rows import ProofView, StepView, TemplateRecord

# Losses are recorded in 1/256 bit (docs/protocol.md section 3).
_UNITS_A_BIT = 256
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def moment(nanoseconds: int) -> datetime:
    """A time in ns since 1970 UTC, to the microsecond."""
    return _EPOCH + timedelta(microseconds=nanoseconds // 1000)


def at(seconds: float) -> datetime:
    """A time in seconds since 1970 UTC, to the microsecond."""
    return _EPOCH + timedelta(seconds=seconds)


def address(value: bytes) -> str:
    """20 bytes as 0x and hex."""
    return "0x" + value.hex()


def display(hash_: bytes) -> str:
    """The hash of a share or block in display order."""
    return hash_[::-1].hex()


def difficulty(bits: int) -> float:
    """Difficulty as miners know it; exact, a power of two."""
    return 2.0 ** (bits - 32)


def optional_hex(value: bytes | None) -> str | None:
    """Hex, or None."""
    return None if value is None else value.hex()


def proof_fields(view: ProofView) -> dict[str, object]:
    """The fields of `Proof`."""
    return {
        "hash": display(view.hash),
        "job": view.job_id.hex(),
        "status": view.status,
        "step": view.step,
        "index": view.index,
        **_evaluation(view),
        "transaction": optional_hex(view.tx_hash),
        "block": view.block_number,
        "miner": address(view.miner),
        "worker": view.worker,
        "bits": view.bits,
        "difficulty": difficulty(view.bits),
        "work_step": view.work_step,
        "script": view.script.hex(),
        "template_id": view.template_id.hex(),
        "extranonce": view.extranonce.hex(),
        "version": view.version_le[::-1].hex(),
        "ntime": view.ntime_le[::-1].hex(),
        "nonce": view.nonce_le[::-1].hex(),
        "parent": parent(view),
        "is_block": view.is_block,
        "received_at": moment(view.received_at),
    }


def _evaluation(view: ProofView) -> dict[str, object]:
    """What evaluating a share gave; all None before the step that counts it."""
    if view.losses is None or view.coefficients is None:
        return {"loss": None, "coefficient": None, "candidates": None}
    pairs = zip(view.losses, view.coefficients, strict=True)
    return {
        "loss": view.losses[0],
        "coefficient": view.coefficients[0],
        "candidates": [Candidate(loss=loss, coefficient=c) for loss, c in pairs],
    }


def parent(view: ProofView) -> str | None:
    """The block a share was mined on, in display order; None where there is none."""
    if view.prev_hash_le == standalone_parent(view.job_id):
        return None
    return display(view.prev_hash_le)


def proof(view: ProofView) -> Proof:
    """A share for a list."""
    return Proof.model_validate(proof_fields(view))


def template(record: TemplateRecord) -> Template:
    """A share's template."""
    return Template(
        prev_hash=record.prev_hash_le.hex(),
        nbits=record.nbits_le[::-1].hex(),
        script_at=record.script_at,
        coinbase=record.coinbase.hex(),
        branch=[sibling.hex() for sibling in record.branch],
    )


def step_fields(view: StepView, held_out: int) -> dict[str, object]:
    """The fields of `Step`; `held_out` is the job's number of held-out samples."""
    validation = None
    if view.validation_loss is not None and view.hits is not None:
        validation = Validation(
            loss=view.validation_loss,
            hits=view.hits,
            mean_loss_bits=view.validation_loss / held_out / _UNITS_A_BIT if held_out else None,
            accuracy=view.hits / held_out if held_out else None,
        )
    return {
        "job": view.job_id.hex(),
        "step": view.step,
        "prev_head": view.prev_head.hex(),
        "head": view.head.hex(),
        "state_root": view.state_root.hex(),
        "proofs": view.proofs,
        "validation": validation,
        "closed_at": moment(view.closed_at),
        "status": view.status,
        "transaction": optional_hex(view.tx_hash),
        "block": view.block_number,
    }


def step(view: StepView, held_out: int) -> Step:
    """A step for a list."""
    return Step.model_validate(step_fields(view, held_out))


def step_entry(view: ProofView) -> StepEntry:
    """A share as an entry of the step that counts it."""
    return StepEntry.model_validate(
        {
            "index": view.index,
            "hash": display(view.hash),
            "miner": address(view.miner),
            "worker": view.worker,
            "bits": view.bits,
            **_evaluation(view),
            "is_block": view.is_block,
        }
    )
