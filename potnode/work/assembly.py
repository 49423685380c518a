"""From a block of the parent chain to a template miners can be given: the coinbase.

Its outputs: the payout, the witness commitment where there is one, and the POT1 marker last. The
commitment is thus the last output that can be taken for one, which is the one BIP141 counts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from potnode.spec.errors import InvalidCoinbase
from potnode.spec.work import EXTRANONCE_SIZE, MAX_COINBASE, MAX_SCRIPT_SIG, coinbase_form
from potnode.work.errors import TemplateRefused
from potnode.work.gbt import BlockTemplate
from potnode.work.parent import ParentBlock
from potnode.work.payout import LONGEST_SCRIPT
from potnode.work.template import Template, build_coinbase, height_script, payout_place

DEFAULT_TAG: Final = b"/potnode/"
DEFAULT_LIMIT: Final = 500
"""Bytes of a coinbase that NiceHash takes, the least of all buyers of hash rate and firmware."""

# A height takes at most 5 bytes with its push before the year 32,000.
MAX_TAG: Final = MAX_SCRIPT_SIG - 1 - EXTRANONCE_SIZE - 5


@dataclass(frozen=True, slots=True, kw_only=True)
class CoinbasePlan:
    """What every coinbase of a node has in common.

    payout: the operator's output script, or None for solo mining: each miner's own script is put
    in its place. tag: shown by block explorers, at most 78 bytes. limit: most bytes of a complete
    coinbase, 65..755; a solo miner's script counts with the longest there is.

    Raises ValueError when one of them is out of its range.
    """

    payout: bytes | None
    tag: bytes = DEFAULT_TAG
    limit: int = DEFAULT_LIMIT

    def __post_init__(self) -> None:
        if len(self.tag) > MAX_TAG:
            raise ValueError(f"a coinbase tag has at most {MAX_TAG} bytes, not {len(self.tag)}")
        if not 65 <= self.limit <= MAX_COINBASE:
            raise ValueError(f"a coinbase limit is 65..{MAX_COINBASE} bytes, not {self.limit}")
        if self.payout is not None and not 1 <= len(self.payout) <= 252:
            raise ValueError("a payout script has 1..252 bytes")


def assemble(block: BlockTemplate, plan: CoinbasePlan) -> Template:
    """The template of this block, its time bitcoind's.

    Raises:
        TemplateRefused: the coinbase would be longer than the plan's limit or firmware's.
    """
    head = height_script(block.height) + plan.tag
    outputs: list[tuple[int, bytes | None]] = [(block.value, plan.payout)]
    if block.commitment is not None:
        outputs.append((0, block.commitment))
    coinbase = build_coinbase(head, outputs)
    script_at = 0 if plan.payout is not None else payout_place(head)
    size = len(coinbase) + (1 + LONGEST_SCRIPT if script_at else 0)
    if size > plan.limit:
        raise TemplateRefused(f"the coinbase has {size} bytes, the limit is {plan.limit}")
    try:
        coinbase_form(coinbase, script_at)
    except InvalidCoinbase as error:
        raise TemplateRefused(f"the coinbase is not of the protocol's form: {error}") from error
    return Template(
        version=block.version,
        prev_hash_le=block.prev_hash_le,
        nbits=block.nbits,
        ntime=max(block.mintime, block.curtime),
        coinbase=coinbase,
        script_at=script_at,
        branch=block.branch,
        network_target=block.target,
        parent=ParentBlock(
            block.height,
            tuple(transaction.data for transaction in block.transactions),
            block.commitment is not None,
        ),
    )
