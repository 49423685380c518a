"""What the tests of `stratum` share: recorded vectors, jobs, and a pool of their own."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from stratum.difficulty import target_from_difficulty
from stratum.errors import Reject, RejectCode, Unauthorized
from stratum.headers import swap_words
from stratum.jobs import IssuedJob, Job, JobIds
from stratum.limits import Address
from stratum.pool import Answer, MinerView
from stratum.proxy import V2_SIGNATURE
from stratum.session import Event, Resumable, Session, ShareFound
from stratum.shares import (
    Hasher,
    HashlibHasher,
    SeenHashes,
    Share,
    Submission,
    judge,
    parse_submission,
)
from stratum.users import AccountOf

VECTORS: dict[str, Any] = json.loads(
    (Path(__file__).parents[1] / "vectors" / "stratum_sessions.json").read_text()
)
RECORDED: list[dict[str, Any]] = VECTORS["sessions"]
CPUMINER, BFGMINER = RECORDED
BITAXE: dict[str, Any] = VECTORS["bitaxe_share"]

ALICE = "0x00000000000000000000000000000000000000aa"
BOB = "0x00000000000000000000000000000000000000bb"
NTIME = 0x6B03F15C
NOW = float(NTIME + 5)
EASIEST = (1 << 256) - 1
HASHLIB = HashlibHasher()


def recorded_notify(session: dict[str, Any]) -> tuple[list[Any], float]:
    """Return the params of a recording's only notify and the difficulty sent before it."""
    sent = {
        m["method"]: m["params"] for way, m in session["transcript"] if way == ">" and "method" in m
    }
    return sent["mining.notify"], sent["mining.set_difficulty"][0]


def job_from_notify(params: list[Any], difficulty: float, account: str = ALICE) -> Job:
    return Job(
        prev_hash_le=swap_words(bytes.fromhex(params[1])),
        coinb1=bytes.fromhex(params[2]),
        coinb2=bytes.fromhex(params[3]),
        branch=tuple(bytes.fromhex(item) for item in params[4]),
        version=int(params[5], 16),
        nbits=int(params[6], 16),
        ntime=int(params[7], 16),
        share_target=target_from_difficulty(difficulty),
        difficulty=difficulty,
        network_target=0,
        clean=params[8],
        account=account,
        tag="recorded",
    )


def make_job(**changes: Any) -> Job:
    """Return a job whose every header is a share, unless `changes` say otherwise."""
    fields: dict[str, Any] = {
        "prev_hash_le": bytes(range(32)),
        "coinb1": bytes(60),
        "coinb2": bytes(70),
        "branch": (b"\x01" * 32, b"\x02" * 32),
        "version": 0x20000000,
        "nbits": 0x1D00FFFF,
        "ntime": NTIME,
        "share_target": EASIEST,
        "difficulty": 1,
        "network_target": 0,
        "clean": False,
        "account": ALICE,
        "tag": None,
    }
    return Job(**(fields | changes))


def account_of(user: str) -> str:
    """Serve 0x-addresses, however they are spelled."""
    account = user.partition(".")[0].lower()
    if len(account) != 42 or not account.startswith("0x"):
        raise Unauthorized("The user name is no 0x address")
    return account


def account_or_reject(user: str, password: str) -> str | Reject:
    """Serve anyone whose password is not "wrong"."""
    if password == "wrong":
        return Reject(RejectCode.UNAUTHORIZED, "Wrong password")
    try:
        return account_of(user)
    except Unauthorized as error:
        return Reject(RejectCode.UNAUTHORIZED, str(error))


