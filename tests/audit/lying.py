"""Nodes that lie: one byte of one answer is another."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from potnode.chain.contract import event_topic
from potnode.chain.hexes import data
from potnode.chain.ports import Ledger, Transport
from potnode.chain.rpc import Connection, RpcLedger
from potnode.spec.params import ABI_TYPES, WORD
from potnode.spec.record import StepRecord, entry_size

Lie = Callable[[str, Sequence[Any], Any], Any]
STEP_DATA_AT = 4 * WORD
"""Of an event's data: previous head, new head, offset and length stand before the record."""


class Remembered:
    """Answers from memory what was asked before: auditing one job a thousand times stays quick."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._answers: dict[str, Any] = {}

    def request(self, method: str, params: Sequence[Any]) -> Any:
        key = json.dumps([method, params])
        if key not in self._answers:
            self._answers[key] = self._transport.request(method, params)
        return self._answers[key]


class Lying:
    """Passes every answer through `lie`."""

    def __init__(self, transport: Transport, lie: Lie) -> None:
        self._transport = transport
        self._lie = lie

    def request(self, method: str, params: Sequence[Any]) -> Any:
        return self._lie(method, params, self._transport.request(method, params))


def lying_ledger(transport: Transport, contract: bytes, lie: Lie) -> Ledger:
    return RpcLedger(Connection(Lying(transport, lie)), contract)


def flipped(hexadecimal: str, at: int, change: int) -> str:
    """Hex data with byte `at` changed by the bits of `change`."""
    changed = bytearray.fromhex(hexadecimal[2:])
    changed[at] ^= change
    return data(bytes(changed))


def in_logs(event: str, number: int, change: Callable[[dict[str, Any]], dict[str, Any]]) -> Lie:
    """Changes log `number` of the answers that consist of this kind of event."""

    def lie(method: str, _: Sequence[Any], answer: Any) -> Any:
        topic = data(event_topic(event))
        if method != "eth_getLogs" or len(answer) <= number or answer[0]["topics"][0] != topic:
            return answer
        return [*answer[:number], change(answer[number]), *answer[number + 1 :]]

    return lie


def in_event_data(event: str, number: int, at: int, change: int = 1) -> Lie:
    """Byte `at` of an event's data is another."""
    return in_logs(event, number, lambda log: {**log, "data": flipped(log["data"], at, change)})


def in_topic(event: str, number: int, topic: int, at: int, change: int = 1) -> Lie:
    """Byte `at` of a topic is another."""

    def changed(log: dict[str, Any]) -> dict[str, Any]:
        topics = list(log["topics"])
        topics[topic] = flipped(topics[topic], at, change)
        return {**log, "topics": topics}

    return in_logs(event, number, changed)


def in_view(selector: bytes, at: int, change: int = 1) -> Lie:
    """Byte `at` of what a function of the contract returns is another."""

    def lie(method: str, params: Sequence[Any], answer: Any) -> Any:
        asked = method == "eth_call" and params[0]["data"].startswith(data(selector))
        return flipped(answer, at, change) if asked else answer

    return lie


def record_layout(record: StepRecord) -> list[str]:
    """The field of every byte of a record (docs/protocol.md section 7)."""
    sizes = [("version", 1), ("job", 32), ("step", 4), ("miners", 2)]
    for i, miner in enumerate(record.miners):
        where = f"miners[{i}]"
        sizes += [(f"{where}.miner", 20), (f"{where}.bits", 1), (f"{where}.script_len", 1)]
        sizes.append((f"{where}.script", len(miner.script)))
    sizes.append(("templates", 1))
    for i, template in enumerate(record.templates):
        where = f"templates[{i}]"
        sizes += [(f"{where}.age", 1), (f"{where}.prev_hash", 32), (f"{where}.nbits", 4)]
        sizes += [(f"{where}.script_at", 2), (f"{where}.coinbase_len", 2)]
        sizes += [(f"{where}.coinbase", len(template.coinbase)), (f"{where}.branch_len", 1)]
        sizes.append((f"{where}.branch", 32 * len(template.branch)))
    for i, one in enumerate(record.entries):
        where = f"entries[{i}]"
        entry = [("template", 1), ("miner", 2), ("extranonce", 16), ("version", 4), ("ntime", 4)]
        entry += [("nonce", 4), *((f"losses[{j}]", 5) for j in range(len(one.losses)))]
        if sum(size for _, size in entry) != entry_size(len(one.losses)):
            raise ValueError("an entry has another size")
        sizes += [(f"{where}.{name}", size) for name, size in entry]
    sizes.append(("data_root", 32))
    if record.validation is not None:
        sizes += [("validation.loss", 5), ("validation.hits", 4)]
    sizes.append(("state_root", 32))
    return [name for name, size in sizes for _ in range(size)]


def created_layout(manifest_size: int) -> list[str]:
    """The field of every byte of a JobCreated event's data."""
    fields = [f"params.{name}" for name in ABI_TYPES for _ in range(WORD)]
    fields += ["data"] * (2 * WORD) + ["manifest"] * manifest_size
    return fields + ["data"] * (-manifest_size % WORD)
