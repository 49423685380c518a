"""Which exceptions a user caused or can cure: the roots of every package's errors."""

from __future__ import annotations

from potnode.audit.errors import AuditError
from potnode.chain.errors import ChainError
from potnode.data.errors import DataError
from potnode.engine.errors import EngineError
from potnode.literal.errors import LiteralError
from potnode.machinecode.errors import MachineCodeError
from potnode.miner.errors import MinerError
from potnode.spec.errors import SpecError
from potnode.store.errors import StoreError
from stratum.errors import StratumError


def expected() -> tuple[type[Exception], ...]:
    """Exceptions that end a command with one line instead of a traceback."""
    return (
        AuditError,
        ChainError,
        DataError,
        EngineError,
        LiteralError,
        MachineCodeError,
        MinerError,
        SpecError,
        StoreError,
        StratumError,
        OSError,
    )
