"""Lines of the wire: bytes to lines, a line to a message, a message to a line.

Stratum V1 is JSON-RPC without its strictness, one object a line. This module knows the shape of
messages and no method. An id is kept as the JSON text it was sent as, so that integers of any
size, strings, floats and lists come back to the miner exactly as it wrote them.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import msgspec

from stratum.errors import Reject

MAX_LINE = 8192
"""Longest line taken from a miner, in bytes, without its line end."""


class LineBuffer:
    """Cuts a byte stream into lines and holds at most one unfinished line.

    A line ends with `\\n`; one `\\r` before it belongs to the line end; empty lines vanish. Framing
    never depends on what a line holds, so a line of junk spoils nothing behind it. An overlong line
    can't be skipped within bounded memory and effort, so it ends the stream: `overflowed` is set,
    lines before it are still returned, and whatever follows is discarded.
    """

    __slots__ = ("_max_line", "_tail", "overflowed")

    def __init__(self, max_line: int = MAX_LINE) -> None:
        self._max_line = max_line
        self._tail = bytearray()
        self.overflowed = False

    def __len__(self) -> int:
        """Bytes held of a line that has not ended yet; never more than the longest line + 1."""
        return len(self._tail)

    def feed(self, data: bytes) -> list[bytes]:
        """Take the next bytes of the stream, return the lines they complete."""
        if self.overflowed:
            return []
        if (
            not self._tail
            and len(data) <= self._max_line
            and data.endswith(b"\n")
            and b"\r" not in data
        ):  # as nearly every packet is; the result is that of the lines below
            lines = data.split(b"\n")
            lines.pop()
            return lines if b"" not in lines else [line for line in lines if line]
        if self._tail:
            self._tail += data
            data = bytes(self._tail)
            self._tail.clear()
        *complete, rest = data.split(b"\n")
        lines = []
        for raw in complete:
            line = raw.removesuffix(b"\r")
            if len(line) > self._max_line:
                self.overflowed = True
                return lines
            if line:
                lines.append(line)
        if len(rest) > self._max_line + rest.endswith(b"\r"):
            self.overflowed = True
        else:
            self._tail += rest
        return lines


class Request(msgspec.Struct, frozen=True, gc=False):
    """A call or a notification.

    `id_json` is the JSON text of the id, None where it was null or missing: such a request is
    carried out and not answered. Params that were no list are taken as an empty one.
    """

    id_json: bytes | None
    method: str
    params: list[Any]


class Response(msgspec.Struct, frozen=True, gc=False):
    """An answer to a request of ours: `result` and `error` are decoded JSON, None where absent."""

    id_json: bytes | None
    result: Any
    error: Any


class Junk(msgspec.Struct, frozen=True, gc=False):
    """A line that is no message; `reason` says why, without quoting it."""

    id_json: bytes | None
    reason: str


class _Line(msgspec.Struct, gc=False):
    id: msgspec.Raw = msgspec.Raw(b"null")
    method: Any = None
    params: Any = None
    result: Any = msgspec.UNSET
    error: Any = msgspec.UNSET


class _Envelope(msgspec.Struct, gc=False):
    """The same line without its values, for numbers JSON allows and Python's float does not."""

    id: msgspec.Raw = msgspec.Raw(b"null")
    method: Any = None


_decode_line = msgspec.json.Decoder(_Line).decode
_decode_envelope = msgspec.json.Decoder(_Envelope).decode
_encode = msgspec.json.Encoder().encode


def decode(line: bytes) -> Request | Response | Junk:
    """Read one line. Never raises, whatever the bytes."""
    try:
        if not line.isascii():
            line.decode()  # an id is echoed unread, so it has to be text by itself
        try:
            message = _decode_line(line)
        except msgspec.ValidationError:
            envelope = _decode_envelope(line)
            message = _Line(envelope.id, envelope.method)
    except msgspec.ValidationError:
        return Junk(None, "Not a JSON object")
    except (ValueError, RecursionError):
        return Junk(None, "Malformed JSON")
    id_json: bytes | None = bytes(message.id)
    if id_json == b"null":
        id_json = None
    method = message.method
    if isinstance(method, str):
        params = message.params
        return Request(id_json, method, params if isinstance(params, list) else [])
    if method is not None:
        return Junk(id_json, "The method is not a string")
    if message.result is msgspec.UNSET and message.error is msgspec.UNSET:
        return Junk(id_json, "Neither a request nor a response")
    return Response(
        id_json,
        None if message.result is msgspec.UNSET else message.result,
        None if message.error is msgspec.UNSET else message.error,
    )


# The error key is written even where it is null: clients refuse or ignore a reply without it
# (miningcore#1709, #1577). A refusal says `false` too, since some read the result alone.


def encode_true(id_json: bytes) -> bytes:
    """Return the line that answers a request with true."""
    return b'{"id":' + id_json + b',"result":true,"error":null}\n'


def encode_result(id_json: bytes, result: object) -> bytes:
    """Return the line that answers a request with any JSON value."""
    return b'{"id":' + id_json + b',"result":' + _encode(result) + b',"error":null}\n'


def encode_reject(id_json: bytes, reject: Reject) -> bytes:
    """Return the line that refuses a request; the error is an array, as firmware demands."""
    return b'{"id":' + id_json + _reject_tail(reject)


def encode_request(id_json: bytes, method: str, params: list[Any]) -> bytes:
    """Return the line of a request."""
    return _encode({"id": msgspec.Raw(id_json), "method": method, "params": params}) + b"\n"


def encode_notification(method: str, params: list[Any]) -> bytes:
    """Return the line of a message nobody answers: a request whose id is null."""
    return encode_request(b"null", method, params)


@lru_cache(maxsize=128)
def _reject_tail(reject: Reject) -> bytes:
    error = _encode([int(reject.code), reject.text, None])
    return b',"result":false,"error":' + error + b"}\n"


class Outbox:
    """Lines to send, in their order. A request without an id (`id_json` None) gets no answer."""

    __slots__ = ("_lines",)

    def __init__(self) -> None:
        self._lines: list[bytes] = []

    def __len__(self) -> int:
        return len(self._lines)

    def agree(self, id_json: bytes | None) -> None:
        """Answer a request with true."""
        if id_json is not None:
            self._lines.append(encode_true(id_json))

    def answer(self, id_json: bytes | None, result: object) -> None:
        """Answer a request with any JSON value."""
        if id_json is not None:
            self._lines.append(encode_result(id_json, result))

    def refuse(self, id_json: bytes | None, reject: Reject) -> None:
        """Refuse a request."""
        if id_json is not None:
            self._lines.append(encode_reject(id_json, reject))

    def notify(self, method: str, params: list[Any]) -> None:
        """Say something nobody answers."""
        self._lines.append(encode_notification(method, params))

    def notify_line(self, line: bytes) -> None:
        """Say what is a whole line already."""
        self._lines.append(line)

    def take(self) -> bytes:
        """Return the bytes to send, each once."""
        data = b"".join(self._lines)
        self._lines.clear()
        return data
