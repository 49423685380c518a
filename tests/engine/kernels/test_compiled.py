"""Machine code on disk: taken when it is that of these sources and types, and never otherwise."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from numba import config

from potnode.engine.kernels import compiled as compiling

SOURCE = """
from potnode.engine.kernels.compiled import compiled

@compiled
def more(x):
    return x + 1
"""


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for this test's machine code."""
    folder = tmp_path / "code"
    monkeypatch.setattr(config, "CACHE_DIR", str(folder))
    return folder


def module(folder: Path) -> ModuleType:
    """As a new process has it."""
    path = folder / "kernel.py"
    if not path.exists():
        path.write_text(SOURCE)
    spec = importlib.util.spec_from_file_location("kernel", path)
    assert spec
    assert spec.loader
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


def hits(kernel: Any) -> int:
    return sum(kernel.stats.cache_hits.values())


def test_code_is_compiled_once_for_each_type(tmp_path: Path, cache: Path) -> None:
    first = module(tmp_path).more
    assert (first(1), first(0.5)) == (2, 1.5)
    assert hits(first) == 0
    assert len(list(cache.rglob("*.nbc"))) == 2
    again = module(tmp_path).more
    assert (again(0.5), again(1)) == (1.5, 2)
    assert hits(again) == 2


def test_code_of_other_sources_is_not_taken(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert module(tmp_path).more(1) == 2
    [old] = cache.rglob("*.nbc")
    monkeypatch.setattr(compiling, "_SOURCES", "ab" * 32)
    other = module(tmp_path).more
    assert other(1) == 2
    assert hits(other) == 0
    [new] = cache.rglob("*.nbc")  # and the old file is not left behind
    assert new.name != old.name


@pytest.mark.parametrize("kept", [b"", bytes(100)])
def test_a_file_that_was_cut_off_is_compiled_anew(tmp_path: Path, cache: Path, kept: bytes) -> None:
    assert module(tmp_path).more(1) == 2
    [file] = cache.rglob("*.nbc")
    file.write_bytes(kept)
    assert module(tmp_path).more(1) == 2
    after = module(tmp_path).more
    assert after(1) == 2
    assert hits(after) == 1


def test_without_a_folder_to_write_to_code_runs_all_the_same(tmp_path: Path, cache: Path) -> None:
    kernel = module(tmp_path).more
    shutil.rmtree(cache)
    cache.write_bytes(b"a file where the folder was")
    assert kernel(1) == 2
    assert module(tmp_path).more(1) == 2
