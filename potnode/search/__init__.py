"""Training without a node, for researchers: ask for candidates, tell their losses, take the step.

`Search` runs a job's own arithmetic, bit for bit, on draws from a seed instead of miners' shares.
Not responsible for shares, records or chains.
"""

from __future__ import annotations

from potnode.search.candidates import Candidates
from potnode.search.errors import BadSearchFile, SearchError
from potnode.search.score import Score
from potnode.search.search import Search, Step

__all__ = ["BadSearchFile", "Candidates", "Score", "Search", "SearchError", "Step"]
