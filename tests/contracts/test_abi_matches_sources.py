"""The contract that the package ships is the one in contracts/src."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TOOLS = ROOT / "contracts" / "tools"
SHIPPED = ROOT / "potnode" / "chain" / "abi" / "Pot.json"
# EIP-170: the largest code a chain accepts.
MAX_CODE_SIZE = 24_576


def run(*command: str | Path) -> None:
    """Run a command; its output is the failure's message."""
    done = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What forge makes of the sources, built from nothing."""
    folder = tmp_path_factory.mktemp("forge")
    out = folder / "out"
    skip = ("--skip", "test", "script")
    run(TOOLS / "forge", "build", *skip, "--out", out, "--cache-path", folder / "cache")
    return out


def test_shipped_abi_is_built_from_the_sources(out: Path, tmp_path: Path) -> None:
    built = tmp_path / "Pot.json"
    run(sys.executable, TOOLS / "export-abi", "--out", out, "--to", built)
    assert SHIPPED.read_bytes() == built.read_bytes(), "run `make contracts` and commit the result"


def test_shipped_contract_runs_on_the_embedded_chain() -> None:
    shipped = json.loads(SHIPPED.read_text(encoding="utf-8"))
    # The embedded chain's EVM knows nothing after Prague.
    assert shipped["compiler"]["evm_version"] == "prague"
    # The bytecode is the constructor's part and the code to be deployed.
    assert len(bytes.fromhex(shipped["bytecode"].removeprefix("0x"))) <= MAX_CODE_SIZE


def test_export_without_a_build_says_what_to_do(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(TOOLS / "export-abi"), "--out", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "run contracts/tools/forge build first" in done.stderr
