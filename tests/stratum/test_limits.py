from __future__ import annotations

import ipaddress
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stratum.limits import (
    LINE_COST,
    UNLIMITED,
    AddressBook,
    Bucket,
    Limits,
    Refusal,
    RejectLadder,
    Rung,
    SessionMeter,
)

HOME = ipaddress.ip_address("192.0.2.7")
OTHER = ipaddress.ip_address("192.0.2.8")


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_clients": 0},
        {"submits_per_second": -1.0},
        {"write_limit": 0},
        {"handshake_timeout": math.nan},
        {"soft_cost": 20_000.0},
        {"hard_cost": 1.0},
    ],
)
def test_limits_that_make_no_sense(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must be"):
        Limits(**wrong)  # type: ignore[arg-type]


def test_a_bucket_fills_and_may_be_overdrawn() -> None:
    bucket = Bucket(rate=10.0, burst=20.0, now=0.0)
    assert bucket.take(20, 0.0) == 0.0
    assert bucket.take(5, 0.0) == 0.5
    assert bucket.level(0.5) == 0.0
    assert not bucket.full(2.4)
    assert bucket.full(2.5)
    assert bucket.level(100.0) == 20.0


@given(
    rate=st.floats(0.1, 1e4),
    burst=st.integers(1, 10_000),
    takes=st.lists(st.tuples(st.integers(1, 5000), st.floats(0, 50)), min_size=1, max_size=30),
)
def test_who_waits_as_told_keeps_the_rate(
    rate: float, burst: int, takes: list[tuple[int, float]]
) -> None:
    bucket = Bucket(rate, burst, 0.0)
    now, taken, last = 0.0, 0, 0
    for count, idle in takes:
        now += bucket.take(count, now) + idle
        taken += count
        last = count
    # At the start of the last take no more than a burst and the rate had come through.
    assert taken - last <= burst + rate * now + 1e-6 * taken


def test_a_clock_that_goes_back_gives_nothing() -> None:
    bucket = Bucket(rate=1.0, burst=10.0, now=100.0)
    bucket.take(10, 100.0)
    assert bucket.level(50.0) == 0.0
    bucket.take(1, 50.0)
    assert bucket.level(100.0) == -1.0


def test_submits_wait_and_nothing_else_does() -> None:
    meter = SessionMeter(Limits(submits_per_second=100.0, submit_burst=50), 0.0)
    assert meter.charge(0.0, size=5000, lines=50, submits=50) == 0.0
    assert meter.charge(0.0, size=5000, lines=50, submits=50) == 0.5
    assert meter.charge(0.5, size=100, lines=1, submits=0) == 0.0


@pytest.mark.parametrize("rate", [200.0, 2000.0, 20_000.0])
def test_a_full_rate_of_honest_submits_costs_nothing(rate: float) -> None:
    """Nor do those refused for being late or low: a miner of only rejects is as welcome."""
    limits = Limits(submits_per_second=rate, submit_burst=int(10 * rate))
    meter = SessionMeter(limits, 0.0)
    for second in range(10, 20_000, 10):
        count = int(rate * 10)
        assert meter.charge(float(second), size=count * 190, lines=count, submits=count) == 0.0
    assert meter.cost(20_000.0) == 0.0


def test_submits_that_are_far_too_long_cost() -> None:
    meter = SessionMeter(Limits(submits_per_second=None), 0.0)
    meter.charge(0.0, size=8000, lines=1, submits=1)
    assert meter.cost(0.0) > 1


def test_cost_slows_down_in_proportion_and_then_ends() -> None:
    limits = Limits(soft_cost=100.0, hard_cost=1000.0, cost_decay=10.0, longest_pause=30.0)
    meter = SessionMeter(limits, 0.0)
    assert meter.charge(0.0, size=0, lines=50, submits=0) == 0.0
    assert meter.cost(0.0) == 50 * LINE_COST
    assert meter.charge(0.0, size=0, lines=10, submits=0) == pytest.approx(2.0)
    assert meter.charge(0.0, size=0, lines=10, submits=0) == pytest.approx(4.0)
    assert meter.charge(4.0, size=0, lines=200, submits=0) == 30.0  # at most
    assert meter.cost(1e6) == 0.0
    assert meter.charge(1e6, size=0, lines=1000, submits=0) == math.inf


@pytest.mark.parametrize("spent", [{"junk": 30}, {"faults": 600, "submits": 600, "lines": 600}])
def test_junk_and_malformed_submits_cost(spent: dict[str, int]) -> None:
    meter = SessionMeter(Limits(soft_cost=1000.0, submits_per_second=None), 0.0)
    assert meter.charge(0.0, **({"size": 0, "lines": 0, "submits": 0} | spent)) > 0


def test_bytes_that_say_nothing_cost_far_more_than_others() -> None:
    meter = SessionMeter(Limits(), 0.0)
    assert meter.charge(0.0, size=0, lines=0, submits=0, opaque=90_000) == 0
    assert meter.charge(0.0, size=0, lines=0, submits=0, opaque=20_000) > 0
    assert math.isinf(meter.charge(0.0, size=0, lines=0, submits=0, opaque=500_000))


def test_bytes_alone_cost() -> None:
    meter = SessionMeter(Limits(soft_cost=1000.0), 0.0)
    assert meter.charge(0.0, size=5_000_000, lines=0, submits=0) > 0


def test_without_limits_nothing_waits() -> None:
    meter = SessionMeter(UNLIMITED, 0.0)
    assert meter.charge(0.0, size=1 << 40, lines=1 << 30, submits=1 << 20, junk=1 << 20) == 0.0


@given(
    st.lists(
        st.tuples(st.floats(0, 100), st.integers(0, 65536), st.integers(0, 2000), st.integers(0, 4))
    )
)
def test_a_meter_never_owes(reads: list[tuple[float, int, int, int]]) -> None:
    limits = Limits()
    meter = SessionMeter(limits, 0.0)
    now = 0.0
    for passed, size, lines, junk in reads:
        now += passed
        wait = meter.charge(now, size=size, lines=lines, submits=0, junk=junk)
        assert meter.cost(now) >= 0
        assert (wait == math.inf) == (meter.cost(now) > limits.hard_cost)
        assert wait == math.inf or 0 <= wait <= limits.longest_pause


def test_the_ladder_is_climbed_once_a_minute() -> None:
    ladder = RejectLadder(60.0)
    climbed = {now: ladder.refused(float(now)) for now in range(300)}
    assert {now: rung for now, rung in climbed.items() if rung} == {
        60: Rung.FRESH_JOB,
        120: Rung.RECONNECT,
        180: Rung.CLOSE,
    }


def test_one_good_share_leads_back_to_the_ground() -> None:
    ladder = RejectLadder(60.0)
    ladder.refused(0.0)
    assert ladder.refused(60.0) is Rung.FRESH_JOB
    ladder.good()
    assert ladder.refused(119.0) is None
    assert ladder.refused(178.0) is None
    assert ladder.refused(179.0) is Rung.FRESH_JOB


def test_a_quiet_miner_climbs_one_rung_a_refusal() -> None:
    """One stale share in many minutes is what a miner at a high difficulty may have."""
    ladder = RejectLadder(60.0)
    assert ladder.refused(0.0) is None
    assert ladder.refused(5000.0) is Rung.FRESH_JOB
    assert ladder.refused(5001.0) is None


def test_connections_of_an_address_are_counted() -> None:
    book = AddressBook(Limits(per_address=2))
    assert book.enter(HOME, 0.0) is None
    assert book.enter(HOME, 0.0) is None
    assert book.enter(HOME, 0.0) is Refusal.ADDRESS_FULL
    assert book.enter(OTHER, 0.0) is None
    book.leave(HOME)
    assert book.enter(HOME, 0.0) is None


def test_new_connections_of_an_address_are_counted() -> None:
    book = AddressBook(Limits(connects_per_minute=3))
    for _ in range(3):
        assert book.enter(HOME, 0.0) is None
        book.leave(HOME)
    assert book.enter(HOME, 0.0) is Refusal.TOO_FAST
    assert book.enter(OTHER, 0.0) is None
    assert book.enter(HOME, 20.0) is None


def test_the_same_address_of_another_family_is_another() -> None:
    book = AddressBook(Limits(per_address=1))
    assert book.enter(ipaddress.ip_address("0.0.0.1"), 0.0) is None
    assert book.enter(ipaddress.ip_address("0:0:0:1::"), 0.0) is None


def test_a_64_is_one_address() -> None:
    book = AddressBook(Limits(per_address=1))
    assert book.enter(ipaddress.ip_address("2001:db8::1"), 0.0) is None
    assert book.enter(ipaddress.ip_address("2001:db8::2"), 0.0) is Refusal.ADDRESS_FULL
    assert book.enter(ipaddress.ip_address("2001:db8:0:1::1"), 0.0) is None


def test_exempt_networks_are_not_counted() -> None:
    book = AddressBook(Limits(per_address=1, connects_per_minute=1))
    for _ in range(10):
        assert book.enter(ipaddress.ip_address("127.0.0.1"), 0.0) is None
    assert len(book) == 0


def test_an_exempt_neighbour_that_leaves_frees_nobodys_place() -> None:
    mine, other = ipaddress.ip_address("2001:db8::1"), ipaddress.ip_address("2001:db8::2")
    book = AddressBook(Limits(per_address=1, exempt=(ipaddress.ip_network(f"{mine}/128"),)))
    assert book.enter(mine, 0.0) is None
    assert book.enter(other, 0.0) is None
    book.leave(mine)
    assert book.enter(other, 0.0) is Refusal.ADDRESS_FULL


def test_without_limits_no_address_is_remembered() -> None:
    book = AddressBook(UNLIMITED)
    assert book.enter(HOME, 0.0) is None
    assert len(book) == 0


def test_addresses_are_forgotten() -> None:
    book = AddressBook(Limits(connects_per_minute=60))
    for number in range(10):
        address = ipaddress.IPv4Address(int(HOME) + number)
        assert book.enter(address, float(number)) is None
        book.leave(address)
    assert len(book) == 10
    book.sweep(5.0)
    assert len(book) == 5
    book.sweep(100.0)
    assert len(book) == 0


def test_a_flood_of_addresses_takes_bounded_memory() -> None:
    book = AddressBook(Limits(), limit=100)
    for number in range(1000):
        address = ipaddress.IPv4Address(int(HOME) + number)
        assert book.enter(address, 0.0) is None
        book.leave(address)
    assert len(book) == 100


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 3)), max_size=60))
def test_counts_per_address_are_those_of_open_connections(steps: list[tuple[bool, int]]) -> None:
    book = AddressBook(Limits(per_address=3, connects_per_minute=None))
    model = [0, 0, 0, 0]
    for enters, which in steps:
        address = ipaddress.IPv4Address(int(HOME) + which)
        if enters:
            refused = book.enter(address, 0.0)
            assert (refused is Refusal.ADDRESS_FULL) == (model[which] == 3)
            model[which] += refused is None
        elif model[which]:
            book.leave(address)
            model[which] -= 1
    assert len(book) == sum(count > 0 for count in model)
