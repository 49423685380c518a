"""What can be wrong with datasets; every exception of `potnode.data` descends from `DataError`.

DataError
├── BadDataset      the file breaks a rule of the format (also the specification's InvalidDataset)
├── WrongRoot       the file is sound, but not the one that was asked for
├── UnknownDataset  no file here has this name or root
├── MissingPart     pairs of feedback that a job uses are not here
├── UnknownWeights  no file of initial weights here has this hash
├── BadSource       a source is not what its reader reads: damaged, of another format, not numbers
├── MissingPackage  a source needs a package that isn't installed
└── CannotFreeze    arrays that no dataset file can hold, or a wish that doesn't fit them
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


class MissingPart(DataError):
    """Pairs of feedback that a job uses are not here: a part's file must be fetched."""


class UnknownWeights(DataError):
    """No file of initial weights with this SHA-256 is known to the node."""


class BadSource(DataError):
    """A file that was to become a dataset is damaged, of another format, or holds no numbers."""


class MissingPackage(DataError):
    """A source needs an optional package that isn't installed."""


class CannotFreeze(DataError):
    """Arrays don't fit the dataset format: shape, type or range."""
