"""Settlement and withdrawal on a real chain: what is due is paid once, to whom it is owed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from potnode.chain.contract import encode_create_job, encode_record
from potnode.chain.embedded import EmbeddedChain
from potnode.chain.keys import Key
from potnode.chain.reader import step_info
from potnode.chain.rpc import Connection, EmbeddedTransport, RpcLedger
from potnode.chain.sender import Sender, deploy
from potnode.settlement import settle, withdraw
from potnode.spec.params import job_id
from tests.builders import make_chain_of_records, make_job

POT, FEE = 1_000_003, 17
COIN = bytes(20)


class Place:
    """A chain with the contract, and a clock that a test may set."""

    def __init__(self, directory: Path) -> None:
        self.now = 1_800_000_000
        self.key = Key.random()
        self.chain = EmbeddedChain.open(directory, fund=[self.key.address], clock=lambda: self.now)
        self.connection = Connection(EmbeddedTransport(self.chain))
        self.sender = Sender(self.connection, self.key, gas_limit=10_000_000)
        self.ledger = RpcLedger(self.connection, deploy(self.sender).contract or b"")

    def record(self, steps: int, *, challenge_window: int) -> bytes:
        job = make_job(
            self.key.address,
            pot_per_step=POT,
            operator_fee=FEE,
            challenge_window=challenge_window,
        )
        identity = job_id(self.connection.chain_id, self.ledger.contract, job.params)
        call = encode_create_job(job.params, job.manifest)
        escrow = job.params.step_limit * (POT + FEE)
        self.sender.execute("the job", self.ledger.contract, call, value=escrow)
        for head, step_data in make_chain_of_records(job.params, identity, steps):
            self.sender.execute("a step", self.ledger.contract, encode_record(head, step_data))
        return identity


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    made = Place(tmp_path)
    with made.chain:
        yield made


def test_steps_are_settled_once_and_the_fee_can_be_withdrawn(place: Place) -> None:
    identity = place.record(3, challenge_window=0)
    assert settle(place.ledger, place.sender, identity) == ([0, 1, 2], [])
    assert settle(place.ledger, place.sender, identity) == ([], [])
    receiver = bytes(range(20))
    amount = withdraw(place.ledger, place.sender, COIN, receiver)
    # The operator is owner too: three fees, and what division left of three pots.
    assert 3 * FEE <= amount < 3 * FEE + 3 * 4
    assert place.connection.balance(receiver) == amount
    assert withdraw(place.ledger, place.sender, COIN, receiver) == 0


def test_a_step_in_its_challenge_window_waits(place: Place) -> None:
    identity = place.record(2, challenge_window=3600)
    assert settle(place.ledger, place.sender, identity) == ([], [0, 1])
    place.now += 7200
    place.sender.execute("a block", place.key.address, b"", value=0)
    assert settle(place.ledger, place.sender, identity) == ([0, 1], [])
    assert step_info(place.ledger, identity, 1).settled
