"""Plays what is written in tests/vectors/stratum_clients.json against a session."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from stratum.difficulty import target_from_bits
from stratum.headers import swap_words
from stratum.jobs import Job, JobBook
from stratum.session import Event, ReadyToMine, Resumable, ShareFound
from tests.stratum.support import Bench

CLIENTS: dict[str, Any] = json.loads(
    (Path(__file__).parents[1] / "vectors" / "stratum_clients.json").read_text()
)
TRANSCRIPTS: list[dict[str, Any]] = CLIENTS["clients"]
TIME = float(CLIENTS["time"])


def job_of(written: dict[str, Any]) -> Job:
    return Job(
        prev_hash_le=swap_words(bytes.fromhex(written["prevhash"])),
        coinb1=bytes.fromhex(written["coinb1"]),
        coinb2=bytes.fromhex(CLIENTS["coinb2"]),
        branch=tuple(bytes.fromhex(item) for item in CLIENTS["branch"]),
        version=int(CLIENTS["version"], 16),
        nbits=int(CLIENTS["nbits"], 16),
        ntime=int(written["ntime"], 16),
        share_target=target_from_bits(written["bits"]),
        difficulty=written["difficulty"],
        network_target=0,
        clean=written["clean"],
        account=CLIENTS["user"],
        tag=None,
    )


def packet(lines: Iterable[str]) -> bytes:
    return b"".join(text.encode() + b"\n" for text in lines)


class Replay:
    """One client's session with an owner who sends the jobs written down and accepts all shares."""

    def __init__(self, transcript: dict[str, Any]) -> None:
        self.jobs = [job_of(written) for written in transcript["jobs"]]
        self.bench = Bench(
            extranonce1=bytes.fromhex(transcript["extranonce1"]), resume=self._resume
        )
        self.events: list[Event] = []
        self._earlier: dict[str, Resumable] = {}
        if "earlier" in transcript:
            extranonce1 = bytes.fromhex(transcript["earlier"]["extranonce1"])
            book = JobBook()
            for job in map(job_of, transcript["earlier"]["jobs"]):
                book.issue(self.bench.job_ids.next(), job, TIME, extranonce1)
            self._earlier[extranonce1.hex()] = Resumable(extranonce1, book)

    def receive(self, data: bytes, now: float = TIME) -> bytes:
        """Take bytes of the client, return all that is sent back."""
        session = self.bench.session
        events = session.receive_data(data, now)
        for event in events:
            if isinstance(event, ReadyToMine):
                session.send_job(self.jobs[0], now)
            elif isinstance(event, ShareFound):
                session.accept(event)
        self.events += events
        return session.data_to_send()

    def do(self, step: dict[str, Any]) -> bytes:
        """Do what the pool does by itself at this step, return what is sent."""
        session = self.bench.session
        match step:
            case {"job": int(number)}:
                session.send_job(self.jobs[number], TIME)
            case {"reconnect": int(wait)}:
                session.reconnect(wait)
            case {"message": str(text)}:
                session.show_message(text)
            case _:
                raise AssertionError(step)
        return session.data_to_send()

    def _resume(self, session_id: str) -> Resumable | None:
        return self._earlier.pop(session_id, None)


def steps(transcript: dict[str, Any]) -> Iterator[tuple[dict[str, Any], bytes]]:
    """Return each step that is not an answer, with the bytes that answer it."""
    talk = transcript["talk"]
    for asked, answered in zip(talk[::2], talk[1::2], strict=True):
        yield asked, packet(answered["pool"])
