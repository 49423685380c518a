"""uvicorn inside the node's task group: no signal handlers of its own, a port that may be 0."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator

import uvicorn
from starlette.types import ASGIApp

BACKLOG = 1024
GRACE_SECONDS = 2
# Readers beyond it get 503: without a limit they could take the file descriptors that miners need.
MAX_CONNECTIONS = 256


class _Embedded(uvicorn.Server):
    """A server whose process belongs to someone else."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals to the node."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to answer, and say so."""
        await super().startup(sockets)
        self.ready.set()


class ApiServer:
    """Serves an ASGI application on one address; `run` it as a task, `stop` ends that task."""

    def __init__(self, app: ASGIApp, host: str, port: int) -> None:
        """Bind at once, so that a port in use is known before anything else starts; OSError."""
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._socket = socket.create_server((host, port), family=family, backlog=BACKLOG)
        self.port: int = self._socket.getsockname()[1]
        self._server = _Embedded(
            uvicorn.Config(
                app,
                http="h11",
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                limit_concurrency=MAX_CONNECTIONS,
                timeout_graceful_shutdown=GRACE_SECONDS,
            )
        )

    async def run(self) -> None:
        """Serve until `stop`; the port is free when this returns.

        Cancelled, it cuts off what is still being answered after a short grace.
        """
        serving = asyncio.ensure_future(self._server.serve(sockets=[self._socket]))
        try:
            await asyncio.shield(serving)
        except asyncio.CancelledError:
            self._server.should_exit = True
            self._server.force_exit = True
            await asyncio.wait({serving}, timeout=GRACE_SECONDS)
            raise
        finally:
            self.close()

    async def started(self) -> None:
        """Wait until requests are answered."""
        await self._server.ready.wait()

    def stop(self) -> None:
        """End gracefully: no new connections, running requests finish."""
        self._server.should_exit = True

    def close(self) -> None:
        """Give the port back where `run` never came to it. May be called twice."""
        self._socket.close()
