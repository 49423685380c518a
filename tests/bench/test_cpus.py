from __future__ import annotations

import os

import pytest

from potnode.bench.cpus import cpu_model, load_average, pinned, two_cpus


def test_two_cpus_are_different_and_ours() -> None:
    cpus = two_cpus()
    if cpus is None:
        assert not hasattr(os, "sched_setaffinity") or len(os.sched_getaffinity(0)) == 1
    else:
        assert cpus[0] != cpus[1]
        assert set(cpus) <= os.sched_getaffinity(0)


def test_a_process_is_kept_to_a_cpu_for_a_while() -> None:
    cpus = two_cpus()
    if cpus is None:
        return  # nothing can be chosen here; the test below says what happens then
    before = os.sched_getaffinity(0)
    with pinned(cpus[1]):
        assert os.sched_getaffinity(0) == {cpus[1]}
    assert os.sched_getaffinity(0) == before


def test_one_cpu_is_not_shared_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3}, raising=False)
    assert two_cpus() is None
    monkeypatch.delattr(os, "sched_setaffinity", raising=False)
    assert two_cpus() is None
    with pinned(None):
        assert two_cpus() is None


def test_the_machine_says_what_it_is() -> None:
    assert cpu_model()
    assert load_average() >= 0
