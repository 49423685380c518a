"""The commands on datasets."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path

import pytest

from potnode.data import digits
from potnode.data.dataset import Dataset
from tests.node.harness import Done, potnode


def refused(done: Done) -> str:
    """The one line a command failed with."""
    assert (done.status, done.out) == (1, ""), done
    assert done.err.count("\n") == 1, done.err
    assert done.err.startswith("potnode: ")
    return done.err


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """A small table."""
    path = tmp_path / "table.csv"
    rows = (f"{i},{i * i % 7},{'yes' if i % 2 else 'no'}" for i in range(20))
    path.write_text("a,b,answer\n" + "\n".join(rows) + "\n")
    return path


def test_from_a_table_to_a_dataset_that_is_listed_and_shown(tmp_path: Path, table: Path) -> None:
    env = {"POTNODE_DATASETS": str(tmp_path)}
    words = ("dataset", "freeze", table, "--target", "answer", "--name", "mine", "--train", "15")
    done = potnode(*words, "--attribution", "me", "--json", env=env)
    made = json.loads(done.out)
    path = tmp_path / "mine.potdata"
    dataset = Dataset.load(path)
    assert made["file"] == str(path)
    assert made["root"] == dataset.root.hex()
    assert made["sha256"] == sha256(path.read_bytes()).hexdigest()
    assert made["sources"][0]["sha256"] == sha256(table.read_bytes()).hexdigest()
    assert (made["train_count"], made["held_out_count"]) == (15, 5)
    assert made["targets"] == {"labels": ["no", "yes"]}
    assert json.loads((tmp_path / "mine.json").read_bytes()) == {
        key: value for key, value in made.items() if key != "file"
    }

    listed = json.loads(potnode("dataset", "list", "--json", env=env).out)
    rows = {row["name"]: row for row in listed["items"]}
    assert rows["mine"] == {
        "name": "mine",
        "kind": "classes",
        "train_count": 15,
        "held_out_count": 5,
        "input_size": 2,
        "outputs": 2,
        "root": dataset.root.hex(),
        "origin": str(path),
    }
    assert rows["digits"]["root"] == digits.ROOT.hex()
    lines = potnode("dataset", "list", "--folder", tmp_path).out.splitlines()
    assert f"mine  classes  15 + 5  2 -> 2  {path}" in lines
    assert len(lines) == len(rows)

    shown = json.loads(potnode("dataset", "show", "mine", "--json", env=env).out)
    assert shown["manifest"]["attribution"] == "me"
    assert {**shown, "manifest": 0} == {**rows["mine"], "manifest": 0}
    text = potnode("dataset", "show", "mine", env=env).out
    told = dict(line.split(maxsplit=1) for line in text.splitlines())
    assert told["root"] == dataset.root.hex()
    assert told["attribution"] == "me"
    assert max(map(len, text.splitlines())) < 200


def test_what_freeze_says_to_people(tmp_path: Path, table: Path) -> None:
    done = potnode("dataset", "freeze", table, "--target", "b", "--feature", "a", "--name", "mine",
                   "--kind", "values", "--out", tmp_path)  # fmt: skip
    root = Dataset.load(tmp_path / "mine.potdata").root.hex()
    expected = f"{tmp_path / 'mine.potdata'}: values, 16 + 4 samples, 1 -> 1, root {root}\n"
    assert done == Done(0, expected, "")


def test_one_bad_file_hides_no_other(tmp_path: Path) -> None:
    (tmp_path / "bad.potdata").write_bytes(b"?")
    done = potnode("dataset", "list", "--folder", tmp_path)
    assert done.status == 0
    assert "bad  can't be used: dataset 'bad'" in done.out
    assert "digits  classes" in done.out
    listed = json.loads(potnode("dataset", "list", "--folder", tmp_path, "--json").out)
    assert "POTDATA1" in {r["name"]: r for r in listed["items"]}["bad"]["problem"]
    assert "'bad'" in refused(potnode("dataset", "show", "bad", "--folder", tmp_path))


def test_refusals_are_one_line(tmp_path: Path, table: Path) -> None:
    named = ("--name", "mine", "--out", tmp_path)
    for words, problem in (
        ((table, *named), "name the target column; it has a, b, answer"),
        ((table, "--target", "c", *named), "no column 'c'"),
        ((table, "--target", "a", *named), "'answer' holds string, not numbers"),
        ((table, "--target", "answer", "--scale", "log", *named), "not 'log'"),
        ((table, "--target", "answer", "--name", "mine"), "--out or in POTNODE_DATASETS"),
        ((table, "--target", "answer", "--name", "digits", "--out", tmp_path), "built-in"),
        ((table, "--target", "answer", "--name", "My Set", "--out", tmp_path), "'My Set'"),
        ((tmp_path / "no.csv", *named), "No such file"),
        ((tmp_path / "no.xlsx", *named), "what is it"),
        (("sklearn:flowers", *named), "no set 'flowers'"),
    ):
        assert problem in refused(potnode("dataset", "freeze", *words))
    assert sorted(tmp_path.iterdir()) == [table]
    shown = potnode("dataset", "show", "digit", "--folder", tmp_path)
    assert "did you mean 'digits'?" in refused(shown)
