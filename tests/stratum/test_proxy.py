"""Headers of the PROXY protocol, from the examples and rules of HAProxy's proxy-protocol.txt."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stratum.proxy import (
    V1_LONGEST,
    V2_LONGEST,
    V2_SIGNATURE,
    ProxyError,
    ProxyHeader,
    Verdict,
    parse_header,
)
from tests.stratum.support import proxy_v1, proxy_v2

V4 = ipaddress.ip_address("192.168.0.1")
V6 = ipaddress.ip_address("2001:db8::7")
LONGEST_V1 = b"PROXY UNKNOWN " + b" ".join([b"ffff:" * 7 + b"ffff"] * 2) + b" 65535 65535\r\n"

WHOLE = [
    (b"PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\n", (V4, 56324)),
    (b"PROXY TCP6 2001:db8::7 ::1 1 65535\r\n", (V6, 1)),
    (b"PROXY UNKNOWN\r\n", None),
    (LONGEST_V1, None),
    (proxy_v2(V4, 56324), (V4, 56324)),
    (proxy_v2(V6, 65535), (V6, 65535)),
    (proxy_v2(V4, 1, tlvs=b"\x04\x00\x03abc"), (V4, 1)),
    (V2_SIGNATURE + b"\x20\x00\x00\x00", None),  # LOCAL, a health check
    (V2_SIGNATURE + b"\x20\x11\x00\x0c" + bytes(12), None),  # LOCAL with an address to ignore
    (V2_SIGNATURE + b"\x21\x00\x00\x00", None),  # unspecified
    (V2_SIGNATURE + b"\x21\x12\x00\x0c" + bytes(12), None),  # UDP
    (V2_SIGNATURE + b"\x21\x31\x00\xd8" + bytes(216), None),  # a Unix socket
]

MALFORMED = [
    b"PROXY TCP4 192.168.0.1 192.168.0.11 56324\r\n",
    b"PROXY TCP4 192.168.0.1 192.168.0.11 56324 443 1\r\n",
    b"PROXY TCP4  192.168.0.1 192.168.0.11 56324 443\r\n",
    b"PROXY TCP4 192.168.0.1 192.168.0.11 56324 65536\r\n",
    b"PROXY TCP4 192.168.0.1 192.168.0.11 -1 443\r\n",
    b"PROXY TCP4 192.168.0.1 192.168.0.11 +1 443\r\n",
    b"PROXY TCP4 192.168.0.1 192.168.0.11  443\r\n",
    b"PROXY TCP4 192.168.0.256 192.168.0.11 56324 443\r\n",
    b"PROXY TCP4 192.168.1 192.168.0.11 56324 443\r\n",
    b"PROXY TCP4 2001:db8::7 192.168.0.11 56324 443\r\n",
    b"PROXY TCP6 192.168.0.1 ::1 56324 443\r\n",
    b"PROXY TCP6 ::1 ::g 56324 443\r\n",
    b"PROXY UDP4 192.168.0.1 192.168.0.11 56324 443\r\n",
    b"PROXY \r\n",
    b"PROXY \xff\xfe\r\n",
    b"PROXY UNKNOWN " + b"x" * V1_LONGEST,
    V2_SIGNATURE + b"\x11\x11\x00\x0c" + bytes(12),  # version 1 in the form of 2
    V2_SIGNATURE + b"\x22\x11\x00\x0c" + bytes(12),  # a command that is not defined
    V2_SIGNATURE + b"\x21\x41\x00\x0c" + bytes(12),  # a family that is not defined
    V2_SIGNATURE + b"\x21\x13\x00\x0c" + bytes(12),  # a transport that is not defined
    V2_SIGNATURE + b"\x21\x11\x00\x0b" + bytes(11),
    V2_SIGNATURE + b"\x21\x21\x00\x23" + bytes(35),
    V2_SIGNATURE + b"\x21\x11\xff\xff",
]


@pytest.mark.parametrize(("data", "source"), WHOLE)
def test_a_header_split_anywhere(data: bytes, source: object) -> None:
    for size in range(len(data)):
        assert parse_header(data[:size]) is Verdict.INCOMPLETE
    for rest in (b"", b"{}\n", b"\r\n", data):
        assert parse_header(data + rest) == ProxyHeader(len(data), source)  # type: ignore[arg-type]


def test_the_longest_line_is_as_long_as_the_text_says() -> None:
    assert len(LONGEST_V1) == V1_LONGEST
    with pytest.raises(ProxyError, match="no line end"):
        parse_header(b"PROXY UNKNOWN " + b"x" * (V1_LONGEST - 15) + b"\r\n")


@pytest.mark.parametrize("data", MALFORMED)
def test_malformed_headers(data: bytes) -> None:
    with pytest.raises(ProxyError):
        parse_header(data)


@pytest.mark.parametrize(
    "data",
    [b'{"id":1}\n', b"\x16\x03\x01", b"proxy TCP4", b"PROXX", b"\r\n{}\n", b"\r\n\r\n\x00\r\nQUIX"],
)
def test_what_is_no_header(data: bytes) -> None:
    assert parse_header(data) is Verdict.ABSENT


def test_nothing_may_still_become_a_header() -> None:
    assert parse_header(b"") is Verdict.INCOMPLETE


@given(st.ip_addresses(v=4) | st.ip_addresses(v=6), st.integers(0, 65535), st.binary(max_size=64))
def test_what_is_written_is_read(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address, port: int, rest: bytes
) -> None:
    for header in (proxy_v1(address, port), proxy_v2(address, port)):
        assert parse_header(header + rest) == ProxyHeader(len(header), (address, port))


@given(
    st.sampled_from([b"", b"PROXY ", b"PROXY TCP4 ", V2_SIGNATURE, V2_SIGNATURE + b"\x21\x11"]),
    st.binary(max_size=200),
)
def test_any_bytes_have_a_verdict(start: bytes, rest: bytes) -> None:
    """And the verdict on more bytes is the same, once there is one."""
    data = start + rest
    try:
        result = parse_header(data)
    except ProxyError:
        return
    if isinstance(result, ProxyHeader):
        assert result.size <= min(len(data), V2_LONGEST)
        assert parse_header(data[: result.size]) == result
    elif result is Verdict.INCOMPLETE:
        assert len(data) < V2_LONGEST
    else:
        assert parse_header(data + b"\x00") is Verdict.ABSENT
