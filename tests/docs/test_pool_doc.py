"""docs/pool.md: its examples are configurations, and what it says of limits and rejects is so."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from potnode.config import Settings, load
from potnode.terms import ASIC_MIN_BITS, CPU_AGENTS, NICEHASH_MIN_BITS
from potnode.work.blocks import MOST_OF_A_PARENT
from stratum.difficulty import difficulty_from_bits
from stratum.errors import RejectCode

TEXT = (Path(__file__).parents[2] / "docs" / "pool.md").read_text("utf-8")
DEFAULTS = Settings()


@pytest.mark.parametrize("text", re.findall(r"```toml\n(.*?)```", TEXT, re.DOTALL))
def test_examples_are_configurations(tmp_path: Path, text: str) -> None:
    file = tmp_path / "potnode.toml"
    file.write_text(text)
    assert load(file=file, environ={}).settings != DEFAULTS


def test_figures_are_the_defaults() -> None:
    for name, value in (
        ("stratum.start_difficulty", f"{DEFAULTS.stratum.start_difficulty:,}"),
        ("stratum.shares_per_minute", f"{DEFAULTS.stratum.shares_per_minute:g}"),
        ("stratum.stale_grace", f"{DEFAULTS.stratum.stale_grace:g}"),
        ("stratum.max_per_address", f"{DEFAULTS.stratum.max_per_address:,}"),
        ("stratum.max_connections", f"{DEFAULTS.stratum.max_connections:,}"),
        ("work.refresh_seconds", f"{DEFAULTS.work.refresh_seconds:g}"),
    ):
        assert f"`{name}` ({value})" in TEXT.replace("\n", " "), name
    assert f"the first {MOST_OF_A_PARENT} are kept" in TEXT
    assert f"never below {difficulty_from_bits(ASIC_MIN_BITS)}" in TEXT
    assert f"never gets less than {difficulty_from_bits(NICEHASH_MIN_BITS):,}" in TEXT


def test_cpu_miners_are_named() -> None:
    named = re.search(r"CPU miners \(user agents ([^)]*)\)", TEXT)
    assert named is not None
    assert re.findall(r"`(\w+)`", named[1]) == list(CPU_AGENTS)


def test_every_reject_code_is_explained() -> None:
    rows = {int(code) for code in re.findall(r"^\| (2\d) \|", TEXT, re.MULTILINE)}
    assert rows == {int(code) for code in RejectCode}
