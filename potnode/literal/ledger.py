"""What a round has found so far: the best candidates, and the records on the way there.

A record is a candidate better than all before it. Losses of neighbouring nonces have nothing to do
with each other, so after N of them ln N + 0.5772 records are to be expected, whatever the net, the
data or the seed: a curve that keeps to it shows that the search is a lottery.
"""

from __future__ import annotations

import math

import msgspec
import numpy as np
import numpy.typing as npt

_EULER = 0.5772156649015329


class Kept(msgspec.Struct, frozen=True):
    """A candidate and its mean loss on the round's batch, in nats."""

    nonce: int
    loss: float


class Record(msgspec.Struct, frozen=True):
    """A candidate better than all before it. evaluated: how many there were, with it."""

    nonce: int
    loss: float
    evaluated: int


def expected_records(evaluated: int) -> float:
    """How many records so many candidates have on the average: 1 + 1/2 + ... + 1/N."""
    if evaluated < 1:
        return 0.0
    return math.log(evaluated) + _EULER + 1 / (2 * evaluated)


class Ledger(msgspec.Struct):
    """Candidates of one round, told in the order of their nonces.

    kept: the best `keep`, best first; of equal ones the lower nonce. records: all of them.
    """

    keep: int
    evaluated: int = 0
    kept: list[Kept] = []
    records: list[Record] = []

    def add(self, first: int, losses: npt.NDArray[np.float64]) -> None:
        """Take in candidates first, first + 1, ...: the next after those told before."""
        before = self.records[-1].loss if self.records else math.inf
        lowest = np.minimum.accumulate(np.concatenate(([before], losses)))
        self.records += [
            Record(first + int(i), float(losses[i]), self.evaluated + int(i) + 1)
            for i in np.flatnonzero(losses < lowest[:-1])
        ]
        worst = self.kept[-1].loss if len(self.kept) == self.keep else math.inf
        able = np.flatnonzero(losses < worst)
        able = able[np.argsort(losses[able], kind="stable")][: self.keep]
        joined = [*self.kept, *(Kept(first + int(i), float(losses[i])) for i in able)]
        joined.sort(key=lambda each: (each.loss, each.nonce))
        self.kept = joined[: self.keep]
        self.evaluated += len(losses)
