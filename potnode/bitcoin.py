"""The parent chain of a node: its bitcoinds, their templates, and the blocks found for them.

Responsible for making the parts of `potnode.work` from the configuration and for running them. What
a template is made of, and how a block is handed in, is theirs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, Self
from urllib.parse import urlsplit

from potnode.clock import Clock
from potnode.config import WorkSettings
from potnode.errors import ConfigError
from potnode.work.address import Accounts
from potnode.work.assembly import CoinbasePlan
from potnode.work.bitcoin_source import BitcoinSource
from potnode.work.bitcoind import Bitcoind
from potnode.work.blocks import BlockKeeper
from potnode.work.errors import InvalidAddress
from potnode.work.payout import output_script

BLOCKS_FOLDER: Final = "blocks"


@dataclass(frozen=True, slots=True)
class ParentChain:
    """What a node whose templates are real blocks has besides."""

    bitcoinds: tuple[Bitcoind, ...]
    source: BitcoinSource
    blocks: BlockKeeper

    @classmethod
    def open(
        cls,
        settings: WorkSettings,
        data_dir: Path,
        clock: Clock,
        on_template: Callable[[bool], None],
    ) -> Self | None:
        """The parts as configured; None for standalone templates.

        Args:
            on_template: called after every change, with True for a new tip.

        Raises:
            ConfigError: an address or a URL that is none, or of another network.
        """
        if settings.source != "bitcoind":
            return None
        try:
            payout = (
                None
                if settings.payout_address is None
                else output_script(settings.payout_address, settings.network)
            )
        except InvalidAddress as error:
            raise ConfigError(f"work.payout_address: {error}") from error
        try:
            plan = CoinbasePlan(payout=payout, tag=settings.coinbase_tag.encode())
            bitcoinds = tuple(
                Bitcoind(url, cookie_file=None if urlsplit(url).username else settings.cookie_file)
                for url in settings.bitcoind
            )
            source = BitcoinSource(
                bitcoinds,
                plan,
                network=settings.network,
                zmq_endpoints=settings.zmq,
                on_template=on_template,
                time=clock.time,
                monotonic=clock.monotonic,
            )
        except ValueError as error:
            raise ConfigError(f"work: {error}") from error
        blocks = BlockKeeper(data_dir / BLOCKS_FOLDER, bitcoinds, time=clock.time)
        return cls(bitcoinds, source, blocks)

    def parent(self) -> str | None:
        """Hash of the block that is mined on, as people write it; None before a template."""
        template = self.source.current(0)
        return None if template is None else template.prev_hash_le[::-1].hex()

    def problems(self) -> list[str]:
        """What is wrong with bitcoinds, templates and found blocks; empty while all is well."""
        return [*self.source.problems(), *self.blocks.problems()]

    async def run(self) -> None:
        """Keep templates new and hand blocks in, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.source.run(), name="templates")
            group.create_task(self.blocks.run(), name="blocks")

    async def close(self) -> None:
        """Hand in what was found last, and close the connections to every bitcoind."""
        await self.blocks.close()
        for bitcoind in self.bitcoinds:
            await bitcoind.aclose()


def accounts(settings: WorkSettings) -> Accounts:
    """Which user names the node's pool serves."""
    if settings.source == "bitcoind" and settings.solo:
        return Accounts(partial(output_script, network=settings.network))
    return Accounts()
