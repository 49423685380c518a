"""The contract's words: call data, events and errors of `Pot`, from the ABI in the package.

Encoding and decoding only; nothing here talks to a chain. Decoding is strict: an event that is not
exactly what the contract emits is BadChainData, because the bytes come from a node that may lie.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from eth_abi.abi import decode, encode
from eth_abi.exceptions import DecodingError
from eth_utils.abi import collapse_if_tuple
from eth_utils.crypto import keccak

from potnode.chain.errors import BadChainData
from potnode.chain.ports import Log
from potnode.spec.errors import InvalidJob
from potnode.spec.hashing import sha256
from potnode.spec.params import ABI_TYPES, WORD, JobParams, decode_params, encode_params, job_id

_ERROR_STRING = keccak(b"Error(string)")[:4]
_PANIC = keccak(b"Panic(uint256)")[:4]
_MAX_SHOWN_ARGUMENT = 80


@dataclass(frozen=True, slots=True)
class _Callable:
    """A function or error: its 4-byte selector and the ABI types of what goes in and comes out."""

    name: str
    selector: bytes
    inputs: tuple[str, ...]
    input_names: tuple[str, ...]
    outputs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Artifact:
    """The compiled contract: ABI as JSON values, creation code as bytes."""

    abi: tuple[Mapping[str, Any], ...]
    bytecode: bytes


@dataclass(frozen=True, slots=True)
class JobCreated:
    """A job as its creation event has it; id, manifest hash and owner are checked."""

    job_id: bytes
    params: JobParams
    manifest: bytes


@dataclass(frozen=True, slots=True)
class StepRecorded:
    """A recorded step as its event has it; the new head follows from the other two."""

    job_id: bytes
    step: int
    prev_head: bytes
    new_head: bytes
    step_data: bytes


@dataclass(frozen=True, slots=True)
class JobState:
    """What the contract keeps of a job. Addresses 20 bytes, times in seconds, amounts in wei or
    units.

    The fields have the order of the contract's struct `Job`.
    """

    operator: bytes
    population: int
    min_bits: int
    window: int
    steps: int
    step_limit: int
    owner: bytes
    validate_every: int
    closed: bool
    population_start: int
    candidates_per_share: int
    token: bytes
    created_at: int
    pot_per_step: int
    operator_fee: int
    challenge_window: int
    stall_timeout: int
    state_root: bytes
    escrow: int


MAX_CONSTRUCTOR = 64  # bytes in front of the runtime; ours has 26


@cache
def artifact() -> Artifact:
    """The contract this version was built with."""
    document = json.loads(files("potnode.chain").joinpath("abi/Pot.json").read_text("ascii"))
    return Artifact(tuple(document["abi"]), bytes.fromhex(document["bytecode"].removeprefix("0x")))


def is_ours(runtime: bytes) -> bool:
    """Whether code found on a chain is what this version's contract leaves there.

    The contract has no immutables and no metadata, so its runtime is its creation code without the
    few instructions that copy it.
    """
    created = artifact().bytecode
    return len(created) - len(runtime) <= MAX_CONSTRUCTOR and created.endswith(runtime)


@cache
def _callables(kind: str) -> dict[str, _Callable]:
    found = {}
    for entry in artifact().abi:
        if entry["type"] == kind:
            inputs = tuple(collapse_if_tuple(item) for item in entry["inputs"])
            found[entry["name"]] = _Callable(
                name=entry["name"],
                selector=keccak(f"{entry['name']}({','.join(inputs)})".encode("ascii"))[:4],
                inputs=inputs,
                input_names=tuple(item["name"] for item in entry["inputs"]),
                outputs=tuple(collapse_if_tuple(item) for item in entry.get("outputs", ())),
            )
    return found


@cache
def event_topic(name: str) -> bytes:
    """The 32-byte first topic of an event of the contract."""
    for entry in artifact().abi:
        if entry["type"] == "event" and entry["name"] == name:
            types = ",".join(collapse_if_tuple(item) for item in entry["inputs"])
            return keccak(f"{name}({types})".encode("ascii"))
    raise KeyError(name)


def head_after(prev_head: bytes, step_data: bytes) -> bytes:
    """The head after a step, as `potnode.spec.work.next_head` defines it, by a native keccak.

    A record has thousands of bytes, for which the specification's own takes ten milliseconds.
    """
    return keccak(prev_head + keccak(step_data))


def encode_call(function: str, *arguments: Any) -> bytes:
    """Call data. Addresses and hashes are bytes. KeyError if the contract has no such function."""
    called = _callables("function")[function]
    return called.selector + encode(called.inputs, arguments)


def decode_result(function: str, returned: bytes) -> tuple[Any, ...]:
    """What a function returned, by value; addresses come as bytes. Raises BadChainData."""
    outputs = _callables("function")[function].outputs
    try:
        values = decode(outputs, returned)
    except DecodingError as error:
        raise BadChainData(
            f"the answer to {function} is not what the contract returns: {error}"
        ) from error
    return tuple(
        _address_to_bytes(kind, value) for kind, value in zip(outputs, values, strict=True)
    )


def _address_to_bytes(kind: str, value: Any) -> Any:
    if kind == "address":
        return bytes.fromhex(value[2:])
    if kind.startswith("("):
        parts = kind[1:-1].split(",")  # the contract returns no struct within a struct
        return tuple(_address_to_bytes(part, item) for part, item in zip(parts, value, strict=True))
    return value


def encode_create_job(params: JobParams, manifest: bytes) -> bytes:
    """Call data of createJob."""
    struct = encode_params(params)
    # A static struct stands in place; the manifest's offset follows it, and points just past
    # itself.
    offset = (len(struct) + WORD).to_bytes(WORD, "big")
    selector = _callables("function")["createJob"].selector
    return selector + struct + offset + _dynamic_bytes(manifest)


def encode_record(prev_head: bytes, step_data: bytes) -> bytes:
    """Call data of record."""
    return encode_call("record", prev_head, step_data)


def decode_job_state(returned: bytes) -> JobState:
    """The result of the view `jobs`."""
    (values,) = decode_result("jobs", returned)
    return JobState(*values)


def decode_job_created(log: Log, chain_id: int, contract: bytes) -> JobCreated:
    """A JobCreated event of `contract`. Raises BadChainData unless its id, owner and manifest hash
    are right.
    """
    expected_topics = 3
    if len(log.topics) != expected_topics or log.topics[0] != event_topic("JobCreated"):
        raise BadChainData("an event that should be JobCreated is not", field="event")
    struct_size = WORD * len(ABI_TYPES)
    head, tail = log.data[:struct_size], log.data[struct_size:]
    try:
        params = decode_params(head)
    except InvalidJob as error:
        raise BadChainData(f"JobCreated: {error}", field="params") from error
    manifest = _canonical_bytes(tail, struct_size + WORD, "JobCreated", None)
    created = JobCreated(log.topics[1], params, manifest)
    if job_id(chain_id, contract, params) != created.job_id:
        raise BadChainData(
            f"job 0x{created.job_id.hex()} is not the id of its parameters", field="params"
        )
    if log.topics[2] != params.owner.rjust(WORD, b"\0"):
        raise BadChainData(
            f"job 0x{created.job_id.hex()} names another owner in its topic", field="owner"
        )
    if sha256(manifest) != params.manifest_hash:
        raise BadChainData(
            f"job 0x{created.job_id.hex()} has another manifest than its hash", field="manifest"
        )
    return created


def decode_step_recorded(log: Log, *, bound: bool = True) -> StepRecorded:
    """A StepRecorded event. Raises BadChainData unless the new head binds what it should.

    Without `bound` the heads are taken as they stand: for a reader that checks them itself, because
    it can say more of a record that does not fit.

    The content of `step_data` is not looked at: that is `potnode.spec.record`'s.
    """
    expected_topics = 3
    if len(log.topics) != expected_topics or log.topics[0] != event_topic("StepRecorded"):
        raise BadChainData("an event that should be StepRecorded is not", field="event")
    step = int.from_bytes(log.topics[2], "big")
    if step >= 1 << 32:
        raise BadChainData(f"step {step} is no 32-bit number", field="step")
    prev_head, new_head = log.data[:WORD], log.data[WORD : 2 * WORD]
    step_data = _canonical_bytes(log.data[2 * WORD :], 3 * WORD, "StepRecorded", step)
    if bound and head_after(prev_head, step_data) != new_head:
        raise BadChainData(
            f"step {step}: the recorded head is not that of the recorded bytes",
            step=step,
            field="new_head",
        )
    return StepRecorded(log.topics[1], step, prev_head, new_head, step_data)


def explain_revert(revert_data: bytes) -> str:
    """A custom error of the contract as `Name(argument=value, ...)`; other reverts in words."""
    selector, encoded = revert_data[:4], revert_data[4:]
    if not revert_data:
        return "reverted without a reason (out of gas, or no such function)"
    try:
        if selector == _ERROR_STRING:
            return str(decode(["string"], encoded)[0])
        if selector == _PANIC:
            return f"panic 0x{decode(['uint256'], encoded)[0]:02x}"
        for error in _callables("error").values():
            if error.selector == selector:
                values = decode(error.inputs, encoded)
                shown = (f"{n}={_shown(v)}" for n, v in zip(error.input_names, values, strict=True))
                return f"{error.name}({', '.join(shown)})"
    except DecodingError:
        pass  # then its selector is all that can be said
    return f"unknown error 0x{revert_data[:36].hex()}"


def _shown(value: object) -> str:
    text = "0x" + value.hex() if isinstance(value, bytes) else str(value)
    return text if len(text) <= _MAX_SHOWN_ARGUMENT else text[:_MAX_SHOWN_ARGUMENT] + "..."


def _dynamic_bytes(value: bytes) -> bytes:
    return len(value).to_bytes(WORD, "big") + value + bytes(-len(value) % WORD)


def _canonical_bytes(encoded: bytes, offset: int, event: str, step: int | None) -> bytes:
    """The only dynamic member of an event's data: its offset word, length and padded bytes, no
    more.
    """
    length = int.from_bytes(encoded[WORD : 2 * WORD], "big")
    value = encoded[2 * WORD : 2 * WORD + length] if length <= len(encoded) else b""
    if encoded != offset.to_bytes(WORD, "big") + _dynamic_bytes(value):
        raise BadChainData(
            f"{event}: the data are not canonical ABI encoding", step=step, field="data"
        )
    return value
