"""The outermost layer of the application: headers for every answer, an answer to every fault."""

from __future__ import annotations

import logging

from starlette.datastructures import MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from potnode.api.problems import problem_response

# Answers are data, so a browser need load nothing for them; pages bring their own policy.
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # What is shown here changes with every step.
    "Cache-Control": "no-store",
}

log = logging.getLogger(__name__)


class Edge:
    """ASGI middleware. A fault inside is logged and answered with 500 that shows nothing of it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = False
        # Whatever can be got can be asked about (RFC 9110 section 9.3.2).
        head_only = scope["method"] == "HEAD"
        inner = {**scope, "method": "GET"} if head_only else scope

        async def send_with_headers(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.body" and head_only:
                message = {**message, "body": b""}
            if message["type"] == "http.response.start":
                started = True
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        try:
            await self._app(inner, receive, send_with_headers)
        except ClientDisconnect:
            log.debug("a client left in the middle of its request")
        except Exception:
            if started:
                raise
            log.exception("%s %s failed", scope["method"], scope["path"])
            answer = problem_response(500, "a fault of the node: see its log")
            await answer(scope, receive, send_with_headers)
