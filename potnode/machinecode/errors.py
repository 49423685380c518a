"""What can go wrong with machine code; the one error of `potnode.machinecode`."""

from __future__ import annotations


class MachineCodeError(Exception):
    """No code could be made for this machine. The message names the CPU and the reason."""
