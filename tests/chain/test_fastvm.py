"""The faster instructions against py-evm's own: the same outcome for any program, and for real
blocks.
"""

from __future__ import annotations

from hashlib import sha256
from itertools import product
from typing import Any

import pytest
from eth.chains.base import Chain
from eth.db.atomic import AtomicDB
from eth.typing import AccountDetails
from eth.vm import opcode_values as op
from eth.vm.forks.prague import PragueVM
from eth.vm.forks.prague.computation import PragueComputation
from eth.vm.spoof import SpoofTransaction
from eth_typing import Address
from hypothesis import given, settings
from hypothesis import strategies as st

from potnode.chain.embedded import GENESIS_BALANCE, EmbeddedChain
from potnode.chain.fastvm import FastComputation, FastPragueVM
from potnode.chain.keys import Key
from tests.chain.conftest import embedded_world

# py-evm warns whenever it meets this instruction.
pytestmark = pytest.mark.filterwarnings("ignore:SELFDESTRUCT:DeprecationWarning")

SENDER, TO = Address(b"\x01" * 20), Address(b"\x02" * 20)


def chain_of(vm: type[PragueVM]) -> Chain:
    chain_class = Chain.configure(__name__="C", chain_id=1, vm_configuration=((0, vm),))
    parameters: dict[str, Any] = {"difficulty": 0, "gas_limit": 10**7, "timestamp": 1000}
    account: AccountDetails = {"balance": 10**18, "nonce": 0, "code": b"", "storage": {}}
    chain: Any = chain_class.from_genesis(AtomicDB(), parameters, {SENDER: account})
    assert isinstance(chain, Chain)
    return chain


SLOW, FAST = chain_of(PragueVM), chain_of(FastPragueVM)


def outcome(chain: Chain, code: bytes, gas: int, data: bytes) -> tuple[Any, ...]:
    """Everything a transaction to a contract can leave behind: what a burnt frame had is not among
    it.
    """
    vm = chain.get_vm(chain.get_canonical_head().copy(base_fee_per_gas=0))
    state: Any = vm.state
    state.set_code(TO, code)
    builder: Any = vm.get_transaction_builder()
    unsigned = builder.new_unsigned_dynamic_fee_transaction(
        1, 0, 0, 0, 0, TO, 0, data, access_list=()
    )
    transaction = SpoofTransaction(unsigned, from_=SENDER)
    transaction.overrides["gas"] = gas + transaction.intrinsic_gas
    executor = state.get_transaction_executor()
    message = executor.build_evm_message(transaction)
    done = executor.build_computation(message, transaction)
    executor.finalize_computation(transaction, done)
    root = state.make_state_root()
    if done.is_error and done.should_burn_gas:
        return ("burnt", root)
    return (
        done.is_error,
        done.get_gas_remaining(),
        done.get_gas_refund(),
        done.output,
        done.return_data,
        done.get_log_entries(),
        [v if isinstance(v, int) else int.from_bytes(v, "big") for v in done._stack.values],
        bytes(done._memory._bytes),
        root,
    )


def same(code: bytes, gas: int = 10**6, data: bytes = b"") -> tuple[Any, ...]:
    fast = outcome(FAST, code, gas, data)
    assert fast == outcome(SLOW, code, gas, data)
    return fast


