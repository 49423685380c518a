"""Events: what one connection's bytes led to, as its session tells the owner."""

from __future__ import annotations

import enum
from dataclasses import dataclass

import msgspec

from stratum.errors import Reject
from stratum.shares import Share


class State(enum.Enum):
    """Where a connection stands; the drawing is in `stratum.session`."""

    CONNECTED = "connected"
    READY = "ready"
    CLOSED = "closed"


class CloseReason(enum.StrEnum):
    """Why a session ended itself."""

    LINE_TOO_LONG = "line too long"
    TOO_MUCH_JUNK = "too many lines that are no message"


@dataclass(frozen=True, slots=True)
class ReadyToMine:
    """The miner has subscribed and an account is authorised: send it a job. Comes once."""


@dataclass(frozen=True, slots=True)
class WishesChanged:
    """The difficulty suggested, fixed or the minimum changed after ReadyToMine.

    A wish that is merely repeated is no event: NerdMiner suggests the same every 30 seconds.
    """


class ShareFound(msgspec.Struct, frozen=True, gc=False):
    """A good share, not answered yet: give this event to `accept` or `reject`, once."""

    share: Share
    request_id: bytes | None
    number: int


class BlockFound(msgspec.Struct, frozen=True, gc=False):
    """A header that solves a block of the network. Comes before all else that a read led to."""

    share: Share


class ShareRefused(msgspec.Struct, frozen=True, gc=False):
    """A submit was refused, and has been answered."""

    reject: Reject


@dataclass(frozen=True, slots=True)
class JunkReceived:
    """A line was no message."""

    reason: str


@dataclass(frozen=True, slots=True)
class Closed:
    """The session is over: send what is left of `data_to_send()` and close the connection."""

    reason: CloseReason


Event = ReadyToMine | WishesChanged | ShareFound | BlockFound | ShareRefused | JunkReceived | Closed
