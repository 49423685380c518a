"""States as arrays: initial weights, roots, bytes."""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha256

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from potnode.engine import state as states
from potnode.engine.errors import BadState
from potnode.spec import state as spec_state
from potnode.spec.errors import InvalidJob
from potnode.spec.layers import Linear
from potnode.spec.manifest import Imported, Manifest, Weights
from potnode.spec.network import forward_weight
from tests.engine.cases import manifests, model, network, state
from tests.spec.cases import PRECISIONS


@settings(max_examples=50)
@given(manifests(), st.integers(0, 1 << 32))
def test_bytes_roots_and_specification_agree(manifest: Manifest, seed: int) -> None:
    assert states.initial(manifest).to_spec() == spec_state.initial_state(manifest)
    now = state(manifest, seed)
    assert states.from_spec(now.to_spec()) == now
    assert states.from_bytes(manifest, now.to_bytes()) == now
    assert states.root(now, manifest.weights) == spec_state.state_root(
        now.to_spec(), manifest.weights
    )


def test_root_over_several_chunks() -> None:
    manifest = network(50, 13, 3)  # 650 weights: five whole chunks and a part
    now = state(manifest, 7)
    assert states.initial(manifest).to_spec() == spec_state.initial_state(manifest)
    assert states.root(now, manifest.weights) == spec_state.state_root(
        now.to_spec(), manifest.weights
    )


@pytest.mark.parametrize("weights", PRECISIONS)
def test_every_master_rounds_as_specified(weights: Weights) -> None:
    masters = np.arange(-32512, 32513, dtype=np.int32)
    found = states.forward_weights(masters, weights)
    assert found.dtype == np.int8
    assert found.tolist() == [forward_weight(m, weights) for m in masters.tolist()]


def test_imported_weights() -> None:
    masters = np.array([*range(-6, 5), 32512, -32512, 256, 0], "<i4").tobytes()
    manifest = model((Linear(2, 4, "relu"), Linear(3, 4, "none")), (2,))
    manifest = replace(manifest, initial=Imported(sha256(masters).digest()))
    assert states.initial(manifest, masters).to_spec() == spec_state.initial_state(
        manifest, masters
    )
    with pytest.raises(InvalidJob, match="SHA-256"):
        states.initial(manifest, masters[4:])
    with pytest.raises(InvalidJob, match="SHA-256"):
        states.initial(manifest)


def test_a_state_is_a_value() -> None:
    manifest = network(3, 2)
    now = state(manifest, 1)
    assert hash(now) == hash(states.from_bytes(manifest, now.to_bytes()))
    assert now != state(manifest, 2)
    with pytest.raises(ValueError, match="read-only"):
        now.masters[0][0] = 1


def test_bytes_of_another_model_are_refused() -> None:
    manifest = network(3, 2)
    data = state(manifest, 1).to_bytes()
    with pytest.raises(BadState, match="64 bytes, not 63"):
        states.from_bytes(manifest, data[:-1])
    for master in (32513, -32513, -(1 << 31)):
        damaged = master.to_bytes(4, "little", signed=True) + data[4:]
        with pytest.raises(BadState, match="beyond 32512"):
            states.from_bytes(manifest, damaged)
