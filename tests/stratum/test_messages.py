from __future__ import annotations

import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stratum.errors import Reject, RejectCode
from stratum.messages import (
    MAX_LINE,
    Junk,
    LineBuffer,
    Request,
    Response,
    decode,
    encode_notification,
    encode_reject,
    encode_result,
    encode_true,
)


def test_both_line_ends_and_empty_lines() -> None:
    assert LineBuffer().feed(b"a\nb\r\n\n\r\nc\r\r\nrest") == [b"a", b"b", b"c\r"]


@given(st.binary(max_size=300), st.lists(st.integers(0, 300)))
def test_lines_do_not_depend_on_how_the_stream_was_cut(data: bytes, cuts: list[int]) -> None:
    whole, pieces = LineBuffer(40), LineBuffer(40)
    expected = whole.feed(data)
    got: list[bytes] = []
    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    for start, end in itertools.pairwise(edges):
        got += pieces.feed(data[start:end])
        assert len(pieces) <= 41
    assert got == expected
    assert pieces.overflowed == whole.overflowed


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_the_longest_line_is_taken_and_one_byte_more_is_not(end: bytes) -> None:
    buffer = LineBuffer()
    assert buffer.feed(b"x" * MAX_LINE + end) == [b"x" * MAX_LINE]
    assert buffer.feed(b"ok\n" + b"x" * (MAX_LINE + 1) + end + b"later\n") == [b"ok"]
    assert buffer.overflowed
    assert buffer.feed(b"more\n") == []


def test_a_line_that_never_ends_is_not_kept() -> None:
    buffer = LineBuffer()
    for _ in range(100):
        buffer.feed(b"x" * 1000)
        assert len(buffer) <= MAX_LINE + 1
    assert buffer.overflowed


IDS = [
    "0",
    "-7",
    "4",
    "123456789012345678901234567890123456789",
    "1.50",
    "1e3",
    '"auth"',
    '"\\u00e9\\n"',
    '"é"',
    "[1, 2]",
    '{"a":null}',
    "true",
]


@pytest.mark.parametrize("text", IDS)
def test_an_id_of_any_type_comes_back_as_it_was_written(text: str) -> None:
    message = decode(f'{{"id": {text} ,"method":"m"}}'.encode())
    assert isinstance(message, Request)
    assert message.id_json == text.encode()
    assert encode_true(message.id_json) == f'{{"id":{text},"result":true,"error":null}}\n'.encode()


@pytest.mark.parametrize("line", [b'{"id":null,"method":"m"}', b'{"method":"m"}'])
def test_null_and_missing_ids_are_one(line: bytes) -> None:
    assert decode(line) == Request(None, "m", [])


def test_params_that_are_no_list_are_empty() -> None:
    for params in (b"{}", b"null", b'"x"', b"1"):
        assert decode(b'{"id":1,"method":"m","params":' + params + b"}") == Request(b"1", "m", [])


def test_numbers_beyond_a_float_spoil_the_params_alone() -> None:
    assert decode(b'{"id":1,"method":"m","params":[1e999]}') == Request(b"1", "m", [])


def test_responses() -> None:
    assert decode(b'{"id":1,"result":true,"error":null}') == Response(b"1", True, None)
    assert decode(b'{"id":2,"error":[20,"x",null]}') == Response(b"2", None, [20, "x", None])


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"GET / HTTP/1.1", "Malformed JSON"),
        (b"\x16\x03\x01\x02\x00\x01\x00", "Malformed JSON"),
        (b'{"id":1,"method":"\xff"}', "Malformed JSON"),
        (b'{"id":"\xff","method":"m"}', "Malformed JSON"),
        (b"[]", "Not a JSON object"),
        (b"null", "Not a JSON object"),
        (b"17", "Not a JSON object"),
        (b"{}", "Neither a request nor a response"),
        (b'{"id":1,"method":5}', "The method is not a string"),
    ],
)
def test_junk_says_what_it_is(line: bytes, reason: str) -> None:
    message = decode(line)
    assert isinstance(message, Junk)
    assert message.reason == reason


@pytest.mark.parametrize("key", ["id", "params", "result", "other"])
@pytest.mark.parametrize("ends", [True, False])
def test_deep_nesting_does_not_raise(key: str, ends: bool) -> None:
    """How deep is too deep depends on the version of Python."""
    nested = "[" * 4000 + "]" * 4000 * ends
    message = decode(f'{{"method":"m","{key}":{nested}}}'.encode())
    assert isinstance(message, Request if ends else Junk) or message == Junk(None, "Malformed JSON")


@given(st.binary(max_size=200))
def test_no_bytes_raise(line: bytes) -> None:
    assert isinstance(decode(line), Request | Response | Junk)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(["id", "method", "params", "result", "error"]), JSON))
def test_replies_to_any_json_are_json(message: dict[str, object]) -> None:
    read = decode(json.dumps(message).encode())
    if read.id_json is not None:
        reply = json.loads(encode_result(read.id_json, ["x"]))
        assert json.dumps(reply["id"]) == json.dumps(message["id"])


def test_every_reply_has_all_three_keys() -> None:
    assert encode_result(b"1", []) == b'{"id":1,"result":[],"error":null}\n'
    assert (
        encode_reject(b'"a"', Reject(RejectCode.DUPLICATE, "Duplicate"))
        == b'{"id":"a","result":false,"error":[22,"Duplicate",null]}\n'
    )


def test_notifications_have_a_null_id() -> None:
    assert (
        encode_notification("mining.set_difficulty", [1024])
        == b'{"id":null,"method":"mining.set_difficulty","params":[1024]}\n'
    )
