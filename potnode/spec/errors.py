"""What can be wrong with data the rules are applied to.

Every exception of `potnode.spec` descends from `SpecError`; a caller that feeds the specification
bytes from outside catches that one class.
"""

from __future__ import annotations


class SpecError(Exception):
    """Data breaks a rule of the protocol. Expected in normal operation: it came from outside."""


class InvalidJob(SpecError):
    """Params or a manifest break a rule of docs/protocol.md section 1 or a bound of section 3."""


class InvalidCoinbase(SpecError):
    """A coinbase does not have the form of docs/protocol.md section 2."""


class InvalidDataset(SpecError):
    """A dataset file is malformed, or its root is not the one the job names."""


class InvalidRecord(SpecError):
    """A step record is not canonical, or one of its entries is not valid work.

    Attributes:
        field: dotted name of the place, such as `entries[5].hash`, for reports.
        problem: what is wrong there.
    """

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"{field}: {problem}")
        self.field = field
        self.problem = problem
