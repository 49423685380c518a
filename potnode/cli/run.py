"""`potnode run` and `potnode demo`: a node in this process."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Annotated

import typer

from potnode.cli.options import AsJson, ConfigFile, DataDir, settings
from potnode.config import Settings
from potnode.errors import PotnodeError

commands = typer.Typer()


@commands.command()
def run(
    config: ConfigFile = None,
    data_dir: DataDir = None,
    stratum_host: Annotated[str | None, typer.Option(help="Address miners connect to.")] = None,
    stratum_port: Annotated[int | None, typer.Option(help="Port miners connect to.")] = None,
    api_host: Annotated[str | None, typer.Option(help="Address of the HTTP API.")] = None,
    api_port: Annotated[int | None, typer.Option(help="Port of the HTTP API.")] = None,
    log_level: Annotated[str | None, typer.Option(help="debug, info, warning or error.")] = None,
) -> None:
    """Run a node: pool, trainer, recorder and API. Not configured, it trains the digits job."""
    chosen = settings(
        config,
        data_dir,
        stratum__host=stratum_host,
        stratum__port=stratum_port,
        api__host=api_host,
        api__port=api_port,
        log__level=log_level,
    )
    _run_node(chosen)


@commands.command()
def demo(
    config: ConfigFile = None,
    data_dir: Annotated[
        Path | None,
        typer.Option("--data-dir", help="Keep chain and database here (default: a temporary one)."),
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Miner processes; default all cores but one.")
    ] = None,
    steps: Annotated[
        int | None, typer.Option(min=1, help="Steps of the job; default the digits job's own.")
    ] = None,
    model: Annotated[Path, typer.Option(help="Where the model goes.")] = Path("demo.safetensors"),
    as_json: AsJson = False,
) -> None:
    """Train on handwritten digits with this CPU's shares, audit the chain, export the model."""
    from potnode.demo import Demo
    from potnode.logs import configure

    chosen = settings(config, data_dir)
    configure(chosen.log.model_copy(update={"level": "warning"}))
    try:
        summary = asyncio.run(
            Demo(chosen, data_dir, workers=workers, steps=steps, model=model, quiet=as_json).run()
        )
    except asyncio.CancelledError:
        raise PotnodeError("the demonstration was stopped during its audit") from None
    sys.stdout.write(summary.to_json() + "\n" if as_json else summary.to_text() + "\n")
    if not summary.passed:
        raise typer.Exit(1)


def _run_node(chosen: Settings) -> None:
    from potnode.heap import settle_heap
    from potnode.logs import configure
    from potnode.node import Node
    from potnode.signals import STOP_LIMIT, stop_on_signals

    configure(chosen.log)

    async def until_stopped() -> None:
        node = Node(chosen)
        stop_on_signals(node.stop, limit=STOP_LIMIT)

        async def settle() -> None:
            await node.ready.wait()
            settle_heap()

        settling = asyncio.create_task(settle(), name="settle")
        try:
            await node.run()
        finally:
            settling.cancel()

    asyncio.run(until_stopped())