def push(value: int) -> bytes:
    body = value.to_bytes(max(1, (value.bit_length() + 7) // 8), "big")
    return bytes([op.PUSH1 + len(body) - 1]) + body


NUMBERS = st.one_of(
    st.integers(0, 300),
    st.sampled_from([2**255, 2**256 - 1, 2**160, 2**64, 2**32]),
    st.integers(0, 2**256 - 1),
)
MEMORY = st.integers(0, 200)
ANY = st.sampled_from(sorted(FastComputation.opcodes))
COMMON = st.sampled_from(
    [
        op.ADD,
        op.SUB,
        op.MUL,
        op.DIV,
        op.MOD,
        op.LT,
        op.GT,
        op.EQ,
        op.AND,
        op.OR,
        op.XOR,
        op.SHL,
        op.SHR,
        op.BYTE,
        op.ISZERO,
        op.NOT,
        op.POP,
        op.CALLDATALOAD,
        op.DUP1,
        op.DUP2,
        op.SWAP1,
        op.SWAP2,
        op.DUP16,
        op.SWAP16,
        op.JUMPDEST,
        op.PC,
        op.GAS,
        op.MSIZE,
        op.SAR,
        op.EXP,
    ]
)
PIECES = st.one_of(
    NUMBERS.map(push),
    COMMON.map(lambda value: bytes([value])),
    ANY.map(lambda value: bytes([value])),
    st.tuples(MEMORY, NUMBERS).map(lambda p: push(p[1]) + push(p[0]) + bytes([op.MSTORE])),
    MEMORY.map(lambda p: push(p) + bytes([op.MLOAD])),
    MEMORY.map(lambda p: push(p) + bytes([op.JUMP])),
    st.tuples(MEMORY, st.integers(0, 1)).map(lambda p: push(p[1]) + push(p[0]) + bytes([op.JUMPI])),
    st.tuples(MEMORY, MEMORY).map(
        lambda p: (
            push(p[0]) + push(p[1]) + bytes([op.KECCAK256 if hasattr(op, "KECCAK256") else op.SHA3])
        )
    ),
    st.tuples(MEMORY, MEMORY, MEMORY, MEMORY, st.sampled_from([2, 2, 4, 9, 0x22]), NUMBERS).map(
        lambda p: b"".join(map(push, p)) + bytes([op.STATICCALL])
    ),
    st.tuples(MEMORY, NUMBERS).map(lambda p: push(p[1]) + push(p[0]) + bytes([op.SSTORE])),
    st.binary(max_size=5),
)


@settings(max_examples=400)
@given(
    st.lists(PIECES, max_size=30).map(b"".join),
    st.one_of(st.integers(0, 3000), st.integers(0, 200_000)),
    st.binary(max_size=70),
)
def test_any_program_has_the_same_outcome(code: bytes, gas: int, data: bytes) -> None:
    same(code, gas, data)


@settings(max_examples=150)
@given(COMMON, NUMBERS, NUMBERS, st.binary(max_size=40))
def test_operands_at_their_edges(value: int, top: int, below: int, data: bytes) -> None:
    items = b"".join(map(push, [7] * 20 + [below, top]))
    assert same(items + bytes([value]), data=data)[0] != "burnt"


def test_every_replaced_instruction_on_an_empty_stack_and_at_its_limit() -> None:
    stock, fast = PragueComputation.opcodes, FastComputation.opcodes
    replaced = [value for value, instruction in fast.items() if instruction is not stock[value]]
    assert len(replaced) > 80
    for value in replaced:
        same(bytes([value]))
        same(bytes([op.PUSH0]) * 1024 + bytes([value]))
        same(bytes([op.PUSH0]) * 1023 + bytes([value]) * 2)


def test_a_push_at_the_end_reads_zeros() -> None:
    for size in range(33):
        for given_bytes in {0, size // 2, max(size - 1, 0), size}:
            same(bytes([op.PUSH1 - 1 + size]) + b"\xab" * given_bytes)


def test_jumping_into_the_data_of_a_push_fails() -> None:
    code = push(4) + bytes([op.JUMP]) + bytes([op.PUSH1, op.JUMPDEST])
    assert same(code)[0] == "burnt"
    assert same(push(3) + bytes([op.JUMP, op.JUMPDEST]))[0] != "burnt"


GIVEN_GAS = [0, 59, 71, 72, 83, 84, 100, 10**9]


@pytest.mark.parametrize("size", [0, 1, 32, 33, 64])
def test_sha256_is_called_in_place(size: int) -> None:
    memory = (2**200 + 5).to_bytes(32, "big") + bytes(96)
    store = push(2**200 + 5) + push(0) + bytes([op.MSTORE])
    for gas_given, out_size in product(GIVEN_GAS, [0, 5, 32, 40]):
        numbers = [out_size, 96, size, 3, 2, gas_given]
        call = b"".join(map(push, numbers)) + bytes([op.STATICCALL])
        result = same(store + call + bytes([op.RETURNDATASIZE]))
        if gas_given >= 60 + 12 * ((size + 31) // 32):
            assert result[4] == sha256(memory[3 : 3 + size]).digest()
            assert result[6] == [1, 32]
        else:
            assert result[6] == [0, 0]


def test_py_evm_accepts_every_block_of_a_job(chain: EmbeddedChain, key: Key) -> None:
    world = embedded_world(chain, key)
    job, job_id = world.new_job(population=16)
    world.close_steps(job, job_id, 2)
    recorder = world.recorder()
    for _ in range(2):
        recorder.step_once()
    genesis = chain.header(0)
    assert genesis is not None
    replayed: Any = Chain.configure(
        __name__="Replayed", chain_id=chain.chain_id, vm_configuration=((0, PragueVM),)
    ).from_genesis(
        AtomicDB(),
        {
            name: getattr(genesis, name)
            for name in [
                "difficulty",
                "gas_limit",
                "timestamp",
                "coinbase",
                "mix_hash",
                "extra_data",
                "transaction_root",
                "receipt_root",
            ]
        },
        {
            Address(key.address): {
                "balance": GENESIS_BALANCE,
                "nonce": 0,
                "code": b"",
                "storage": {},
            }
        },
    )
    assert replayed.get_canonical_head() == genesis
    for number in range(1, chain.head().block_number + 1):
        header = chain.header(number)
        assert header is not None
        replayed.import_block(chain.block(header)[0])
    assert replayed.get_canonical_head() == chain.head()
