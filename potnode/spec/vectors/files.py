"""Which golden files there are."""

from __future__ import annotations

from potnode.spec.vectors import numbers, records
from potnode.spec.vectors.feedback import feedback_document
from potnode.spec.vectors.form import text
from potnode.spec.vectors.ledger import PLANS, run_job


def documents() -> dict[str, str]:
    """Text of every golden file by its name."""
    ledgers = {plan.name: run_job(plan) for plan in PLANS}
    found = {
        "dataset.json": numbers.dataset_document(),
        "draw.json": numbers.draw_document(),
        "feedback.json": feedback_document(),
        "job.json": records.job_document(ledgers),
        "literal.json": numbers.literal_document(),
        "loss.json": numbers.loss_document(),
        "network.json": numbers.network_document(),
        "record.json": records.record_document(ledgers),
        "search.json": numbers.search_document(),
        "state.json": numbers.state_document(ledgers),
        "target.json": records.target_document(),
        "tree.json": numbers.tree_document(),
        "work.json": records.work_document(ledgers),
    }
    return {name: text(document) for name, document in found.items()}
