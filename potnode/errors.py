"""Errors of the edges: configuration, job files, and a node that cannot start."""

from __future__ import annotations


class PotnodeError(Exception):
    """What a user is told on one line: what is wrong, where, and what to do. Exit status 1."""


class ConfigError(PotnodeError):
    """A setting is unknown, malformed, or contradicts another."""


class JobFileError(PotnodeError):
    """A job file cannot become a job."""


class JobOver(PotnodeError):
    """The contract takes no more steps of a job that has steps missing."""


class NodeError(PotnodeError):
    """The node cannot start, or had to stop."""
