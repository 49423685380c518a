"""What can go wrong, and the number a miner sees for it.

    StratumError
    +-- Unauthorized           a pool's answer to a user name it does not serve (code 24)
    +-- InvalidJobError        a job that no miner could be sent (also a ValueError)
    +-- ProtocolError
        +-- LocalProtocolError     our side was asked for something its state does not allow
        +-- RemoteProtocolError    the other side broke the protocol

A `Reject` is no exception: it is the ordinary answer to a request that is refused. What a miner
sends never raises past its session.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass


class RejectCode(enum.IntEnum):
    """Error numbers of Stratum V1 as all pools and firmware use them."""

    OTHER = 20
    JOB_NOT_FOUND = 21
    DUPLICATE = 22
    LOW_DIFFICULTY = 23
    UNAUTHORIZED = 24
    NOT_SUBSCRIBED = 25


@dataclass(frozen=True, slots=True)
class Reject:
    """A refusal as it goes over the wire: `[code, text, null]`.

    `text` is for people; programs read `code`. It must hold nothing the client sent.
    """

    code: RejectCode
    text: str

    def __hash__(self) -> int:
        """By the text alone, as refusals are looked up for every share of low difficulty."""
        return hash(self.text)


class StratumError(Exception):
    """Root of every exception of this package."""


class Unauthorized(StratumError):
    """The pool does not serve this user name; the message is what the miner is told."""


class InvalidJobError(StratumError, ValueError):
    """A job whose fields cannot be sent to miners; the message names the field and its bound."""


class ProtocolError(StratumError):
    """One of the two sides broke the rules of the conversation."""


class LocalProtocolError(ProtocolError):
    """A method was called in a state that does not allow it: a mistake of the calling code."""


class RemoteProtocolError(ProtocolError):
    """What arrived from the other side cannot be Stratum; the connection should be closed."""
