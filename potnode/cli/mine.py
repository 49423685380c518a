"""`potnode mine`: the CPU reference miner."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from typing import Annotated

import typer

commands = typer.Typer()


@commands.command()
def mine(
    url: Annotated[str, typer.Argument(help="Pool, such as stratum+tcp://127.0.0.1:3333.")],
    user: Annotated[str, typer.Option("--user", help="Payout address 0x..., optionally .worker.")],
    # Pools that ask for a password take any; "x" is the custom.
    password: Annotated[str, typer.Option(help="Password the pool may want.")] = "x",  # noqa: S107
    workers: Annotated[
        int | None, typer.Option(min=1, max=1024, help="Processes; default one a core.")
    ] = None,
    nice: Annotated[int, typer.Option(min=0, max=19, help="How far others go first.")] = 10,
    verify: Annotated[
        bool,
        typer.Option(
            "--verify/--no-verify",
            help="Check that work pays this user before doing it; foreign pools can't show that.",
        ),
    ] = True,
    stop_on_eof: Annotated[
        bool, typer.Option("--stop-on-eof", help="Stop when standard input is closed.")
    ] = False,
) -> None:
    """Mine for a pool on this machine's CPU: for demos, tests and machines without an ASIC."""
    from potnode.miner.miner import run_miner
    from potnode.miner.stats import MinerStats

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")

    if stop_on_eof:
        threading.Thread(target=_stop_at_eof, daemon=True).start()

    def report(stats: MinerStats) -> None:
        sys.stderr.write(
            f"{stats.hashes_per_s / 1e6:.2f} MH/s, {stats.accepted} accepted, "
            f"{sum(stats.rejected.values())} rejected, difficulty {stats.difficulty}\n"
        )

    run_miner(
        url,
        user,
        password=password,
        workers=workers,
        verify=verify,
        nice=nice,
        on_stats=report,
    )


def _stop_at_eof() -> None:
    """Whoever started this miner holds the other end: when it is gone, so is the wish to mine."""
    while sys.stdin.buffer.read(4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
