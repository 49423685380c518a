"""docs/training.md: its files make jobs, its commands work, its models are read back."""

from __future__ import annotations

import json
import re
import shlex
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from potnode.data.catalog import Catalog
from potnode.data.dataset import Dataset
from potnode.data.digits import digits
from potnode.data.freeze import freeze
from potnode.engine import state as states
from potnode.engine.export import Model, encode_model
from potnode.jobfile import read_job_file
from potnode.presets import PRESETS
from potnode.search import Search
from potnode.spec.manifest import Manifest, check_manifest
from tests.node.harness import potnode

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "training.md").read_text("utf-8")
TOML = re.findall(r"```toml\n(.*?)```", TEXT, re.DOTALL)
PYTHON = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
COMMANDS = [
    line
    for block in re.findall(r"```console\n(.*?)```", TEXT, re.DOTALL)
    for line in block.splitlines()
]
FLOWERS, PRESET, GREEDY, HEAD = TOML


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the files that a reader of the document has by then."""
    rng = np.random.default_rng(0)
    rows = [f"{a:.2f},{b:.2f},{c:.2f},{d:.2f},{'xyz'[i % 3]}" for i, (a, b, c, d) in enumerate(
        rng.normal(size=(150, 4))
    )]  # fmt: skip
    (tmp_path / "flowers.csv").write_text("\n".join(["a,b,c,d,species", *rows]) + "\n")
    (tmp_path / "flowers.toml").write_text(FLOWERS)
    (tmp_path / "head.toml").write_text(HEAD)
    (tmp_path / "net.py").write_text(PYTHON[0])
    (tmp_path / "datasets").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "net", raising=False)
    return tmp_path


def ran(workplace: Path, start: str, *options: str) -> str:
    """What the document's command that starts so prints."""
    [command] = [line for line in COMMANDS if line.startswith(start)]
    env = {"POTNODE_DATASETS": str(workplace / "datasets")}
    done = potnode(*shlex.split(command)[1:], *options, env=env)
    assert done.status == 0, done.err
    return done.out


def test_the_job_of_a_table(workplace: Path) -> None:
    ran(workplace, "potnode dataset freeze")
    assert Catalog(workplace / "datasets").by_name("flowers").header.outputs == 3
    assert len(ran(workplace, "potnode job create flowers.toml").strip()) == 64


def test_the_job_of_a_torch_model(workplace: Path) -> None:
    made = json.loads(ran(workplace, "potnode job create --from-torch", "--json"))
    assert Path(made["weights"]).parent == workplace / "datasets"
    # Five of ten digits are known, and nothing is lost by integers.
    assert 0.4 < made["float_accuracy"] < 0.6
    assert made["accuracy"] == pytest.approx(made["float_accuracy"], abs=0.03)


def test_the_exported_model_in_torch(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ran(workplace, "potnode dataset freeze")
    dataset = Catalog(workplace / "datasets").by_name("flowers")
    manifest = read_job_file(workplace / "flowers.toml").manifest(dataset, bytes(32))
    model = Model(bytes(32), 0, manifest, states.initial(manifest))
    (workplace / "flowers.safetensors").write_bytes(encode_model(model))
    exec(compile(PYTHON[1], "training.md", "exec"), {"torch": torch})  # noqa: S102
    integers, odds = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"tensor\(\[\[ *-?\d+, +-?\d+, +-?\d+\]\]\)", integers)
    assert odds.startswith("tensor([[0.")


def test_the_other_files_are_jobs(tmp_path: Path) -> None:
    def manifest(text: str, dataset: Dataset) -> Manifest:
        path = tmp_path / "job.toml"
        path.write_text(text)
        made = read_job_file(path).manifest(dataset, bytes(32))
        check_manifest(made)
        return made

    rng = np.random.default_rng(0)
    images, labels = rng.integers(0, 128, (20, 784)), rng.integers(0, 10, 20)
    mnist = Dataset.from_bytes("mnist", freeze(images, labels, train_count=10, classes=10))
    assert manifest(PRESET, mnist).dataset == "mnist-t10k"
    assert manifest(GREEDY, digits()).perturbation == (2, 0)


def test_every_preset_stands_in_the_table() -> None:
    table = TEXT.split("## Which model")[1].split("A preset is")[0]
    assert set(re.findall(r"^\| `([\w-]+)`", table, re.MULTILINE)) == set(PRESETS)


@pytest.mark.parametrize(
    "name", re.findall(r"^\| `(\w+)` \|", TEXT.split("## Which search")[1], re.MULTILINE)
)
def test_settings_spoken_of_are_keys(name: str) -> None:
    from potnode.jobfile import Search
    from potnode.jobmodel import Model as ModelTable

    assert name in {*Search.model_fields, *ModelTable.model_fields}


@pytest.mark.parametrize("program", PYTHON[2:])
def test_a_search_without_a_node_runs_as_printed(
    program: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    exec(compile(program, "training.md", "exec"), names)  # noqa: S102
    search = names["search"]
    assert isinstance(search, Search)
    assert search.steps_left == 0
