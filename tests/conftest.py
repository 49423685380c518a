"""What all tests share: hypothesis' profile, and one whole node that some of them only look at."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from tests.node.harness import RunningNode, create_job

# How long an example takes, or is drawn, says something about the machine and nothing about a rule.
settings.register_profile("potnode", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("potnode")


@pytest.fixture(scope="session")
def running_node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningNode]:
    """A node in the middle of a job that no test gets to the end of. Mine it, do not stop it."""
    data_dir = tmp_path_factory.mktemp("running") / "node"
    create_job(data_dir, steps=100_000, min_bits=10)
    with RunningNode(data_dir) as node:
        yield node
        assert node.process.poll() is None, node.log
    assert node.process.returncode == 0, node.log
    assert "Traceback" not in node.log, node.log
