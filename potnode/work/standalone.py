"""Standalone templates: work that belongs to no Bitcoin block.

The header has the form of a block's so that any miner takes it, but its previous block does not
exist and it has no transactions: the hash trains and earns no bitcoin. Nodes without a bitcoind use
this.
"""

from __future__ import annotations

from dataclasses import dataclass

from potnode.spec.parent import standalone_parent
from potnode.work.template import Template, build_coinbase, height_script

# BIP9 version with all of BIP320's rolling bits zero.
VERSION = 0x20000000
# About mainnet's difficulty of 2025, 1.4e14. The pool compares no share with it, but miners do:
# cgminer (cgminer.c, update_work_stats) counts a share that meets its job's nbits as a found block.
# With mainnet's easiest, difficulty 1, that would be all an ASIC finds.
NBITS = 0x17020000
TAG = b"/potnode/"


@dataclass(frozen=True, slots=True)
class Standalone:
    """Templates of one job: the previous hash is derived from its id, the same after a restart.

    job_id: 32 bytes.
    """

    job_id: bytes

    def current(self, now: int) -> Template:
        """The template at `now`; only its time ever changes."""
        return Template(
            version=VERSION,
            prev_hash_le=standalone_parent(self.job_id),
            nbits=NBITS,
            ntime=now,
            coinbase=build_coinbase(height_script(0) + TAG, []),
        )

    def problems(self) -> tuple[str, ...]:
        """None: it depends on nothing."""
        return ()
