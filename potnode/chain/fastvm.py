"""py-evm's Prague rules with the commonest instructions done in one Python call each.

py-evm spends a handful of calls on every instruction. Recording a step is some thirty thousand of
them, nearly all pushes, copies, arithmetic, jumps and memory words; those are replaced here, and
nothing else is: gas costs are read from py-evm's own table, memory is still paid for by its
`extend_memory`, and every other instruction, precompile, state and block rule is its own.

Where a frame fails, the kind of failure may differ from py-evm's (a stack underflow may be noticed
before the gas runs out); the outcome does not, since every such failure burns the frame's gas.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from hashlib import sha256
from operator import and_, or_, xor
from typing import Any

from eth.constants import GAS_SHA256, GAS_SHA256WORD, STACK_DEPTH_LIMIT
from eth.exceptions import FullStack, InsufficientStack, InvalidJumpDestination, OutOfGas
from eth.vm import opcode_values as op
from eth.vm.forks.berlin.constants import WARM_STORAGE_READ_COST
from eth.vm.forks.prague import PragueVM
from eth.vm.forks.prague.computation import PragueComputation
from eth.vm.forks.prague.state import PragueState

STACK_LIMIT = 1024
WORD_MASK = 2**256 - 1
_WORD_BITS = 256
_ADDRESS_MASK = 2**160 - 1
_SHA256_ADDRESS = 2

# Computations are Any below: the parts touched (_stack, _gas_meter, _memory) are private to py-evm,
# whose version is pinned; tests/chain/test_fastvm.py holds the two against each other.
Instruction = Callable[[Any], None]


def _charge(computation: Any, gas: int) -> None:
    meter = computation._gas_meter
    remaining = meter.gas_remaining - gas
    if remaining < 0:
        raise OutOfGas(f"needed {gas} gas, {meter.gas_remaining} remain")
    meter.gas_remaining = remaining


def _integer(value: int | bytes) -> int:
    return value if type(value) is int else int.from_bytes(value, "big")  # type: ignore[arg-type]


def _push(size: int, gas: int) -> Instruction:
    def push(computation: Any) -> None:
        _charge(computation, gas)
        values = computation._stack.values
        if len(values) >= STACK_LIMIT:
            raise FullStack("stack limit reached")
        code = computation.code
        start = code.program_counter
        code.program_counter = end = start + size
        # Beyond its end the code reads as zeros.
        read = code._raw_code_bytes[start:end]
        values.append(int.from_bytes(read, "big") << 8 * (size - len(read)))

    return push


def _duplicate(position: int, gas: int) -> Instruction:
    def duplicate(computation: Any) -> None:
        _charge(computation, gas)
        values = computation._stack.values
        if not position <= len(values) < STACK_LIMIT:
            raise InsufficientStack(f"no item {position} to copy, or no room for it")
        values.append(values[-position])

    return duplicate


def _swap(position: int, gas: int) -> Instruction:
    other = -position - 1

    def swap(computation: Any) -> None:
        _charge(computation, gas)
        values = computation._stack.values
        if len(values) <= position:
            raise InsufficientStack(f"no item {position + 1} to swap with")
        values[-1], values[other] = values[other], values[-1]

    return swap


def _pop(gas: int) -> Instruction:
    def pop(computation: Any) -> None:
        _charge(computation, gas)
        values = computation._stack.values
        if not values:
            raise InsufficientStack("nothing to pop")
        del values[-1]

    return pop


def _unary(function: Callable[[int], int], gas: int) -> Instruction:
    def unary(computation: Any) -> None:
        _charge(computation, gas)
        values = computation._stack.values
        if not values:
            raise InsufficientStack("an operand is missing")
        values[-1] = function(_integer(values[-1]))

    return unary


def _binary(function: Callable[[int, int], int], gas: int) -> Instruction:
    """`function` gets the top of the stack first and returns 0 .. 2^256 - 1."""

    def binary(computation: Any) -> None:
        _charge(computation, gas)
        values = computation._stack.values
        if len(values) < 2:
            raise InsufficientStack("an operand is missing")
        top, below = values.pop(), values[-1]
        if type(top) is not int:
            top = int.from_bytes(top, "big")
        if type(below) is not int:
            below = int.from_bytes(below, "big")
        values[-1] = function(top, below)

    return binary


def _load(gas: int) -> Instruction:
    def load(computation: Any) -> None:
        _charge(computation, gas)
        values = computation._stack.values
        if not values:
            raise InsufficientStack("an address is missing")
        start = _integer(values[-1])
        memory = computation._memory
        if start + 32 > len(memory._bytes):
            computation.extend_memory(start, 32)
        values[-1] = int.from_bytes(memory._bytes[start : start + 32], "big")

    return load


def _store(gas: int) -> Instruction:
    def store(computation: Any) -> None:
        _charge(computation, gas)
        values = computation._stack.values
        if len(values) < 2:
            raise InsufficientStack("an address or a value is missing")
        start = _integer(values.pop())
        value = _integer(values.pop())
        memory = computation._memory
        if start + 32 > len(memory._bytes):
            computation.extend_memory(start, 32)
        memory._bytes[start : start + 32] = value.to_bytes(32, "big")

    return store


def _load_call_data(gas: int) -> Instruction:
    def load_call_data(computation: Any) -> None:
        _charge(computation, gas)
        values = computation._stack.values
        if not values:
            raise InsufficientStack("a position is missing")
        start = _integer(values[-1])
        # Beyond its end the data read as zeros.
        read = bytes(computation.msg.data_as_bytes[start : start + 32])
        values[-1] = int.from_bytes(read, "big") << 8 * (32 - len(read))

    return load_call_data


@lru_cache(maxsize=16)
def _jump_destinations(code: bytes) -> frozenset[int]:
    """Positions of JUMPDEST that are instructions, not the data of a push."""
    found = []
    position = 0
    while position < len(code):
        value = code[position]
        if value == op.JUMPDEST:
            found.append(position)
        elif op.PUSH1 <= value <= op.PUSH32:
            position += value - op.PUSH1 + 1
        position += 1
    return frozenset(found)


def _jump(gas: int) -> Instruction:
    def jump(computation: Any) -> None:
        _charge(computation, gas)
        values = computation._stack.values
        if not values:
            raise InsufficientStack("a destination is missing")
        _go_to(computation.code, _integer(values.pop()))

    return jump


def _jump_if(gas: int) -> Instruction:
    def jump_if(computation: Any) -> None:
        _charge(computation, gas)
        values = computation._stack.values
        if len(values) < 2:
            raise InsufficientStack("a destination or a condition is missing")
        destination, condition = values.pop(), values.pop()
        if _integer(condition):
            _go_to(computation.code, _integer(destination))

    return jump_if


def _go_to(code: Any, destination: int) -> None:
    if destination not in _jump_destinations(code._raw_code_bytes):
        raise InvalidJumpDestination(f"{destination} is no place to jump to")
    code.program_counter = destination


def _land(gas: int) -> Instruction:
    def land(computation: Any) -> None:
        _charge(computation, gas)

    return land


def _static_call(known: Any) -> Instruction:
    """STATICCALL, at once where it is the SHA-256 precompile, else as py-evm has it.

    A step's record hashes every header, coinbase and marker: some three hundred such calls, for
    each of which py-evm makes a frame of its own with a snapshot of the state.
    """

    def static_call(computation: Any) -> None:
        values = computation._stack.values
        if len(values) < 6 or _integer(values[-2]) & _ADDRESS_MASK != _SHA256_ADDRESS:
            known(computation=computation)
            return
        gas, _, start, size, out_start, out_size = (_integer(values.pop()) for _ in range(6))
        computation.extend_memory(start, size)
        computation.extend_memory(out_start, out_size)
        _charge(computation, WARM_STORAGE_READ_COST)  # precompiles are never cold (EIP-2929)
        meter = computation._gas_meter
        given = min(gas, meter.gas_remaining - meter.gas_remaining // 64)
        fee = GAS_SHA256 + GAS_SHA256WORD * ((size + 31) // 32)
        if fee > given or computation.msg.depth + 1 > STACK_DEPTH_LIMIT:
            # A frame that is too deep gets its gas back, one that runs out of it does not.
            meter.gas_remaining -= given if computation.msg.depth < STACK_DEPTH_LIMIT else 0
            computation.return_data = b""
            values.append(0)
            return
        meter.gas_remaining -= fee
        memory = computation._memory._bytes
        digest = sha256(memory[start : start + size]).digest()
        written = min(out_size, len(digest))
        memory[out_start : out_start + written] = digest[:written]
        computation.return_data = digest
        values.append(1)

    return static_call


def _make_instructions() -> dict[int, Any]:
    made: dict[int, Any] = {}

    def put(value: int, make: Callable[..., Instruction], *arguments: Any) -> None:
        known: Any = PragueComputation.opcodes[value]
        instruction: Any = make(*arguments, known.gas_cost)
        instruction.mnemonic = known.mnemonic
        made[value] = instruction

    for size in range(33):
        put(op.PUSH1 - 1 + size, _push, size)
    for position in range(1, 17):
        put(op.DUP1 - 1 + position, _duplicate, position)
        put(op.SWAP1 - 1 + position, _swap, position)
    binary: dict[int, Callable[[int, int], int]] = {
        op.ADD: lambda top, below: (top + below) & WORD_MASK,
        op.SUB: lambda top, below: (top - below) & WORD_MASK,
        op.MUL: lambda top, below: (top * below) & WORD_MASK,
        op.DIV: lambda top, below: top // below if below else 0,
        op.MOD: lambda top, below: top % below if below else 0,
        op.LT: lambda top, below: int(top < below),
        op.GT: lambda top, below: int(top > below),
        op.EQ: lambda top, below: int(top == below),
        op.AND: and_,
        op.OR: or_,
        op.XOR: xor,
        op.SHL: lambda top, below: (below << top) & WORD_MASK if top < _WORD_BITS else 0,
        op.SHR: lambda top, below: below >> top if top < _WORD_BITS else 0,
        op.BYTE: lambda top, below: (below >> 8 * (31 - top)) & 0xFF if top < 32 else 0,
    }
    for value, function in binary.items():
        put(value, _binary, function)
    put(op.ISZERO, _unary, lambda top: int(not top))
    put(op.NOT, _unary, lambda top: top ^ WORD_MASK)
    put(op.POP, _pop)
    put(op.MLOAD, _load)
    put(op.MSTORE, _store)
    put(op.CALLDATALOAD, _load_call_data)
    put(op.JUMP, _jump)
    put(op.JUMPI, _jump_if)
    put(op.JUMPDEST, _land)
    static_call: Any = _static_call(PragueComputation.opcodes[op.STATICCALL])
    static_call.mnemonic = "STATICCALL"
    made[op.STATICCALL] = static_call
    return made


_INSTRUCTIONS: dict[int, Any] = {**PragueComputation.opcodes, **_make_instructions()}


class FastComputation(PragueComputation):
    """A frame with the faster instructions."""

    opcodes = _INSTRUCTIONS


class FastState(PragueState):
    """Runs its messages with them."""

    computation_class = FastComputation


class FastPragueVM(PragueVM):
    """The Prague fork with them."""

    _state_class = FastState
