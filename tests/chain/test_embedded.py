"""The embedded chain: the same chain after every kind of end."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from potnode.chain.embedded import DATABASE_NAME, GENESIS_BALANCE, EmbeddedChain
from potnode.chain.errors import (
    ChainDirectoryInUse,
    ChainStorageFailed,
    ChainStorageFull,
    CorruptChain,
    FeeTooLow,
    InsufficientFunds,
    NonceTooLow,
    TransactionRejected,
)
from potnode.chain.keys import Key, load_or_create
from potnode.chain.kv import SqliteStore
from potnode.chain.logindex import LogFilter
from tests.chain.conftest import clock, wait_for

TO = bytes.fromhex("99" * 20)


def transfer(chain: EmbeddedChain, key: Key, nonce: int, **changes: object) -> bytes:
    """A signed transfer of 1 wei; `changes` replace members of the transaction."""
    return key.sign_transaction(
        {
            "type": 2,
            "chainId": chain.chain_id,
            "nonce": nonce,
            "gas": 21_000,
            "maxFeePerGas": 2 * 10**9,
            "maxPriorityFeePerGas": 0,
            "to": TO,
            "value": 1,
            "data": b"",
            **changes,
        }
    )[0]


def test_a_restart_continues_the_same_chain(tmp_path: Path, key: Key) -> None:
    with EmbeddedChain.open(tmp_path, fund=[key.address], clock=clock) as chain:
        hashes = [chain.send_raw_transaction(transfer(chain, key, n)) for n in range(5)]
        chain_id, head = chain.chain_id, chain.head()
    assert head.block_number == 5
    with EmbeddedChain.open(tmp_path, fund=[], clock=clock) as chain:
        assert (chain.chain_id, chain.head()) == (chain_id, head)
        assert chain.nonce(key.address, head) == 5
        assert chain.balance(TO, head) == 5
        genesis = chain.header(0)
        assert genesis is not None
        assert chain.balance(key.address, genesis) == GENESIS_BALANCE
        mined = chain.mined(hashes[2])
        assert mined is not None
        assert mined.block.number == 3
        chain.send_raw_transaction(transfer(chain, key, 5))
        assert chain.head().parent_hash == head.hash


def test_chains_differ(tmp_path: Path, key: Key) -> None:
    with (
        EmbeddedChain.open(tmp_path / "a", fund=[key.address], clock=clock) as one,
        EmbeddedChain.open(tmp_path / "b", fund=[key.address], clock=clock) as other,
    ):
        assert one.chain_id != other.chain_id
        assert max(one.chain_id, other.chain_id) < 2**53
        with pytest.raises(TransactionRejected, match="invalid chain id"):
            other.send_raw_transaction(transfer(one, key, 0))


KILLED = """
import sys, pathlib, time
from potnode.chain.embedded import EmbeddedChain
from potnode.chain.keys import load
folder = pathlib.Path(sys.argv[1])
key = load(folder)
chain = EmbeddedChain.open(folder, fund=[key.address], clock=lambda: int(time.time()))
nonce = chain.nonce(key.address, chain.head())
while True:
    fields = {"type": 2, "chainId": chain.chain_id, "nonce": nonce, "gas": 21000, "value": 1,
              "maxFeePerGas": 2 * 10**9, "maxPriorityFeePerGas": 0, "data": b"",
              "to": bytes([0x99] * 20)}
    chain.send_raw_transaction(key.sign_transaction(fields)[0])
    nonce += 1
    print(chain.head().block_number, flush=True)
