"""Terms: what a machine can do, what it wishes for, and what the operator has decided."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from potnode.spec.work import target
from potnode.terms import ASIC_MIN_BITS, NICEHASH_MIN_BITS, PoolTerms, Terms, terms_for
from stratum.difficulty import difficulty_from_target
from tests.builders import miner_view

POOL = PoolTerms()
MIN_BITS = 14


def terms(
    agent: str, *, pool: PoolTerms = POOL, network_target: int = 0, wishes: Any = None
) -> Terms:
    view = miner_view(user_agent=agent, **(wishes or {}))
    return terms_for(view, pool, min_bits=MIN_BITS, network_target=network_target)


@pytest.mark.parametrize(
    ("agent", "floor", "start"),
    [
        ("cpuminer/2.5.1", MIN_BITS, MIN_BITS),
        ("bfgminer/5.5.0-34-g866fd36f", MIN_BITS, MIN_BITS),
        ("potnode/0.1.0", MIN_BITS, MIN_BITS),
        ("CpuMiner-opt", MIN_BITS, MIN_BITS),
        ("NerdMinerV2", MIN_BITS, MIN_BITS),
        ("bmminer/2.0.0", ASIC_MIN_BITS, 42),
        ("cgminer/4.11.1", ASIC_MIN_BITS, 42),
        ("whatsminer/v1.0", ASIC_MIN_BITS, 42),
        ("bitaxe/BM1366/v2.4.1", ASIC_MIN_BITS, 42),
        ("NiceHash/1.0.0", NICEHASH_MIN_BITS, NICEHASH_MIN_BITS),
        ("", ASIC_MIN_BITS, 42),
    ],
)
def test_difficulty_starts_where_the_machine_can_work(agent: str, floor: int, start: int) -> None:
    found = terms(agent)
    assert (found.floor, found.start) == (floor, start)
    assert found.on_cpu == (found.rules is None) == (floor == MIN_BITS)


def test_without_cpu_miners_no_difficulty_is_a_fraction() -> None:
    found = terms(
        "cpuminer/2.5.1", pool=PoolTerms(cpu_miners=False), wishes={"suggested_difficulty": 0.001}
    )
    assert found == Terms(ASIC_MIN_BITS, ASIC_MIN_BITS, 255, found.rules, False)
    assert found.rules is not None


@pytest.mark.parametrize(
    ("wishes", "expected"),
    [
        ({"suggested_difficulty": 512}, (38, 41)),
        ({"suggested_difficulty": 1000}, (38, 41)),  # down to a power of two
        ({"suggested_difficulty": 0.00015}, (38, 38)),  # no less than the chips can do
        ({"minimum_difficulty": 150_000}, (50, 50)),  # VNish; no less than asked
        ({"minimum_difficulty": 1}, (38, 42)),
        ({"minimum_difficulty": 2048, "suggested_difficulty": 4096}, (43, 44)),
        ({"fixed_difficulty": 8192}, (45, 45)),
        ({"fixed_difficulty": 8192, "suggested_difficulty": 1}, (45, 45)),
        ({"fixed_difficulty": 1}, (38, 38)),
    ],
)
def test_wishes_of_an_asic(wishes: dict[str, float], expected: tuple[int, int]) -> None:
    found = terms("bmminer/2.0.0", wishes=wishes)
    assert (found.floor, found.start) == expected
    assert (found.rules is None) == ("fixed_difficulty" in wishes)


def test_a_nerdminer_gets_what_it_asks_for() -> None:
    found = terms("NerdMinerV2", wishes={"suggested_difficulty": 0.00015})
    assert (found.floor, found.start) == (MIN_BITS, 19)


def test_a_bfgminer_on_a_cpu_does_not_mean_its_difficulty_1() -> None:
    suggested = difficulty_from_target((1 << 224) - 1)
    for difficulty in (suggested, 1.0, 1024):
        found = terms("bfgminer/5.5.0", wishes={"suggested_difficulty": difficulty})
        assert found.start == MIN_BITS
    assert terms("bfgminer/5.5.0", wishes={"fixed_difficulty": 1.0}).start == 32


@given(st.integers(1, 1 << 255))
def test_no_share_is_harder_than_a_block(network_target: int) -> None:
    found = terms("bmminer", network_target=network_target)
    assert found.floor <= found.start <= found.ceiling
    if found.ceiling < 255:
        assert target(found.ceiling) >= network_target > target(found.ceiling + 1)
    else:  # a test chain whose blocks are easier than an ASIC's easiest share
        assert network_target > target(ASIC_MIN_BITS) or network_target <= target(255)


@given(
    difficulty=st.floats(1e-300, 1e300),
    agent=st.sampled_from(["bmminer", "cpuminer", "nicehash"]),
    wish=st.sampled_from(["suggested_difficulty", "minimum_difficulty", "fixed_difficulty"]),
)
def test_no_wish_breaks_a_bound(difficulty: float, agent: str, wish: str) -> None:
    found = terms(agent, wishes={wish: difficulty})
    assert MIN_BITS <= found.floor <= found.start <= found.ceiling <= 255
