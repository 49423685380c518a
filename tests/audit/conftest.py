"""A chain with an honest job on it, made once; and the auditor as the tests call it."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator

import pytest

from potnode.audit import auditor
from potnode.audit.auditor import Auditor
from potnode.audit.report import AuditReport
from potnode.chain.embedded import EmbeddedChain
from potnode.chain.keys import Key
from potnode.chain.ports import Ledger
from potnode.cli import main
from tests.audit.operating import STEPS, Operated, Operator, tiny_dataset

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="session")
def chain(tmp_path_factory: pytest.TempPathFactory, key: Key) -> Iterator[EmbeddedChain]:
    directory = tmp_path_factory.mktemp("audit") / "chain"
    with EmbeddedChain.open(
        directory, fund=[key.address], clock=lambda: int(time.time())
    ) as opened:
        yield opened


@pytest.fixture(scope="session")
def key() -> Key:
    return Key.random()


@pytest.fixture(scope="session")
def operator(chain: EmbeddedChain, key: Key, tmp_path_factory: pytest.TempPathFactory) -> Operator:
    folder = tmp_path_factory.mktemp("datasets")
    (folder / "tiny.potdata").write_bytes(tiny_dataset())
    return Operator.on(chain, key, folder)


@pytest.fixture(scope="session")
def honest(operator: Operator) -> Operated:
    """A finished job; nothing in it is wrong."""
    return operator.create().train(STEPS)


@pytest.fixture(scope="session")
def several(operator: Operator) -> Operated:
    """Likewise, of four candidates a share: steps take two shares, then three, then four."""
    return operator.create(
        candidates_per_share=4, population_start=8, population=20, step_limit=STEPS
    ).train(STEPS)


@pytest.fixture
def quick_engine(monkeypatch: pytest.MonkeyPatch, operator: Operator) -> None:
    """Audits take the operator's engine instead of making and testing their own."""
    monkeypatch.setattr(auditor, "Engine", operator.engine)


def audit(operator: Operator, job_id: bytes, ledger: Ledger | None = None) -> AuditReport:
    return Auditor(ledger or operator.ledger, operator.catalog, threads=1).audit(job_id)


@pytest.fixture
def run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], operator: Operator
) -> Run:
    """`potnode ARGUMENTS`: exit status, standard output, standard error."""
    monkeypatch.setenv("POTNODE_DATASETS", str(operator.folder))
    monkeypatch.setenv("POTNODE_ENGINE__THREADS", "1")

    def call(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["potnode", *arguments])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr()
        code = ended.value.code
        return (code if isinstance(code, int) else 0), said.out, said.err

    return call


def where(operator: Operator, url: str) -> list[str]:
    return ["--rpc", url, "--contract", "0x" + operator.ledger.contract.hex()]
