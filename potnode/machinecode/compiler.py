"""From LLVM IR to functions of this process.

Responsible for what this CPU can do and for compiling in memory, by llvmlite (the compiler under
numba): nothing is kept on disk, so a read-only installation needs no care.
"""

from __future__ import annotations

from typing import Any

import llvmlite.binding as llvm

from potnode.machinecode.errors import MachineCodeError


def host_features() -> dict[str, bool]:
    """What this CPU has and has not, by LLVM's names; empty where LLVM can't say."""
    try:
        return dict(llvm.get_host_cpu_features())
    except RuntimeError:  # LLVM has no such report for this architecture: its name alone will do
        return {}


def host_has_sha() -> bool:
    """Whether this CPU has the SHA extensions of x86."""
    features = host_features()
    return bool(features.get("sha") and features.get("sse4.1"))


def native_lanes() -> int:
    """32-bit words that this CPU's widest register has."""
    features = host_features()
    if features.get("avx512f"):
        return 16
    return 8 if features.get("avx2") else 4  # 4: SSE2, NEON and their like


class Compiled:
    """Machine code. It is there for as long as this object is: keep it beside the addresses."""

    def __init__(self, source: str, *, optimisation: int) -> None:
        """Compile in some tenths of a second.

        Args:
            source: a module of LLVM IR. optimisation: of code generation, 0..3.

        Raises:
            MachineCodeError: LLVM refused the source, or knows no code for this machine.
        """
        try:
            llvm.initialize_native_target()
            llvm.initialize_native_asmprinter()
            module = llvm.parse_assembly(source)
            module.verify()
            features = ",".join(("+" if on else "-") + name for name, on in host_features().items())
            machine = llvm.Target.from_default_triple().create_target_machine(
                cpu=llvm.get_host_cpu_name(), features=features, opt=optimisation, jit=True
            )
            self._engine: Any = llvm.create_mcjit_compiler(module, machine)
            self._engine.finalize_object()
        except RuntimeError as error:
            raise MachineCodeError(
                f"llvmlite could not compile for {llvm.get_host_cpu_name()}: {error}"
            ) from error

    def address(self, name: str) -> int:
        """Where a function of the module begins."""
        return int(self._engine.get_function_address(name))
