"""Documents for users: every setting and key is there, and every example works."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import get_args

import pytest

from potnode.config import known_settings
from potnode.data.digits import digits
from potnode.jobfile import JobFile, Pay, Search, Task, read_job_file
from potnode.jobmodel import LAYER_TABLES, Model
from potnode.spec.manifest import check_manifest
from potnode.spec.manifest_json import LAYER_TYPES

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
    for key, table in (("model", Model), ("task", Task), ("search", Search), ("pay", Pay)):
        # Layers have a table of their own.
        assert set(document[key]) == set(table.model_fields) - {"layers"}


def test_the_table_of_layers_names_every_type_and_key() -> None:
    rows = {}
    for line in JOBS.split("## Layers")[1].split("\n- ")[0].splitlines():
        cells = line.split("|")
        for name in re.findall(r"`(\w+)`", cells[1]) if len(cells) > 3 else ():
            rows[name] = set(re.findall(r"`(\w+)`", cells[2]))
    assert set(rows) == set(LAYER_TYPES)
    for table in LAYER_TABLES:
        keys = {f.alias or name for name, f in table.model_fields.items()} - {"type", "name"}
        for name in get_args(table.model_fields["type"].annotation):
            assert rows[name] == keys, name


def test_the_example_of_layers_is_a_job(tmp_path: Path) -> None:
    path = tmp_path / "job.toml"
    path.write_text(re.findall(r"```toml\n(.*?)```", JOBS, re.DOTALL)[1])
    manifest = read_job_file(path).manifest(digits(), bytes(32))
    check_manifest(manifest)
    assert manifest.train == (2, 3, 4, 5, 6, 7)


def test_architecture_names_every_part_of_the_package() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text("utf-8")
    parts = [p for p in (ROOT / "potnode").iterdir() if p.name not in ("__pycache__", "py.typed")]
    internal = {"__init__.py", "__main__.py", "clock.py", "errors.py", "logs.py", "signals.py"}
    supporting = {"jobfile.py", "jobmodel.py", "jobs.py", "rows.py", "views.py"}
    for part in parts:
        if part.name not in internal | supporting:
            assert f"potnode/{part.name}" in text, part.name
