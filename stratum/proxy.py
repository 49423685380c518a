"""The PROXY protocol's header, versions 1 and 2: who is really at the other end.

Responsible for reading what HAProxy and its like send before a client's first byte (HAProxy's
doc/proxy-protocol.txt, sections 2.1 and 2.2). Whom to believe such a header is the listener's:
anybody can send one.
"""

from __future__ import annotations

import enum
import ipaddress
from dataclasses import dataclass
from typing import Final

from stratum.errors import RemoteProtocolError
from stratum.limits import Address

V1_PREFIX: Final = b"PROXY "
V1_LONGEST: Final = 107
"""Bytes of the longest line of version 1, its CRLF included."""

V2_SIGNATURE: Final = b"\r\n\r\n\x00\r\nQUIT\n"
V2_HEAD: Final = 16
V2_LONGEST: Final = V2_HEAD + 4096
"""Longest header of version 2 taken; the format allows 64 KiB, certificates' names take a few."""


class ProxyError(RemoteProtocolError):
    """A header that began as one of the PROXY protocol and is none."""


class Verdict(enum.Enum):
    """What can be said of bytes that hold no whole header."""

    INCOMPLETE = "incomplete"
    ABSENT = "absent"


@dataclass(frozen=True, slots=True)
class ProxyHeader:
    """A whole header. size: its bytes. source: address and port, None for the proxy's own checks.

    None also stands for connections that are not TCP: whoever connected is taken as the peer then.
    """

    size: int
    source: tuple[Address, int] | None


def parse_header(data: bytes) -> ProxyHeader | Verdict:
    """Read the header `data` begins with.

    INCOMPLETE: it may become one. ABSENT: it can't. Raises ProxyError for a malformed one.
    """
    if data.startswith(V1_PREFIX):
        return _version_1(data)
    if data.startswith(V2_SIGNATURE):
        return _version_2(data)
    if V1_PREFIX.startswith(data) or V2_SIGNATURE.startswith(data):
        return Verdict.INCOMPLETE
    return Verdict.ABSENT


def _version_1(data: bytes) -> ProxyHeader | Verdict:
    end = data.find(b"\r\n", 0, V1_LONGEST)
    if end < 0:
        if len(data) >= V1_LONGEST:
            raise ProxyError(f"no line end within {V1_LONGEST} bytes")
        return Verdict.INCOMPLETE
    size = end + 2
    try:
        words = data[:end].decode("ascii").split(" ")
    except UnicodeDecodeError:
        raise ProxyError("a line that is not ASCII") from None
    family = words[1]
    if family == "UNKNOWN":  # the rest of the line says nothing
        return ProxyHeader(size, None)
    if family not in {"TCP4", "TCP6"} or len(words) != 6:
        raise ProxyError("neither TCP4, TCP6 nor UNKNOWN with two addresses and two ports")
    kind = ipaddress.IPv4Address if family == "TCP4" else ipaddress.IPv6Address
    try:
        source, _destination = kind(words[2]), kind(words[3])
    except ValueError:
        raise ProxyError("an address that is none of its family") from None
    port, _destination_port = _port(words[4]), _port(words[5])
    return ProxyHeader(size, (source, port))


def _port(word: str) -> int:
    if not word.isdecimal() or len(word) > 5 or int(word) > 0xFFFF:
        raise ProxyError("a port that is no number of 0..65535")
    return int(word)


def _version_2(data: bytes) -> ProxyHeader | Verdict:
    if len(data) < V2_HEAD:
        return Verdict.INCOMPLETE
    version, command = data[12] >> 4, data[12] & 0xF
    family, transport = data[13] >> 4, data[13] & 0xF
    size = V2_HEAD + int.from_bytes(data[14:16], "big")
    if version != 2 or command > 1:
        raise ProxyError("neither LOCAL nor PROXY of version 2")
    if family > 3 or transport > 2:
        raise ProxyError("an address family or transport that is not defined")
    if size > V2_LONGEST:
        raise ProxyError(f"a header of {size} bytes, {V2_LONGEST} are taken")
    if len(data) < size:
        return Verdict.INCOMPLETE
    if command == 0 or transport != 1 or family not in {1, 2}:
        return ProxyHeader(size, None)
    width = 4 if family == 1 else 16
    if size - V2_HEAD < 2 * width + 4:
        raise ProxyError("too short for its addresses")
    source = data[V2_HEAD : V2_HEAD + width]
    at = V2_HEAD + 2 * width
    port = int.from_bytes(data[at : at + 2], "big")
    return ProxyHeader(size, (ipaddress.ip_address(source), port))
