"""What can go wrong with a literal search; every exception of `potnode.literal` is a LiteralError.

LiteralError
├── BadSearch          a request that can't be searched: which field, and why
├── UnknownSearch      no search has this id
├── TooManySearches    so many wait that no more are taken
└── SearchesDown       the folder of searches can't be written
"""

from __future__ import annotations


class LiteralError(Exception):
    """Root of the errors of this package. The message says what is wrong and what to do."""


class BadSearch(LiteralError):
    """A request can't be searched. `field` is its name there, `problem` what is wrong with it."""

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"{field}: {problem}")
        self.field = field
        self.problem = problem


class UnknownSearch(LiteralError):
    """No search here has this id."""


class TooManySearches(LiteralError):
    """So many searches wait that no more are taken now."""


class SearchesDown(LiteralError):
    """A search could not be written to disk, so it would not survive a restart."""
