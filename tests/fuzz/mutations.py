"""Spoils packets, by a seeded generator: the same seed spoils the same way."""

from __future__ import annotations

import re
from collections.abc import Callable
from random import Random

VALUES = [
    b"null",
    b"true",
    b"false",
    b"{}",
    b"[]",
    b'""',
    b"0",
    b"-0",
    b"-1",
    b"0.1",
    b"1e3",
    b"1e308",
    b"1e999",
    b"-1e999",
    b"NaN",
    b"Infinity",
    b"01",
    b"18446744073709551616",
    b"9" * 400,
    b"0." + b"0" * 400 + b"1",
    b"1e-400",
    b'"x"',
    b'"\\u0000"',
    b'"\\ud800"',
    b'"\\ud83d\\ude00"',
    b'"\xff\xfe"',
    b'"' + b"f" * 64 + b'"',
    b'"' + b"a" * 5000 + b'"',
    b'"d=1,md=2"',
    b'"nan"',
    b'"1e999"',
    b'"ffffffff"',
    b'"00000000"',
    b'"a0000001"',
    b'["version-rolling","minimum-difficulty"]',
    b'{"version-rolling.mask":[],"minimum-difficulty.value":"x"}',
    b"[" * 40 + b"]" * 40,
]
"""JSON values, and what looks like one: each is put in the place of another."""

PIECES = [
    b"\x00",
    b"\r\n",
    b"\n",
    b"\r",
    b'"',
    b"\\",
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b":",
    b"\xff",
    b"\xc0\x80",
    b"\xed\xa0\x80",
    b"\xf4\x90\x80\x80",
    b"\xef\xbb\xbf",
    b"\x16\x03\x01",
    b"GET / HTTP/1.1\r\n\r\n",
    b"[" * 3000,
    b'{"a":' * 1000,
    b'{"id":1,"method":"mining.submit","params":' + b"[" * 900 + b"]" * 900 + b"}\n",
    b"x" * 9000,
    b'{"id":1,"id":2,"method":"mining.ping","method":7}\n',
    b'{"id":7,"result":true,"error":null}\n',
    b'{"method":"mining.suggest_difficulty(0.5)"}\n',
    b'{"id":[[[]]],"method":"mining.get_commitment","params":["1"]}\n',
]

METHODS = [
    b"mining.configure",
    b"mining.subscribe",
    b"mining.authorize",
    b"mining.submit",
    b"mining.suggest_difficulty",
    b"mining.suggest_target",
    b"mining.get_commitment",
    b"mining.get_transactions",
    b"mining.extranonce.subscribe",
    b"mining.ping",
    b"pong",
]

_VALUE = re.compile(rb'"(?:[^"\\]|\\.)*"|-?[0-9][0-9.eE+-]*|true|false|null|[\[\]{},:]')
_METHOD = re.compile(rb"mining\.[a-z_.]+")
_HEX = re.compile(rb'(?<=")[0-9a-f]{1,16}(?=")')


class Mutator:
    """Spoils packets of `corpus`, which other packets are spliced with."""

    def __init__(self, random: Random, corpus: list[bytes]) -> None:
        self._random = random
        self._corpus = corpus
        self._gentle: list[Callable[[bytes], bytes]] = [
            self._other_value,
            self._other_hex,
            self._other_hex,
            self._other_method,
            self._repeat_line,
            self._swap_lines,
        ]
        self._rough: list[Callable[[bytes], bytes]] = [
            self._flip_bits,
            self._cut,
            self._truncate,
            self._insert,
            self._splice,
        ]

    def spoil(self, packet: bytes) -> bytes:
        """Return the packet after one to four mutations.

        Most of them leave lines of JSON: a session is closed after a few that are not.
        """
        for _ in range(1 + int(3.9 * self._random.random() ** 3)):
            ways = self._gentle if self._random.random() < 0.85 else self._rough
            packet = self._random.choice(ways)(packet)
        return packet

    def _at(self, size: int) -> int:
        return int(self._random.random() * size)

    def _replace_one(self, pattern: re.Pattern[bytes], packet: bytes, by: bytes) -> bytes:
        found = list(pattern.finditer(packet))
        if not found:
            return packet
        match = found[self._at(len(found))]
        return packet[: match.start()] + by + packet[match.end() :]

    def _other_value(self, packet: bytes) -> bytes:
        return self._replace_one(_VALUE, packet, self._random.choice(VALUES))

    def _other_hex(self, packet: bytes) -> bytes:
        """Keeps a submit well formed: another nonce, time, job or version."""
        digits = self._random.choice((8, 8, 8, 16, 1, 7))
        return self._replace_one(_HEX, packet, b"%0*x" % (digits, self._random.getrandbits(28)))

    def _other_method(self, packet: bytes) -> bytes:
        return self._replace_one(_METHOD, packet, self._random.choice(METHODS))

    def _flip_bits(self, packet: bytes) -> bytes:
        spoiled = bytearray(packet)
        for _ in range(1 + self._at(4)):
            if spoiled:
                spoiled[self._at(len(spoiled))] ^= 1 << self._at(8)
        return bytes(spoiled)

    def _cut(self, packet: bytes) -> bytes:
        start = self._at(len(packet))
        return packet[:start] + packet[start + 1 + self._at(30) :]

    def _truncate(self, packet: bytes) -> bytes:
        return packet[: self._at(len(packet))]

    def _insert(self, packet: bytes) -> bytes:
        at = self._at(len(packet) + 1)
        return packet[:at] + self._random.choice(PIECES) + packet[at:]

    def _splice(self, packet: bytes) -> bytes:
        other = self._random.choice(self._corpus)
        return packet[: self._at(len(packet))] + other[self._at(len(other)) :]

    def _repeat_line(self, packet: bytes) -> bytes:
        lines = packet.splitlines(keepends=True)
        return packet + self._random.choice(lines) * (1 + self._at(3)) if lines else packet

    def _swap_lines(self, packet: bytes) -> bytes:
        lines = (packet + self._random.choice(self._corpus)).splitlines(keepends=True)
        self._random.shuffle(lines)
        return b"".join(lines)
