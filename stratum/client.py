"""A miner's side of Stratum: a state machine without I/O, and a thin driver on asyncio.

`ClientSession` turns bytes of a pool into events and calls into bytes; `ClientJob` builds the
headers to hash. `StratumClient` is the session on a socket. Neither hashes, nor reconnects: both
are the caller's.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Self

from stratum.difficulty import target_from_difficulty
from stratum.errors import LocalProtocolError, Reject, RejectCode, RemoteProtocolError
from stratum.headers import header80, merkle_root, sha256d, swap_words
from stratum.jobs import VERSION_MASK
from stratum.messages import LineBuffer, Request, Response, decode, encode_request, encode_result

MAX_LINE_FROM_POOL: Final = 64 * 1024
"""Longest line taken from a pool: large coinbases make notifies of tens of kilobytes."""

MAX_EXTRANONCE2: Final = 16
READ_SIZE: Final = 64 * 1024


@dataclass(frozen=True, slots=True)
class Subscribed:
    """The pool gave this connection its extranonce1; extranonce2 has `extranonce2_size` bytes."""

    extranonce1: bytes
    extranonce2_size: int


@dataclass(frozen=True, slots=True)
class Authorized:
    """The user name was accepted, or `reject` says why not."""

    reject: Reject | None


@dataclass(frozen=True, slots=True)
class Configured:
    """The pool agreed to these version bits (0: none)."""

    version_mask: int


@dataclass(frozen=True, slots=True)
class ClientJob:
    """A job with all that is needed to hash it.

    prev_hash_le: 32 bytes as in the header. target: a digest read little-endian must not exceed
    it; made from difficulty, the one in force when the job came. version_mask: bits that may be
    rolled. clean: older jobs are worthless.
    """

    job_id: str
    prev_hash_le: bytes
    coinb1: bytes
    coinb2: bytes
    branch: tuple[bytes, ...]
    version: int
    nbits: int
    ntime: int
    clean: bool
    difficulty: int | float
    target: int
    extranonce1: bytes
    extranonce2_size: int
    version_mask: int

    def coinbase(self, extranonce2: bytes) -> bytes:
        """Return the coinbase transaction with `extranonce2` (extranonce2_size bytes) in place."""
        if len(extranonce2) != self.extranonce2_size:
            raise ValueError(
                f"extranonce2 has {len(extranonce2)} bytes, this pool wants {self.extranonce2_size}"
            )
        return self.coinb1 + self.extranonce1 + extranonce2 + self.coinb2

    def header_base(
        self, extranonce2: bytes, *, ntime: int | None = None, version_bits: int = 0
    ) -> bytes:
        """Return the 80-byte header to hash, its last four bytes (nonce, little-endian) zero.

        `ntime` replaces the job's; bits of `version_bits` within version_mask go into the version.
        """
        version = (self.version & ~self.version_mask) | (version_bits & self.version_mask)
        leaf = sha256d(self.coinbase(extranonce2))
        return header80(
            version_le=struct.pack("<I", version),
            prev_hash_le=self.prev_hash_le,
            merkle_root_le=merkle_root(leaf, self.branch),
            ntime_le=struct.pack("<I", self.ntime if ntime is None else ntime),
            nbits_le=struct.pack("<I", self.nbits),
            nonce_le=bytes(4),
        )


@dataclass(frozen=True, slots=True)
class NewJob:
    """Work to do from now on."""

    job: ClientJob


@dataclass(frozen=True, slots=True)
class SubmitResult:
    """The pool's answer to the submit of this number: accepted where reject is None."""

    number: int
    reject: Reject | None


@dataclass(frozen=True, slots=True)
class Commitment:
    """The pool's answer to get_commitment: a JSON object, or None and the reason."""

    job_id: str
    commitment: dict[str, Any] | None
    reject: Reject | None


ClientEvent = Subscribed | Authorized | Configured | NewJob | SubmitResult | Commitment


@dataclass(frozen=True, slots=True)
class _Asked:
    """A request that waits for its answer."""

    method: str
    job_id: str = ""


