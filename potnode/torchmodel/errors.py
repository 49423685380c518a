"""Errors of models brought from torch."""

from __future__ import annotations

from potnode.errors import PotnodeError


class TorchModelError(PotnodeError):
    """A model can't be found, or has a part that no job can have; the message names its place."""
