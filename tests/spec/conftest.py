"""The golden jobs, run once for all tests of the specification."""

from __future__ import annotations

import pytest

from potnode.spec.vectors.ledger import PLANS, Ledger, run_job


@pytest.fixture(scope="session")
def ledgers() -> dict[str, Ledger]:
    return {plan.name: run_job(plan) for plan in PLANS}


@pytest.fixture(scope="session")
def four(ledgers: dict[str, Ledger]) -> Ledger:
    return ledgers["four"]
