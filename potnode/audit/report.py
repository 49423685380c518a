"""What an audit says: the findings, and what was rebuilt."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from potnode.audit.parents import Parents
from potnode.engine.state import EngineState
from potnode.spec.record import Validation


@dataclass(frozen=True, slots=True)
class Finding:
    """One difference between what the chain says and what follows from the rules.

    step: None where it is about the job as a whole. field: dotted place, as `entries[5].loss`.
    """

    step: int | None
    field: str
    problem: str

    def __str__(self) -> str:
        """One line for people."""
        place = "job" if self.step is None else f"step {self.step}"
        return f"{place}: {self.field}: {self.problem}"


@dataclass(frozen=True, slots=True)
class History:
    """Which history was audited: a node chooses what it shows, so compare these with another's.

    block: number of the newest block read. head: the contract's after its last step, 32 bytes.
    recorded: steps the contract has; step_limit: steps of the job. closed: by its owner.
    """

    chain_id: int
    contract: bytes
    block: int
    head: bytes
    recorded: int
    step_limit: int
    closed: bool


@dataclass(slots=True)
class AuditReport:
    """Result of an audit.

    passed: there is no finding. steps, shares: checked and found right. state_root: rebuilt, 32
    bytes, after the last right step; None before the initial one was rebuilt. spec_steps: steps
    whose losses the specification recomputed too. state, manifest bytes: to export the rebuilt
    model. history: None where the job could not be read. parents: of the right steps' shares.
    """

    job_id: bytes
    findings: list[Finding] = field(default_factory=list)
    steps: int = 0
    shares: int = 0
    spec_steps: int = 0
    seconds: float = 0.0
    held_out: int = 0
    state_root: bytes | None = None
    validation: Validation | None = None
    state: EngineState | None = None
    manifest: bytes = b""
    history: History | None = None
    parents: Parents = field(default_factory=Parents)

    @property
    def passed(self) -> bool:
        """Whether everything the chain says is right."""
        return not self.findings

    @property
    def accuracy(self) -> float | None:
        """Hits over held-out samples at the last validation."""
        if self.validation is None or not self.held_out:
            return None
        return self.validation.hits / self.held_out

    @property
    def root_text(self) -> str:
        """The rebuilt state root in hex, or a dash."""
        return self.state_root.hex() if self.state_root else "-"

    def text(self) -> str:
        """The report for people."""
        verdict = "PASSED" if self.passed else "FAILED"
        lines = [
            f"audit {verdict}: job {self.job_id.hex()}",
            f"{self.steps} steps, {self.shares} shares recomputed in {self.seconds:.1f} s",
            f"rebuilt state root {self.root_text}",
        ]
        if self.history is not None:
            seen = self.history
            lines.append(
                f"{seen.recorded} of {seen.step_limit} steps are recorded"
                f"{', and the job is closed' if seen.closed else ''}: contract "
                f"0x{seen.contract.hex()} on chain {seen.chain_id}, block {seen.block}, "
                f"head {seen.head.hex()}"
            )
        if self.spec_steps:
            lines.append(f"{self.spec_steps} steps recomputed by the specification as well")
        if self.accuracy is not None:
            lines.append(f"held-out accuracy {self.accuracy:.4f}")
        lines += self.parents.lines()
        return "\n".join([*lines, *(f"  {finding}" for finding in self.findings)])

    def document(self) -> dict[str, Any]:
        """The report as JSON."""
        return {
            "job": self.job_id.hex(),
            "passed": self.passed,
            "steps": self.steps,
            "step_limit": self.history.step_limit if self.history else None,
            "recorded": self.history.recorded if self.history else None,
            "closed": self.history.closed if self.history else None,
            "contract": "0x" + self.history.contract.hex() if self.history else None,
            "chain_id": self.history.chain_id if self.history else None,
            "block": self.history.block if self.history else None,
            "head": self.history.head.hex() if self.history else None,
            "shares": self.shares,
            "spec_steps": self.spec_steps,
            "seconds": round(self.seconds, 3),
            "state_root": self.state_root.hex() if self.state_root else None,
            "accuracy": self.accuracy,
            **self.parents.document(),
            "findings": [
                {"step": f.step, "field": f.field, "problem": f.problem} for f in self.findings
            ],
        }
