"""The parent chain's parts from the configuration, and what is wrong with it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from potnode.bitcoin import ParentChain
from potnode.clock import SystemClock
from potnode.config import WorkSettings
from potnode.errors import ConfigError

PAYOUT = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080"


def opened(folder: Path, **changes: Any) -> ParentChain | None:
    settings: dict[str, Any] = {
        "source": "bitcoind",
        "network": "regtest",
        "bitcoind": ("http://u:s3cret@127.0.0.1:1",),
        "payout_address": PAYOUT,
    }
    work = WorkSettings.model_validate(settings | changes)
    return ParentChain.open(work, folder, SystemClock(), lambda _new_tip: None)


def test_standalone_templates_need_none(tmp_path: Path) -> None:
    assert opened(tmp_path, source="standalone") is None


async def test_some_log_in_by_their_url_and_others_by_the_cookie(tmp_path: Path) -> None:
    urls = ("http://127.0.0.1:1", "http://u:s3cret@127.0.0.2:2")
    chain = opened(tmp_path, bitcoind=urls, cookie_file=tmp_path / ".cookie")
    assert chain is not None
    assert [bitcoind.name for bitcoind in chain.bitcoinds] == ["127.0.0.1:1", "127.0.0.2:2"]
    await chain.close()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"bitcoind": ("http://127.0.0.1:1",)}, "user and password in its URL, or a cookie file"),
        ({"bitcoind": ("u:s3cret@127.0.0.1",)}, "must be http"),
        ({"bitcoind": ("http://u:s3cret@[::1",)}, "^work: "),
        ({"zmq": ("127.0.0.1:28332",)}, "not a ZMQ endpoint"),
        ({"payout_address": "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4"}, "another network"),
        ({"payout_address": "nonsense"}, r"work\.payout_address"),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_what_is_wrong_is_said_without_secrets(
    tmp_path: Path, changes: dict[str, Any], said: str
) -> None:
    with pytest.raises(ConfigError, match=said) as raised:
        opened(tmp_path, **changes)
    assert "s3cret" not in str(raised.value)
