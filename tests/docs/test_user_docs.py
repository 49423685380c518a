"""Documents for users: every setting and key is there, and every example works."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from potnode.config import known_settings
from potnode.jobfile import JobFile, Model, Pay, Search, read_job_file

ROOT = Path(__file__).parents[2]
JOBS = (ROOT / "docs" / "jobs.md").read_text("utf-8")
OPERATIONS = (ROOT / "docs" / "operations.md").read_text("utf-8")


def _block(text: str, language: str) -> str:
    found = re.search(rf"```{language}\n(.*?)```", text, re.DOTALL)
    assert found is not None
    return found.group(1)


@pytest.mark.parametrize("name", sorted(known_settings()))
def test_every_setting_is_documented(name: str) -> None:
    assert f"`{name}`" in OPERATIONS


def test_the_job_file_example_is_the_default_job(tmp_path: Path) -> None:
    path = tmp_path / "job.toml"
    path.write_text(_block(JOBS, "toml"))
    read = read_job_file(path)
    default = JobFile(dataset="digits")
    assert read.search == default.search
    assert read.pay == default.pay
    assert read.model.model_dump() == {**default.model.model_dump(), "hidden": [32]}


def test_the_job_file_example_names_every_key() -> None:
    text = re.sub(r"^# (\w+ = )", r"\1", _block(JOBS, "toml"), flags=re.MULTILINE)
    document = tomllib.loads(text)
    assert set(document) == set(JobFile.model_fields)
    for key, table in (("model", Model), ("search", Search), ("pay", Pay)):
        assert set(document[key]) == set(table.model_fields)


def test_the_dataset_example_makes_a_dataset(tmp_path: Path) -> None:
    from potnode.data.catalog import Catalog

    subprocess.run([sys.executable, "-c", _block(JOBS, "python")], cwd=tmp_path, check=True)
    header = Catalog(tmp_path).by_name("mine").header
    assert (header.train_count, header.held_out_count, header.input_size) == (80, 20, 16)


def test_architecture_names_every_part_of_the_package() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text("utf-8")
    parts = [p for p in (ROOT / "potnode").iterdir() if p.name not in ("__pycache__", "py.typed")]
    internal = {"__init__.py", "__main__.py", "clock.py", "errors.py", "logs.py", "signals.py"}
    supporting = {"jobfile.py", "jobs.py", "rows.py", "views.py"}
    for part in parts:
        if part.name not in internal | supporting:
            assert f"potnode/{part.name}" in text, part.name
