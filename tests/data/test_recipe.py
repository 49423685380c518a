"""From arrays to a frozen dataset with its manifest."""

from __future__ import annotations

import json
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from potnode.data import digits
from potnode.data.dataset import Dataset
from potnode.data.errors import CannotFreeze, DataError
from potnode.data.freeze import shuffled_order
from potnode.data.readers.bundled import read_bundled
from potnode.data.recipe import Recipe, encode, prepare, write
from potnode.data.source import Arrays, Origin
from potnode.spec.dataset import dataset_root

IMAGES = Arrays(
    inputs=np.arange(60, dtype=np.uint8).reshape(10, 2, 3),
    targets=np.array([0, 1, 2, 0, 1, 2, 0, 1, 2, 1]),
    origins=(Origin("made-up", "ab" * 32, 7),),
    reader={"format": "made-up"},
    maximum=255,
)
FLOATS = replace(IMAGES, targets=np.arange(10) / 4)
PLAIN = Recipe(scale="none")


def test_classes_with_their_manifest() -> None:
    frozen = prepare("mine", IMAGES, Recipe(scale="pixels", attribution="nobody"))
    order = shuffled_order(10)
    assert (
        frozen.dataset.inputs.tolist()
        == (IMAGES.inputs.reshape(10, 6)[order].astype(int) * 127 // 255).tolist()
    )
    assert frozen.dataset.targets.tolist() == [[0, 1, 2, 0, 1, 2, 0, 1, 2, 1][i] for i in order]
    assert frozen.document == {
        "potnode_dataset": 1,
        "name": "mine",
        "kind": "classes",
        "root": dataset_root(frozen.data).hex(),
        "sha256": sha256(frozen.data).hexdigest(),
        "train_count": 8,
        "held_out_count": 2,
        "input_size": 6,
        "outputs": 3,
        "shape": [2, 3],
        "sources": [{"name": "made-up", "sha256": "ab" * 32, "size": 7}],
        "reader": {"format": "made-up"},
        "inputs": {
            "scale": "pixels",
            "rule": "x * 127 div maximum: 0..maximum becomes 0..127",
            "maximum": 255,
        },
        "split": {
            "rule": "the first of numpy.random.RandomState(0).permutation(count) train",
            "count": 10,
        },
        "attribution": "nobody",
    }


def test_the_built_in_digits_are_one_recipe_away() -> None:
    recipe = Recipe(scale="centred", train_count=digits.TRAIN_COUNT)
    assert prepare("mine", read_bundled("digits"), recipe).dataset.root == digits.ROOT


def test_statistics_are_of_the_training_part_alone() -> None:
    values = np.arange(10.0).reshape(10, 1)
    order = shuffled_order(10)
    for held_out in (0.0, 1e6):
        values[order[8:]] = held_out
        frozen = prepare("mine", replace(IMAGES, inputs=values), Recipe())
        inputs: Any = frozen.document["inputs"]
        assert inputs["mean"] == [values[order[:8]].mean()]


def test_a_source_that_says_which_train_keeps_its_order() -> None:
    frozen = prepare("mine", replace(IMAGES, train_count=3), PLAIN)
    assert frozen.dataset.inputs.tolist() == IMAGES.inputs.reshape(10, 6).tolist()
    assert frozen.dataset.header.train_count == 3
    assert frozen.document["split"] == {"rule": "as the source has it"}


def test_classes_named_by_text_are_numbered_in_alphabetical_order() -> None:
    names = np.array(["pear", "fig", "pear", "apple"])
    arrays = replace(IMAGES, inputs=IMAGES.inputs[:4], targets=names)
    frozen = prepare("mine", arrays, Recipe(train_count=4))
    assert frozen.document["targets"] == {"labels": ["apple", "fig", "pear"]}
    assert frozen.dataset.targets.tolist() == [[2, 1, 2, 0][i] for i in shuffled_order(4)]


def test_values() -> None:
    frozen = prepare("mine", FLOATS, Recipe(scale="none", train_count=10))
    assert (frozen.dataset.header.kind, frozen.dataset.header.outputs) == ("values", 1)
    targets: Any = frozen.document["targets"]
    assert targets["mean"] == [1.125]
    scores = 1024 * (FLOATS.targets[shuffled_order(10)] - 1.125) / targets["deviation"][0]  # type: ignore[index]
    assert frozen.dataset.targets[:, 0].tolist() == np.rint(scores).tolist()


def test_whole_numbers_can_be_values_too() -> None:
    frozen = prepare("mine", IMAGES, Recipe("values", scale="none", target_scale="none"))
    assert frozen.dataset.targets[:, 0].tolist() == IMAGES.targets[shuffled_order(10)].tolist()  # type: ignore[index]
    several = replace(IMAGES, targets=np.arange(20).reshape(10, 2))
    assert prepare("mine", several, Recipe(scale="none")).dataset.header.outputs == 2


def test_pairs_are_scaled_alike() -> None:
    arrays = replace(IMAGES, targets=None, other=IMAGES.inputs + np.uint8(60))
    frozen = prepare("mine", arrays, Recipe(train_count=10))
    scale: Any = frozen.document["inputs"]
    both = np.concatenate([IMAGES.inputs, IMAGES.inputs + 60]).reshape(20, 6)
    np.testing.assert_allclose(scale["mean"], both.mean(axis=0))
    assert (frozen.dataset.header.kind, frozen.dataset.header.input_size) == ("pairs", 6)
    assert (frozen.dataset.inputs[:, :6] < frozen.dataset.inputs[:, 6:]).all()


def test_bytes() -> None:
    windows = replace(
        IMAGES, inputs=np.arange(12, dtype=np.uint8).reshape(4, 3), targets=None, train_count=3
    )
    frozen = prepare("mine", windows, Recipe())
    assert (frozen.dataset.header.kind, frozen.dataset.header.outputs) == ("bytes", 256)
    assert frozen.dataset.inputs.tolist() == windows.inputs.tolist()


@pytest.mark.parametrize(
    ("arrays", "recipe", "problem"),
    [
        (IMAGES, Recipe("bytes"), "kind classes or values, not bytes"),
        (IMAGES, Recipe(train_count=0), "0 of 10"),
        (IMAGES, Recipe(train_count=11), "11 of 10"),
        (IMAGES, Recipe(classes=2), r"sample 2 of the source has the class 2, .* 0 to 1"),
        (IMAGES, Recipe(target_scale="none"), "no target values"),
        (IMAGES, Recipe(scale="log"), "not 'log'"),
        (replace(IMAGES, train_count=3), Recipe(train_count=4), "says that 3 samples train, not 4"),
        (replace(IMAGES, targets=-np.ones(10, int)), Recipe(), "sample 0 .* class -1"),
        (replace(IMAGES, targets=np.zeros(10, int)), Recipe(), "2..65535 classes, not 1"),
        (replace(IMAGES, targets=np.full(10, 65_535)), Recipe(), "classes, not 65536"),
        (replace(IMAGES, targets=np.full(10, 2**64 - 1, np.uint64)), Recipe(), "class -1"),
        (replace(IMAGES, targets=np.array(["a"] * 10)), Recipe("values"), "text"),
        (replace(IMAGES, targets=np.zeros((10, 2))), Recipe("classes"), "one number a sample"),
        (FLOATS, Recipe("classes"), "whole numbers"),
        (FLOATS, Recipe(classes=3), "no classes to count"),
        (replace(FLOATS, targets=np.full(10, 1e300)), Recipe("classes"), "whole numbers"),
        (replace(IMAGES, inputs=np.zeros((0, 2))), Recipe(), "nothing in it"),
        (replace(IMAGES, inputs=np.zeros((10, 0))), Recipe(), "nothing in it"),
        (
            replace(IMAGES, targets=None, train_count=1),
            Recipe("classes"),
            "kind bytes, not classes",
        ),
        (replace(IMAGES, targets=None, train_count=1), Recipe(scale="none"), "not scaled"),
    ],
)
def test_wishes_that_do_not_fit(arrays: Arrays, recipe: Recipe, problem: str) -> None:
    with pytest.raises(CannotFreeze, match=problem):
        prepare("mine", arrays, recipe)


@pytest.mark.parametrize("name", ["", "Mine", "-mine", "mi ne", "../mine", "m" * 65])
def test_names_that_no_job_can_say(name: str) -> None:
    with pytest.raises(CannotFreeze, match="name is 1 to 64"):
        prepare(name, IMAGES, Recipe())


def test_both_files_are_written_whole(tmp_path: Path) -> None:
    frozen = prepare("mine", IMAGES, PLAIN)
    path = write(frozen, tmp_path)
    assert path == tmp_path / "mine.potdata"
    assert Dataset.load(path).root == frozen.dataset.root
    text = (tmp_path / "mine.json").read_text()
    assert json.loads(text) == frozen.document
    assert text.count("\n") == len(frozen.document) + 2
    assert write(frozen, tmp_path) == path, "the same again is no conflict"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["mine.json", "mine.potdata"]


def test_another_dataset_is_not_overwritten(tmp_path: Path) -> None:
    path = write(prepare("mine", IMAGES, PLAIN), tmp_path)
    before = path.read_bytes()
    with pytest.raises(CannotFreeze, match="is another dataset"):
        write(prepare("mine", IMAGES, Recipe(train_count=5)), tmp_path)
    assert path.read_bytes() == before


def test_a_folder_that_cannot_be_written_to(tmp_path: Path) -> None:
    frozen = prepare("mine", IMAGES, PLAIN)
    with pytest.raises(DataError, match=r"can't write to .*No such file"):
        write(frozen, tmp_path / "missing")
    (tmp_path / "mine.json").mkdir()
    with pytest.raises(DataError, match=r"can't write to .*Is a directory"):
        write(frozen, tmp_path)
    assert not list(tmp_path.glob(".*")), "nothing half-written is left"


def test_floats_of_a_manifest_come_back_exactly() -> None:
    frozen = prepare("mine", FLOATS, Recipe())
    assert json.loads(encode(frozen.document)) == frozen.document
