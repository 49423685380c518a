"""An application on a real port."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Concatenate, ParamSpec, TypeVar

from starlette.types import ASGIApp

from potnode.api.server import ApiServer

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True)
class Serving:
    """A running server and the task it runs in."""

    server: ApiServer
    task: asyncio.Task[None]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.port}"

    async def in_thread(
        self, client: Callable[Concatenate[str, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """What a blocking client, given the URL, returns."""
        return await asyncio.to_thread(client, self.url, *args, **kwargs)


@asynccontextmanager
async def served(app: ASGIApp) -> AsyncIterator[Serving]:
    server = ApiServer(app, "127.0.0.1", 0)
    task = asyncio.create_task(server.run())
    await server.started()
    try:
        yield Serving(server, task)
    finally:
        server.stop()
        await task
