"""Ask, tell, stop, resume: the same arithmetic as a job, to the bit."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from potnode.data.digits import digits
from potnode.engine.state import forward_weights
from potnode.search import BadSearchFile, Search, SearchError, Step, saved
from potnode.search.draws import seed_bytes, step_keys, step_work
from potnode.spec import state as spec_state
from potnode.spec import step as spec_step
from potnode.spec.errors import InvalidJob
from potnode.spec.layers import Linear
from potnode.spec.manifest import Classes, Evolution, Greedy, Manifest, Seeded
from potnode.spec.schedule import StepTerms

STEPS = 6


def small(*, greedy: bool = False, rule: str = "momentum") -> Manifest:
    """64-10 on the digits."""
    return Manifest(
        dataset="digits",
        task=Classes(),
        input=(64,),
        layers=(Linear(10, 7, "none"),),
        train=(0, 1),
        initial=Seeded(bytes(32), (4096, 0), (0, 0)),
        perturbation=(2, 0),
        strategy=Greedy(0, 16) if greedy else Evolution(rule, 80, 10, 16),
    )


def search(**changed: object) -> Search:
    numbers: dict[str, object] = {"population": (4, 8), "batch_size": 32, "steps": STEPS, "seed": 7}
    manifest = changed.pop("manifest", None) or small()
    assert isinstance(manifest, Manifest)
    return Search(manifest, digits(), **(numbers | changed))  # type: ignore[arg-type]


@pytest.mark.parametrize("manifest", [small(), small(greedy=True), small(rule="sign_momentum")])
def test_a_search_stopped_anywhere_ends_at_the_same_root(
    manifest: Manifest, tmp_path: Path
) -> None:
    whole = search(manifest=manifest)
    roots = [whole.root]
    for _ in range(STEPS):
        whole.step()
        roots.append(whole.root)
    for stop in range(STEPS + 1):
        first = search(manifest=manifest)
        first.run(stop)
        path = tmp_path / f"{stop}.search"
        first.save(path)
        resumed = Search.load(path, digits())
        assert (resumed.steps_done, resumed.evaluations, resumed.root) == (
            stop,
            first.evaluations,
            roots[stop],
        )
        resumed.run()
        assert resumed.root == roots[-1]
        assert resumed.evaluations == whole.evaluations
    assert len(set(roots)) > 1


def test_another_process_resumes_to_the_same_root(tmp_path: Path) -> None:
    path = tmp_path / "stopped.search"
    first = search()
    first.run(2)
    first.save(path)
    first.run()
    program = (
        "import sys; from pathlib import Path; from potnode.data.digits import digits; "
        "from potnode.search import Search; s = Search.load(Path(sys.argv[1]), digits()); "
        "s.run(); print(s.root.hex())"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == first.root.hex()


def test_a_candidate_asked_for_is_asked_for_again_after_loading(tmp_path: Path) -> None:
    first = search()
    first.step()
    asked = first.ask()
    assert first.ask() is asked
    first.save(tmp_path / "asked.search")
    again = Search.load(tmp_path / "asked.search", digits()).ask()
    assert again.keys == asked.keys
    assert again.terms == asked.terms
    assert np.array_equal(again.batch, asked.batch)


@pytest.mark.parametrize("greedy", [False, True])
def test_steps_are_those_of_the_specification(greedy: bool) -> None:
    manifest, data = small(greedy=greedy), digits()
    fast = search(manifest=manifest, population=3, batch_size=16, steps=3)
    state = spec_state.initial_state(manifest)
    for step in range(3):
        asked = fast.ask()
        assert list(asked.keys) == step_keys(seed_bytes(7), step, 3, 1)
        taken = fast.step()
        state, factors = spec_step.advance(
            manifest,
            state,
            asked.keys,
            taken.losses,
            asked.terms,
            step_work(seed_bytes(7), step),
            train_count=data.header.train_count,
            sample=data.sample,
        )
        assert list(taken.coefficients) == factors
        assert fast.root == spec_state.state_root(state, manifest.weights)


def test_a_loss_of_ones_own_is_minimised_through_the_weights() -> None:
    """The loss is the distance of all weights to zero: no data, no engine."""
    own = search(population=32, steps=40)

    def distance(weights: dict[str, np.ndarray]) -> int:
        return sum(int((w.astype(np.int64) ** 2).sum()) for w in weights.values())

    before = distance(own.ask().center())
    while own.steps_left:
        asked = own.ask()
        own.tell([distance(asked.weights(i)) for i in range(len(asked))])
    assert distance(_center(own)) < before


def _center(finished: Search) -> dict[str, np.ndarray]:
    weights = finished.manifest.weights
    return {str(t): forward_weights(m, weights) for t, m in enumerate(finished.state.masters)}


def test_weights_of_a_candidate_are_the_center_and_its_signs() -> None:
    asked = search().ask()
    assert asked.terms == StepTerms(step=0, population=4, batch_size=16, shift=2, eta=80)
    for i in range(len(asked)):
        moved = asked.weights(i)
        for name, center in asked.center().items():
            assert moved[name].shape == center.shape
            assert set(np.abs(moved[name] - center).ravel().tolist()) == {4}
    with pytest.raises(SearchError, match="no candidate 4"):
        asked.weights(4)


def test_seeds_make_the_draws_and_manifests_the_weights() -> None:
    assert search(seed=1).ask().keys != search(seed=2).ask().keys
    assert search(seed=1).root == search(seed=2).root
    assert search(seed=seed_bytes(1)).ask().keys == search(seed=1).ask().keys
    other = replace(small(), initial=Seeded(bytes([1] * 32), (4096, 0), (0, 0)))
    assert search(manifest=other).root != search().root


@given(st.integers(0, 2**64 - 1), st.integers(0, 2**32), st.integers(1, 5), st.integers(1, 4))
@settings(max_examples=30)
def test_keys_are_distinct_and_in_the_order_of_a_job(
    seed: int, step: int, shares: int, each: int
) -> None:
    keys = step_keys(seed_bytes(seed), step, shares * each, each)
    assert len(set(keys)) == shares * each
    assert set(keys).isdisjoint(step_keys(seed_bytes(seed), step + 1, shares * each, each))
    assert step_work(seed_bytes(seed), step) not in keys


def test_what_cannot_be_told_is_refused() -> None:
    one = search()
    with pytest.raises(SearchError, match="1 losses were told for 4"):
        one.tell([1])
    with pytest.raises(SearchError, match="integers"):
        one.tell([1.5, 2, 3, 4])  # type: ignore[list-item]
    greedy = search(manifest=small(greedy=True))
    with pytest.raises(SearchError, match="greedy"):
        greedy.tell([1, 2, 3, 4])
    one.run()
    with pytest.raises(SearchError, match="all 6 steps are done"):
        one.step()
    with pytest.raises(InvalidJob, match="population"):
        search(population=0)
    with pytest.raises(ValueError, match="seed"):
        search(seed=-1)
    with pytest.raises(ValueError, match="seed"):
        search(seed=b"short")


def test_losses_of_any_size_and_scale_count_the_same() -> None:
    small_scale, large = search(), search()
    small_scale.tell([1000, 2000, 3000, 4000])
    large.tell([10**15 * v + 77 for v in (1, 2, 3, 4)])
    assert large.root == small_scale.root


def test_a_callback_sees_every_step_and_can_stop() -> None:
    seen: list[int] = []
    one = search()

    def callback(step: Step) -> bool:
        seen.append(step.terms.step)
        return len(seen) == 3

    score = one.run(callback=callback)
    assert seen == [0, 1, 2]
    assert score == one.validate()
    assert score.predictions == 297
    assert 0 <= score.accuracy <= 1
    assert score.bits > 0


def test_damaged_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "some.search"
    one = search()
    one.step()
    one.save(path)
    data = path.read_bytes()
    for spoiled, message in [
        (b"", "no saved search"),
        (b"{}\n", "no saved search"),
        (b"[" * 100_000, "no saved search"),
        (data[:-1], "damaged"),
        (data[:-1] + bytes([data[-1] ^ 1]), "damaged"),
        (data.replace(b'"steps_done": 1', b'"steps_done": 0'), "damaged"),
        (data.replace(b'"seed": "', b'"seed": "ab'), "damaged"),
    ]:
        path.write_bytes(spoiled)
        with pytest.raises(BadSearchFile, match=message):
            Search.load(path, digits())
    with pytest.raises(SearchError, match="can't read"):
        Search.load(tmp_path / "absent", digits())
    with pytest.raises(SearchError, match="can't write"):
        one.save(tmp_path / "no folder" / "x")


def test_files_that_fit_nothing_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "some.search"
    search().save(path)
    header, state = saved.read(path)
    for wrong, message in [
        (replace(header, data_root="ab" * 32), "dataset with the root"),
        (replace(header, state_root="ab" * 32), "root it names"),
    ]:
        saved.write(path, wrong, state)
        with pytest.raises(BadSearchFile, match=message):
            Search.load(path, digits())


def test_a_preset_by_name_learns_the_digits() -> None:
    assert Search.of_preset("digits-mlp", digits(), seed=3, steps=60).run().accuracy > 0.5


def test_candidates_are_shown_in_one_line_and_paths_may_be_text(tmp_path: Path) -> None:
    started = search()
    assert len(repr(started.ask())) < 200
    started.save(str(tmp_path / "a.search"))
    assert Search.load(str(tmp_path / "a.search"), digits()).root == started.root