class Bench:
    """A session with everything a server would give it."""

    def __init__(
        self,
        *,
        extranonce1: bytes = b"\xa0\x00\x00\x01",
        seen: SeenHashes | None = None,
        blocks_seen: SeenHashes | None = None,
        job_ids: JobIds | None = None,
        session_id: str | None = None,
        account_of: AccountOf = account_or_reject,
        resume: Callable[[str], Resumable | None] = lambda _: None,
        hasher: Hasher = HASHLIB,
    ) -> None:
        self.seen = seen if seen is not None else SeenHashes()
        self.job_ids = job_ids or JobIds()
        self.session = Session(
            extranonce1=extranonce1,
            account_of=account_of,
            explain=lambda tag: {"tag": tag} if isinstance(tag, str) else None,
            seen=self.seen,
            blocks_seen=blocks_seen if blocks_seen is not None else SeenHashes(16),
            job_ids=self.job_ids,
            hasher=hasher,
            session_id=session_id,
            resume=resume,
        )
        self.events: list[Event] = []

    def send(self, *messages: object, now: float = NOW) -> list[Any]:
        """Send messages in one packet, return what comes back, decoded."""
        return self.send_raw(b"".join(line(message) for message in messages), now)

    def send_raw(self, data: bytes, now: float = NOW) -> list[Any]:
        self.events = self.session.receive_data(data, now)
        return self.sent()

    def sent(self) -> list[Any]:
        return [json.loads(text) for text in self.session.data_to_send().splitlines()]

    def handshake(self, user: str = ALICE, password: object = None) -> None:
        self.send(
            {"id": 1, "method": "mining.subscribe", "params": []},
            {"id": 2, "method": "mining.authorize", "params": [user, password]},
        )

    def give(self, job: Job, now: float = NOW) -> str:
        """Send a job and throw the lines away; return its id."""
        job_id = self.session.send_job(job, now)
        self.session.data_to_send()
        return job_id

    def submit(self, params: list[Any], now: float = NOW) -> Any:
        """Submit, accepting whatever is good; return the error (None for true)."""
        replies = self.send({"id": 9, "method": "mining.submit", "params": params}, now=now)
        for event in self.events:
            if isinstance(event, ShareFound):
                self.session.accept(event)
        replies += self.sent()
        assert [reply["id"] for reply in replies] == [9]
        assert replies[0]["result"] is (replies[0]["error"] is None)
        return replies[0]["error"]


def line(message: object) -> bytes:
    return msgspec.json.encode(message) + b"\n"


def params_of(
    job_id: str,
    *,
    user: str = ALICE,
    extranonce2: str = "0000000000000000",
    ntime: int = NTIME,
    nonce: str = "00000000",
    bits: str | None = None,
) -> list[str]:
    params = [user, job_id, extranonce2, f"{ntime:08x}", nonce]
    return params if bits is None else [*params, bits]


def judge_params(
    job: Job,
    params: list[Any],
    *,
    extranonce1: bytes = b"\xa0\x00\x00\x01",
    version_mask: int = 0,
    seen: SeenHashes | None = None,
) -> Any:
    submission = parse_submission(params)
    assert isinstance(submission, Submission)
    issued = IssuedJob(params[1], job, NOW, extranonce1)
    return judge(
        issued,
        submission,
        HASHLIB.hash(issued, [submission.packed], version_mask),
        worker="",
        version_mask=version_mask,
        now=NOW,
        seen=seen if seen is not None else SeenHashes(),
    )


class MemoryPool:
    """A pool that keeps what it is told, and answers at once unless `hold` is set."""

    def __init__(self, **job_fields: Any) -> None:
        self.job_fields = job_fields
        self.jobs_made = 0
        self.open = True
        self.hold = False
        self.shares: list[tuple[Share, MinerView]] = []
        self.blocks: list[Share] = []
        self.answers: list[Answer] = []
        self.asked_by: list[MinerView] = []
        self.now_connected: dict[int, MinerView] = {}
        self.ever_connected = 0

    def account_of(self, user: str, password: str) -> str:
        if password == "wrong":
            raise Unauthorized("Wrong password")
        return account_of(user)

    def connected(self, miner: MinerView) -> None:
        self.now_connected[miner.connection_id] = miner
        self.ever_connected += 1

    def disconnected(self, miner: MinerView) -> None:
        del self.now_connected[miner.connection_id]

    def asked(self, miner: MinerView) -> None:
        self.asked_by.append(miner)

    def job_for(self, miner: MinerView) -> Job | None:
        if not self.open:
            return None
        self.jobs_made += 1
        fields = {"coinb1": self.jobs_made.to_bytes(60, "big"), "account": miner.account}
        return make_job(**(fields | self.job_fields))

    def explain(self, tag: object) -> dict[str, object] | None:
        return None if tag is None else {"tag": tag}

    def submit(self, share: Share, miner: MinerView, answer: Answer) -> None:
        self.shares.append((share, miner))
        if self.hold:
            self.answers.append(answer)
        else:
            answer(None)

    def found_block(self, share: Share, miner: MinerView) -> None:
        self.blocks.append(share)


def proxy_v1(address: Address, port: int) -> bytes:
    """Return a header of the PROXY protocol, version 1."""
    to = "127.0.0.1" if address.version == 4 else "::1"
    return f"PROXY TCP{address.version} {address} {to} {port} 3333\r\n".encode()


def proxy_v2(address: Address, port: int, tlvs: bytes = b"") -> bytes:
    """Return a header of the PROXY protocol, version 2."""
    family = 0x11 if address.version == 4 else 0x21
    ports = port.to_bytes(2, "big") + (3333).to_bytes(2, "big")
    body = address.packed + bytes(len(address.packed)) + ports + tlvs
    return V2_SIGNATURE + bytes([0x21, family]) + len(body).to_bytes(2, "big") + body
