"""Literal searches of a whole node: started with curl, killed in the middle, ended by the next."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path
from typing import Any

import requests

from potnode.data.catalog import Catalog
from potnode.literal.request import Request
from potnode.literal.searches import Searches
from tests.node.harness import DEADLINE, RunningNode

RANGE = [0, 30_000]
BATCH = 64


def curl(node: RunningNode, *arguments: str) -> Any:
    """The JSON that curl gets from `/job`."""
    url = f"http://localhost:{node.api_port}/job"
    command = ["curl", "-sS", *arguments[:-1], url + arguments[-1]]
    return json.loads(subprocess.run(command, capture_output=True, check=True).stdout)


def uninterrupted(folder: Path) -> list[list[dict[str, object]]]:
    """What the search finds where nothing disturbs it: kept nonces of each round."""
    searches = Searches(folder, Catalog())
    searches.start()
    low, high = RANGE
    wanted = Request(seed="conv1_layer", nonce_range=(low, high), batch=BATCH)
    identity = searches.submit(wanted).id
    deadline = time.monotonic() + DEADLINE
    while (found := searches.get(identity)).waits:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    searches.close()
    return [
        [{"nonce": kept.nonce, "loss": kept.loss} for kept in each.ledger.kept]
        for each in found.rounds
    ]


def test_a_search_outlives_a_kill_and_finds_the_same(tmp_path: Path) -> None:
    data_dir = tmp_path / "node"
    call = json.dumps({"seed": "conv1_layer", "nonce_range": RANGE, "batch": BATCH})
    node = RunningNode(data_dir)
    with node:
        identity = curl(node, "-X", "POST", "-d", call, "")["id"]
        waiting = curl(node, "-X", "POST", "-d", call, "")["id"]
        node.wait_until(
            lambda: curl(node, f"/{identity}")["progress"]["done"], "the search had begun"
        )
        node.kill()
    with RunningNode(data_dir) as again:
        assert curl(again, "-X", "DELETE", f"/{waiting}")["status"] == "cancelled"
        again.wait_until(
            lambda: curl(again, f"/{identity}")["status"] == "finished", "the search was over"
        )
        found = curl(again, f"/{identity}")
        assert [each["id"] for each in curl(again, "")["items"]] == [waiting, identity]
    assert found["progress"] == {"done": 60_000, "total": 60_000}
    assert found["hashes_per_s"] > 0
    assert [each["best"] for each in found["rounds"]] == uninterrupted(tmp_path / "alone")


def test_beyond_loopback_a_node_asks_for_its_token(tmp_path: Path) -> None:
    token = "0123456789abcdef"
    call: dict[str, Any] = {"seed": "s", "nonce_range": [0, 10], "batch": 1}
    with RunningNode(
        tmp_path / "node",
        "--api-host",
        "0.0.0.0",  # noqa: S104
        env={"POTNODE_API__TOKEN": token},
    ) as node:
        url = f"http://127.0.0.1:{node.api_port}/job"
        assert requests.post(url, json=call, timeout=DEADLINE).status_code == 401
        right = {"Authorization": f"Bearer {token}"}
        assert requests.post(url, json=call, headers=right, timeout=DEADLINE).status_code == 202
        assert token not in node.log
