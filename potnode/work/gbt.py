"""What `getblocktemplate` answers (BIP22, 23, 145), read strictly.

Bytes in, a `BlockTemplate` out, or `TemplateRefused` with what is wrong. Whatever would make every
block of the template invalid is looked for here, before miners spend hours on it: our own witness
commitment against bitcoind's, the target against the bits, transactions against their ids, rules we
do not know. Not for asking bitcoind, nor for whether its tip is the right one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from potnode.spec.hashing import sha256d
from potnode.spec.parent import compact_target
from potnode.spec.work import MAX_BRANCH
from potnode.work.errors import TemplateRefused
from potnode.work.parent import RESERVED_VALUE
from stratum.jobs import VERSION_MASK

COMMITMENT_HEAD: Final = bytes.fromhex("6a24aa21a9ed")  # BIP141
MAX_MONEY: Final = 21_000_000 * 100_000_000
_KNOWN_RULES: Final = {"segwit"}
_OLDEST_VERSION: Final = 4  # BIP65: lower ones are invalid since it is enforced
_TIME_LIMIT: Final = 1 << 32


class _Transaction(msgspec.Struct):
    data: str
    txid: str
    # BIP22 lets a server leave out what it does not know; the hash then follows from the data.
    hash: str | None = None
    depends: list[int] = []
    fee: int | None = None


class _Result(msgspec.Struct):
    version: int
    previousblockhash: str
    transactions: list[_Transaction]
    coinbasevalue: int
    curtime: int
    bits: str
    height: int
    rules: list[str] = []
    target: str | None = None
    mintime: int = 1
    vbrequired: int = 0
    default_witness_commitment: str | None = None
    signet_challenge: str | None = None
    longpollid: str | None = None


@dataclass(frozen=True, slots=True)
class Transaction:
    """A transaction of a template. Ids are in the byte order of the merkle tree.

    data: as serialised with witness. fee: satoshi, None where bitcoind does not say.
    """

    data: bytes
    txid_le: bytes
    wtxid_le: bytes
    fee: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockTemplate:
    """A block of the parent chain without its coinbase and header.

    version: rolling bits zero. prev_hash_le: as in the header. nbits, target: one number, compact
    and whole. mintime, curtime: Unix seconds, the first a block may have and bitcoind's now. value:
    what the coinbase may pay, satoshi. branch: siblings of the coinbase in the merkle tree.
    commitment: script of the witness commitment output, None where the chain has no segwit yet or
    the block has nothing to commit to. longpollid: for the next long poll. dropped: transactions of
    bitcoind's template that were left out to keep the branch short.
    """

    version: int
    prev_hash_le: bytes
    height: int
    nbits: int
    target: int
    mintime: int
    curtime: int
    value: int
    transactions: tuple[Transaction, ...] = ()
    branch: tuple[bytes, ...] = ()
    commitment: bytes | None = None
    longpollid: str | None = None
    dropped: int = 0

    def by_wtxid(self) -> dict[bytes, Transaction]:
        """Its transactions by id, for the next template to share their bytes."""
        return {transaction.wtxid_le: transaction for transaction in self.transactions}


def parse(
    result: bytes | msgspec.Raw,
    *,
    known: Mapping[bytes, Transaction] | None = None,
    max_branch: int = MAX_BRANCH,
) -> BlockTemplate:
    """Read the result of `getblocktemplate {"rules": ["segwit"]}`.

    Args:
        result: its JSON.
        known: transactions of an earlier template by wtxid: those that come again are shared with
            it, so that many templates alive cost the memory of few.
        max_branch: most siblings; a template with more transactions is cut at the end, where no
            kept transaction depends on a dropped one, and pays less by the fees of the dropped.

    Raises:
        TemplateRefused: not a template, or one whose blocks would be invalid or not ours to make.
    """
    try:
        raw = msgspec.json.decode(result, type=_Result)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise TemplateRefused(f"not a block template: {error}") from error
    _check_rules(raw)
    version = _version(raw)
    nbits = int.from_bytes(_hex(raw.bits, "bits", 4), "big")
    target = target_of(nbits)
    if raw.target is not None and int.from_bytes(_hex(raw.target, "target", 32), "big") != target:
        raise TemplateRefused(f"target {raw.target} is not what bits {raw.bits} say")
    _check_numbers(raw)
    transactions = _transactions(raw.transactions, known or {})
    commitment = _commitment(raw, transactions)
    kept = transactions[: (1 << max_branch) - 1]
    dropped = transactions[len(kept) :]
    value = raw.coinbasevalue - _fees(dropped)
    if value < 0:
        raise TemplateRefused(f"fees are more than the coinbasevalue of {raw.coinbasevalue}")
    if dropped and commitment is not None:
        commitment = commitment_script([transaction.wtxid_le for transaction in kept])
    return BlockTemplate(
        version=version,
        prev_hash_le=_hex(raw.previousblockhash, "previousblockhash", 32)[::-1],
        height=raw.height,
        nbits=nbits,
        target=target,
        mintime=raw.mintime,
        curtime=raw.curtime,
        value=value,
        transactions=tuple(kept),
        branch=coinbase_branch([transaction.txid_le for transaction in kept]),
        commitment=commitment,
        longpollid=raw.longpollid,
        dropped=len(dropped),
    )


def _check_rules(raw: _Result) -> None:
    if raw.signet_challenge is not None:
        raise TemplateRefused("signet blocks need a signature, which this node cannot make")
    # BIP9: a rule with "!" may not be ignored by who does not know it.
    forced = {rule[1:] for rule in raw.rules if rule.startswith("!")}
    if unknown := sorted(forced - _KNOWN_RULES):
        raise TemplateRefused(f"the chain has rules this node does not know: {', '.join(unknown)}")
    if raw.vbrequired & VERSION_MASK:
        raise TemplateRefused(
            f"bitcoind requires version bits {raw.vbrequired:08x}, which miners roll"
        )


def _version(raw: _Result) -> int:
    if not -(1 << 31) <= raw.version < 1 << 32:
        raise TemplateRefused(f"version {raw.version} has more than 32 bits")
    # Soft forks are signalled in the bits that BIP320 gives to miners; what they are set to is no
    # rule of consensus, and firmware needs them zero.
    version = raw.version & 0xFFFFFFFF & ~VERSION_MASK
    if version < _OLDEST_VERSION or version >= 1 << 31:
        raise TemplateRefused(f"version {version:08x} without the rolled bits is invalid by BIP65")
    return version


def _check_numbers(raw: _Result) -> None:
    if not 1 <= raw.height < 1 << 31:
        raise TemplateRefused(f"height {raw.height} is none of a next block")
    if not 0 <= raw.coinbasevalue <= MAX_MONEY:
        raise TemplateRefused(f"coinbasevalue {raw.coinbasevalue} is no amount of bitcoin")
    for name in ("mintime", "curtime"):
        if not 0 < getattr(raw, name) < _TIME_LIMIT:
            raise TemplateRefused(f"{name} {getattr(raw, name)} does not fit a header")


def _transactions(
    raw: Sequence[_Transaction], known: Mapping[bytes, Transaction]
) -> list[Transaction]:
    transactions = [_transaction(entry, index, known) for index, entry in enumerate(raw)]
    # Two equal ids would also let two different lists have one merkle root (CVE-2012-2459).
    if len({transaction.txid_le for transaction in transactions}) != len(transactions):
        raise TemplateRefused("a transaction is in the template twice")
    return transactions


def _transaction(raw: _Transaction, index: int, known: Mapping[bytes, Transaction]) -> Transaction:
    if raw.hash is None:
        wtxid_le = sha256d(_hex(raw.data, "data of a transaction"))
    else:
        wtxid_le = _hex(raw.hash, "hash of a transaction", 32)[::-1]
    txid_le = _hex(raw.txid, "txid", 32)[::-1]
    if any(not 1 <= before <= index for before in raw.depends):
        raise TemplateRefused(f"transaction {index + 1} depends on one that does not precede it")
    if raw.fee is not None and not 0 <= raw.fee <= MAX_MONEY:
        raise TemplateRefused(f"transaction {index + 1} has fee {raw.fee}")
    before = known.get(wtxid_le)
    if before is not None and before.txid_le == txid_le and before.fee == raw.fee:
        return before
    data = _hex(raw.data, "data of a transaction")
    if sha256d(data) != wtxid_le:
        raise TemplateRefused(f"transaction {index + 1} does not have the hash it is given")
    if data[4:6] != b"\x00\x01" and txid_le != wtxid_le:
        raise TemplateRefused(f"transaction {index + 1} has no witness and two ids")
    return Transaction(data, txid_le, wtxid_le, raw.fee)


def _commitment(raw: _Result, transactions: Sequence[Transaction]) -> bytes | None:
    stated = raw.default_witness_commitment
    witnesses = any(transaction.txid_le != transaction.wtxid_le for transaction in transactions)
    if stated is None and not witnesses:
        return None
    computed = commitment_script([transaction.wtxid_le for transaction in transactions])
    if stated is None:
        return computed
    # BIP141 leaves room for more after the commitment; bitcoind uses none of it.
    if _hex(stated, "default_witness_commitment") != computed:
        raise TemplateRefused("default_witness_commitment is not that of the transactions")
    return computed


def _fees(dropped: Sequence[Transaction]) -> int:
    total = 0
    for transaction in dropped:
        if transaction.fee is None:
            raise TemplateRefused("too many transactions, and no fees to take off for fewer")
        total += transaction.fee
    return total


def _hex(text: str, name: str, size: int | None = None) -> bytes:
    try:
        data = bytes.fromhex(text)
    except ValueError:
        data = None
    # fromhex lets spaces pass.
    if data is None or len(text) != 2 * len(data) or (size is not None and len(data) != size):
        wanted = "hex" if size is None else f"{size} bytes in hex"
        raise TemplateRefused(f"{name} is not {wanted}")
    return data


def target_of(nbits: int) -> int:
    """The target of compact bits.

    Raises:
        TemplateRefused: zero, negative or beyond 256 bits: no hash can meet such a target.
    """
    target = compact_target(nbits)
    if target == 0:
        raise TemplateRefused(f"bits {nbits:08x} are no target")
    return target


def commitment_script(wtxids_le: Sequence[bytes]) -> bytes:
    """The output script that commits to witnesses (BIP141). The coinbase's own wtxid is zero."""
    root = merkle_root([bytes(32), *wtxids_le])
    return COMMITMENT_HEAD + sha256d(root + RESERVED_VALUE)


def merkle_root(leaves_le: Sequence[bytes]) -> bytes:
    """Bitcoin's merkle root: the last of an odd level is doubled. At least one leaf."""
    level = list(leaves_le)
    while len(level) > 1:
        level = _level_above(level)
    return level[0]


def coinbase_branch(txids_le: Sequence[bytes]) -> tuple[bytes, ...]:
    """The siblings that lead from leaf 0, the coinbase, to the root; the txids are the others'."""
    branch = []
    # The coinbase's place is held by zeros: what is computed from them is never used.
    level = [bytes(32), *txids_le]
    while len(level) > 1:
        branch.append(level[1])
        level = _level_above(level)
    return tuple(branch)


def _level_above(level: list[bytes]) -> list[bytes]:
    if len(level) % 2:
        level.append(level[-1])
    return [sha256d(level[i] + level[i + 1]) for i in range(0, len(level), 2)]
