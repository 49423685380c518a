"""Work and share: what a miner hashes and when it counts (docs/protocol.md section 2).

Responsible for the heads, the work commitment, the marker, the coinbase's form, the header and its
target. Not for Stratum (package `stratum`) nor for records of many shares (`potnode.spec.record`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from potnode.spec.errors import InvalidCoinbase
from potnode.spec.hashing import be64, keccak256, sha256, sha256d

MAX_BITS = 255
EXTRANONCE_SIZE = 16  # counter4 | extranonce1_4 | extranonce2_8
MAX_BRANCH = 16
MAX_SCRIPT = 252
MIN_SCRIPT_SIG, MAX_SCRIPT_SIG = EXTRANONCE_SIZE + 1, 100  # Bitcoin consensus allows 2..100 bytes
# A 64-byte transaction can pass for a merkle node; stock S19 firmware takes at most 755 bytes.
MIN_COINBASE, MAX_COINBASE = 65, 755

MARKER_PREFIX = bytes.fromhex("6a24") + b"POT1"  # OP_RETURN, push of 36 bytes
_MARKER_OUTPUT = bytes(8) + bytes([len(MARKER_PREFIX) + 32]) + MARKER_PREFIX
_NULL_OUTPOINT = bytes(32) + b"\xff\xff\xff\xff"
_INPUTS_AT = 4  # after the version
_SCRIPT_SIG_AT = 42  # after version, input count, outpoint, length byte
_LOCKTIME_SIZE = 4


def target(bits: int) -> int:
    """Largest hash, as an integer, that is a share at `bits` 0..255: difficulty 2^(bits-32)."""
    if not 0 <= bits <= MAX_BITS:
        raise ValueError(f"bits must be 0..255, not {bits}")
    return (0xFFFF << 240) >> bits


def head_zero(job_id: bytes) -> bytes:
    """Head of a job before its first step."""
    return keccak256(b"potnode/1/head" + job_id)


def next_head(prev_head: bytes, step_data: bytes) -> bytes:
    """Head after a step: binds the record and everything before it."""
    return keccak256(prev_head + keccak256(step_data))


def work_id(job_id: bytes, step: int, head: bytes) -> bytes:
    """What a template of step `step` commits to; `head` is the head before that step."""
    return sha256(b"potnode/1/work" + job_id + be64(step) + head)


def marker(work: bytes, miner: bytes, bits: int) -> bytes:
    """The 32 bytes in the coinbase: bind the work, the 20-byte payout address, its agreed bits."""
    if len(miner) != 20:
        raise ValueError("a miner is a 20-byte address")
    return sha256(b"potnode/1/share" + work + miner + bytes([bits]))


@dataclass(frozen=True, slots=True)
class CoinbaseForm:
    """Where a template's coinbase has its holes. Offsets count in the template, without script.

    extranonce_at: 16 bytes, the end of the scriptSig. marker_at: 32 bytes, the end of the last
    output. script_at: where the payout script's length byte and bytes are inserted, 0 for nowhere.
    """

    extranonce_at: int
    marker_at: int
    script_at: int


def coinbase_form(coinbase: bytes, script_at: int = 0) -> CoinbaseForm:
    """Parse the stripped coinbase of a template: position follows from form, nothing is stated.

    Args:
        coinbase: serialised without witness; where `script_at` is not 0, without payout script.
        script_at: place of the payout script's length byte, in an output before the last, or 0.

    Raises:
        InvalidCoinbase: any departure from the form of docs/protocol.md section 2.
    """
    if len(coinbase) > MAX_COINBASE:
        raise InvalidCoinbase(f"coinbase must have at most 755 bytes, not {len(coinbase)}")
    if len(coinbase) < _SCRIPT_SIG_AT + MIN_SCRIPT_SIG:
        raise InvalidCoinbase("coinbase ends before its scriptSig does")
    if coinbase[_INPUTS_AT] != 1 or coinbase[5:41] != _NULL_OUTPOINT:
        raise InvalidCoinbase("coinbase must have one input, and that the null outpoint")
    script_sig_size = coinbase[_SCRIPT_SIG_AT - 1]
    if not MIN_SCRIPT_SIG <= script_sig_size <= MAX_SCRIPT_SIG:
        raise InvalidCoinbase(f"scriptSig must have 17..100 bytes, not {script_sig_size}")
    script_sig_end = _SCRIPT_SIG_AT + script_sig_size
    at = script_sig_end + 4  # the sequence number
    if at >= len(coinbase):
        raise InvalidCoinbase("coinbase ends before its outputs")
    at = _last_output(coinbase, at, script_at)
    marker_at = at + len(_MARKER_OUTPUT)
    if coinbase[at:marker_at] != _MARKER_OUTPUT:
        raise InvalidCoinbase("the last output must have value 0 and script 6a24 'POT1' marker")
    if len(coinbase) != marker_at + 32 + _LOCKTIME_SIZE:
        raise InvalidCoinbase("coinbase must end with the marker and four bytes of locktime")
    return CoinbaseForm(script_sig_end - EXTRANONCE_SIZE, marker_at, script_at)


def _last_output(coinbase: bytes, at: int, script_at: int) -> int:
    """Where the last output begins, from the place of the output count."""
    outputs = coinbase[at]
    if not 1 <= outputs <= 252:
        raise InvalidCoinbase(f"coinbase must have 1..252 outputs, not {outputs}")
    at += 1
    script_place_seen = script_at == 0
    for _ in range(outputs - 1):
        at += 8
        if script_at and at == script_at:
            script_place_seen = True
            continue
        if at >= len(coinbase):
            raise InvalidCoinbase("coinbase ends inside its outputs")
        if coinbase[at] > MAX_SCRIPT:
            raise InvalidCoinbase("an output script must be shorter than 253 bytes")
        at += 1 + coinbase[at]
    if not script_place_seen:
        raise InvalidCoinbase(
            f"offset {script_at} is not the place of an output script before the last"
        )
    return at


def fill_coinbase(
    coinbase: bytes, script_at: int, extranonce: bytes, marker: bytes, script: bytes
) -> bytes:
    """The coinbase as hashed: holes filled, payout script inserted.

    Args:
        coinbase: template bytes, of the form `coinbase_form` accepts.
        script_at: place of the payout script, or 0.
        extranonce: 16 bytes counter4 | extranonce1_4 | extranonce2_8. marker: 32 bytes.
        script: payout script, 1..252 bytes where script_at is not 0, else empty.

    Raises:
        InvalidCoinbase: wrong form, script and its place disagree, or length outside 65..755.
    """
    form = coinbase_form(coinbase, script_at)
    if len(script) > MAX_SCRIPT:
        raise InvalidCoinbase(f"a payout script has at most 252 bytes, not {len(script)}")
    if (script_at != 0) != bool(script):
        raise InvalidCoinbase(
            "a payout script needs a place in the template, and a place needs a script"
        )
    if len(extranonce) != EXTRANONCE_SIZE or len(marker) != 32:
        raise InvalidCoinbase("the extranonce has 16 bytes and the marker 32")
    filled = bytearray(coinbase)
    filled[form.extranonce_at : form.extranonce_at + EXTRANONCE_SIZE] = extranonce
    filled[form.marker_at : form.marker_at + 32] = marker
    if script:
        filled[script_at:script_at] = bytes([len(script)]) + script
    if not MIN_COINBASE <= len(filled) <= MAX_COINBASE:
        raise InvalidCoinbase(f"coinbase must have 65..755 bytes, not {len(filled)}")
    return bytes(filled)


def marker_of(coinbase: bytes) -> bytes:
    """The marker in a complete coinbase, nothing left out, by its form; InvalidCoinbase if none."""
    form = coinbase_form(coinbase)
    return coinbase[form.marker_at : form.marker_at + 32]


def merkle_root(coinbase: bytes, branch: Sequence[bytes]) -> bytes:
    """Block merkle root in header byte order: the coinbase is leaf 0, siblings stand right."""
    if len(branch) > MAX_BRANCH:
        raise InvalidCoinbase(
            f"a merkle branch has at most {MAX_BRANCH} siblings, not {len(branch)}"
        )
    node = sha256d(coinbase)
    for sibling in branch:
        node = sha256d(node + sibling)
    return node


def header(
    *,
    version_le: bytes,
    prev_hash_le: bytes,
    root: bytes,
    ntime_le: bytes,
    nbits_le: bytes,
    nonce_le: bytes,
) -> bytes:
    """The 80 bytes a miner hashes; every part exactly as it stands in the header."""
    built = version_le + prev_hash_le + root + ntime_le + nbits_le + nonce_le
    if len(built) != 80:
        raise ValueError(f"a header has 80 bytes, not {len(built)}")
    return built


def share_hash(header80: bytes) -> bytes:
    """H, a share's identity: SHA256d of the header, as digest bytes (shown reversed to people)."""
    return sha256d(header80)


def meets(hash_: bytes, bits: int) -> bool:
    """Whether H is a share at `bits`: H read as a little-endian integer is at most the target."""
    return int.from_bytes(hash_, "little") <= target(bits)
