"""The chain: what to read the contract with, and read-only JSON-RPC where the chain is embedded."""

from __future__ import annotations

import json

from anyio import CapacityLimiter
from anyio.to_thread import run_sync
from eth_utils.address import to_checksum_address
from fastapi import APIRouter, Request, Response
from pydantic_core import from_json

from potnode.api.body import limited_body
from potnode.api.errors import NotFound, WrongMethod
from potnode.api.models import Chain
from potnode.api.ports import NodeView
from potnode.api.problems import documented
from potnode.chain.contract import artifact
from potnode.chain.facade import Facade

MAX_BODY = 1 << 20
# Calls run on the EVM that also records steps: strangers get two threads of their own, not all.
_CALLS_AT_ONCE = 2

_BODY = {
    "required": True,
    "description": "A JSON-RPC 2.0 request, or an array of up to 100.",
    "content": {
        "application/json": {
            "schema": {},
            "example": {"jsonrpc": "2.0", "id": 1, "method": "eth_blockNumber", "params": []},
        }
    },
}


def routes(node: NodeView) -> APIRouter:
    """`/chain`."""
    router = APIRouter(tags=["chain"])

    @router.get("/chain", responses=documented(502, 503))
    def chain() -> Chain:
        """Where the contract is, and its ABI."""
        ledger = node.ledger
        return Chain(
            chain_id=ledger.chain.chain_id,
            contract=to_checksum_address(ledger.contract),
            operator=to_checksum_address(node.operator),
            head=ledger.chain.latest_block(),
            embedded=node.facade is not None,
            abi=[dict(entry) for entry in artifact().abi],
        )

    return router


def rpc_routes(node: NodeView) -> APIRouter:
    """`/rpc`."""
    router = APIRouter(tags=["chain"])
    calls = CapacityLimiter(_CALLS_AT_ONCE)

    @router.get("/rpc", include_in_schema=False)
    async def hint() -> Response:
        _facade(node)
        raise WrongMethod("send JSON-RPC 2.0 requests here with POST, as web3 and cast do", "POST")

    @router.post(
        "/rpc",
        openapi_extra={"requestBody": _BODY},
        response_class=Response,
        responses={
            200: {
                "description": "The answer, an array for an array; errors of a call are in it.",
                "content": {"application/json": {"schema": {}}},
            },
            204: {"description": "There were only notifications, which have no answer."},
            **documented(404, 413),
        },
    )
    async def rpc(request: Request) -> Response:
        """Read-only JSON-RPC of the embedded chain, for web3, cast and wallets."""
        facade = _facade(node)
        body = await limited_body(request, MAX_BODY)
        answer = await run_sync(_answer, facade, body, limiter=calls)
        if not answer:
            return Response(status_code=204)
        return Response(answer, media_type="application/json")

    return router


def _facade(node: NodeView) -> Facade:
    facade = node.facade
    if facade is None:
        raise NotFound(
            "this node records on a chain of its own JSON-RPC: ask that one (/api/v1/chain says "
            "which chain it is)"
        )
    return facade


def _answer(facade: Facade, body: bytes) -> bytes:
    """Pass on what is JSON of bounded depth, all else as an empty body, which is none.

    py-evm raises the interpreter's recursion limit so far that Python's own parser, given a body of
    opening brackets, runs out of stack and takes the process with it. pydantic's stops at 200.
    """
    try:
        asked = json.dumps(from_json(body)).encode("ascii")
    except ValueError:
        asked = b""
    return facade.handle(asked)
