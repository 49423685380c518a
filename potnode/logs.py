"""Logging of a node: standard library loggers, rendered by structlog, to standard error."""

from __future__ import annotations

import logging
import sys

import structlog

from potnode.config import LogSettings

# Libraries that report every request or compilation at levels meant for their own developers.
QUIET = ("alembic", "numba", "urllib3", "uvicorn", "web3", "eth", "asyncio", "httpx2", "httpcore2")


def configure(settings: LogSettings) -> None:
    """Send this process's logs to standard error as text or as JSON lines. Call it once."""
    shared: list[structlog.typing.Processor] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer()
        if settings.json_lines
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(settings.level.upper())
    for name in QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
