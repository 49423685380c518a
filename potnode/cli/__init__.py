"""The `potnode` command.

Each module holds the commands of one subject; what they need is imported when they run, because
torch, web3 and numba each take a second to load and `potnode version` needs none of them.
"""

from __future__ import annotations

import sys

from potnode.cli.app import app
from potnode.errors import PotnodeError


def main() -> None:
    """Entry point: run a command; an expected error is one line on stderr and exit status 1."""
    try:
        app()
    except PotnodeError as error:
        sys.stderr.write(f"potnode: {error}\n")
        raise SystemExit(1) from None
    except Exception as error:
        from potnode.cli.failures import expected

        if not isinstance(error, expected()):
            raise
        sys.stderr.write(f"potnode: {error}\n")
        raise SystemExit(1) from None
