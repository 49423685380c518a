from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from potnode.data.catalog import Catalog
from potnode.literal.searches import Searches

Open = Callable[..., Searches]


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Open]:
    """Makes `Searches` of the test's folder, running or not; all are closed afterwards."""
    with ExitStack() as stack:

        def make(*, started: bool = True, checkpoint_seconds: float = 0.0) -> Searches:
            searches = Searches(
                tmp_path / "literal", Catalog(), threads=2, checkpoint_seconds=checkpoint_seconds
            )
            stack.callback(searches.close)
            if started:
                searches.start()
            return searches

        yield make
