"""Whole nodes on real blocks: a regtest chain that Bitcoin Core's own consensus code judges."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from potnode import campaign, mining
from potnode.config import ChainSettings, WorkSettings
from potnode.node import Node
from potnode.store.errors import StoreFull
from potnode.store.rows import ShareRow, ShareStatus
from potnode.work.blocks import FoundBlock
from potnode.work.payout import output_script
from stratum.client import ClientJob, NewJob, StratumClient, SubmitResult
from stratum.errors import RejectCode
from stratum.headers import sha256d
from tests.bitcoin.chain import TARGET, shown
from tests.bitcoin.shim import Faults, Regtest
from tests.node.harness import (
    MINER,
    POPULATION,
    Anvil,
    Digger,
    Line,
    RunningNode,
    create_job,
    digging,
    eventually,
    fetch,
    get_json,
    node_here,
    opened_store,
    potnode,
    raw_connection,
)

OPERATOR = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080"
OWN = "bcrt1p5cyxnuxmeuwuvkwfem96lqzszd02n6xdcjrs20cac6yqjjwudpxqvg32hk"
STEPS = 3


@pytest.fixture(name="bitcoind")
def _bitcoind(tmp_path: Path) -> Iterator[Regtest]:
    with Regtest(tmp_path / "bitcoind") as regtest:
        yield regtest


def work(*bitcoinds: Regtest, **changes: Any) -> WorkSettings:
    values: dict[str, Any] = {
        "source": "bitcoind",
        "network": "regtest",
        "bitcoind": tuple(bitcoind.url for bitcoind in bitcoinds),
        "zmq": tuple(bitcoind.zmq_url for bitcoind in bitcoinds),
        "payout_address": OPERATOR,
    }
    return WorkSettings.model_validate(values | changes)


def variables(bitcoind: Regtest, **changes: str) -> dict[str, str]:
    return {
        "POTNODE_WORK__SOURCE": "bitcoind",
        "POTNODE_WORK__NETWORK": "regtest",
        "POTNODE_WORK__BITCOIND": bitcoind.url,
        "POTNODE_WORK__ZMQ": bitcoind.zmq_url,
        "POTNODE_WORK__PAYOUT_ADDRESS": OPERATOR,
        **changes,
    }


def accepted(bitcoind: Regtest) -> list[bytes]:
    """Blocks that were handed in and are valid, by the consensus code."""
    return [block for block, reason in bitcoind.submitted if reason is None]


async def training(node: Node) -> None:
    """Until there is training: before, a CPU is given work as hard as an ASIC's."""
    await eventually(node.progress, "training")


def blocks(node: Node) -> list[FoundBlock]:
    parent = node.parent()
    assert parent is not None
    return parent.blocks.blocks()


