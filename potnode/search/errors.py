"""What can be wrong with a search; every exception of `potnode.search` descends from `SearchError`.

SearchError
└── BadSearchFile   a saved search is damaged, or belongs to other data
"""

from __future__ import annotations


class SearchError(Exception):
    """The search can't do what was asked. The message says why, and what to do."""


class BadSearchFile(SearchError):
    """A file is no saved search, is damaged, or was saved on another dataset."""
