"""Sets that scikit-learn brings."""

from __future__ import annotations

import sys

import pytest

from potnode.data.errors import BadSource, MissingPackage
from potnode.data.readers.bundled import installed, read_bundled


@pytest.mark.parametrize(
    ("name", "shape", "kind", "maximum"),
    [
        ("iris", (150, 4), "i", None),
        ("wine", (178, 13), "i", None),
        ("breast_cancer", (569, 30), "i", None),
        ("digits", (1797, 64), "i", 16),
        ("diabetes", (442, 10), "f", None),
    ],
)
def test_each_set(name: str, shape: tuple[int, int], kind: str, maximum: int | None) -> None:
    found = read_bundled(name)
    assert found.inputs.shape == shape
    assert found.targets is not None
    assert found.targets.shape == shape[:1]
    assert found.targets.dtype.kind == kind
    assert found.maximum == maximum
    assert found.origins[0].name == f"sklearn:{name}"


def test_diabetes_is_not_scaled_by_scikit_learn() -> None:
    assert read_bundled("diabetes").inputs[0, 0] == 59.0


def test_an_unknown_set() -> None:
    with pytest.raises(BadSource, match=r"no set 'irises'.*iris, wine"):
        read_bundled("irises")


def test_without_the_package_the_message_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "sklearn", None)  # how Python says that it isn't there
    assert not installed()
    with pytest.raises(MissingPackage, match=r"pip install potnode\[sklearn\]"):
        read_bundled("iris")
