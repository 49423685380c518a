"""Parent blocks: on which blocks of another chain a job's shares were mined, and which were blocks.

All of it follows from the records: a header names its previous block and states its target. Whether
the parent chain has that block, asked for that target, or kept what was found, is not on this chain
and not said here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from potnode.spec.parent import is_block, standalone_parent
from potnode.spec.record import StepRecord

# A text shows so many of the first and of the last; a document shows all.
SHOWN = 3

T = TypeVar("T")


@dataclass(slots=True)
class Parent:
    """A previous block that shares name.

    prev_hash_le: 32 bytes as in the header. standalone: it is the job's own, which is no block.
    first_step, last_step: of the steps that count a share on it. shares: how many there are.
    """

    prev_hash_le: bytes
    standalone: bool
    first_step: int
    last_step: int
    shares: int = 0


@dataclass(frozen=True, slots=True)
class Block:
    """A share that was a block, too, by the target its own header states.

    hash: 32 digest bytes. step, index: its place on the chain. prev_hash_le: its parent, 32 bytes.
    """

    hash: bytes
    step: int
    index: int
    prev_hash_le: bytes


@dataclass(slots=True)
class Parents:
    """What a job's shares were mined on, by the steps counted so far.

    found: by previous hash, in the order in which they were first used. blocks: as they came.
    """

    found: dict[bytes, Parent] = field(default_factory=dict)
    blocks: list[Block] = field(default_factory=list)

    def count(self, record: StepRecord, hashes: Sequence[bytes]) -> None:
        """Take a step that is right; `hashes` are H of its entries, in their order."""
        standalone, step = standalone_parent(record.job_id), record.step
        # Rows stand in an order that is luck; by their age, an earlier block comes first.
        for row in sorted(record.templates, key=lambda row: -row.age):
            parent = row.prev_hash_le
            if parent not in self.found:
                self.found[parent] = Parent(parent, parent == standalone, step, step)
            self.found[parent].last_step = step
        for i, (entry, hash_) in enumerate(zip(record.entries, hashes, strict=True)):
            row = record.templates[entry.template]
            parent = row.prev_hash_le
            self.found[parent].shares += 1
            if parent != standalone and is_block(hash_, row.nbits_le):
                self.blocks.append(Block(hash_, step, i, parent))

    def lines(self) -> Iterator[str]:
        """For people; nothing before the first step."""
        named = [parent for parent in self.found.values() if not parent.standalone]
        if not named:
            if self.found:
                yield "parent blocks: none, all work was standalone"
            return
        also = "" if len(named) == len(self.found) else ", and standalone work"
        yield f"parent blocks: {len(named)}{also}"
        yield from _bounded(named, _parent_line)
        if not self.blocks:
            yield "none of the shares was a block itself"
            return
        yield f"shares that were blocks themselves, by their headers' nbits: {len(self.blocks)}"
        yield from _bounded(self.blocks, _block_line)

    def document(self) -> dict[str, list[dict[str, Any]]]:
        """As JSON, hashes in display order: `parents` and `blocks`."""
        return {
            "parents": [
                {
                    "hash": _display(parent.prev_hash_le),
                    "standalone": parent.standalone,
                    "first_step": parent.first_step,
                    "last_step": parent.last_step,
                    "shares": parent.shares,
                }
                for parent in self.found.values()
            ],
            "blocks": [
                {
                    "hash": _display(block.hash),
                    "step": block.step,
                    "index": block.index,
                    "parent": _display(block.prev_hash_le),
                }
                for block in self.blocks
            ],
        }


def _bounded(items: Sequence[T], line: Callable[[T], str]) -> Iterator[str]:
    """A line for each of the first and the last few, and one for how many are between."""
    between = len(items) - 2 * SHOWN
    if between <= 1:  # its own line is no longer than the one that would stand for it
        yield from map(line, items)
        return
    yield from map(line, items[:SHOWN])
    yield f"  ... {between} more ..."
    yield from map(line, items[-SHOWN:])


def _parent_line(parent: Parent) -> str:
    steps = f"step {parent.first_step}"
    if parent.last_step != parent.first_step:
        steps = f"steps {parent.first_step} to {parent.last_step}"
    return f"  {_display(parent.prev_hash_le)} in {steps}, shares: {parent.shares}"


def _block_line(block: Block) -> str:
    return f"  {_display(block.hash)} in step {block.step}, entry {block.index}"


def _display(hash_: bytes) -> str:
    return hash_[::-1].hex()
