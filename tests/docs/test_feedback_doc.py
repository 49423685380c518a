"""docs/feedback.md: its examples make a job that learns preferences; its figures are the node's."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from potnode.api.feedback import MAX_BODY, MAX_PAIRS_A_CALL
from potnode.config import FeedbackSettings
from potnode.data.catalog import Catalog
from potnode.jobfile import read_job_file
from potnode.jobs import draft
from potnode.spec.manifest import Pairs
from potnode.spec.manifest_json import check_job

TEXT = (Path(__file__).parents[2] / "docs" / "feedback.md").read_text("utf-8")
FLAT = " ".join(TEXT.split())


def block(language: str) -> str:
    found = re.search(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)
    assert found is not None
    return found[1]


def test_the_examples_make_a_job_of_preferences(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", block("python")], cwd=tmp_path, check=True)
    dataset = Catalog(tmp_path).by_name("taste")
    assert (dataset.header.train_count, dataset.header.held_out_count) == (400, 200)
    file = tmp_path / "taste.toml"
    file.write_text(block("toml"))
    made = draft(read_job_file(file), dataset, owner=bytes(20), operator=bytes(20))
    assert isinstance(check_job(made.params, made.manifest).task, Pairs)


def test_figures_are_those_of_the_node() -> None:
    settings = FeedbackSettings()
    assert f"`feedback.batch` of them ({settings.batch})" in FLAT
    assert f"`feedback.steps` steps ({settings.steps})" in FLAT
    assert f"Up to {MAX_PAIRS_A_CALL} pairs and {MAX_BODY >> 20} MiB a call" in FLAT
