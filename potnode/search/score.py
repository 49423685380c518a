"""How good a model is on held-out samples, in units people use."""

from __future__ import annotations

from dataclasses import dataclass

_BIT = 256  # losses are counted in 1/256 bit


@dataclass(frozen=True, slots=True)
class Score:
    """Held-out loss and hits, unperturbed.

    loss: the exact sum, in 1/256 bit (for a regression, in 256ths of a squared unit). hits: right
    predictions. predictions: all that bear loss, over all held-out samples.
    """

    loss: int
    hits: int
    predictions: int

    @property
    def accuracy(self) -> float:
        """Share of the predictions that are right, 0 to 1."""
        return self.hits / self.predictions

    @property
    def bits(self) -> float:
        """Mean loss of a prediction in bits: bits a byte for a text."""
        return self.loss / _BIT / self.predictions