def test_the_same_hashes_train_and_make_blocks(bitcoind: Regtest, tmp_path: Path) -> None:
    """As a user runs it: miners, bitcoind, chain and audit are other processes or threads."""
    data_dir = tmp_path / "node"
    job_id = create_job(data_dir, steps=STEPS)
    bitcoind.add_transactions(5)
    height = bitcoind.height
    with RunningNode(data_dir, env=variables(bitcoind)) as running:
        running.wait_until(running.training, "training")
        digger = Digger(running.stratum_port)
        for _ in range(2 * STEPS):
            asyncio.run(digger.shares(POPULATION // 2))
            running.wait_until(lambda: _height(running) == bitcoind.height + 1, "the new tip")
        running.wait_until(
            lambda: running.get(f"/api/v1/jobs/{job_id.hex()}")["steps"] == STEPS, "recorded"
        )
        proofs = running.get("/api/v1/proofs?limit=100")["items"]
        blocks = running.get("/api/v1/pool/blocks")["items"]
        pool = running.get("/api/v1/pool")
    found = accepted(bitcoind)
    assert len(found) >= STEPS
    # On regtest every other hash is a block. Some were found on the same parent as another.
    assert {reason for _, reason in bitcoind.submitted} <= {None, "inconclusive", "duplicate"}
    assert bitcoind.height > height
    assert pool["work"]["source"] == "bitcoind"
    assert pool["work"]["height"] == bitcoind.height + 1
    hashes = {shown(sha256d(block[:80])) for block in found}
    assert hashes <= {block["hash"] for block in blocks if block["status"] == "accepted"}
    assert {block["finder"] for block in blocks} == {MINER}
    assert len(list((data_dir / "blocks").glob("*.json"))) == len(blocks)
    assert hashes <= {proof["hash"] for proof in proofs if proof["is_block"]}
    assert all(proof["parent"] for proof in proofs)
    # Transactions were in a block, so some proof has siblings.
    assert any(len(block) > 1000 for block in found)
    audited = potnode("audit", job_id.hex(), "--data-dir", data_dir, "--json")
    assert audited.status == 0, audited.out + audited.err
    report = json.loads(audited.out)
    assert report["passed"]
    assert report["shares"] == STEPS * POPULATION
    assert hashes <= {block["hash"] for block in report["blocks"]}
    assert not any(parent["standalone"] for parent in report["parents"])
    assert sum(parent["shares"] for parent in report["parents"]) == STEPS * POPULATION


def _height(running: RunningNode) -> int:
    height: int = running.get("/api/v1/pool")["work"]["height"]
    return height


def coinbase_outputs(block: bytes) -> bytes:
    """The block from its coinbase on; enough to look for a script."""
    return block[80:600]


async def test_in_solo_mode_a_block_pays_its_finder(bitcoind: Regtest, tmp_path: Path) -> None:
    data_dir = tmp_path / "node"
    job_id = create_job(data_dir, steps=1)
    settings = work(bitcoind, payout_address=None, solo=True)
    own = output_script(OWN, "regtest")
    async with node_here(data_dir, settings={"work": settings}) as node:
        await training(node)
        async with raw_connection(node.stratum_port) as raw:
            raw.send({"id": 1, "method": "mining.authorize", "params": [MINER, "x"]})
            reply = await raw.reply()
        assert reply is not None
        assert reply["error"][0] == RejectCode.UNAUTHORIZED
        assert "BITCOIN_ADDRESS" in reply["error"][1]
        digger = Digger(node.stratum_port, user=f"{MINER}+{OWN}.rig")
        await digger.shares(POPULATION)
        await asyncio.wait_for(node.job_finished(), 60)
        workers = await asyncio.to_thread(
            get_json, f"http://127.0.0.1:{node.api_port}/api/v1/workers"
        )
    found = accepted(bitcoind)
    assert found
    assert all(own in coinbase_outputs(block) for block in found)
    assert [(worker["miner"], worker["worker"]) for worker in workers["items"]] == [(MINER, "rig")]
    audited = potnode("audit", job_id.hex(), "--data-dir", data_dir, "--json")
    assert json.loads(audited.out)["passed"], audited.out


async def test_blocks_are_handed_in_while_neither_database_nor_chain_is_there(
    bitcoind: Regtest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data_dir = tmp_path / "node"
    with Anvil(tmp_path) as anvil, Line(anvil.port) as line:
        env = {"POTNODE_CHAIN__URL": f"http://127.0.0.1:{line.port}"}
        made = potnode("keys", "new", "--data-dir", data_dir, "--json")
        anvil.fund(json.loads(made.out)["address"])
        create_job(data_dir, steps=STEPS, env=env)
        settings = {
            "work": work(bitcoind),
            "chain": ChainSettings(url=env["POTNODE_CHAIN__URL"]),
        }
        async with node_here(data_dir, settings=settings) as node:
            await training(node)

            def add_share(share: ShareRow) -> Future[bool]:
                raise StoreFull("the disk is full")

            monkeypatch.setattr(node.parts.store, "add_share", add_share)
            line.cut()
            digger = Digger(node.stratum_port)
            async with digging(digger):
                await eventually(lambda: len(accepted(bitcoind)) >= 3, "three blocks")
            assert digger.acknowledged == []
            assert {reject.text for reject in digger.refused} >= {"The share could not be stored"}
            line.mend()
    assert len(list((data_dir / "blocks").glob("*.json"))) >= 3


async def test_miners_are_not_sent_away_by_a_chain_that_is_long_away(
    bitcoind: Regtest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(campaign, "OUTBOX_LIMIT", 2)
    monkeypatch.setattr(mining, "PATIENCE", 0.1)
    monkeypatch.setattr(mining, "LOOK_SECONDS", 0.05)
    data_dir = tmp_path / "node"
    with Anvil(tmp_path) as anvil, Line(anvil.port) as line:
        env = {"POTNODE_CHAIN__URL": f"http://127.0.0.1:{line.port}"}
        made = potnode("keys", "new", "--data-dir", data_dir, "--json")
        anvil.fund(json.loads(made.out)["address"])
        create_job(data_dir, steps=STEPS + 1, env=env)
        settings = {
            "work": work(bitcoind),
            "chain": ChainSettings(url=env["POTNODE_CHAIN__URL"]),
        }
        async with node_here(data_dir, settings=settings) as node:
            await training(node)
            digger = Digger(node.stratum_port)
            line.cut()
            await digger.shares(STEPS * POPULATION)
            await eventually(lambda: node.parts.mining.resting, "blocks alone")
            await find_block(node.stratum_port)
            line.mend()
            await eventually(lambda: not node.parts.mining.resting, "training")
            await digger.shares(POPULATION)
            await asyncio.wait_for(node.job_finished(), 60)


def test_a_node_whose_chain_is_away_at_the_start_mines_blocks_meanwhile(
    bitcoind: Regtest, tmp_path: Path
) -> None:
    data_dir = tmp_path / "node"
    with Anvil(tmp_path) as anvil, Line(anvil.port) as line:
        env = {"POTNODE_CHAIN__URL": f"http://127.0.0.1:{line.port}"}
        made = potnode("keys", "new", "--data-dir", data_dir, "--json")
        anvil.fund(json.loads(made.out)["address"])
        create_job(data_dir, steps=STEPS, env=env)
        line.cut()
        running = RunningNode(data_dir, env={**env, **variables(bitcoind)})
        running.start()
        try:
            port = int(running.wait_for_line(r"listening for miners on \S+ port (\d+)")[1])
            running.wait_for_line("training waits, blocks are mined all the same")
            asyncio.run(find_block(port))
            running.wait_until(lambda: accepted(bitcoind), "a block")
            line.mend()
            running.wait_ready()
            running.wait_until(running.training, "training")
            asyncio.run(Digger(port).shares(POPULATION))
            line.cut()
            assert running.stop()[0] == 0
        finally:
            running.kill()
        stopped = RunningNode(data_dir, env={**env, **variables(bitcoind)})
        stopped.start()
        stopped.wait_for_line("training waits, blocks are mined all the same")
        status, seconds = stopped.stop()
        assert (status, seconds < 5) == (0, True), stopped.log


async def test_a_node_without_its_bitcoind_waits_for_it_and_says_so(
    bitcoind: Regtest, tmp_path: Path
) -> None:
    data_dir = tmp_path / "node"
    create_job(data_dir, steps=STEPS)
    url = bitcoind.url  # its port is known since it was started
    bitcoind.stop()
    async with node_here(data_dir, settings={"work": work(bitcoind, bitcoind=(url,))}) as node:
        api = f"http://127.0.0.1:{node.api_port}"
        digger = Digger(node.stratum_port)
        async with digging(digger):
            await eventually(node.miners, "a miner")
            await training(node)
            await eventually(
                lambda: any(bitcoind.name in problem for problem in node.problems()), "a problem"
            )
            status, body = await asyncio.to_thread(fetch, f"{api}/readyz")
            assert status == 503
            assert bitcoind.name in body.decode()
            _, metrics = await asyncio.to_thread(fetch, f"{api}/metrics")
            assert b"potnode_parent_problems 0.0" not in metrics
            assert digger.jobs == []
            bitcoind.start()
            await eventually(lambda: digger.acknowledged, "work for the miner that waited")
        await eventually(lambda: node.problems() == [], "all is well")
        _, metrics = await asyncio.to_thread(fetch, f"{api}/metrics")
        assert b"potnode_parent_problems 0.0" in metrics


@pytest.mark.parametrize(
    "faults",
    [
        Faults(delay=3600.0),
        Faults(body=b"<html>"),
        Faults(unauthorized=True),
        Faults(error=(-28, "Loading block index...")),
        Faults(methods=frozenset({"submitblock"}), error=(-1, "no")),
    ],
    ids=["silent", "garbage", "credentials", "warming up", "submitblock"],
)
async def test_miners_do_not_notice_a_bad_bitcoind(
    bitcoind: Regtest, tmp_path: Path, faults: Faults, monkeypatch: pytest.MonkeyPatch
) -> None:
    data_dir = tmp_path / "node"
    create_job(data_dir, steps=STEPS)
    async with node_here(data_dir, settings={"work": work(bitcoind)}) as node:
        digger = Digger(node.stratum_port)
        await training(node)
        await digger.shares(1)
        bitcoind.faults = faults
        await digger.shares(POPULATION)
        assert node.progress() is not None
        bitcoind.faults = Faults()
        await eventually(lambda: node.problems() == [], "all is well again")
        await digger.shares(POPULATION)
        await eventually(
            lambda: all(b.status != "pending" for b in blocks(node)), "every block's fate"
        )


async def test_a_reorganisation_loses_no_training_share(bitcoind: Regtest, tmp_path: Path) -> None:
    data_dir = tmp_path / "node"
    create_job(data_dir, steps=STEPS)
    async with node_here(data_dir, settings={"work": work(bitcoind)}) as node:
        digger = Digger(node.stratum_port)
        await training(node)
        shares = await digger.shares(POPULATION // 2)
        await asyncio.to_thread(bitcoind.reorganise, 3)
        tip = bitcoind.tip
        await eventually(lambda: _tip(node) == tip, "work on the new chain")
        shares += await digger.shares(STEPS * POPULATION - len(shares))
        await asyncio.wait_for(node.job_finished(), 60)
    with opened_store(data_dir) as store:
        for hash_ in shares:
            proof = store.proof(hash_)
            assert proof is not None
            assert proof.status is ShareStatus.FINAL


async def test_between_jobs_miners_earn_bitcoin(bitcoind: Regtest, tmp_path: Path) -> None:
    data_dir = tmp_path / "node"
    create_job(data_dir, steps=1)
    async with node_here(data_dir, settings={"work": work(bitcoind)}, open_digits=False) as node:
        digger = Digger(node.stratum_port)
        await training(node)
        await digger.shares(POPULATION)
        await asyncio.wait_for(node.job_finished(), 60)
        await eventually(lambda: _tip(node) == bitcoind.tip, "work on the newest block")
        before = len(accepted(bitcoind))
        await find_block(node.stratum_port)
        await eventually(lambda: len(accepted(bitcoind)) > before, "a block")
        assert blocks(node)[0].finder == MINER


async def find_block(port: int) -> None:
    """A hash that is no share at an ASIC's difficulty, but a block of regtest, and that counts."""
    async with StratumClient("127.0.0.1", port, user=MINER, agent="x") as client:
        async for event in client:
            if isinstance(event, NewJob):
                extranonce2, nonce = easy_block(event.job)
                client.submit(event.job, extranonce2, nonce)
            if isinstance(event, SubmitResult):
                assert event.reject is not None
                assert event.reject.code is RejectCode.LOW_DIFFICULTY
                return


def easy_block(job: ClientJob) -> tuple[bytes, int]:
    extranonce2 = bytes(job.extranonce2_size)
    header76 = job.header_base(extranonce2)[:76]
    nonce = next(
        nonce
        for nonce in range(1 << 16)
        if int.from_bytes(sha256d(header76 + nonce.to_bytes(4, "little")), "little") <= TARGET
    )
    return extranonce2, nonce


def _tip(node: Node) -> str | None:
    parent = node.parent()
    assert parent is not None
    template = parent.source.current(int(time.time()))
    return None if template is None else shown(template.prev_hash_le)
