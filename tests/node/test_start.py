"""Starts that cannot be: one line that says why, exit status 1, nothing changed."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest

from potnode.access import CONTRACT_FILE, DATABASE_FILE
from tests.node.harness import (
    Anvil,
    Digger,
    RunningNode,
    create_job,
    opened_store,
    potnode,
    write_job_file,
)


def refusal(data_dir: Path, *options: str, **env: str) -> str:
    """What `potnode run` says on one line of standard error before it ends with status 1."""
    node = RunningNode(data_dir, *options, env=env)
    node.start()
    assert node.wait_end() == 1, node.log
    said = [line for line in node.log.splitlines() if line.startswith("potnode: ")]
    assert len(said) == 1, node.log
    assert "Traceback" not in node.log, node.log
    assert node.log.rstrip().endswith(said[0]), node.log
    return said[0]


def test_two_nodes_on_one_data_directory(running_node: RunningNode) -> None:
    said = refusal(running_node.data_dir)
    assert f"{running_node.data_dir} is in use by process {running_node.process.pid}" in said
    assert running_node.get("/healthz") == {"status": "ok"}


def test_a_job_cannot_be_created_under_a_running_node(running_node: RunningNode) -> None:
    file = running_node.data_dir / "job.toml"
    done = potnode("job", "create", file, "--data-dir", running_node.data_dir)
    assert done.status == 1
    assert "is in use by process" in done.err


def test_a_wrong_key_password(tmp_path: Path) -> None:
    right = {"POTNODE_KEYS__PASSWORD": "right"}
    assert potnode("keys", "new", "--data-dir", tmp_path, env=right).status == 0
    before = sorted(path.name for path in tmp_path.rglob("*"))
    said = refusal(tmp_path, POTNODE_KEYS__PASSWORD="wrong-password")
    assert "password" in said
    assert "wrong-password" not in said
    left = {path.name for path in tmp_path.rglob("*")} - set(before)
    assert left <= {"lock"}, "nothing was begun"


def test_a_port_that_is_taken(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        said = refusal(tmp_path, "--api-port", str(port))
        assert "in use" in said
        said = refusal(tmp_path, "--stratum-port", str(port))
        assert "in use" in said


def test_a_device_that_is_not_there(tmp_path: Path) -> None:
    assert "torch can't use device 'cuda:77'" in refusal(tmp_path, POTNODE_ENGINE__DEVICE="cuda:77")


def test_a_chain_that_cannot_be_used(tmp_path: Path) -> None:
    data_dir = tmp_path / "node"
    with Anvil(tmp_path) as anvil:
        # What stands behind the host in such URLs often is somebody's access key.
        url = anvil.url + "?key=secret-access"
        nobody = "0x" + "c0" * 20
        said = refusal(data_dir, POTNODE_CHAIN__URL=url, POTNODE_CHAIN__CONTRACT=nobody)
        assert f"there is no contract at {nobody} on chain 515151" in said
        said = refusal(data_dir, POTNODE_CHAIN__URL=url)
        assert "insufficient funds" in said.lower(), "a key without coins can deploy none"
    away = refusal(data_dir, POTNODE_CHAIN__URL=url)
    assert f"the node at {anvil.url} did not answer" in away
    assert "secret" not in said + away
    assert not (data_dir / CONTRACT_FILE).exists()


def test_a_database_that_is_behind_the_chain(recorded_steps: tuple[Path, bytes]) -> None:
    data_dir, job_id = recorded_steps
    for file in data_dir.glob(DATABASE_FILE + "*"):
        file.unlink()
    with RunningNode(data_dir) as node:
        node.wait_for_line(f"job {job_id.hex()} cannot be trained")
        health = node.get("/readyz")
        assert health["status"] == 503
        assert any(
            "the chain has" in problem and "restore the database" in problem
            for problem in health["problems"]
        ), health
        # The job's record still stands, for anybody to read.
        assert node.get("/api/v1/jobs")["items"][0]["job"] == job_id.hex()
        assert node.stop()[0] == 0
    assert "Traceback" not in node.log, node.log


def test_a_job_that_costs_too_much_is_refused_and_the_next_is_trained(tmp_path: Path) -> None:
    data_dir = tmp_path / "node"
    file = write_job_file(tmp_path, steps=2)
    small = file.read_text()
    file.write_text(small.replace("[8]", "[64]"))
    create = ("job", "create", file, "--data-dir", data_dir, "--json")
    dear = json.loads(potnode(*create).out)["job"]
    limit = {"POTNODE_JOBS__STEP_PRODUCTS": "1000000"}
    refused = potnode(*create, env=limit)
    assert refused.status == 1
    assert "jobs.step_products allows 1,000,000" in refused.err
    file.write_text(small)
    made = json.loads(potnode(*create, env=limit).out)["job"]
    with RunningNode(data_dir, env=limit) as node:
        node.wait_for_line(f"job {dear} cannot be trained: the job takes .* a step")
        node.wait_for_line(f"job {made}: digits, step 0")
        assert len(node.get("/api/v1/jobs")["items"]) == 2


@pytest.fixture
async def recorded_steps(tmp_path: Path) -> tuple[Path, bytes]:
    """A data directory whose chain has steps of an unfinished job."""
    data_dir = tmp_path / "recorded"
    job_id = create_job(data_dir, steps=50)
    with RunningNode(data_dir) as node:
        await Digger(node.stratum_port).shares(16)
        node.wait_until(lambda: node.get("/api/v1/jobs")["items"][0]["steps"] >= 1, "a step")
        assert node.stop()[0] == 0
    with opened_store(data_dir) as store:
        assert store.checkpoint(job_id) is not None
    return data_dir, job_id