class ClientSession:
    """The miner's side of one connection, without I/O.

    Made ready to send configure (only with `version_rolling`), subscribe and authorize, in this
    order, which every pool understands. Attributes to read: extranonce1, extranonce2_size,
    version_mask, subscribed, authorized.
    """

    def __init__(
        self, user: str, agent: str, *, password: str = "", version_rolling: bool = False
    ) -> None:
        self.user = user
        self.extranonce1 = b""
        self.extranonce2_size = 0
        self.version_mask = 0
        self.subscribed = False
        self.authorized = False
        self._difficulty: int | float = 1
        self._lines = LineBuffer(MAX_LINE_FROM_POOL)
        self._asked: dict[bytes, _Asked] = {}
        self._number = 0
        self._out: list[bytes] = []
        if version_rolling:
            options = {"version-rolling.mask": f"{VERSION_MASK:08x}"}
            self._ask("mining.configure", [["version-rolling"], options])
        self._ask("mining.subscribe", [agent])
        self._ask("mining.authorize", [user, password])

    def data_to_send(self) -> bytes:
        """Return the bytes to send, each once."""
        data = b"".join(self._out)
        self._out.clear()
        return data

    def submit(
        self,
        job: ClientJob,
        extranonce2: bytes,
        nonce: int,
        *,
        ntime: int | None = None,
        version_bits: int = 0,
    ) -> int:
        """Submit a header found, return the number its SubmitResult will bear.

        `nonce` as read little-endian from the header's last four bytes; `ntime` and `version_bits`
        as they were given to header_base.
        """
        params: list[Any] = [
            self.user,
            job.job_id,
            extranonce2.hex(),
            f"{job.ntime if ntime is None else ntime:08x}",
            f"{nonce:08x}",
        ]
        if version_bits:
            params.append(f"{version_bits:08x}")
        return self._ask("mining.submit", params)

    def get_commitment(self, job_id: str) -> None:
        """Ask what a job commits to; a Commitment event answers."""
        self._ask("mining.get_commitment", [job_id], job_id)

    def suggest_difficulty(self, difficulty: int | float) -> None:
        """Tell the pool which difficulty would suit; it may do as it likes."""
        self._ask("mining.suggest_difficulty", [difficulty])

    def receive_data(self, data: bytes) -> list[ClientEvent]:
        """Take bytes that arrived, return what they led to, in order.

        Raises RemoteProtocolError when the pool does not speak Stratum; messages that are
        well-formed but unknown are passed over.
        """
        events: list[ClientEvent] = []
        for line in self._lines.feed(data):
            message = decode(line)
            if isinstance(message, Request):
                event = self._notified(message)
            elif isinstance(message, Response):
                event = self._answered(message)
            else:
                raise RemoteProtocolError(f"the pool sent no message: {message.reason}")
            if event is not None:
                events.append(event)
        if self._lines.overflowed:
            raise RemoteProtocolError(f"the pool sent more than {MAX_LINE_FROM_POOL} bytes a line")
        return events

    def _ask(self, method: str, params: list[Any], job_id: str = "") -> int:
        self._number += 1
        id_json = b"%d" % self._number
        self._asked[id_json] = _Asked(method, job_id)
        self._out.append(encode_request(id_json, method, params))
        return self._number

    def _notified(self, message: Request) -> ClientEvent | None:
        if message.method == "mining.notify":
            return NewJob(self._read_job(message.params))
        if message.method == "mining.set_difficulty":
            # Judges the jobs to come, not those out already.
            self._difficulty = _read_difficulty(message.params)
        elif message.method == "mining.ping" and message.id_json is not None:
            self._out.append(encode_result(message.id_json, "pong"))
        return None

    def _answered(self, message: Response) -> ClientEvent | None:
        asked = self._asked.pop(message.id_json, None) if message.id_json else None
        if asked is None:
            return None
        reject = _read_reject(message)
        match asked.method:
            case "mining.configure":
                self.version_mask = _read_mask(message.result) if reject is None else 0
                return Configured(self.version_mask)
            case "mining.subscribe":
                if reject is not None:
                    raise RemoteProtocolError(f"the pool refused to subscribe: {reject.text}")
                return self._read_subscription(message.result)
            case "mining.authorize":
                self.authorized = reject is None
                return Authorized(reject)
            case "mining.submit":
                return SubmitResult(int(message.id_json or b"0"), reject)
            case "mining.get_commitment":
                commitment = message.result if isinstance(message.result, dict) else None
                if commitment is None and reject is None:
                    reject = Reject(RejectCode.OTHER, "The commitment is not a JSON object")
                return Commitment(asked.job_id, None if reject else commitment, reject)
            case _:
                return None

    def _read_subscription(self, result: object) -> Subscribed:
        match result:
            case [_, str() as extranonce1, int() as size, *_] if 1 <= size <= MAX_EXTRANONCE2:
                self.extranonce1 = _read_hex("extranonce1", extranonce1)
                self.extranonce2_size = size
                self.subscribed = True
                return Subscribed(self.extranonce1, size)
            case _:
                raise RemoteProtocolError("the pool's answer to subscribe has another form")

    def _read_job(self, params: list[Any]) -> ClientJob:
        if not self.subscribed:
            raise RemoteProtocolError("the pool sent a job before it answered subscribe")
        match params:
            case [
                str() as job_id,
                str() as prev_hash,
                str() as coinb1,
                str() as coinb2,
                list() as branch,
                str() as version,
                str() as nbits,
                str() as ntime,
                bool() as clean,
                *_,
            ]:
                return ClientJob(
                    job_id=job_id,
                    prev_hash_le=swap_words(_read_hex("the previous hash", prev_hash, 32)),
                    coinb1=_read_hex("coinb1", coinb1),
                    coinb2=_read_hex("coinb2", coinb2),
                    branch=tuple(_read_hex("a merkle sibling", item, 32) for item in branch),
                    version=int.from_bytes(_read_hex("the version", version, 4), "big"),
                    nbits=int.from_bytes(_read_hex("nbits", nbits, 4), "big"),
                    ntime=int.from_bytes(_read_hex("ntime", ntime, 4), "big"),
                    clean=clean,
                    difficulty=self._difficulty,
                    target=target_from_difficulty(self._difficulty),
                    extranonce1=self.extranonce1,
                    extranonce2_size=self.extranonce2_size,
                    version_mask=self.version_mask,
                )
            case _:
                raise RemoteProtocolError("the params of the pool's job have another form")


