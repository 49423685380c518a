"""How fast seeds become weights, and hashes become draws.

100 million float32 weights from one seed, the article's example, are 12.5 million hashes. They are
computed in tiles that each thread throws away, so memory is that of a few tiles whatever the
number; a smaller number is measured by default, and the time for all of them follows from the rate.
Beside it, in turns and by the same clock: a Python loop over hashlib, and OpenSSL's measurement.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any, Final

from potnode.data.digits import digits
from potnode.engine.draw import DrawLayout
from potnode.jobfile import preset_job
from potnode.literal.expansion import WEIGHTS, Expansion, digests_of
from potnode.literal.rounds import available_cores

EXAMPLE_WEIGHTS: Final = 100_000_000
DEFAULT_WEIGHTS: Final = 16_000_000
_SEED, _NONCE, _FAN_IN = "conv1_layer", 0, 1
_TILE = 1 << 14  # digests: 512 KiB of weights
_TURNS = 3
_LOOP_HASHES = 200_000
_DRAWS = 256
_OPENSSL_SIZE = 64  # bytes of a message, two blocks with its padding


@dataclass(frozen=True, slots=True)
class DrawFigures:
    """The best of three turns each.

    weights: expanded in a turn. hashes_per_s, weights_per_s: of all threads; one_thread: hashes/s
    of one. hashlib_per_s, openssl_per_s: hashes/s of one thread; OpenSSL's messages have 64 bytes,
    and None is where there is no openssl. ratio_*: of all threads to those. draws_per_s:
    perturbations of the digits job that the engine expands.
    """

    weights: int
    threads: int
    hashes_per_s: float
    weights_per_s: float
    seconds_for_100m_weights: float
    one_thread_hashes_per_s: float
    hashlib_per_s: float
    ratio_to_hashlib: float
    openssl_per_s: float | None
    ratio_to_openssl: float | None
    draws_per_s: float

    def document(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def measure_draw(weights: int = DEFAULT_WEIGHTS, threads: int | None = None) -> DrawFigures:
    """Measure.

    Args:
        weights: of one candidate, at least 1. threads: one a core by default.
    """
    threads = threads or available_cores()
    code = Expansion(_SEED)
    layout = DrawLayout(preset_job("digits-mlp").manifest(digits(), bytes(32)))
    keys = [hashlib.sha256(number.to_bytes(4, "big")).digest() for number in range(_DRAWS)]
    digests = digests_of(weights)
    few = min(digests, _LOOP_HASHES)
    best = {"all": 0.0, "one": 0.0, "hashlib": 0.0, "draws": 0.0}
    openssl: float | None = None
    _expand(code, min(digests, _TILE), 1)  # pages and caches
    for _ in range(_TURNS):
        for name, count, work in (
            ("all", digests, lambda: _expand(code, digests, threads)),
            ("one", digests, lambda: _expand(code, digests, 1)),
            ("hashlib", few, lambda: _loop(few)),
            ("draws", _DRAWS, lambda: layout.expand(keys)),
        ):
            best[name] = max(best[name], count / _seconds(work))
        theirs = _openssl()
        if theirs is not None:
            openssl = max(openssl or 0.0, theirs)
    return DrawFigures(
        weights=weights,
        threads=threads,
        hashes_per_s=best["all"],
        weights_per_s=best["all"] * WEIGHTS,
        seconds_for_100m_weights=EXAMPLE_WEIGHTS / (best["all"] * WEIGHTS),
        one_thread_hashes_per_s=best["one"],
        hashlib_per_s=best["hashlib"],
        ratio_to_hashlib=best["all"] / best["hashlib"],
        openssl_per_s=openssl,
        ratio_to_openssl=best["all"] / openssl if openssl else None,
        draws_per_s=best["draws"],
    )


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def _expand(code: Expansion, digests: int, threads: int) -> None:
    """All tiles of one candidate, by so many threads."""

    def share(first: int) -> None:
        for at in range(first * _TILE, digests, threads * _TILE):
            code.stream(_NONCE, at, min(_TILE, digests - at), _FAN_IN)

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(share, range(threads)))


def _loop(count: int) -> None:
    """What a program without machine code of its own would do for the digests alone."""
    prefix = _SEED.encode() + _NONCE.to_bytes(8, "big")
    sha256 = hashlib.sha256
    for number in range(count):
        sha256(prefix + number.to_bytes(4, "big")).digest()


def _openssl() -> float | None:
    """Hashes a second by `openssl speed`, of one thread; None where there is none."""
    program = shutil.which("openssl")
    if program is None:
        return None
    command = [program, "speed", "-mr", "-elapsed", "-seconds", "1", "-bytes", str(_OPENSSL_SIZE)]
    done = subprocess.run([*command, "sha256"], capture_output=True, text=True, check=False)
    for line in done.stdout.splitlines():
        if line.startswith("+F:"):  # its machine-readable result: bytes a second
            return float(line.rpartition(":")[2]) / _OPENSSL_SIZE
    return None
