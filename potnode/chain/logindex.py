"""Event logs by address and topics, kept beside the blocks of the embedded chain.

A chain only has bloom filters, so finding one job's events would mean opening every block. This
index is written in the same database transaction as the block it belongs to, so it can't disagree
with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from eth.abc import BlockAPI, ReceiptAPI

from potnode.chain.errors import RpcError
from potnode.chain.kv import SqliteStore

MAX_TOPICS = 4
MAX_LOGS_PER_QUERY = 10_000
"""A query for more is refused, as public nodes do: it would hold the node's memory hostage."""


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One event of a mined transaction. Hashes and topics are 32 bytes, the address 20."""

    block: int
    position: int
    transaction_index: int
    block_hash: bytes
    transaction_hash: bytes
    address: bytes
    topics: tuple[bytes, ...]
    data: bytes


@dataclass(frozen=True, slots=True)
class LogFilter:
    """Which logs are wanted: both blocks inclusive; no address means any; an empty choice of a
    topic means any.
    """

    first_block: int
    last_block: int
    addresses: tuple[bytes, ...] = ()
    topics: tuple[tuple[bytes, ...], ...] = ()


def index_block(store: SqliteStore, block: BlockAPI, receipts: Sequence[ReceiptAPI]) -> None:
    """Add the logs of `block`, whose transactions gave `receipts`; part of the open transaction."""
    rows: list[tuple[Any, ...]] = []
    for index, (transaction, receipt) in enumerate(zip(block.transactions, receipts, strict=True)):
        for log in receipt.logs:
            topics = [topic.to_bytes(32, "big") for topic in log.topics]
            topics_or_null = [*topics, *[None] * (MAX_TOPICS - len(topics))]
            rows.append(
                (
                    block.number,
                    len(rows),
                    index,
                    block.hash,
                    transaction.hash,
                    log.address,
                    *topics_or_null,
                    log.data,
                )
            )
    if rows:
        store.insert("INSERT INTO log VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)


def find_logs(store: SqliteStore, wanted: LogFilter) -> list[LogEntry]:
    """The logs that match, in chain order. Raises RpcError when there are more than
    MAX_LOGS_PER_QUERY.
    """
    conditions = ["block BETWEEN ? AND ?"]
    parameters: list[Any] = [wanted.first_block, wanted.last_block]
    choices = [("address", wanted.addresses)]
    choices += [(f"topic{position}", choice) for position, choice in enumerate(wanted.topics)]
    for column, choice in choices:
        if choice:
            conditions.append(f"{column} IN ({', '.join('?' * len(choice))})")
            parameters += choice
        elif column != "address":
            # A wildcard still demands that the topic is there: [A, null] does not match a log of
            # one topic.
            conditions.append(f"{column} IS NOT NULL")
    # Column names above are ours; every value goes in as a parameter.
    where = " AND ".join(conditions)
    statement = f"SELECT * FROM log WHERE {where} ORDER BY block, position LIMIT ?"  # noqa: S608
    rows = store.select(statement, [*parameters, MAX_LOGS_PER_QUERY + 1])
    if len(rows) > MAX_LOGS_PER_QUERY:
        raise RpcError(
            -32005, f"more than {MAX_LOGS_PER_QUERY} logs match: ask for fewer blocks at a time"
        )
    return [
        LogEntry(
            block=row[0],
            position=row[1],
            transaction_index=row[2],
            block_hash=row[3],
            transaction_hash=row[4],
            address=row[5],
            topics=tuple(topic for topic in row[6:10] if topic is not None),
            data=row[10],
        )
        for row in rows
    ]