class StratumClient:
    """A ClientSession on a TCP connection.

    async with StratumClient("pool", 3333, user="0x...", agent="potnode/1.0") as client:
        async for event in client:
            ...

    Entering connects and sends the handshake; the iteration ends when the pool closes. Raises
    OSError when the connection can't be made or breaks, RemoteProtocolError when the pool does not
    speak Stratum.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        user: str,
        agent: str,
        password: str = "",
        version_rolling: bool = False,
    ) -> None:
        self.session = ClientSession(
            user, agent, password=password, version_rolling=version_rolling
        )
        self._host = host
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def __aenter__(self) -> Self:
        self._streams = await asyncio.open_connection(self._host, self._port)
        self._flush()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._streams is None:
            return
        writer = self._streams[1]
        self._streams = None
        writer.close()
        try:
            await writer.wait_closed()
        except OSError:
            return  # the pool hung up first; closed is closed

    async def __aiter__(self) -> AsyncIterator[ClientEvent]:
        """Yield events until the pool closes the connection."""
        if self._streams is None:
            raise LocalProtocolError("the client is not connected: use it in `async with`")
        reader, writer = self._streams
        while data := await reader.read(READ_SIZE):
            events = self.session.receive_data(data)
            self._flush()
            for event in events:
                yield event
            await writer.drain()

    def submit(
        self,
        job: ClientJob,
        extranonce2: bytes,
        nonce: int,
        *,
        ntime: int | None = None,
        version_bits: int = 0,
    ) -> int:
        """As ClientSession.submit, and sent at once."""
        number = self.session.submit(
            job, extranonce2, nonce, ntime=ntime, version_bits=version_bits
        )
        self._flush()
        return number

    def get_commitment(self, job_id: str) -> None:
        """As ClientSession.get_commitment, and sent at once."""
        self.session.get_commitment(job_id)
        self._flush()

    def suggest_difficulty(self, difficulty: int | float) -> None:
        """As ClientSession.suggest_difficulty, and sent at once."""
        self.session.suggest_difficulty(difficulty)
        self._flush()

    def _flush(self) -> None:
        if self._streams is None:
            raise LocalProtocolError("the client is not connected: use it in `async with`")
        data = self.session.data_to_send()
        if data:
            self._streams[1].write(data)


def _read_hex(name: str, text: object, size: int | None = None) -> bytes:
    try:
        data = bytes.fromhex(text) if isinstance(text, str) else None
    except ValueError:
        data = None
    if data is None or (size is not None and len(data) != size):
        length = "" if size is None else f" of {size} bytes"
        raise RemoteProtocolError(f"{name} from the pool is not hex{length}")
    return data


def _read_difficulty(params: list[Any]) -> int | float:
    difficulty = params[0] if params else None
    if not isinstance(difficulty, (int, float)) or not 0 < difficulty < 1 << 256:
        raise RemoteProtocolError("the pool's difficulty is not a positive number")
    return difficulty


def _read_mask(result: object) -> int:
    match result:
        case {"version-rolling": True, "version-rolling.mask": str() as mask}:
            agreed = int.from_bytes(_read_hex("the version mask", mask.rjust(8, "0"), 4), "big")
            return agreed & VERSION_MASK
        case _:
            return 0


def _read_reject(message: Response) -> Reject | None:
    """Return why a request was refused; a pool's own error codes count as 20."""
    match message.error:
        case None:
            refused = message.result is False
            return Reject(RejectCode.OTHER, "Refused without a reason") if refused else None
        case [int() as code, str() as text, *_]:
            known = code in RejectCode.__members__.values()
            return Reject(RejectCode(code) if known else RejectCode.OTHER, text)
        case other:
            return Reject(RejectCode.OTHER, str(other)[:128])
