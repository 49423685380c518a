"""`potnode job create --from-torch`: finding the model, keeping its weights, refusing others."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import nn

from potnode.data.catalog import Catalog
from potnode.data.digits import digits
from potnode.data.imported import imported_weights
from potnode.errors import JobFileError
from potnode.fromtorch import draft_from_torch, find_model
from potnode.jobfile import JobFile, job_file
from potnode.spec.manifest_json import decode_manifest
from tests.node.harness import potnode

OWNER = bytes(range(20))
NETS = """
from torch import nn

def model():
    return nn.Sequential(nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, 10))

def sigmoid():
    return nn.Sequential(nn.Linear(64, 8), nn.Sigmoid(), nn.Linear(8, 10))

def number():
    return 3

attribute = 3

def broken():
    raise ValueError("no weights here")
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a module of models and a folder of datasets."""
    (tmp_path / "nets_of_a_test.py").write_text(NETS)
    (tmp_path / "broken_net_of_a_test.py").write_text("def model(:")
    (tmp_path / "datasets").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_model_of_this_folder_is_found(here: Path) -> None:
    model = find_model("nets_of_a_test:model")
    assert isinstance(model, nn.Sequential)
    assert len(model) == 3


@pytest.mark.parametrize(
    ("where", "problem"),
    [
        ("nets_of_a_test", "takes module:function, not 'nets_of_a_test'"),
        ("nets_of_a_test:", "takes module:function"),
        ("no_such_module:model", "can't import no_such_module: No module named"),
        ("nets_of_a_test:modle", "has no function 'modle'; did you mean model"),
        ("nets_of_a_test:attribute", "has no function 'attribute'"),
        ("nets_of_a_test:number", "gives a int, not a model"),
        ("nets_of_a_test:broken", r"broken: ValueError: no weights here \(.*py, line \d+\)"),
        ("broken_net_of_a_test:model", "broken_net_of_a_test: SyntaxError: "),
    ],
)
def test_what_is_no_model_is_named(here: Path, where: str, problem: str) -> None:
    with pytest.raises(JobFileError, match=problem):
        find_model(where)


def test_the_command_creates_a_job_whose_weights_are_found(here: Path) -> None:
    env = {"POTNODE_DATASETS": str(here / "datasets")}
    create = ("job", "create", "--from-torch", "nets_of_a_test:model", "--data-dir", here / "node")
    done = potnode(*create, "--json", env=env)
    assert done.status == 0, done.err
    made = json.loads(done.out)
    assert 0 <= made["accuracy"] <= 1
    assert made["weights"].endswith(".potweights")
    told = potnode(*create, env=env)
    assert "as floats" in told.err
    shown = potnode("job", "show", made["job"], "--data-dir", here / "node", "--json", env=env)
    assert json.loads(shown.out)["model"] == "64-8-10"


def test_the_command_says_what_is_wrong(here: Path) -> None:
    env = {"POTNODE_DATASETS": str(here / "datasets")}
    neither = potnode("job", "create", "--data-dir", here / "node", env=env)
    assert (neither.status, neither.out) == (1, "")
    assert "name a job file" in neither.err
    where = ("--from-torch", "nets_of_a_test:sigmoid", "--data-dir", here / "node")
    refused = potnode("job", "create", *where, env=env)
    assert refused.status == 1
    assert refused.err.startswith("potnode: module 1 (Sigmoid) is none that a job can have")
    assert refused.err.count("\n") == 1


def test_weights_are_kept_among_the_datasets(here: Path) -> None:
    torch.manual_seed(0)
    model = find_model("nets_of_a_test:model")
    file = JobFile(dataset="digits")
    made = draft_from_torch(model, file, digits(), owner=OWNER, operator=OWNER)
    manifest = decode_manifest(made.draft.manifest)
    made.save(here / "datasets")
    assert imported_weights(Catalog(here / "datasets"), manifest) == made.weights
    assert imported_weights(Catalog(), file.manifest(digits(), bytes(32))) is None
    with pytest.raises(JobFileError, match=r"set datasets\.path to a folder"):
        made.save(None)
    with pytest.raises(JobFileError, match="can't write"):
        made.save(here / "missing")


@pytest.mark.parametrize(
    ("tables", "problem"),
    [
        ({"model": {"hidden": [3]}}, r"model\.hidden: the model comes from torch"),
        ({"model": {"weights": "int4"}}, r"model\.weights: the model comes from torch"),
        ({"preset": "digits-mlp"}, r"the model comes from torch"),
        ({"model": {"train": ["haed"]}}, r"model\.train: there is no layer 'haed'"),
        ({"model": {"train": ["1"]}}, r"model\.train: there is no layer '1'"),
        ({"model": {"input": [1, 8, 9]}}, r"model\.input"),
    ],
)
def test_files_that_contradict_the_model_are_refused(
    tables: dict[str, object], problem: str
) -> None:
    model = nn.Sequential(nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, 10))
    file = job_file({"dataset": "digits", **tables}, "test")
    with pytest.raises(JobFileError, match=problem):
        draft_from_torch(model, file, digits(), owner=OWNER, operator=OWNER)
