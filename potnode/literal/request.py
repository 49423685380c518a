"""What can be asked of a literal search, and within which limits."""

from __future__ import annotations

from typing import Annotated, Final, Literal

import msgspec

from potnode.data.catalog import Catalog
from potnode.data.dataset import Dataset
from potnode.data.errors import DataError
from potnode.literal.errors import BadSearch
from potnode.literal.expansion import seed_bytes
from potnode.literal.nets import Net, build

MAX_NONCE: Final = 2**64 - 1
MAX_CANDIDATES: Final = 100_000_000
"""Nonces of a range: at some 50,000 a second, half an hour."""

MAX_ROUNDS: Final = 16
MAX_KEEP: Final = 100
MAX_BATCH: Final = 4096
MAX_WEIGHTS: Final = 1 << 20
"""Of a layer: threads hold 16 candidates each."""

MAX_VALUES: Final = 1 << 24
"""Of a batch before or behind a layer, which are held for a round."""

Narrow = Literal["layer", "range"]


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """A search.

    seed: 1 to 43 bytes of UTF-8. nonce_range: (lo, hi), half-open: lo <= nonce < hi. net: `conv` or
    `mlp`. layer: searched first; None is the one called like the seed, else the net's first.
    dataset: its name. rounds: how many. narrow: what the next round does: search the next layer, or
    half the range around the best. keep: candidates kept of a round. batch: samples of a round.
    Limits that stand at a field are kept to when a request is read from a file, too: counting the
    candidates of 2^60 rounds would never end.
    """

    seed: str
    nonce_range: tuple[int, int]
    net: str = "conv"
    layer: str | None = None
    dataset: str = "digits"
    rounds: Annotated[int, msgspec.Meta(ge=1, le=MAX_ROUNDS)] = 2
    narrow: Narrow = "layer"
    keep: Annotated[int, msgspec.Meta(ge=1, le=MAX_KEEP)] = 10
    batch: Annotated[int, msgspec.Meta(ge=1, le=MAX_BATCH)] = 256


def candidates(request: Request) -> int:
    """How many are scored in all rounds together."""
    low, high = request.nonce_range
    total, width = 0, high - low
    for _ in range(request.rounds):
        total += width
        if request.narrow == "range":
            width = -(-width // 2)
    return total


def check(request: Request, catalog: Catalog) -> tuple[Net, Dataset, int]:
    """The net, the dataset and the first layer of a request that can be searched.

    Raises:
        BadSearch: what can't be searched, and why.
    """
    seed_bytes(request.seed)
    low, high = request.nonce_range
    if low < 0 or high > MAX_NONCE:
        raise BadSearch("nonce_range", "nonces are 0 to 2^64 - 1")
    if low >= high:
        raise BadSearch("nonce_range", f"is half-open: {low} must be below {high}")
    if high - low > MAX_CANDIDATES:
        raise BadSearch(
            "nonce_range", f"has {high - low} nonces: search at most {MAX_CANDIDATES} at a time"
        )
    for name, value, most in (
        ("rounds", request.rounds, MAX_ROUNDS),
        ("keep", request.keep, MAX_KEEP),
        ("batch", request.batch, MAX_BATCH),
    ):
        if not 1 <= value <= most:
            raise BadSearch(name, f"must be 1 to {most}, not {value}")
    try:
        dataset = catalog.by_name(request.dataset)
    except DataError as error:
        raise BadSearch("dataset", str(error)) from error
    header = dataset.header
    if header.kind != "classes":
        raise BadSearch("dataset", f"{request.dataset!r} has {header.kind}; classes are needed")
    if not header.held_out_count:
        raise BadSearch("dataset", f"{request.dataset!r} has no held-out samples")
    net = build(request.net, header.input_size, header.outputs)
    weights = max(layer.weights for layer in net.layers)
    if weights > MAX_WEIGHTS:
        raise BadSearch(
            "net", f"on this dataset a layer has {weights} weights, at most {MAX_WEIGHTS} are taken"
        )
    widest = max(header.input_size, net.widest)
    if widest * request.batch > MAX_VALUES:
        raise BadSearch(
            "batch", f"{widest} values a sample leave room for {MAX_VALUES // widest} samples"
        )
    if request.layer is not None:
        return net, dataset, net.index(request.layer)
    names = [layer.name for layer in net.layers]
    return net, dataset, names.index(request.seed) if request.seed in names else 0
