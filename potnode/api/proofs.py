"""Proofs: shares from the moment they were acknowledged."""

from __future__ import annotations

import logging
from typing import Annotated

from fastapi import APIRouter, Query

from potnode.api.errors import NotFound
from potnode.api.models import ProofDetail, ProofPage
from potnode.api.params import ProofQuery, SharePath, address_bytes, job_bytes, share_bytes
from potnode.api.ports import NodeView
from potnode.api.present import display, optional_hex, proof_fields
from potnode.api.present import proof as present_proof
from potnode.api.present import template as present_template
from potnode.api.problems import documented
from potnode.chain.errors import ChainError
from potnode.chain.reader import head_at
from potnode.spec import work
from potnode.store.rows import ProofView, TemplateRecord

log = logging.getLogger(__name__)


def routes(node: NodeView) -> APIRouter:
    """`/proofs` and `/proofs/{share_hash}`."""
    router = APIRouter(prefix="/proofs", tags=["proofs"])

    @router.get("", responses=documented(422, 503))
    def proofs(query: Annotated[ProofQuery, Query()]) -> ProofPage:
        """Shares, newest first; those of an unknown job or miner are none."""
        page = node.store.proofs(
            job_id=None if query.job is None else job_bytes(query.job),
            miner=None if query.miner is None else address_bytes(query.miner),
            status=query.status,
            limit=query.limit,
            cursor=query.cursor,
        )
        return ProofPage(items=[present_proof(view) for view in page.items], next=page.next)

    @router.get("/{share_hash}", responses=documented(404, 422, 503))
    def proof(share_hash: SharePath) -> ProofDetail:
        """One share by its hash, with the header it stands for."""
        view = node.store.proof(share_bytes(share_hash))
        template = None if view is None else node.store.template(view.template_id)
        if view is None or template is None:
            raise NotFound("this node has acknowledged no share of this hash")
        return ProofDetail.model_validate(
            {
                **proof_fields(view),
                "template": present_template(template),
                "header": optional_hex(_header(node, view, template)),
            }
        )

    return router


def _header(node: NodeView, share: ProofView, template: TemplateRecord) -> bytes | None:
    """The 80 bytes of a share, from what is stored of it (docs/protocol.md section 2)."""
    head = _head_before(node, share)
    if head is None:
        return None
    commitment = work.work_id(share.job_id, share.work_step, head)
    coinbase = work.fill_coinbase(
        template.coinbase,
        template.script_at,
        share.extranonce,
        work.marker(commitment, share.miner, share.bits),
        share.script,
    )
    return work.header(
        version_le=share.version_le,
        prev_hash_le=template.prev_hash_le,
        root=work.merkle_root(coinbase, template.branch),
        ntime_le=share.ntime_le,
        nbits_le=template.nbits_le,
        nonce_le=share.nonce_le,
    )


def _head_before(node: NodeView, share: ProofView) -> bytes | None:
    """The head a share's work commits to.

    A node that began with an empty database, on a job that had steps, has the first heads from the
    chain. A chain that fails is no reason not to show the rest of a share.
    """
    if share.work_step == 0:
        return work.head_zero(share.job_id)
    before = node.store.step(share.job_id, share.work_step - 1)
    if before is not None:
        return before.head
    try:
        head = head_at(node.ledger, share.job_id, share.work_step)
    except ChainError as error:
        log.warning("no header of share %s: %s", display(share.hash), error)
        return None
    return head if any(head) else None
