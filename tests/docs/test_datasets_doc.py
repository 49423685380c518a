"""docs/datasets.md: every command works on such files as it speaks of, and rules are the code's."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import csv, parquet

from potnode.data import digits
from potnode.data.catalog import Catalog
from potnode.data.readers.bundled import read_bundled
from potnode.data.readers.request import FORMATS
from potnode.data.scaling import INPUT_RULES, TARGET_RULES
from potnode.data.wellknown import in_scikit_learn
from potnode.spec.dataset import KINDS
from tests.data.readers.idx_files import encode
from tests.node.harness import potnode

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "datasets.md").read_text("utf-8")
FLAT = " ".join(TEXT.split())
COMMANDS = [
    line
    for block in re.findall(r"```console\n(.*?)```", TEXT, re.DOTALL)
    for line in block.splitlines()
]


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the files the document's commands name."""
    rng = np.random.default_rng(0)
    for name, count in (("train", 30), ("test", 10)):
        images = rng.integers(0, 256, (count, 4, 4)).astype(np.uint8)
        (tmp_path / f"{name}-images.idx").write_bytes(encode(images))
        labels = np.arange(count, dtype=np.uint8) % 3
        (tmp_path / f"{name}-labels.idx").write_bytes(encode(labels))
    numbers = rng.normal(size=(50, 3))
    np.savez(tmp_path / "arrays.npz", x=numbers, y=np.arange(50) % 4)
    np.savez(tmp_path / "sensors.npz", readings=numbers, load=numbers.sum(axis=1))
    np.savez(tmp_path / "answers.npz", preferred=numbers, other=numbers - 1)
    flowers = pa.table({"width": numbers[:, 0], "species": [f"kind {i % 3}" for i in range(50)]})
    csv.write_csv(flowers, tmp_path / "flowers.csv")
    houses = {"rooms": np.arange(50) % 5, "area": numbers[:, 0]}
    houses |= {"price": np.arange(50) * 1000, "tax": numbers[:, 1]}
    parquet.write_table(pa.table(houses), tmp_path / "houses.parquet")
    (tmp_path / "novel.txt").write_bytes(bytes(rng.integers(97, 123, 5000).astype(np.uint8)))
    (tmp_path / "notes.md").write_bytes(bytes(rng.integers(97, 123, 5000).astype(np.uint8)))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_every_command_works(workplace: Path) -> None:
    folder = workplace / "datasets"
    folder.mkdir()
    names = []
    for command in COMMANDS:
        words = shlex.split(command)
        done = potnode(*words[1:], env={"POTNODE_DATASETS": str(folder)})
        assert done.status == 0, (command, done.err)
        if words[2] == "freeze":
            names.append(words[words.index("--name") + 1])
    catalog = Catalog(folder)
    made = [catalog.by_name(name) for name in names]
    assert {dataset.header.kind for dataset in made} == set(KINDS)
    readers: list[object] = [catalog.entry(name).manifest["reader"] for name in names]
    assert {reader["format"] for reader in readers if isinstance(reader, dict)} == {
        *FORMATS,
        "sklearn",
    }
    assert catalog.by_name("my-digits").root == digits.ROOT
    split = catalog.by_name("shapes-split").header
    assert (split.train_count, split.held_out_count) == (30, 10)


def test_the_example_of_arrays_makes_a_dataset(tmp_path: Path) -> None:
    found = re.search(r"```python\n(.*?)```", TEXT, re.DOTALL)
    assert found is not None
    subprocess.run([sys.executable, "-c", found.group(1)], cwd=tmp_path, check=True)
    header = Catalog(tmp_path).by_name("mine").header
    assert (header.train_count, header.held_out_count, header.input_size) == (80, 20, 16)


@pytest.mark.parametrize("name", [*INPUT_RULES, *TARGET_RULES])
def test_rules_of_scaling_stand_in_the_text(name: str) -> None:
    rules = [rules[name] for rules in (INPUT_RULES, TARGET_RULES) if name in rules]
    for rule in rules:
        assert rule in FLAT
    assert f"`{name}`" in TEXT


@pytest.mark.parametrize("name", ["digits", *in_scikit_learn(), "mnist-t10k", "mnist"])
def test_ready_names_stand_in_the_table(name: str) -> None:
    table = TEXT.split("## Ready by name")[1].split("## ")[0]
    assert f"`{name}`" in table


@pytest.mark.parametrize("name", re.findall(r"`sklearn:(\w+)`", TEXT))
def test_sets_of_scikit_learn_are_there(name: str) -> None:
    assert len(read_bundled(name).inputs) > 100
