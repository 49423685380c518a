"""`potnode audit` and `potnode model export`: what they print and how they end."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from potnode.chain.embedded import EmbeddedChain
from potnode.chain.keys import Key
from potnode.chain.rpc import Connection, HttpTransport, RpcLedger
from potnode.engine.export import decode_model
from tests.audit.conftest import Run, audit, where
from tests.audit.lying import STEP_DATA_AT, in_event_data, record_layout
from tests.audit.operating import STEPS, Operated, Operator, tiny_dataset
from tests.audit.serving import rpc_server
from tests.chain.conftest import free_port


def test_an_audit_over_http_is_the_same(
    chain: EmbeddedChain, operator: Operator, honest: Operated
) -> None:
    with rpc_server(chain) as url:
        ledger = RpcLedger(Connection(HttpTransport(url)), operator.ledger.contract)
        over_http = audit(operator, honest.job_id, ledger).document()
    here = audit(operator, honest.job_id).document()
    assert over_http["passed"] is True
    assert {**over_http, "seconds": 0} == {**here, "seconds": 0}


def test_a_job_that_passes(
    run: Run, chain: EmbeddedChain, operator: Operator, honest: Operated
) -> None:
    with rpc_server(chain) as url:
        code, out, _ = run("audit", honest.job_id.hex(), *where(operator, url), "--json")
        text_code, text, _ = run("audit", "0x" + honest.job_id.hex(), *where(operator, url))
    document = json.loads(out)
    assert code == text_code == 0
    assert document["passed"] is True
    assert document["steps"] == STEPS
    assert document["state_root"] == honest.records[-1].state_root.hex()
    assert text.startswith("audit PASSED")


def test_a_node_that_lies_in_one_byte(
    run: Run, chain: EmbeddedChain, operator: Operator, honest: Operated
) -> None:
    at = record_layout(honest.records[3]).index("entries[2].losses[0]") + 4
    with rpc_server(chain, in_event_data("StepRecorded", 3, STEP_DATA_AT + at)) as url:
        code, out, _ = run("audit", honest.job_id.hex(), *where(operator, url))
        json_code, document, _ = run("audit", honest.job_id.hex(), *where(operator, url), "--json")
    assert code == json_code == 1
    assert out.startswith("audit FAILED")
    assert "\n  step 3: entries[2].losses[0]: byte 4 of 5 is shown as 0x" in out
    finding: dict[str, Any] = json.loads(document)["findings"][0]
    assert (finding["step"], finding["field"]) == (3, "entries[2].losses[0]")


def test_the_specification_can_be_asked_for(
    run: Run, chain: EmbeddedChain, operator: Operator, honest: Operated
) -> None:
    with rpc_server(chain) as url:
        code, out, _ = run(
            "audit", honest.job_id.hex(), *where(operator, url), "--slow", "2", "--json"
        )
    assert (code, json.loads(out)["spec_steps"]) == (0, 2)


@pytest.mark.parametrize(
    ("job", "said"),
    [("ab" * 32, "has no job 0xabab"), ("zz" * 32, "64 hex digits"), ("abcd", "64 hex digits")],
)
def test_a_job_that_is_none(
    run: Run, chain: EmbeddedChain, operator: Operator, job: str, said: str
) -> None:
    with rpc_server(chain) as url:
        code, out, err = run("audit", job, *where(operator, url))
    assert (code, out) == (1, "")
    assert err.startswith("potnode: ")
    assert said in err
    assert err.count("\n") == 1


def test_a_dataset_that_is_not_here(
    run: Run,
    chain: EmbeddedChain,
    operator: Operator,
    honest: Operated,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("POTNODE_DATASETS", str(tmp_path))
    with rpc_server(chain) as url:
        code, out, err = run("audit", honest.job_id.hex(), *where(operator, url))
    assert (code, out) == (1, "")
    assert f"no dataset with the root {honest.params.data_root.hex()}" in err


def test_a_job_that_costs_too_much_is_not_audited(
    run: Run,
    chain: EmbeddedChain,
    operator: Operator,
    honest: Operated,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("POTNODE_JOBS__SAMPLE_PRODUCTS", "1")
    with rpc_server(chain) as url:
        code, out, err = run("audit", honest.job_id.hex(), *where(operator, url))
    assert (code, out) == (1, "")
    assert "jobs.sample_products allows 1: raise it" in err


def test_a_node_that_does_not_answer(run: Run, operator: Operator, honest: Operated) -> None:
    url = f"http://127.0.0.1:{free_port()}/rpc"
    code, out, err = run("audit", honest.job_id.hex(), *where(operator, url))
    assert (code, out) == (1, "")
    assert "did not answer eth_chainId" in err
    assert err.count("\n") == 1


def test_a_model_is_exported(
    run: Run, chain: EmbeddedChain, operator: Operator, honest: Operated, tmp_path: Path
) -> None:
    good, bad = tmp_path / "good.safetensors", tmp_path / "bad.safetensors"
    lie = in_event_data("StepRecorded", 0, 32)
    with rpc_server(chain) as url:
        code, out, _ = run("model", "export", honest.job_id.hex(), str(good), *where(operator, url))
    with rpc_server(chain, lie) as url:
        bad_code, _, err = run(
            "model", "export", honest.job_id.hex(), str(bad), *where(operator, url)
        )
    assert code == 0
    root = honest.records[-1].state_root.hex()
    assert out == f"{good}: step {STEPS}, state root {root}\n"
    assert decode_model(good.read_bytes()).state == honest.closed[-1].state
    assert bad_code == 1
    assert "step 0: new_head" in err
    assert not bad.exists()


def test_a_data_directory_is_audited_in_a_process_of_its_own(tmp_path: Path) -> None:
    key = Key.random()
    datasets = tmp_path / "datasets"
    datasets.mkdir()
    (datasets / "tiny.potdata").write_bytes(tiny_dataset())
    data_dir = tmp_path / "data"
    with EmbeddedChain.open(data_dir, fund=[key.address], clock=lambda: int(time.time())) as chain:
        job = Operator.on(chain, key, datasets).create().train(2)
    arguments = ["audit", job.job_id.hex(), "--data-dir", str(data_dir), "--json"]
    done = subprocess.run(
        [sys.executable, "-m", "potnode", *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "POTNODE_DATASETS": str(datasets)},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["passed"] is True
    assert document["state_root"] == job.records[-1].state_root.hex()
