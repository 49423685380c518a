"""`potnode bench`: measurements of this machine; docs/benchmarks.md quotes them."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Annotated

import typer

from potnode.cli.options import AsJson, ConfigFile, settings, show

commands = typer.Typer(no_args_is_help=True)

Seconds = Annotated[float, typer.Option(min=0.1, help="How long to measure, each.")]


@commands.command()
def engine(seconds: Seconds = 5.0, device: str = "cpu", as_json: AsJson = False) -> None:
    """Exact candidate evaluations a second, and those of other trainers on the first shape."""
    from dataclasses import asdict

    from potnode.bench.peers import peers, sizes
    from potnode.engine.bench import SHAPES, measure

    runs = [measure(shape, device, seconds) for shape in SHAPES]
    lines = []
    for run in runs:
        share = "" if run.limit_share is None else f", {run.limit_share:.0%} of the limit"
        lines.append(
            f"{run.shape}, P = {run.population}, B = {run.batch}: {run.evaluations_per_s:.0f} "
            f"evaluations/s{share}, {run.draws_per_s:.0f} draws/s, a step closed in "
            f"{run.step_close_ms:.1f} ms, {run.peak_memory_mib:.0f} MiB"
        )
    first, ours = SHAPES[0], runs[0].evaluations_per_s
    others = peers(sizes(first), first.population, first.batch, seconds=seconds)
    for peer in others:
        rate = peer.evaluations_per_s
        told = peer.missing
        if rate is not None:
            told = f"{rate:.0f} evaluations/s, 1/{ours / rate:.0f} of ours"
        lines.append(f"{first}, P = {first.population}, B = {first.batch}: {peer.name}: {told}")
    document = {
        "runs": [run.document() for run in runs],
        "peers": [asdict(peer) for peer in others],
    }
    show(document, as_json=as_json, text="\n".join(lines))


@commands.command("hash")
def hash_rate(
    seconds: Seconds = 5.0,
    workers: Annotated[int, typer.Option(min=1)] = 1,
    as_json: AsJson = False,
) -> None:
    """Hashes a second of the CPU miner."""
    from potnode.miner.bench import hash_rate as measure

    measured = asyncio.run(measure(seconds, workers))
    show(
        {"workers": workers, "lanes": measured.lanes, "hashes_per_s": round(measured.hashes_per_s)},
        as_json=as_json,
        text=f"{measured.hashes_per_s / 1e6:.1f} MH/s with {workers} workers of "
        f"{measured.lanes} lanes",
    )


@commands.command("job")
def job(
    steps: Annotated[int, typer.Option(min=1, help="Steps to train, record and audit.")] = 50,
    as_json: AsJson = False,
) -> None:
    """A digits job without hashing: computing, recording and auditing a step; gas; transfers."""
    from potnode.bench.job import measure_job

    figures = measure_job(steps)
    show(
        figures.document(),
        as_json=as_json,
        text="\n".join(
            [
                f"{figures.steps} steps of {figures.population} shares",
                (
                    f"computing a step   {figures.compute_s * 1e3:.1f} ms "
                    f"({figures.evaluations_per_s:.0f} evaluations/s with update and root)"
                ),
                f"recording a step   {figures.record_s * 1e3:.1f} ms, {figures.record_gas} gas",
                f"auditing a step    {figures.audit_s * 1e3:.1f} ms",
                f"embedded chain     {figures.transfers_per_s:.0f} transfers/s, one to a block",
            ]
        ),
    )


@commands.command()
def draw(
    weights: Annotated[
        int, typer.Option(min=1, help="Weights to expand a turn; the example has 100000000.")
    ] = 16_000_000,
    threads: Annotated[int | None, typer.Option(min=1, help="Default: one a core.")] = None,
    as_json: AsJson = False,
) -> None:
    """Weights a second from a seed, beside hashlib and openssl; draws a second of the engine."""
    from potnode.bench.draw import measure_draw

    figures = measure_draw(weights, threads)
    theirs = (
        "no openssl here"
        if figures.ratio_to_openssl is None or figures.openssl_per_s is None
        else f"openssl speed sha256 (64 bytes) {figures.openssl_per_s / 1e6:.2f} M/s, one thread: "
        f"{figures.ratio_to_openssl:.1f} times as fast"
    )
    show(
        figures.document(),
        as_json=as_json,
        text="\n".join(
            [
                (
                    f"{figures.weights_per_s / 1e6:.0f} M weights/s, "
                    f"{figures.hashes_per_s / 1e6:.1f} M hashes/s with {figures.threads} threads "
                    f"({figures.one_thread_hashes_per_s / 1e6:.1f} M with one)"
                ),
                (
                    f"100 M weights take {figures.seconds_for_100m_weights:.2f} s, "
                    f"by {figures.weights / 1e6:g} M measured"
                ),
                (
                    f"a hashlib loop {figures.hashlib_per_s / 1e6:.2f} M hashes/s: "
                    f"{figures.ratio_to_hashlib:.1f} times as fast"
                ),
                theirs,
                f"the engine expands {figures.draws_per_s:.0f} draws/s of the digits job",
            ]
        ),
    )


@commands.command()
def shares(
    count: Annotated[int, typer.Option(min=1)] = 20_000,
    in_flight: Annotated[int, typer.Option(min=1)] = 800,
    as_json: AsJson = False,
) -> None:
    """Shares a second made durable with group commit."""
    from potnode.bench.durability import durable_shares_per_s

    rate = durable_shares_per_s(count, in_flight)
    show(
        {"count": count, "in_flight": in_flight, "shares_per_s": round(rate)},
        as_json=as_json,
        text=f"{rate:.0f} durable shares/s, {in_flight} in flight",
    )


@commands.command()
def stratum(
    seconds: Seconds = 6.0,
    held: Annotated[int, typer.Option(min=1, help="Connections to hold at once.")] = 5000,
    as_json: AsJson = False,
) -> None:
    """The Stratum server under load: submits, new blocks, memory a connection."""
    from potnode.bench.stratum import Plan, measure_stratum

    figures = measure_stratum(Plan(seconds=seconds, held=held))
    lines = [
        f"{run.connections} x {run.in_flight} {what}: {run.submits_per_s} submits/s "
        f"(best of {run.rounds}: {run.best_submits_per_s}), "
        f"p50 {run.p50_ms:.2f} ms, p99 {run.p99_ms:.2f} ms, {run.server_us:.1f} us of CPU each"
        for run, what in [
            *((run, "refused") for run in figures.runs),
            (figures.accepted, "stored"),
        ]
    ]
    lines.append(
        f"a new block's jobs at {figures.notify_miners} miners: "
        f"{figures.notify_spread_ms:.1f} ms from the first to the last "
        f"(best {figures.notify_spread_best_ms:.1f}), the last after "
        f"{figures.notify_last_ms:.1f} ms (best {figures.notify_last_best_ms:.1f})"
    )
    lines.append(
        f"{figures.held} connections held with {figures.jobs} jobs each: "
        f"{figures.bytes_per_connection} bytes each, {figures.connect_per_s} handshakes/s"
    )
    machine = figures.machine
    kept = (
        "no process kept to a CPU"
        if machine.server_cpu is None
        else f"server on CPU {machine.server_cpu}, load spinning on CPU {machine.load_cpu}"
    )
    lines.append(
        f"{machine.cpu}, {machine.cpus} CPUs, load average {machine.load_average} before; {kept}"
    )
    show(figures.document(), as_json=as_json, text="\n".join(lines))


@commands.command()
def accuracy(
    runs: Annotated[int, typer.Option(min=1, help="How many seeds.")] = 10, as_json: AsJson = False
) -> None:
    """Held-out accuracy of the digits job over many seeds, without its mining."""
    from potnode.bench.accuracy import Run, accuracy_runs

    def report(number: int, run: Run) -> None:
        sys.stderr.write(f"run {number + 1}: accuracy {run.accuracy:.4f}\n")

    results = [run.accuracy for run in accuracy_runs(runs, on_run=report)]
    show(
        {"accuracy": results, "min": min(results), "max": max(results)},
        as_json=as_json,
        text=f"accuracy {min(results):.4f} to {max(results):.4f} over {runs} runs",
    )


@commands.command()
def train(
    case: Annotated[
        str,
        typer.Option(
            help="mnist-mlp, mnist-conv, char-gru, finetune, strategies, precision, or all."
        ),
    ] = "all",
    evaluations: Annotated[
        int | None, typer.Option(min=1, help="Candidates to evaluate, instead of a case's own.")
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Runs of each, from other seeds.")] = 1,
    out: Annotated[
        Path | None, typer.Option(help="Folder for curves (JSON, Parquet) and plots (SVG, PNG).")
    ] = None,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """What candidates teach a model, beside backprop and other gradient-free trainers."""
    from potnode.access import catalog
    from potnode.bench.train import Order, run_cases
    from potnode.bench.train_cases import CASES

    def report(line: str) -> None:
        sys.stderr.write(f"{line}\n")

    order = Order(catalog(settings(config)), evaluations, seeds, report)
    results = run_cases(CASES, list(CASES) if case == "all" else [case], order, out)
    show(
        {"cases": [result.document() for result in results]},
        as_json=as_json,
        text="\n\n".join(result.text() for result in results),
    )
