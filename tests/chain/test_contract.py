"""Call data, events and errors: exact, and strict about what comes back."""

from __future__ import annotations

from dataclasses import replace

import pytest
from eth_abi.abi import encode
from eth_utils.crypto import keccak
from hypothesis import given
from hypothesis import strategies as st

from potnode.chain import contract
from potnode.chain.errors import BadChainData
from potnode.chain.ports import Log
from potnode.spec.params import ABI_TYPES, job_id
from potnode.spec.work import head_zero, next_head
from tests.builders import make_job

OWNER = bytes.fromhex("aa" * 20)
POT = bytes.fromhex("cc" * 20)
CHAIN = 7
JOB = make_job(OWNER)
ID = job_id(CHAIN, POT, JOB.params)
STRUCT = f"({','.join(ABI_TYPES.values())})"


def values() -> tuple[object, ...]:
    return tuple(getattr(JOB.params, name) for name in ABI_TYPES)


def created_log() -> Log:
    topics = (contract.event_topic("JobCreated"), ID, bytes(12) + OWNER)
    data = encode([STRUCT, "bytes"], [values(), JOB.manifest])
    return Log(topics, data, 5, 0, bytes(32))


def step_log(step: int = 3, step_data: bytes = b"the record") -> Log:
    prev = head_zero(ID)
    topics = (contract.event_topic("StepRecorded"), ID, step.to_bytes(32, "big"))
    data = encode(["bytes32", "bytes32", "bytes"], [prev, next_head(prev, step_data), step_data])
    return Log(topics, data, 6, 0, bytes(32))


def test_topics_are_the_interfaces() -> None:
    signature = f"JobCreated(bytes32,address,{STRUCT},bytes)"
    assert contract.event_topic("JobCreated") == keccak(signature.encode())
    signature = "StepRecorded(bytes32,uint32,bytes32,bytes32,bytes)"
    assert contract.event_topic("StepRecorded") == keccak(signature.encode())
    with pytest.raises(KeyError):
        contract.event_topic("Nothing")


def test_call_data_is_standard_abi() -> None:
    selector = keccak(f"createJob({STRUCT},bytes)".encode())[:4]
    expected = selector + encode([STRUCT, "bytes"], [values(), JOB.manifest])
    assert contract.encode_create_job(JOB.params, JOB.manifest) == expected
    selector = keccak(b"record(bytes32,bytes)")[:4]
    expected = selector + encode(["bytes32", "bytes"], [bytes(32), b"x" * 33])
    assert contract.encode_record(bytes(32), b"x" * 33) == expected


def test_events_are_decoded() -> None:
    created = contract.decode_job_created(created_log(), CHAIN, POT)
    assert created == contract.JobCreated(ID, JOB.params, JOB.manifest)
    recorded = contract.decode_step_recorded(step_log())
    assert (recorded.job_id, recorded.step, recorded.step_data) == (ID, 3, b"the record")
    assert recorded.new_head == contract.head_after(recorded.prev_head, recorded.step_data)


def test_another_chain_or_contract_makes_another_job() -> None:
    with pytest.raises(BadChainData, match="not the id"):
        contract.decode_job_created(created_log(), CHAIN + 1, POT)
    with pytest.raises(BadChainData, match="not the id"):
        contract.decode_job_created(created_log(), CHAIN, OWNER)


def flipped(data: bytes, bit: int) -> bytes:
    bit %= 8 * len(data)
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def altered(log: Log, part: int, bit: int) -> Log:
    """One bit of one topic (0..2) or of the data (3) changed."""
    if part == len(log.topics):
        return replace(log, data=flipped(log.data, bit))
    topics = list(log.topics)
    topics[part] = flipped(topics[part], bit)
    return replace(log, topics=tuple(topics))


@given(st.integers(0, 3), st.integers(0, 10**6))
def test_no_bit_of_a_job_can_be_changed(part: int, bit: int) -> None:
    with pytest.raises(BadChainData):
        contract.decode_job_created(altered(created_log(), part, bit), CHAIN, POT)


@given(st.integers(0, 10**6))
def test_no_bit_of_a_recorded_step_can_be_changed(bit: int) -> None:
    with pytest.raises(BadChainData) as caught:
        contract.decode_step_recorded(altered(step_log(), 3, bit))
    assert caught.value.step == 3
    assert caught.value.field in ("data", "new_head")


def test_topics_of_a_step_are_checked() -> None:
    log = step_log()
    for topics in ((), log.topics[:2], (*log.topics, bytes(32)), (bytes(32), *log.topics[1:])):
        with pytest.raises(BadChainData):
            contract.decode_step_recorded(replace(log, topics=topics))
    with pytest.raises(BadChainData, match="32-bit"):
        contract.decode_step_recorded(step_log(step=2**32))


@given(st.binary(max_size=300))
def test_junk_is_bad_chain_data(data: bytes) -> None:
    for log in (created_log(), step_log()):
        with pytest.raises(BadChainData):
            contract.decode_job_created(replace(log, data=data), CHAIN, POT)
    with pytest.raises(BadChainData):
        contract.decode_step_recorded(replace(step_log(), data=data))


def test_results_that_are_none() -> None:
    with pytest.raises(BadChainData, match="steps"):
        contract.decode_result("steps", b"")
    with pytest.raises(BadChainData):
        contract.decode_result("steps", b"\xff" * 32)


def revert(signature: str, *arguments: object) -> bytes:
    types = signature[signature.index("(") + 1 : -1]
    encoded = encode(types.split(","), arguments) if types else b""
    return keccak(signature.encode())[:4] + encoded


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (revert("WrongStep(uint256,uint256)", 4, 3), "WrongStep(expected=4, given=3)"),
        (revert("NoSteps()"), "NoSteps()"),
        (revert("UnknownJob(bytes32)", b"\x0a" * 32), "UnknownJob(job=0x" + "0a" * 32 + ")"),
        (revert("Error(string)", "plain words"), "plain words"),
        (revert("Panic(uint256)", 17), "panic 0x11"),
        (b"", "reverted without a reason (out of gas, or no such function)"),
        (b"\x01\x02\x03\x04", "unknown error 0x01020304"),
        (revert("WrongStep(uint256,uint256)", 4, 3)[:20], "unknown error 0x"),
    ],
)
def test_errors_are_readable(data: bytes, words: str) -> None:
    assert contract.explain_revert(data).startswith(words)


@given(st.binary(max_size=100))
def test_any_revert_is_explained(data: bytes) -> None:
    assert contract.explain_revert(data)


def test_the_artifact_is_whole() -> None:
    shipped = contract.artifact()
    assert len(shipped.bytecode) > 1000
    names = {entry["name"] for entry in shipped.abi if entry["type"] == "function"}
    assert {"createJob", "record", "settle", "withdraw", "close", "jobs", "heads"} <= names
