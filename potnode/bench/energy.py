"""What the hashes of a training run cost in joules, estimated from miners' data sheets.

Evaluators do the arithmetic; hashes give draws that nobody can choose, each with an author. So the
joules are those of rate-limiting the draws, not of learning, and where the same hashes search for
Bitcoin's blocks they are spent anyway.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log2

EVALUATORS_DO_THE_ARITHMETIC = (
    "Evaluators do the arithmetic: a share's difficulty adds nothing to what a candidate teaches. "
    "Hashes give draws that nobody can choose, each with an author, and a miner that hashes for "
    "Bitcoin with the same headers spends no joule more."
)


@dataclass(frozen=True, slots=True)
class Miner:
    """hashes_per_s, watts: of its data sheet."""

    name: str
    hashes_per_s: float
    watts: float

    @property
    def joules_per_hash(self) -> float:
        """Energy of one hash, double SHA-256 of a header."""
        return self.watts / self.hashes_per_s


MINERS = (
    Miner("Antminer S9", 14e12, 1350.0),
    Miner("Antminer S19 Pro", 110e12, 3250.0),
    Miner("Whatsminer M30S++", 112e12, 3472.0),
)


@dataclass(frozen=True, slots=True)
class Energy:
    """One machine mining all of a run's shares, just as fast as they are evaluated.

    shares: of the run. seconds: it took to evaluate. bits: leading zero bits of a hash at which
    this machine finds shares at that rate, which is what vardiff steers to; difficulty: the same as
    miners know it, 2^(bits - 32). joules: of the whole run. min_bits_joules: if all shares had the
    job's lowest difficulty, which no ASIC is given: it would find them faster than any evaluator
    takes them.
    """

    miner: str
    shares: int
    seconds: float
    bits: float
    difficulty: float
    joules_per_share: float
    joules: float
    min_bits: int
    min_bits_joules: float


def energy(
    evaluations: int, seconds: float, *, min_bits: int, candidates_per_share: int = 1
) -> list[Energy]:
    """The estimate for every machine of MINERS.

    Args:
        evaluations: candidates of the run, at least one. seconds: of its training, above 0.
    """
    shares = -(-evaluations // candidates_per_share)
    rows = []
    for miner in MINERS:
        hashes_a_share = miner.hashes_per_s * seconds / shares
        # target(bits) = (0xffff << 240) >> bits: a share takes 2^bits * 65536 / 65535 hashes.
        bits = log2(hashes_a_share * 65535 / 65536)
        rows.append(
            Energy(
                miner=miner.name,
                shares=shares,
                seconds=seconds,
                bits=bits,
                difficulty=2 ** (bits - 32),
                joules_per_share=miner.joules_per_hash * hashes_a_share,
                joules=miner.watts * seconds,
                min_bits=min_bits,
                min_bits_joules=shares * 2**min_bits * miner.joules_per_hash,
            )
        )
    return rows
