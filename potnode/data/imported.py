"""The initial weights of a manifest that names a file of them, found among the datasets."""

from __future__ import annotations

from potnode.data.catalog import Catalog
from potnode.spec.manifest import Imported, Manifest


def imported_weights(catalog: Catalog, manifest: Manifest) -> bytes | None:
    """The file the manifest names, its hash checked; None where a seed gives the weights.

    Raises:
        UnknownWeights: it is not here. DataError: it can't be read.
    """
    if not isinstance(manifest.initial, Imported):
        return None
    return catalog.weights(manifest.initial.sha256.hex())
