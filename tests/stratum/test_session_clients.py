"""Each kind of client, byte for byte."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stratum.session import ShareFound, State
from tests.stratum.replay import CLIENTS, TRANSCRIPTS, Replay, packet, steps

each_client = pytest.mark.parametrize(
    "transcript", TRANSCRIPTS, ids=[transcript["name"] for transcript in TRANSCRIPTS]
)


def check_after(replay: Replay, after: dict[str, Any]) -> None:
    session = replay.bench.session
    assert session.state is State.READY
    assert session.account == CLIENTS["user"]
    assert session.unanswered == 0
    assert {
        "user_agent": session.user_agent,
        "worker": session.worker,
        "version_mask": session.version_mask,
        "suggested": session.suggested_difficulty,
        "fixed": session.fixed_difficulty,
        "minimum": session.minimum_difficulty,
    } == {key: after[key] for key in after if key not in {"shares", "events"}}
    assert [type(event).__name__ for event in replay.events] == after["events"]
    found = [event.share for event in replay.events if isinstance(event, ShareFound)]
    assert [share.hash[::-1].hex() for share in found] == after["shares"]
    assert {share.worker for share in found} == {after["worker"]}


@each_client
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_packet_by_packet(transcript: dict[str, Any], end: str) -> None:
    replay = Replay(transcript)
    lines = 0
    for step, expected in steps(transcript):
        if "client" in step:
            lines += len(step["client"])
            data = packet(step["client"]).replace(b"\n", end.encode())
            assert replay.receive(data) == expected
        else:
            assert replay.do(step) == expected
    assert replay.bench.session.lines == lines
    check_after(replay, transcript["after"])


@each_client
@pytest.mark.parametrize("size", [1, 2, 3, 7, 64])
def test_cut_into_segments(transcript: dict[str, Any], size: int) -> None:
    replay = Replay(transcript)
    for step, expected in steps(transcript):
        if "client" in step:
            data = packet(step["client"])
            sent = [replay.receive(data[at : at + size]) for at in range(0, len(data), size)]
            assert b"".join(sent) == expected
        else:
            assert replay.do(step) == expected
    check_after(replay, transcript["after"])


@given(st.sampled_from(TRANSCRIPTS), st.data())
@settings(max_examples=60)
def test_cut_anywhere(transcript: dict[str, Any], data: st.DataObject) -> None:
    replay = Replay(transcript)
    for step, expected in steps(transcript):
        if "client" in step:
            sent = packet(step["client"])
            cuts = sorted(data.draw(st.lists(st.integers(0, len(sent)), max_size=5)))
            got = [
                replay.receive(sent[start:end])
                for start, end in itertools.pairwise([0, *cuts, len(sent)])
            ]
            assert b"".join(got) == expected
        else:
            assert replay.do(step) == expected
    check_after(replay, transcript["after"])


def test_all_clients_that_matter_are_there() -> None:
    agents = {transcript["after"]["user_agent"].partition("/")[0] for transcript in TRANSCRIPTS}
    assert agents == {
        "Antminer S19 Pro",
        "NerdMinerV2",
        "NiceHash",
        "bfgminer",
        "bitaxe",
        "bmminer",
        "cgminer",
        "cpuminer",
        "whatsminer",
        "xminer-1.2.6",
    }


@each_client
def test_answers_as_firmware_can_read_them(transcript: dict[str, Any]) -> None:
    """cgminer and ESP-Miner read lines of about 8 KiB; clients want all three keys."""
    for _, expected in steps(transcript):
        for line in expected.splitlines():
            assert len(line) < 4096
            assert line.startswith(b'{"id":')
            if b'"method"' not in line:
                assert b',"result":' in line
                assert line.endswith((b',"error":null}', b",null]}"))
