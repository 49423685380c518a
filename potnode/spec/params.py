"""Job parameters: the immutable numbers of a job that the contract knows.

docs/protocol.md section 1. Responsible for their ranges, their ABI encoding and the job id. What
only evaluators need is in the manifest (`potnode.spec.manifest`); `check_job` there holds the two
against each other.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields

from potnode.spec.errors import InvalidJob
from potnode.spec.hashing import keccak256

WORD = 32
# A step is recorded by one transaction and settled by another, and neither may take more than
# 16,777,216 gas (EIP-7825). Settling for MAX_SHARES payees takes most of that and leaves room for
# the losses of MANY_CANDIDATES; a step of more has so many fewer shares that there is room for all.
MAX_SHARES = 512
MAX_SHARES_OF_MANY = 256
MANY_CANDIDATES = 4096
MAX_POPULATION = 16_384
MAX_CANDIDATES_PER_SHARE = 64
MAX_BATCH = 65_536

# Solidity type of every field, in the order of `JobParams` in contracts/src/interfaces/IPot.sol.
ABI_TYPES: dict[str, str] = {
    "owner": "address",
    "operator": "address",
    "manifest_hash": "bytes32",
    "initial_root": "bytes32",
    "data_root": "bytes32",
    "train_count": "uint32",
    "held_out_count": "uint32",
    "population": "uint16",
    "population_start": "uint16",
    "candidates_per_share": "uint8",
    "batch_size": "uint32",
    "min_bits": "uint8",
    "window": "uint8",
    "step_limit": "uint32",
    "validate_every": "uint32",
    "pot_per_step": "uint128",
    "operator_fee": "uint128",
    "token": "address",
    "bond": "uint128",
    "challenge_window": "uint64",
    "response_window": "uint64",
    "demand_bond": "uint128",
    "stall_timeout": "uint64",
    "refutable": "bool",
    "salt": "bytes32",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class JobParams:
    """What the contract is told of a job.

    Addresses have 20 bytes, hashes 32; amounts are in wei or the token's smallest unit.

    Ranges beyond the ABI type: population_start and population, the candidates of a step at the
    job's start and end, 1..16384, the first not above the second and both multiples of
    candidates_per_share 1..64; population of at most 512 shares, 256 beyond 4096 candidates;
    batch_size, of a step at the end, 1..65536 samples; window 0..255 steps; step_limit and
    validate_every at least 1 step; train_count at least 1 sample; times in seconds of block time.
    `refutable` and its bonds must be unset: this version of the protocol has no refutation on chain
    and so promises none.
    """

    owner: bytes
    operator: bytes
    manifest_hash: bytes
    initial_root: bytes
    data_root: bytes
    train_count: int
    held_out_count: int
    population: int
    population_start: int
    candidates_per_share: int = 1
    batch_size: int
    min_bits: int
    window: int
    step_limit: int
    validate_every: int
    pot_per_step: int = 0
    operator_fee: int = 0
    token: bytes = bytes(20)
    bond: int = 0
    challenge_window: int = 0
    response_window: int = 0
    demand_bond: int = 0
    stall_timeout: int = 0
    refutable: bool = False
    salt: bytes = bytes(32)

    def is_validation_step(self, step: int) -> bool:
        """Whether the record of `step` carries the held-out loss and hits."""
        return step % self.validate_every == 0 or step == self.step_limit - 1


def check_params(params: JobParams) -> None:
    """Raise InvalidJob, naming the field, where a value is outside its range."""
    for name, abi_type in ABI_TYPES.items():
        _check_type(name, abi_type, getattr(params, name))
    rules = (
        (
            "candidates_per_share",
            1 <= params.candidates_per_share <= MAX_CANDIDATES_PER_SHARE,
            f"1..{MAX_CANDIDATES_PER_SHARE}",
        ),
        *_population_rules(params),
        ("batch_size", 1 <= params.batch_size <= MAX_BATCH, f"1..{MAX_BATCH}"),
        ("train_count", params.train_count >= 1, "at least 1"),
        ("step_limit", params.step_limit >= 1, "at least 1"),
        ("validate_every", params.validate_every >= 1, "at least 1"),
        ("refutable", not params.refutable, "false in this version"),
        ("bond", params.bond == 0, "0 in this version"),
        ("demand_bond", params.demand_bond == 0, "0 in this version"),
    )
    for name, holds, allowed in rules:
        if not holds:
            raise InvalidJob(f"params.{name} is {getattr(params, name)}, allowed is {allowed}")


def _population_rules(params: JobParams) -> Iterator[tuple[str, bool, str]]:
    first, last, each = params.population_start, params.population, params.candidates_per_share
    multiple = f"a multiple of candidates_per_share, {each}"
    yield "population", 1 <= last <= MAX_POPULATION, f"1..{MAX_POPULATION}"
    yield "population", last % max(each, 1) == 0, multiple
    many = last > MANY_CANDIDATES
    shares = MAX_SHARES_OF_MANY if many else MAX_SHARES
    allowed = f"at most {shares} shares of {each} candidates"
    if many:
        allowed += f" where there are more than {MANY_CANDIDATES} candidates"
    yield "population", last <= shares * each, allowed
    yield "population_start", 1 <= first <= last, f"1..{last}, the population at the end"
    yield "population_start", first % max(each, 1) == 0, multiple


def encode_params(params: JobParams) -> bytes:
    """ABI encoding of the static struct: 25 words of 32 bytes, big-endian.

    Raises:
        InvalidJob: a value has no encoding as its type.
    """
    words = []
    for name, abi_type in ABI_TYPES.items():
        value = getattr(params, name)
        _check_type(name, abi_type, value)
        words.append(_word(abi_type, value))
    return b"".join(words)


def decode_params(data: bytes) -> JobParams:
    """Inverse of `encode_params`; InvalidJob where a word is not the encoding of its type."""
    if len(data) != WORD * len(ABI_TYPES):
        raise InvalidJob(f"params have {WORD * len(ABI_TYPES)} bytes, not {len(data)}")
    values: dict[str, object] = {}
    for i, (name, abi_type) in enumerate(ABI_TYPES.items()):
        word = data[WORD * i : WORD * (i + 1)]
        values[name] = _unword(abi_type, word)
        if _word(abi_type, values[name]) != word:
            raise InvalidJob(f"params.{name} is not a canonical {abi_type}")
    return JobParams(**values)  # type: ignore[arg-type]


def job_id(chain_id: int, contract: bytes, params: JobParams) -> bytes:
    """keccak256(abi.encode(chainid, contract, params)): binds the job to its chain and contract."""
    if len(contract) != 20:
        raise InvalidJob("a contract's address has 20 bytes")
    return keccak256(
        _word("uint256", chain_id) + _word("address", contract) + encode_params(params)
    )


def _check_type(name: str, abi_type: str, value: object) -> None:
    if abi_type in ("address", "bytes32"):
        size = 20 if abi_type == "address" else 32
        if not isinstance(value, bytes) or len(value) != size:
            raise InvalidJob(f"params.{name} must be {size} bytes")
    elif abi_type == "bool":
        if not isinstance(value, bool):
            raise InvalidJob(f"params.{name} must be true or false")
    elif (
        not isinstance(value, int)
        or isinstance(value, bool)
        or not 0 <= value < 1 << int(abi_type[4:])
    ):
        raise InvalidJob(f"params.{name} must be a {abi_type}, not {value!r}")


def _word(abi_type: str, value: object) -> bytes:
    if isinstance(value, bytes):
        return value.rjust(WORD, b"\0") if abi_type == "address" else value.ljust(WORD, b"\0")
    if isinstance(value, int):
        return value.to_bytes(WORD, "big")
    raise TypeError(f"no ABI encoding for {value!r}")


def _unword(abi_type: str, word: bytes) -> object:
    if abi_type == "address":
        return word[12:]
    if abi_type == "bytes32":
        return word
    if abi_type == "bool":
        return word[-1] == 1
    return int.from_bytes(word, "big") % (1 << int(abi_type[4:]))


if tuple(ABI_TYPES) != tuple(f.name for f in fields(JobParams)):  # the two lists are one order
    raise RuntimeError("JobParams and ABI_TYPES disagree")
