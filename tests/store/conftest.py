from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from potnode.store import Store, sqlite_url
from tests.store.samples import job


@pytest.fixture
def url(tmp_path: Path) -> str:
    return sqlite_url(tmp_path / "node" / "potnode.db")


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    with Store(url) as opened:
        assert opened.add_job(job()).result() is True
        yield opened
