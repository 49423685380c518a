"""What can be wrong with datasets; every exception of `potnode.data` descends from `DataError`.

DataError
├── BadDataset      the file breaks a rule of the format (also the specification's InvalidDataset)
├── WrongRoot       the file is sound, but not the one that was asked for
├── UnknownDataset  no file here has this name or root
└── CannotFreeze    arrays that no dataset file can hold
"""

from __future__ import annotations

from potnode.spec.errors import InvalidDataset


class DataError(Exception):
    """A dataset can't be used. The message says which, why, and what to do."""


class BadDataset(DataError, InvalidDataset):
    """A dataset file is malformed, has an input of -128, or a target that is no class."""


class WrongRoot(DataError, InvalidDataset):
    """A dataset file has another root than the job names."""


class UnknownDataset(DataError):
    """No dataset of this name or root is known to the node."""


class CannotFreeze(DataError):
    """Arrays don't fit the dataset format: shape, type or range."""
