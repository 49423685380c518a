"""Terms: what difficulty a connection starts at, may not go below, and aims at.

Pure: what a miner is and wishes in, `Terms` out. What then happens to its bits is `potnode.pace`'s;
what it may wish for is read by `stratum.session`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from potnode.spec.work import MAX_BITS
from stratum.difficulty import bits_from_difficulty, difficulty_from_bits
from stratum.server import MinerView
from stratum.vardiff import VardiffRules

CPU_AGENTS: Final = ("cpuminer", "bfgminer", "potnode", "nerdminer")
"""User agents of miners slow enough for fractions of difficulty 1."""

ASIC_MIN_BITS: Final = 38
"""Difficulty 64: an S9's chips return nothing easier (its ticket mask is 63)."""

NICEHASH_MIN_BITS: Final = 51
"""Difficulty 524288: NiceHash refuses a pool that sends less."""


MOST_ON_CPU: Final = 31
"""Bits from which on a suggestion of a CPU miner is not believed: bfgminer suggests difficulty 1,
as it counts it (0.99998), whatever it mines with, and a CPU would take minutes for a share."""


@dataclass(frozen=True, slots=True)
class PoolTerms:
    """What the operator has decided for all miners.

    shares_per_minute: of one ASIC, aimed at. start_bits: an ASIC's first. cpu_miners: whether
    miners on a CPU are served at fractions of difficulty 1, as many shares as the node can take.
    """

    shares_per_minute: float = 600.0
    start_bits: int = 42
    cpu_miners: bool = True


@dataclass(frozen=True, slots=True)
class Terms:
    """One connection's: bits 0..255, floor <= start <= ceiling.

    rules: what vardiff aims at; None leaves the bits at `start` as long as the node can take it.
    on_cpu: it is one of those that take any amount of new work without loss.
    """

    floor: int
    start: int
    ceiling: int
    rules: VardiffRules | None
    on_cpu: bool


def terms_for(
    miner: MinerView, pool: PoolTerms, *, min_bits: int, network_target: int = 0
) -> Terms:
    """The terms of a connection.

    A difficulty fixed by the password (`d=`) is kept to, and one asked for as a minimum raises the
    floor; both within what the machine and the job can do. Whatever else, the node may raise bits
    when all miners together send more than it can take.

    Args:
        min_bits: the job's lowest.
        network_target: at or below it a hash is a block of the parent chain (0: never); bits do not
            go beyond it where that is possible, or a miner would keep blocks to itself.
    """
    on_cpu = pool.cpu_miners and miner.user_agent.lower().startswith(CPU_AGENTS)
    floor = min_bits if on_cpu else max(min_bits, ASIC_MIN_BITS)
    if miner.user_agent.lower().startswith("nicehash"):
        floor = max(floor, NICEHASH_MIN_BITS)
    if miner.minimum_difficulty is not None:
        floor = max(floor, _at_least(miner.minimum_difficulty))
    network = _network_bits(network_target)
    ceiling = network if network >= floor else MAX_BITS
    if miner.fixed_difficulty is not None:
        fixed = min(max(bits_from_difficulty(miner.fixed_difficulty), floor), ceiling)
        return Terms(fixed, fixed, ceiling, None, on_cpu)
    start = floor if on_cpu else pool.start_bits
    if miner.suggested_difficulty is not None:
        suggested = bits_from_difficulty(miner.suggested_difficulty)
        if not on_cpu or suggested < MOST_ON_CPU:
            start = suggested
    start = min(max(start, floor), ceiling)
    rules = None if on_cpu else VardiffRules(shares_per_minute=pool.shares_per_minute)
    return Terms(floor, start, ceiling, rules, on_cpu)


def _at_least(difficulty: int | float) -> int:
    """The least bits whose difficulty is not below this one."""
    bits = bits_from_difficulty(difficulty)
    return bits if difficulty_from_bits(bits) >= difficulty else min(bits + 1, MAX_BITS)


def _network_bits(target: int) -> int:
    """The most bits whose share target lets every block through; MAX_BITS without a target."""
    if not target:
        return MAX_BITS
    return max(0, ((0xFFFF << 240) // target).bit_length() - 1)
