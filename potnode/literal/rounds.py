"""The order of a search: rounds, what is searched in each, and tiles of it for threads.

Responsible for going from any state of a `Search` to its end, so that one that was cut off goes on
and ends as if it had not been. Not for when it is written to disk, or which search is next.
"""

from __future__ import annotations

import os
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Final

import numpy as np
import numpy.typing as npt

from potnode.data.dataset import Dataset
from potnode.literal import kernels
from potnode.literal.expansion import Expansion, digests_of
from potnode.literal.files import Round, Search
from potnode.literal.ledger import Ledger
from potnode.literal.nets import Net
from potnode.literal.request import Request
from potnode.literal.scoring import Scorer, batch_of_round, held_out, starting_weights

_NICE: Final = 10
"""Added to the niceness of searching threads: where training or the pool want a core, they get nine
tenths of it."""

_TILE_PRODUCTS: Final = 1 << 28
"""Multiplications of a tile, at most: some tens of milliseconds, after which a thread looks up."""

_TILE_BYTES: Final = 4 << 20
"""Weights of a tile, at most, unless 16 candidates have more."""

_LEAST: Final = 16  # candidates of a tile: lanes of the widest registers
_MOST: Final = 8192
_AHEAD: Final = 2
"""Tiles a thread has waiting."""

Losses = npt.NDArray[np.float64]


def available_cores() -> int:
    """CPU cores this process may run on."""
    if hasattr(os, "sched_getaffinity"):  # not on macOS
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _step_back() -> None:
    """Leave the core to others, in a thread of its own: on Linux niceness is a thread's."""
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)


class Crew:
    """Threads that search."""

    def __init__(self, threads: int | None = None) -> None:
        """threads: at least 1; one a core by default."""
        self.threads = threads or available_cores()
        self.pool = ThreadPoolExecutor(self.threads, "potnode-literal", initializer=_step_back)

    def close(self) -> None:
        """Wait for the tiles that are computed, and end."""
        self.pool.shutdown(cancel_futures=True)


def next_round(request: Request, net: Net, rounds: list[Round], first: int) -> Round:
    """The round after these. first: the layer of the first one, as its place in the net."""
    low, high = request.nonce_range
    index = first
    if rounds and request.narrow == "layer":
        index = (net.index(rounds[-1].layer) + 1) % len(net.layers)
    elif rounds:
        low, high = rounds[-1].nonce_range
        width = -(-(high - low) // 2)
        middle = rounds[-1].ledger.kept[0].nonce
        low = min(max(low, middle - width // 2), high - width)
        high = low + width
    layer = net.layers[index]
    return Round(
        layer=layer.name,
        nonce_range=(low, high),
        hashes=digests_of(layer.weights),
        ledger=Ledger(request.keep),
    )


class Run:
    """One search on its way to its end, from wherever it is."""

    def __init__(
        self,
        search: Search,
        net: Net,
        dataset: Dataset,
        first: int,
        crew: Crew,
        report: Callable[[Callable[[], None]], bool],
    ) -> None:
        """Args:
        search: it is changed by calls handed to `report`, and by nothing else here.
        first: the layer of the first round, as its place in the net.
        report: makes a change, and says whether to go on.
        """
        self._search, self._net, self._dataset, self._first = search, net, dataset, first
        self._crew, self._report = crew, report
        self._expansion = Expansion(search.request.seed)
        self._weights = starting_weights(net)

    def go(self) -> bool:
        """Search until the end, True, or until `report` says to stop."""
        search = self._search
        for number in range(search.request.rounds):
            if number == len(search.rounds):
                begun = next_round(search.request, self._net, search.rounds, self._first)
                if not self._report(partial(search.rounds.append, begun)):
                    return False
            current = search.rounds[number]
            if current.ledger.evaluated < current.candidates and not self._evaluate(
                current, number
            ):
                return False
            self._fix_best(current)
            if current.held_out_loss is None and not self._judge(current):
                return False
        return True

    def _fix_best(self, current: Round) -> None:
        place = self._net.index(current.layer)
        layer, offsets = self._net.layers[place], self._net.offsets
        best = current.ledger.kept[0].nonce
        found = self._expansion.weights(best, 1, layer.weights, layer.fan_in)
        self._weights[offsets[place] : offsets[place + 1]] = found[0, : layer.weights]

    def _judge(self, current: Round) -> bool:
        judged = held_out(self._net, self._weights, self._dataset)

        def tell() -> None:
            current.held_out_loss = judged.loss
            current.held_out_accuracy = judged.accuracy

        return self._report(tell)

    def _evaluate(self, current: Round, number: int) -> bool:
        """All candidates of a round that are missing; they are told in their order."""
        place = self._net.index(current.layer)
        layer, dataset, size = self._net.layers[place], self._dataset, self._search.request.batch
        batch = batch_of_round(number, dataset.header.train_count, size)
        scorer = Scorer(
            self._net, self._weights, place, dataset.inputs[batch], dataset.targets[batch]
        )

        def tile(first: int, count: int) -> Losses:
            return scorer.losses(self._expansion.weights(first, count, layer.weights, layer.fan_in))

        # Compiling takes seconds: in this thread, which is not one that steps back.
        tile(current.nonce_range[0], 1)
        waiting: deque[tuple[int, Future[Losses]]] = deque()
        tiles = _tiles(current, tile_size(self._net, place, size))
        try:
            for first, count in tiles:
                waiting.append((first, self._crew.pool.submit(tile, first, count)))
                if len(waiting) == _AHEAD * self._crew.threads and not self._take(current, waiting):
                    return False
            while waiting:
                if not self._take(current, waiting):
                    return False
        finally:
            for _, future in waiting:
                future.cancel()
        return True

    def _take(self, current: Round, waiting: deque[tuple[int, Future[Losses]]]) -> bool:
        first, future = waiting.popleft()
        return self._report(partial(current.ledger.add, first, future.result()))


def tile_size(net: Net, place: int, batch: int) -> int:
    """Candidates of a tile: what takes some tens of milliseconds, and a few MiB of weights."""
    layer = net.layers[place]
    # Each weight of a convolution is used for every pixel of four it takes the maximum of.
    uses = layer.outputs * kernels.POOL**2 // layer.filters if layer.side else 1
    products = layer.weights * uses + sum(each.weights for each in net.layers[place + 1 :])
    fits = min(_TILE_PRODUCTS // (products * batch), _TILE_BYTES // (4 * layer.weights))
    return min(max(fits, _LEAST), _MOST)


def _tiles(current: Round, size: int) -> Iterator[tuple[int, int]]:
    """First nonce and number of each tile that is still to be searched."""
    low, high = current.nonce_range
    for first in range(low + current.ledger.evaluated, high, size):
        yield first, min(size, high - first)
