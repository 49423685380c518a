"""Figures of a node for Prometheus, read at every scrape.

No label takes a value that clients choose: addresses and worker names are in `/api/v1/workers`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Final

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from potnode import __version__
from potnode.api.ports import NodeView
from potnode.bitcoin import ParentChain
from potnode.campaign import Progress
from potnode.work.blocks import STATUSES
from stratum.counters import LatencyHistogram
from stratum.errors import RejectCode
from stratum.limits import Refusal
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
    "potnode_stratum_refused_connections_total": "Connections that were not taken, by reason.",
    "potnode_stratum_closed_total": "Connections the server ended, by reason.",
    "potnode_stratum_throttled_total": "Times a client that sent too much was read later.",
    "potnode_stratum_resumed_total": "Sessions that continued an ended one.",
    "potnode_stratum_failures_total": "What went wrong on the server's side, by kind.",
    "potnode_stratum_submit_seconds": "From the read of a submit to its answer.",
    "potnode_stratum_broadcast_miners": "Miners that got work with the last broadcast.",
    "potnode_stratum_broadcast_seconds": "Time the last broadcast took, by part.",
    "potnode_parent_height": "Height of the block that is mined; 0 before the first template.",
    "potnode_parent_template_timestamp_seconds": "When the last template came, Unix time.",
    "potnode_parent_templates_total": "Changes of the template.",
    "potnode_parent_tips_total": "Changes of the block that is mined on.",
    "potnode_parent_failures_total": "Failures of bitcoinds, templates refused included.",
    "potnode_parent_problems": "What is wrong with bitcoinds and blocks now; /readyz says it.",
    "potnode_parent_blocks": "Blocks found here, by what became of them.",
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
        parent = node.parent()
        if parent is not None:
            yield from _parent(parent)
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
    yield _by_label(
        "potnode_stratum_refused_connections_total",
        "reason",
        {reason.value: counters.refused[reason] for reason in Refusal},
    )
    yield _by_label(
        "potnode_stratum_closed_total",
        "reason",
        {
            "slow": counters.dropped_slow,
            "handshake": counters.timed_out,
            "idle": counters.idle,
            "only rejects": counters.only_rejects,
            "too costly": counters.too_costly,
        },
    )
    yield _counter("potnode_stratum_throttled_total", counters.throttled)
    yield _counter("potnode_stratum_resumed_total", counters.resumed)
    yield _by_label(
        "potnode_stratum_failures_total",
        "kind",
        {
            "accept": counters.accept_errors,
            "pool": counters.pool_errors,
            "proxy": counters.proxy_errors,
            "tls": counters.tls_failed,
        },
    )
    yield _latency("potnode_stratum_submit_seconds", counters.submit_latency)
    yield _gauge("potnode_stratum_broadcast_miners", counters.broadcast_miners)
    seconds = _gauge("potnode_stratum_broadcast_seconds", labels=["part"])
    seconds.add_metric(["prepare"], counters.broadcast_prepare)
    seconds.add_metric(["write"], counters.broadcast_write)
    yield seconds


def _parent(parent: ParentChain) -> Iterator[Metric]:
    source = parent.source
    yield _gauge("potnode_parent_height", source.height)
    yield _gauge("potnode_parent_template_timestamp_seconds", source.last_update)
    yield _counter("potnode_parent_templates_total", source.templates)
    yield _counter("potnode_parent_tips_total", source.tips)
    yield _counter("potnode_parent_failures_total", source.failures)
    yield _gauge("potnode_parent_problems", len(parent.problems()))
    blocks = _gauge("potnode_parent_blocks", labels=["status"])
    found = Counter(block.status for block in parent.blocks.blocks())
    for status in STATUSES:
        blocks.add_metric([status], found[status])
    yield blocks


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


def _by_label(name: str, label: str, values: Mapping[str, int]) -> CounterMetricFamily:
    family = _counter(name, labels=[label])
    for value, count in values.items():
        family.add_metric([value], count)
    return family


def _latency(name: str, histogram: LatencyHistogram) -> HistogramMetricFamily:
    buckets, seen = [], 0
    bounds = [*map(str, histogram.bounds()[:-1]), "+Inf"]  # the last bucket has all longer ones
    for bound, count in zip(bounds, histogram.counts, strict=True):
        seen += count
        buckets.append((bound, seen))
    return HistogramMetricFamily(name, METRICS[name], buckets=buckets, sum_value=histogram.sum)
