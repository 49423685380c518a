"""Bitcoinds to test against."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bitcoin.shim import Regtest


@pytest.fixture(name="bitcoind")
def _bitcoind(tmp_path: Path) -> Iterator[Regtest]:
    with Regtest(tmp_path / "one") as running:
        yield running


@pytest.fixture(name="second")
def _second(tmp_path: Path) -> Iterator[Regtest]:
    """Another bitcoind, with a chain of its own: it has the blocks it is told to take."""
    with Regtest(tmp_path / "two", blocks=0) as running:
        yield running