"""


def mine_until_killed(folder: Path) -> int:
    """Kill a process that mines without pause; the last block it had spoken of."""
    output = folder / "output"
    with output.open("w") as file:
        process = subprocess.Popen([sys.executable, "-c", KILLED, str(folder)], stdout=file)
        wait_for(
            lambda: process.poll() is not None or len(output.read_text().splitlines()) >= 8,
            "eight blocks",
        )
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    return int(output.read_text().split("\n")[-2])


def test_a_killed_process_leaves_whole_blocks(tmp_path: Path) -> None:
    key = load_or_create(tmp_path)
    height = 0
    for _ in range(2):
        acknowledged = mine_until_killed(tmp_path)
        with EmbeddedChain.open(tmp_path, fund=[], clock=clock) as chain:
            head = chain.head()
            assert acknowledged <= head.block_number <= acknowledged + 1
            assert chain.nonce(key.address, head) == chain.balance(TO, head) == head.block_number
            for number in range(height + 1, head.block_number + 1):
                header = chain.header(number)
                assert header is not None
                block, receipts = chain.block(header)
                assert len(block.transactions) == len(receipts) == 1
                assert chain.mined(block.transactions[0].hash) is not None
            height = head.block_number


def test_one_process_at_a_time(chain: EmbeddedChain, tmp_path: Path) -> None:
    with pytest.raises(ChainDirectoryInUse):
        EmbeddedChain.open(tmp_path / "chain", fund=[], clock=clock)


def test_block_times_grow_whatever_the_clock_does(tmp_path: Path, key: Key) -> None:
    times = iter([1000, 1000, 900, 5000])
    with EmbeddedChain.open(tmp_path, fund=[key.address], clock=lambda: next(times)) as chain:
        for nonce in range(3):
            chain.send_raw_transaction(transfer(chain, key, nonce))
        headers = [chain.header(number) for number in range(4)]
    assert [header.timestamp for header in headers if header] == [1000, 1001, 1002, 5000]


def test_what_a_chain_does_not_take(chain: EmbeddedChain, key: Key) -> None:
    chain.send_raw_transaction(transfer(chain, key, 0))
    poor = Key.random()
    before = chain.head()
    cases = [
        (transfer(chain, key, 0), NonceTooLow, "next nonce 1, tx nonce 0"),
        (transfer(chain, key, 2), TransactionRejected, "nonce too high"),
        (transfer(chain, key, 1, maxFeePerGas=1), FeeTooLow, "base fee"),
        (transfer(chain, poor, 0), InsufficientFunds, "insufficient funds"),
        (transfer(chain, key, 1, gas=61_000_000), TransactionRejected, "block gas limit"),
        (transfer(chain, key, 1, gas=20_000), TransactionRejected, "invalid transaction"),
        (b"", TransactionRejected, "not a valid"),
        (b"\x7f\x00", TransactionRejected, "not a valid"),
    ]
    for raw, error, words in cases:
        with pytest.raises(error, match=words):
            chain.send_raw_transaction(raw)
    assert chain.head() == before


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(st.data())
def test_junk_is_rejected_and_nothing_else(
    chain: EmbeddedChain, key: Key, data: st.DataObject
) -> None:
    raw = bytearray(transfer(chain, key, 0, value=10**40))
    for _ in range(data.draw(st.integers(0, 3))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(raw)))
    with pytest.raises(TransactionRejected):
        chain.send_raw_transaction(bytes(raw[:cut] if data.draw(st.booleans()) else raw))
    assert chain.head().block_number == 0


def fill(chain: EmbeddedChain, key: Key) -> None:
    for nonce in range(1000):
        chain.send_raw_transaction(transfer(chain, key, nonce, gas=10**6, data=bytes(9999)))


def test_a_full_disk_stops_the_chain_between_two_blocks(tmp_path: Path, key: Key) -> None:
    with EmbeddedChain.open(tmp_path, fund=[key.address], clock=clock) as chain:
        chain.limit_pages(40)
        with pytest.raises(ChainStorageFull):
            fill(chain, key)
        head = chain.head()
        nonce = int(head.block_number)
        assert nonce > 0
        assert chain.nonce(key.address, head) == nonce
        with pytest.raises(ChainStorageFull):
            chain.send_raw_transaction(transfer(chain, key, nonce, gas=10**6, data=bytes(99_999)))
        chain.limit_pages(100_000)
        chain.send_raw_transaction(transfer(chain, key, nonce))
    with EmbeddedChain.open(tmp_path, fund=[], clock=clock) as chain:
        assert chain.head().parent_hash == head.hash
        assert chain.logs(LogFilter(0, head.block_number + 1)) == []


def test_a_folder_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ChainStorageFailed, match="can't be made"):
        EmbeddedChain.open(tmp_path / "file", fund=[], clock=clock)
    (tmp_path / DATABASE_NAME).mkdir()
    with pytest.raises(ChainStorageFailed, match="can't be read or written"):
        EmbeddedChain.open(tmp_path, fund=[], clock=clock)


def test_a_database_without_a_head_is_corrupt(tmp_path: Path, key: Key) -> None:
    EmbeddedChain.open(tmp_path, fund=[key.address], clock=clock).close()
    store = SqliteStore(tmp_path / DATABASE_NAME)
    with store.transaction():
        del store[b"v1:canonical_head_hash"]
    store.close()
    with pytest.raises(CorruptChain, match="no readable head"):
        EmbeddedChain.open(tmp_path, fund=[], clock=clock)


def test_a_nested_document_of_a_stranger_raises_instead_of_ending_the_process() -> None:
    program = (
        "import json\n"
        "import potnode.chain.embedded\n"
        "try:\n"
        "    json.loads('[' * 1_000_000)\n"
        "except RecursionError:\n"
        "    print('raised')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout == "raised\n"
