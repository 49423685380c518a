from __future__ import annotations

import pytest

from potnode.spec.errors import (
    InvalidCoinbase,
    InvalidDataset,
    InvalidJob,
    InvalidRecord,
    SpecError,
)


@pytest.mark.parametrize(
    "error",
    [
        InvalidCoinbase("a"),
        InvalidDataset("a"),
        InvalidJob("a"),
        InvalidRecord("entries[5].hash", "a"),
    ],
)
def test_one_root_catches_all(error: Exception) -> None:
    with pytest.raises(SpecError):
        raise error


def test_a_record_error_says_where() -> None:
    error = InvalidRecord("entries[5].hash", "misses its target")
    assert (error.field, error.problem) == ("entries[5].hash", "misses its target")
    assert str(error) == "entries[5].hash: misses its target"
