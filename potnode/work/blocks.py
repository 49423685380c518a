"""Blocks that were found: on disk first, then to every bitcoind until each has answered.

A block is money and there is no second chance to find it. So it is written to a file of its own
before anything else happens, it is handed to all bitcoinds and not just the one whose template it
is of, and what they answer is kept in the file; a node that is restarted goes on where it was. This
module knows nothing of training, of the store or of the EVM: when those are down, blocks still go.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, get_args

import msgspec

from potnode.work.backoff import Backoff
from potnode.work.bitcoind import Bitcoind
from potnode.work.errors import BitcoindError, CallRefused
from potnode.work.parent import ParentBlock, block_hash

log = logging.getLogger(__name__)

DEEP: Final = 6
"""Confirmations after which a bitcoind that never answered is not needed any more."""

MAX_AGE: Final = 14 * 86_400.0
"""Seconds after which a block is given up, which no chain will take any more."""

LAST_OFFER: Final = 2.0
"""Seconds that a node which ends gives to blocks just found."""

AT_ONCE: Final = 4
"""Blocks one bitcoind is handed at a time, as its RPC server has a few workers (-rpcthreads) for
all calls. On regtest blocks are found by the hundred, and templates must not wait behind them."""

MOST_OF_A_PARENT: Final = 16
"""Blocks kept of those found on one block: at most one of them counts. On main a second is rare;
where blocks are easier than shares, as on regtest and testnets, each share is one, and writing
hundreds a second to disk would leave time for nothing else."""

SHOWN_PROBLEMS: Final = 3
"""Blocks that are named where many wait."""

_ACCEPTED: Final = {None: "accepted", "duplicate": "duplicate"}
_KEPT_ASIDE: Final = {"inconclusive", "duplicate-inconclusive"}
# Reasons that go away by themselves: a bitcoind that has yet to see the block before, and clocks.
_NOT_YET: Final = {"prev-blk-not-found", "time-too-new"}
_DECODE_FAILED: Final = -22


Status = Literal["accepted", "inconclusive", "rejected", "abandoned", "pending"]
STATUSES: Final[tuple[Status, ...]] = get_args(Status)


class Answer(msgspec.Struct, frozen=True):
    """What a bitcoind said to a block.

    state: accepted, duplicate (it had it), inconclusive (kept, off its best chain), rejected, or
    waiting (no final answer yet). reason: why rejected or waiting. at: Unix seconds.
    """

    state: str
    reason: str | None
    at: float


class _File(msgspec.Struct):
    hash: str
    height: int
    finder: str
    found_at: float
    done: bool
    answers: dict[str, Answer]
    block: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundBlock:
    """A found block. hash: as people write it. finder: whose share it was, as the pool names them.

    found_at: Unix seconds. answers: by host and port of the bitcoind. done: nothing more will be
    tried. on_disk: False where writing its file failed.
    """

    hash: str
    height: int
    finder: str
    found_at: float
    answers: dict[str, Answer]
    done: bool = False
    on_disk: bool = True

    @property
    def status(self) -> Status:
        """The best of what bitcoinds said; abandoned where none said anything in time."""
        states = {answer.state for answer in self.answers.values()}
        if states & {"accepted", "duplicate"}:
            return "accepted"
        if "inconclusive" in states:
            return "inconclusive"
        if not self.done:
            return "pending"
        return "rejected" if "rejected" in states else "abandoned"


class BlockKeeper:
    """Keeps found blocks in `folder`, one file each, and hands them in. `run` does the latter.

    Args:
        folder: made if it is not there. Files of unfinished blocks in it are taken up again.
        bitcoinds: all that are to be handed every block; owned by the caller.
        deep: confirmations with which silent bitcoinds are no longer waited for.
        max_age: seconds after which a block is given up.
        time: Unix seconds.

    Raises:
        OSError: the folder cannot be made or read.
    """

    def __init__(
        self,
        folder: Path,
        bitcoinds: Sequence[Bitcoind],
        *,
        deep: int = DEEP,
        max_age: float = MAX_AGE,
        backoff: Backoff | None = None,
        time: Callable[[], float] = time.time,
    ) -> None:
        self._folder = folder
        self._bitcoinds = tuple(bitcoinds)
        self._deep = deep
        self._max_age = max_age
        self._backoff = backoff or Backoff(cap=30.0)
        self._time = time
        self._blocks: dict[str, FoundBlock] = {}
        # Only of blocks that are still handed in; the files have all of them.
        self._data: dict[str, bytes] = {}
        self._queue: asyncio.Queue[str] = asyncio.Queue()
        self._parent, self._of_parent = b"", 0
        self._turns = {one.name: asyncio.Semaphore(AT_ONCE) for one in self._bitcoinds}
        folder.mkdir(parents=True, exist_ok=True)
        self._load()

    def found(
        self, parent: ParentBlock, header80: bytes, coinbase_legacy: bytes, *, finder: str
    ) -> FoundBlock | None:
        """Write a found block to disk and have it handed in. To be called on the event loop.

        Where the disk does not take it, that is logged and it is handed in all the same. None for
        one that comes after `MOST_OF_A_PARENT` on the same block: it is dropped.

        Args:
            parent: of the template the share was of.
            header80: as hashed. coinbase_legacy: as hashed, stripped, holes filled.
            finder: who is told to have found it.
        """
        hash_ = block_hash(header80)
        if hash_ in self._blocks:
            return self._blocks[hash_]
        if not self._counts(header80[4:36]):
            return None
        self._data[hash_] = parent.block(header80, coinbase_legacy)
        self._blocks[hash_] = FoundBlock(
            hash=hash_, height=parent.height, finder=finder, found_at=self._time(), answers={}
        )
        self._save(hash_)
        log.info("found block %d %s by %s", parent.height, hash_, finder)
        self._queue.put_nowait(hash_)
        return self._blocks[hash_]

    def _counts(self, prev_hash_le: bytes) -> bool:
        """Count a block found on this one; whether it is to be kept."""
        if prev_hash_le != self._parent:
            self._parent, self._of_parent = prev_hash_le, 0
        self._of_parent += 1
        if self._of_parent == MOST_OF_A_PARENT + 1:
            log.warning(
                "more than %d blocks found on %s: no more are kept, at most one can count",
                MOST_OF_A_PARENT,
                prev_hash_le[::-1].hex(),
            )
        return self._of_parent <= MOST_OF_A_PARENT

    def blocks(self) -> list[FoundBlock]:
        """All blocks ever found, the latest first."""
        return sorted(self._blocks.values(), key=lambda block: block.found_at, reverse=True)

    def problems(self) -> list[str]:
        """Blocks that no bitcoind has taken yet, or that are not on disk: a few, and how many."""
        blocks = self._blocks.values()
        waiting = [block.hash for block in blocks if block.status == "pending"]
        lost = [block.hash for block in blocks if not block.on_disk]
        return [
            *_some(waiting, "not handed in yet"),
            *_some(lost, f"not in {self._folder}, which could not be written"),
        ]

    async def run(self) -> None:
        """Hand blocks in until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            while True:
                tasks.create_task(self._hand_in(await self._queue.get()))

    async def close(self, within: float = LAST_OFFER) -> None:
        """Offer once more what was not answered, for so many seconds. `run` is over by then.

        The files keep it for the next start, but a block that comes minutes late has lost its race.
        """
        offers = [
            self._offer(hash_, bitcoind)
            for hash_ in self._data
            for bitcoind in self._bitcoinds
            if self._is_unanswered(hash_, bitcoind)
        ]
        try:
            async with asyncio.timeout(within):
                await asyncio.gather(*offers)
        except TimeoutError:
            log.warning("not every found block was handed in; the next start goes on with them")

    # Handing in

    async def _hand_in(self, hash_: str) -> None:
        async with asyncio.TaskGroup() as tasks:
            for bitcoind in self._bitcoinds:
                if self._is_unanswered(hash_, bitcoind):
                    tasks.create_task(self._hand_to(hash_, bitcoind))
        self._change(hash_, done=True)
        del self._data[hash_]
        block = self._blocks[hash_]
        if block.status in {"rejected", "abandoned"}:
            log.error("block %d %s was %s by all bitcoinds", block.height, hash_, block.status)

    def _is_unanswered(self, hash_: str, bitcoind: Bitcoind) -> bool:
        answer = self._blocks[hash_].answers.get(bitcoind.name)
        return answer is None or answer.state == "waiting"

    async def _hand_to(self, hash_: str, bitcoind: Bitcoind) -> None:
        """Until there is a final answer, or none is needed any more."""
        attempt = 0
        while not await self._offer(hash_, bitcoind):
            await asyncio.sleep(self._backoff.wait(attempt))
            attempt += 1
            if await self._is_over(hash_, bitcoind):
                log.warning("block %s: %s is not waited for any more", hash_, bitcoind.name)
                return

    async def _offer(self, hash_: str, bitcoind: Bitcoind) -> bool:
        """Hand it in once; whether the answer is final."""
        try:
            async with self._turns[bitcoind.name]:
                reason = await bitcoind.submit_block(self._data[hash_])
        except CallRefused as error:
            if error.code != _DECODE_FAILED:
                return self._waits(hash_, bitcoind, str(error), str(error))
            reason = "decode-failed"
        except BitcoindError as error:
            return self._waits(hash_, bitcoind, str(error), str(error))
        if reason in _NOT_YET:
            return self._waits(hash_, bitcoind, reason, f"{bitcoind.name}: {reason}")
        state = _ACCEPTED.get(reason)
        if state is None:
            state = "inconclusive" if reason in _KEPT_ASIDE else "rejected"
        level = logging.ERROR if state == "rejected" else logging.INFO
        why = f" ({reason})" if reason not in {None, state} else ""
        log.log(level, "block %s: %s by %s%s", hash_, state, bitcoind.name, why)
        self._answered(hash_, bitcoind, Answer(state, reason, self._time()))
        if state != "rejected":
            await self._prefer(hash_, bitcoind)
        return True

    def _waits(self, hash_: str, bitcoind: Bitcoind, reason: str | None, shown: str) -> bool:
        before = self._blocks[hash_].answers.get(bitcoind.name)
        if before is None or before.reason != reason:
            log.warning("block %s is not handed in yet: %s", hash_, shown)
            self._answered(hash_, bitcoind, Answer("waiting", reason, self._time()))
        return False

    async def _prefer(self, hash_: str, bitcoind: Bitcoind) -> None:
        """Where somebody else's block of the same height came first, have bitcoind build on ours.

        Another block of our own that was first stays: the network has it already.
        """
        try:
            best = await bitcoind.best_block_hash()
            if best in self._blocks:
                return
            ours, theirs = await bitcoind.block_header(hash_), await bitcoind.block_header(best)
            if ours is None or theirs is None or ours.height != theirs.height:
                return
            known = await bitcoind.precious_block(hash_)
        except BitcoindError as error:
            log.warning("block %s: no preference for it: %s", hash_, error)
            return
        log.info(
            "block %s: %s was first at %s, %s",
            hash_,
            best,
            bitcoind.name,
            "ours is preferred now" if known else "which has no preciousblock",
        )

    async def _is_over(self, hash_: str, silent: Bitcoind) -> bool:
        """Whether a bitcoind without an answer need not be asked again."""
        if self._time() - self._blocks[hash_].found_at > self._max_age:
            return True
        for bitcoind in self._bitcoinds:
            answer = self._blocks[hash_].answers.get(bitcoind.name)
            if bitcoind is silent or answer is None or answer.state in {"waiting", "rejected"}:
                continue
            try:
                header = await bitcoind.block_header(hash_)
            except BitcoindError:
                continue  # it says so where its templates are asked for
            if header is not None and header.confirmations >= self._deep:
                return True
        return False

    # Files

    def _answered(self, hash_: str, bitcoind: Bitcoind, answer: Answer) -> None:
        answers = {**self._blocks[hash_].answers, bitcoind.name: answer}
        self._change(hash_, answers=answers)

    def _change(
        self, hash_: str, *, answers: dict[str, Answer] | None = None, done: bool = False
    ) -> None:
        block = self._blocks[hash_]
        self._blocks[hash_] = dataclasses.replace(
            block, answers=block.answers if answers is None else answers, done=done
        )
        self._save(hash_)

    def _path(self, block: FoundBlock) -> Path:
        return self._folder / f"{block.height}-{block.hash}.json"

    def _save(self, hash_: str) -> None:
        block = self._blocks[hash_]
        content = msgspec.json.encode(
            _File(
                block.hash,
                block.height,
                block.finder,
                block.found_at,
                block.done,
                block.answers,
                self._data[hash_].hex(),
            )
        )
        try:
            _write_durably(self._path(block), content)
        except OSError as error:
            log.error("block %s could not be written to disk: %s", hash_, error)
            self._blocks[hash_] = dataclasses.replace(block, on_disk=False)
        else:
            self._blocks[hash_] = dataclasses.replace(block, on_disk=True)

    def _load(self) -> None:
        for path in sorted(self._folder.glob("*.json.tmp")):
            # A write that was cut off. Complete, it may be a block that exists nowhere else.
            whole = path.with_suffix("")
            if not whole.exists() and _read(path) is not None:
                path.rename(whole)
            else:
                path.unlink()
        unfinished: list[_File] = []
        for path in sorted(self._folder.glob("*.json")):
            file = _read(path)
            if file is None:
                log.error("%s is not a found block; it is left as it is", path)
                continue
            self._blocks[file.hash] = FoundBlock(
                hash=file.hash,
                height=file.height,
                finder=file.finder,
                found_at=file.found_at,
                answers=file.answers,
                done=file.done,
            )
            if not file.done:
                unfinished.append(file)
        # Of several on one parent the first that bitcoind gets is the one that counts.
        for file in sorted(unfinished, key=lambda each: each.found_at):
            log.info("block %s is taken up again", file.hash)
            self._data[file.hash] = bytes.fromhex(file.block)
            self._queue.put_nowait(file.hash)


def _some(hashes: Sequence[str], what: str) -> list[str]:
    lines = [f"block {hash_} is {what}" for hash_ in hashes[:SHOWN_PROBLEMS]]
    more = len(hashes) - len(lines)
    return [*lines, f"{more} more found blocks are {what}"] if more else lines


def _read(path: Path) -> _File | None:
    """A block's file; None if it is not whole."""
    try:
        file = msgspec.json.decode(path.read_bytes(), type=_File)
        right = block_hash(bytes.fromhex(file.block)[:80]) == file.hash
    except (msgspec.DecodeError, ValueError):
        return None
    return file if right else None


def _write_durably(path: Path, content: bytes) -> None:
    """Replace a file by one that is whole on disk, whatever happens in between."""
    temporary = path.with_name(path.name + ".tmp")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
