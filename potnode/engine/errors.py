"""What can go wrong while evaluating; every exception here descends from `EngineError`."""

from __future__ import annotations


class EngineError(Exception):
    """The engine can't do what it was asked. The message says why and what to do."""


class InexactDevice(EngineError):
    """A device computed another number than the specification: its numbers must not be recorded."""


class BadState(EngineError):
    """Bytes or arrays are not a state of the model they are said to belong to."""


class BadModelFile(EngineError):
    """A model file is unreadable, or its parts contradict each other."""
