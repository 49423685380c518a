"""What can go wrong while mining; every exception of `potnode.miner` descends from `MinerError`."""

from __future__ import annotations


class MinerError(Exception):
    """Mining can't start or go on. The message says why and what to do."""


class KernelError(MinerError):
    """The hashing code could not be compiled for this machine."""


class WorkerError(MinerError):
    """A hashing process could not be started."""


class AddressError(MinerError):
    """The pool's address, or the user name, is malformed."""


class RefusedError(MinerError):
    """The pool does not let this user mine. Trying again would not change its mind."""


class CommitmentError(MinerError):
    """What the pool has us hash is not our work: hashing it would pay somebody else or nobody.

    Attributes:
        field: what differs: `coinbase`, `extranonce`, `miner`, `work`, `bits`, `marker`, or `reply`
            where the pool's answer has not the form of docs/protocol.md.
    """

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(
            f"{field}: {problem}; refusing to mine for this pool "
            "(--no-verify mines for a pool without commitments)"
        )
        self.field = field
        self.problem = problem


def unwrapped(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    """What a task group failed with: the first MinerError if there is nothing else, else all."""
    if errors.split(MinerError)[1] is not None:
        return errors
    first: BaseException = errors
    while isinstance(first, BaseExceptionGroup):
        first = first.exceptions[0]
    return first
