"""The demonstration, shortened: one command from nothing to an audited model."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from safetensors import safe_open

from potnode.spec.schedule import on_line
from tests.node.harness import environment

STEPS = 12


def test_the_demonstration(tmp_path: Path) -> None:
    done = subprocess.run(
        [
            *(sys.executable, "-m", "potnode", "demo"),
            *("--json", "--steps", str(STEPS), "--workers", "1"),
        ],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    shown = json.loads(done.stdout)
    assert shown["steps"] == STEPS
    # The digits job's population rises from 32 to 96.
    assert shown["shares"] == sum(on_line(32, 96, step, STEPS) for step in range(STEPS))
    assert shown["evaluations"] == shown["shares"]
    assert shown["expired"] == 0
    assert 0 <= shown["accuracy"] <= 1
    assert 0 < shown["first_proof_seconds"] <= shown["seconds"]
    assert shown["audit"] == "passed"
    assert shown["state_root"] == shown["rebuilt_state_root"]
    assert len(shown["job"]) == len(shown["state_root"]) == 64
    assert len(shown["contract"]) == 42
    with safe_open(tmp_path / shown["model"], "np") as model:
        tensors = {name: model.get_tensor(name).shape for name in model.keys()}  # noqa: SIM118
        assert model.metadata()
    assert sum(1 for _ in tensors) >= 4
    assert sorted(path.name for path in tmp_path.iterdir()) == ["demo.safetensors"]
    assert "Traceback" not in done.stderr, done.stderr
