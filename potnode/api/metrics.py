"""Figures of a node for Prometheus, read at every scrape.

No label takes a value that clients choose: addresses and worker names are in `/api/v1/workers`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from potnode import __version__
from potnode.api.ports import NodeView
from potnode.campaign import Progress
from stratum.errors import RejectCode
from stratum.server import Counters

METRICS: Final[Mapping[str, str]] = {
    "potnode_build_info": "The version that runs; always 1.",
    "potnode_ready": "1 when the node is ready for miners, else 0.",
    "potnode_miners": "Miners connected now.",
    "potnode_stratum_connections_total": "Connections opened since the start.",
    "potnode_stratum_shares_accepted_total": "Shares acknowledged since the start.",
    "potnode_stratum_rejects_total": "Submits refused since the start, by Stratum error code.",
    "potnode_stratum_blocks_total": "Headers that solve a block of the network.",
    "potnode_stratum_junk_total": "Lines that were no message.",
    "potnode_stratum_dropped_slow_total": "Clients dropped because they did not read.",
    "potnode_stratum_handshake_timeouts_total": "Clients that did not finish the handshake.",
    "potnode_step": "Steps closed of the job in training.",
    "potnode_step_limit": "Steps the job has.",
    "potnode_shares": "Shares of the job that count or wait.",
    "potnode_shares_waiting": "Acknowledged shares that wait for a step.",
    "potnode_shares_expired_total": "Acknowledged shares whose window passed.",
    "potnode_shares_refused_total": "Shares the pool did not take, by reason.",
    "potnode_hash_rate": "Hashes per second of all miners, estimated from their shares.",
    "potnode_evaluations_per_second": "Candidates evaluated per second of evaluation.",
    "potnode_steps_per_second": "Steps closed per second.",
    "potnode_validation_loss_bits": "Mean loss of the held-out samples at the last validation.",
    "potnode_validation_accuracy": "Share of held-out samples that were right, 0 to 1.",
    "potnode_recorder_lag_steps": "Closed steps that are not on the chain yet.",
}
"""Name of every metric of this module with its meaning."""


class NodeCollector(Collector):
    """Reads a node. `collect` must run where `NodeView` may be called: on the event loop."""

    def __init__(self, node: NodeView) -> None:
        self._node = node

    def collect(self) -> Iterator[Metric]:
        """Every metric that has a value now; those of training only once there is a job."""
        node = self._node
        build = _gauge("potnode_build_info", labels=["version"])
        build.add_metric([__version__], 1)
        yield build
        yield _gauge("potnode_ready", 0 if node.problems() else 1)
        yield _gauge("potnode_miners", len(node.miners()))
        yield from _stratum(node.counters())
        progress = node.progress()
        if progress is not None:
            yield from _training(progress)


def registry(node: NodeView) -> CollectorRegistry:
    """The metrics of one node, and of the process it runs in."""
    made = CollectorRegistry(auto_describe=False)
    made.register(NodeCollector(node))
    ProcessCollector(registry=made)
    return made


def _stratum(counters: Counters) -> Iterator[Metric]:
    yield _counter("potnode_stratum_connections_total", counters.connections)
    yield _counter("potnode_stratum_shares_accepted_total", counters.accepted)
    rejects = _counter("potnode_stratum_rejects_total", labels=["code"])
    for code in RejectCode:
        rejects.add_metric([str(int(code))], counters.rejects[code])
    yield rejects
    yield _counter("potnode_stratum_blocks_total", counters.blocks)
    yield _counter("potnode_stratum_junk_total", counters.junk)
    yield _counter("potnode_stratum_dropped_slow_total", counters.dropped_slow)
    yield _counter("potnode_stratum_handshake_timeouts_total", counters.timed_out)


def _training(progress: Progress) -> Iterator[Metric]:
    yield _gauge("potnode_step", progress.step)
    yield _gauge("potnode_step_limit", progress.step_limit)
    yield _gauge("potnode_shares", progress.shares)
    yield _gauge("potnode_shares_waiting", progress.waiting)
    yield _counter("potnode_shares_expired_total", progress.expired)
    refused = _counter("potnode_shares_refused_total", labels=["reason"])
    for reason, count in sorted(progress.refused.items()):
        refused.add_metric([reason], count)
    yield refused
    yield _gauge("potnode_hash_rate", progress.hash_rate)
    yield _gauge("potnode_evaluations_per_second", progress.evaluations_per_s)
    yield _gauge("potnode_steps_per_second", progress.steps_per_s)
    if progress.loss is not None:
        yield _gauge("potnode_validation_loss_bits", progress.loss)
    if progress.accuracy is not None:
        yield _gauge("potnode_validation_accuracy", progress.accuracy)
    yield _gauge("potnode_recorder_lag_steps", progress.recorder_lag)


def _gauge(
    name: str, value: float | None = None, labels: list[str] | None = None
) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, METRICS[name], value=value, labels=labels)


def _counter(
    name: str, value: float | None = None, labels: list[str] | None = None
) -> CounterMetricFamily:
    return CounterMetricFamily(name, METRICS[name], value=value, labels=labels)
