"""What can go wrong between the node and Bitcoin.

    WorkError
    +-- InvalidAddress            a payout address that is malformed or of another network
    +-- TemplateRefused           a template no correct and safe work can be made of
    +-- BitcoindError             one call to one bitcoind
        +-- BitcoindUnavailable       no answer: not reached, too slow, overloaded, gone in between
        |   +-- BitcoindWarmingUp         it answers that it is still starting (-28)
        +-- WrongCredentials          it refuses our user and password, cookie, or address
        +-- CallRefused               it answers the call with an error of its own
        +-- GarbageReceived           its answer is not what the call's answer must be

Messages are for operators' logs: they name the bitcoind by host and port, never its credentials.
"""

from __future__ import annotations


class WorkError(Exception):
    """Root of every exception of this package."""


class InvalidAddress(WorkError, ValueError):
    """Not an address a block's reward can be paid to; the message says why."""


class TemplateRefused(WorkError):
    """A template that is garbage, out of date, or asks for what we cannot do."""


class BitcoindError(WorkError):
    """A call to a bitcoind that gave no usable answer."""


class BitcoindUnavailable(BitcoindError):
    """Nobody answered, or not in time; the same call may work later."""


class BitcoindWarmingUp(BitcoindUnavailable):
    """It is loading its block index or wallets (RPC error -28)."""


class WrongCredentials(BitcoindError):
    """HTTP 401 or 403: an operator has to act."""


class GarbageReceived(BitcoindError):
    """Not JSON-RPC, not the types of this call's result, or longer than any answer."""


class CallRefused(BitcoindError):
    """An error answer. code: bitcoind's RPC error code (its src/rpc/protocol.h)."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
