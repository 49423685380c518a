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
from typing import Final

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

_ACCEPTED: Final = {None: "accepted", "duplicate": "duplicate"}
_KEPT_ASIDE: Final = {"inconclusive", "duplicate-inconclusive"}
# Reasons that go away by themselves: a bitcoind that has yet to see the block before, and clocks.
_NOT_YET: Final = {"prev-blk-not-found", "time-too-new"}
_DECODE_FAILED: Final = -22


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
    def status(self) -> str:
        """accepted, inconclusive, rejected, abandoned, or pending."""
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
        folder.mkdir(parents=True, exist_ok=True)
        self._load()

    def found(
        self, parent: ParentBlock, header80: bytes, coinbase_legacy: bytes, *, finder: str
    ) -> FoundBlock:
        """Write a found block to disk and have it handed in. To be called on the event loop.

        Where the disk does not take it, that is logged and it is handed in all the same.

        Args:
            parent: of the template the share was of.
            header80: as hashed. coinbase_legacy: as hashed, stripped, holes filled.
            finder: who is told to have found it.
        """
        hash_ = block_hash(header80)
        if hash_ in self._blocks:
            return self._blocks[hash_]
        self._data[hash_] = parent.block(header80, coinbase_legacy)
        self._blocks[hash_] = FoundBlock(
            hash=hash_, height=parent.height, finder=finder, found_at=self._time(), answers={}
        )
        self._save(hash_)
        log.info("found block %d %s by %s", parent.height, hash_, finder)
        self._queue.put_nowait(hash_)
        return self._blocks[hash_]

    def blocks(self) -> list[FoundBlock]:
        """All blocks ever found, the latest first."""
        return sorted(self._blocks.values(), key=lambda block: block.found_at, reverse=True)

    def problems(self) -> list[str]:
        """One line for each block that no bitcoind has taken yet, or that is not on disk."""
        problems = [
            f"block {block.hash} is not handed in yet"
            for block in self._blocks.values()
            if block.status == "pending"
        ]
        problems += [
            f"block {block.hash} could not be written to {self._folder}"
            for block in self._blocks.values()
            if not block.on_disk
        ]
        return problems

    async def run(self) -> None:
        """Hand blocks in until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            while True:
                tasks.create_task(self._hand_in(await self._queue.get()))

    # Handing in

    async def _hand_in(self, hash_: str) -> None:
        async with asyncio.TaskGroup() as tasks:
            for bitcoind in self._bitcoinds:
                answer = self._blocks[hash_].answers.get(bitcoind.name)
                if answer is None or answer.state == "waiting":
                    tasks.create_task(self._hand_to(hash_, bitcoind))
        self._change(hash_, done=True)
        del self._data[hash_]
        block = self._blocks[hash_]
        if block.status in {"rejected", "abandoned"}:
            log.error("block %d %s was %s by all bitcoinds", block.height, hash_, block.status)

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
            reason = await bitcoind.submit_block(self._data[hash_])
        except CallRefused as error:
            if error.code != _DECODE_FAILED:
                return self._waits(hash_, bitcoind, str(error))
            reason = "decode-failed"
        except BitcoindError as error:
            return self._waits(hash_, bitcoind, str(error))
        if reason is not None and reason in _NOT_YET:
            return self._waits(hash_, bitcoind, reason)
        state = _ACCEPTED.get(reason)
        if state is None:
            state = "inconclusive" if reason in _KEPT_ASIDE else "rejected"
        level = logging.ERROR if state == "rejected" else logging.INFO
        log.log(level, "block %s: %s by %s (%s)", hash_, state, bitcoind.name, reason)
        self._answered(hash_, bitcoind, Answer(state, reason, self._time()))
        if state != "rejected":
            await self._prefer(hash_, bitcoind)
        return True

    def _waits(self, hash_: str, bitcoind: Bitcoind, reason: str) -> bool:
        reason = reason.removeprefix(f"{bitcoind.name}: ")
        before = self._blocks[hash_].answers.get(bitcoind.name)
        if before is None or before.reason != reason:
            log.warning("block %s is not with %s yet: %s", hash_, bitcoind.name, reason)
            self._answered(hash_, bitcoind, Answer("waiting", reason, self._time()))
        return False

    async def _prefer(self, hash_: str, bitcoind: Bitcoind) -> None:
        """Where another block of the same height came first, have bitcoind build on ours."""
        try:
            best = await bitcoind.best_block_hash()
            if best == hash_:
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
            # Its write was cut off. Whole, it may be a block that exists nowhere else, and it is
            # never older than what it was to replace.
            if _read(path) is not None:
                path.replace(path.with_suffix(""))
            else:
                path.unlink()
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
                log.info("block %s is taken up again", file.hash)
                self._data[file.hash] = bytes.fromhex(file.block)
                self._queue.put_nowait(file.hash)


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
