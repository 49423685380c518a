from __future__ import annotations

import pytest

from stratum.limits import UNLIMITED, Limits
from stratum.watch import Overdue, Watch


def test_a_handshake_has_a_minute() -> None:
    watch = Watch(Limits(), 100.0)
    assert watch.overdue(159.9) is None
    assert watch.overdue(160.0) is Overdue.HANDSHAKE
    watch.ready = True
    assert watch.overdue(160.0) is None


def test_tls_has_less_and_a_miner_that_is_through_has_the_rest() -> None:
    watch = Watch(Limits(tls_timeout=15.0), 0.0)
    watch.tls_since = 20.0
    assert watch.overdue(34.9) is None
    assert watch.overdue(35.0) is Overdue.TLS
    watch.tls_since = None
    assert watch.overdue(59.9) is None
    assert watch.overdue(60.0) is Overdue.HANDSHAKE


@pytest.mark.parametrize(
    ("last_line", "last_share", "dead"),
    [(0.0, 0.0, True), (6601.0, 0.0, False), (0.0, 1.0, False), (6600.0, 0.0, True)],
)
def test_only_neither_lines_nor_shares_is_death(
    last_line: float, last_share: float, dead: bool
) -> None:
    watch = Watch(Limits(), 0.0)
    watch.ready = True
    watch.last_line, watch.last_share = last_line, last_share
    assert watch.overdue(7200.0) is (Overdue.LIFE if dead else None)


def test_limits_can_be_off() -> None:
    watch = Watch(UNLIMITED, 0.0)
    assert watch.overdue(1e9) is Overdue.HANDSHAKE
    watch.ready = True
    assert watch.overdue(1e9) is None
    assert Watch(Limits(handshake_timeout=None), 0.0).overdue(1e9) is None


def test_last_bytes_come_before_all_else() -> None:
    watch = Watch(Limits(), 0.0)
    watch.closing_since = 1000.0
    assert watch.overdue(1009.9) is None
    assert watch.overdue(1010.0) is Overdue.LAST_BYTES
