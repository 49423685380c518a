"""A regtest chain judged by Bitcoin Core's own consensus code, with a small mempool.

`RegtestChain` is the kernel (libbitcoinkernel by way of `pbk`) and what a bitcoind has around it:
blocks it mines itself, transactions that spend them, block templates, and `submitblock` with Core's
reject reasons. Serving it over HTTP is `tests.bitcoin.shim`.
"""

from __future__ import annotations

import hashlib
import re
import threading
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import pbk

HALVING = 150  # blocks, of regtest
NBITS = 0x207FFFFF
TARGET = 0x7FFFFF << 232
VERSION = 0x20000000
# A soft fork is signalled in a bit that miners roll: templates must not pass it on.
SIGNALLING = 1 << 14
MATURITY = 100
FEE = 1000
PAID = 10_000
WITNESS_SCRIPT = b"\x51"  # OP_TRUE
PAYOUT = b"\x00\x20" + hashlib.sha256(WITNESS_SCRIPT).digest()

_CHECKED = re.compile(r"BlockChecked: block hash=([0-9a-f]{64}) state=([^,\n]*)")
_verdicts: dict[str, str] = {}
_connections: list[Any] = []
_connecting = threading.Lock()


def _hear_verdicts() -> None:
    """The kernel gives reasons in its log only; there is one log for all chains of a process."""
    with _connecting:
        if _connections:
            return
        pbk.set_log_level_category(pbk.LogCategory.ALL, pbk.LogLevel.DEBUG)
        pbk.enable_log_category(pbk.LogCategory.VALIDATION)

        def heard(line: str) -> None:
            if found := _CHECKED.search(line):
                _verdicts[found.group(1)] = found.group(2)

        _connections.append(pbk.LoggingConnection(heard))


def sha256d(data: bytes) -> bytes:
    return hashlib.sha256(hashlib.sha256(data).digest()).digest()


def shown(hash_le: bytes) -> str:
    """A hash as people and RPC write it."""
    return hash_le[::-1].hex()


def compact_size(number: int) -> bytes:
    return bytes([number]) if number < 0xFD else b"\xfd" + number.to_bytes(2, "little")


def merkle_root(leaves: list[bytes]) -> bytes:
    level = list(leaves)
    while len(level) > 1:
        if len(level) % 2:
            level.append(level[-1])
        level = [sha256d(level[i] + level[i + 1]) for i in range(0, len(level), 2)]
    return level[0]


def subsidy(height: int) -> int:
    return 50 * 100_000_000 >> height // HALVING


def solve(header76: bytes, *, target: int = TARGET) -> bytes:
    """The header with the first nonce that meets the target; regtest's takes two tries."""
    for nonce in range(1 << 32):
        header = header76 + nonce.to_bytes(4, "little")
        if int.from_bytes(sha256d(header), "little") <= target:
            return header
    raise AssertionError("no nonce meets the target")


@dataclass(frozen=True)
class Coin:
    txid: bytes
    index: int
    value: int
    mature_at: int


@dataclass(frozen=True)
class Tx:
    """A transaction that spends one P2WSH OP_TRUE output to two."""

    stripped: bytes
    data: bytes
    spends: bytes
    fee: int

    @property
    def txid(self) -> bytes:
        return sha256d(self.stripped)

    @property
    def wtxid(self) -> bytes:
        return sha256d(self.data)


def spend(coin: Coin) -> tuple[Tx, Coin]:
    """Pay a little to somebody, and the rest back."""
    values = [coin.value - FEE - PAID, PAID]
    body = b"\x01" + coin.txid + coin.index.to_bytes(4, "little") + b"\x00" + b"\xff" * 4
    body += bytes([len(values)])
    body += b"".join(v.to_bytes(8, "little") + bytes([len(PAYOUT)]) + PAYOUT for v in values)
    version, locktime = (2).to_bytes(4, "little"), bytes(4)
    witness = b"\x01" + bytes([len(WITNESS_SCRIPT)]) + WITNESS_SCRIPT
    tx = Tx(
        version + body + locktime,
        version + b"\x00\x01" + body + witness + locktime,
        coin.txid,
        FEE,
    )
    return tx, Coin(tx.txid, 0, values[0], 0)


class RegtestChain:
    """One node's view of a regtest chain. Methods may be called from any thread.

    Close it: left to the garbage collector, the kernel is taken down at any place in the program,
    and where that is inside its own log, it waits for itself for ever.
    """

    def __init__(self, folder: Path) -> None:
        _hear_verdicts()
        parameters = pbk.ChainParameters(pbk.ChainType.REGTEST)
        options = pbk.ContextOptions()
        options.set_chainparams(parameters)
        # The kernel logs verdicts only where somebody listens to them; the log says more.
        options.set_validation_interface(
            pbk.ValidationInterfaceCallbacks(block_checked=lambda _user, _block, _state: None)
        )
        self._context = pbk.Context(options)
        folder.mkdir(parents=True, exist_ok=True)
        chain_options = pbk.ChainstateManagerOptions(
            self._context, str(folder / "data"), str(folder / "blocks")
        )
        chain_options.update_block_tree_db_in_memory(True)
        chain_options.update_chainstate_db_in_memory(True)
        self._manager = pbk.ChainstateManager(chain_options)
        self.lock = threading.RLock()
        self.changed = threading.Condition(self.lock)
        self._all: list[Tx] = []
        self._coins: deque[Coin] = deque()
        self._ready: deque[Coin] = deque()
        self._mined_in: dict[bytes, set[bytes]] = {}
        self._invalid: set[bytes] = set()
        self._counter = 0
        # Blocks it is to know as ones that it has left, by the answers about them.
        self.left: dict[bytes, dict[str, Any]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        with self.lock:
            manager, context = self._manager, self._context
            del self._manager, self._context
            with context, manager:
                pass  # their exits destroy what is behind them

    # What the chain is

    @property
    def height(self) -> int:
        with self.lock:
            return int(self._manager.get_active_chain().height)

    def hash_at(self, height: int) -> bytes:
        """Hash of a block of the best chain, in header byte order."""
        with self.lock:
            entry = self._manager.get_active_chain().block_tree_entries[height]
            return bytes(entry.block_hash)

    @property
    def tip(self) -> bytes:
        with self.lock:
            return self.hash_at(self.height)

    def block_at(self, height: int) -> bytes:
        with self.lock:
            entry = self._manager.get_active_chain().block_tree_entries[height]
            return bytes(self._manager.blocks[entry])

    def _entry(self, hash_le: bytes) -> Any:
        try:
            return self._manager.block_tree_entries[pbk.BlockHash(hash_le)]
        except KeyError:
            return None

    def _median_time(self, entry: Any) -> int:
        times: list[int] = []
        while len(times) < 11:
            times.append(int(entry.block_header.timestamp.timestamp()))
            if entry.height == 0:
                break
            entry = entry.previous
        return sorted(times)[len(times) // 2]

    def header(self, hash_le: bytes) -> dict[str, Any] | None:
        """As getblockheader answers."""
        with self.lock:
            entry = self._entry(hash_le)
            if entry is None:
                return self.left.get(hash_le)
            height = entry.height
            best = height <= self.height and self.hash_at(height) == hash_le
            return {
                "hash": shown(hash_le),
                "confirmations": self.height - height + 1 if best else -1,
                "height": height,
                "version": entry.block_header.version,
                "time": int(entry.block_header.timestamp.timestamp()),
                "mediantime": self._median_time(entry),
                "bits": f"{entry.block_header.bits:08x}",
                "chainwork": f"{2 * (height + 1):064x}",
                "previousblockhash": shown(bytes(entry.previous.block_hash)) if height else None,
            }

    # Transactions

    def mempool(self) -> list[Tx]:
        """Transactions that no block of the best chain has, in an order blocks may have them."""
        with self.lock:
            mined: set[bytes] = set()
            for height in range(1, self.height + 1):
                mined |= self._mined_in.get(self.hash_at(height), set())
            return [tx for tx in self._all if tx.txid not in mined]

    def add_transactions(self, count: int) -> None:
        """New segwit transactions; later ones spend the outputs of earlier ones."""
        with self.changed:
            for _ in range(count):
                while self._coins and self._coins[0].mature_at <= self.height + 1:
                    self._ready.append(self._coins.popleft())
                assert self._ready, "no mature coins: mine 101 blocks first"
                tx, change = spend(self._ready.popleft())
                self._all.append(tx)
                self._ready.append(change)
            self._counter += 1
            self.changed.notify_all()

    # Blocks

    def submit(self, block: bytes) -> str | None:
        """As submitblock answers: None, or the reason why not."""
        with self.changed:
            hash_le = sha256d(block[:80])
            if self._entry(hash_le) is not None and hash_le in self._mined_in:
                return "duplicate-invalid" if hash_le in self._invalid else "duplicate"
            parsed = pbk.Block(block)
            _verdicts.pop(shown(hash_le), None)
            try:
                self._manager.process_block(parsed)
            except pbk.ProcessBlockException:
                return _verdicts.get(shown(hash_le), "rejected")
            verdict = _verdicts.get(shown(hash_le), "inconclusive")
            self._mined_in[hash_le] = {bytes(tx.txid) for tx in parsed.transactions}
            if verdict not in {"Valid", "inconclusive"}:
                self._invalid.add(hash_le)
            self.changed.notify_all()
            return None if verdict == "Valid" else verdict

    def mine(self, count: int = 1, *, with_transactions: bool = False) -> list[str]:
        """Blocks on the tip, of now where the past allows it."""
        return [
            self._mine_on(
                self.tip,
                int(time.time()) - 600 * (count - 1 - i),
                self.mempool() if with_transactions else [],
            )
            for i in range(count)
        ]

    def reorganise(self, depth: int) -> list[str]:
        """A longer fork: the last `depth` blocks are replaced by one more."""
        with self.changed:
            at = self.hash_at(self.height - depth)
            hashes = []
            for _ in range(depth + 1):
                hashes.append(self._mine_on(at, int(time.time()), []))
                at = bytes.fromhex(hashes[-1])[::-1]
            return hashes

    def rival(self) -> str:
        """A block of the tip's height on the tip's parent: a tie, which the first seen wins."""
        return self._mine_on(self.hash_at(self.height - 1), int(time.time()), [])

    def follow(self, other: RegtestChain) -> None:
        """Take the blocks of another chain that this one lacks."""
        for height in range(1, other.height + 1):
            self.submit(other.block_at(height))

    def _mine_on(self, previous: bytes, earliest: int, transactions: list[Tx]) -> str:
        with self.changed:
            entry = self._entry(previous)
            height = entry.height + 1
            self._counter += 1
            coinbase = self._coinbase(height, transactions)
            root = merkle_root([sha256d(coinbase), *(tx.txid for tx in transactions)])
            ntime = max(self._median_time(entry) + 1, earliest)
            header = solve(
                VERSION.to_bytes(4, "little")
                + previous
                + root
                + ntime.to_bytes(4, "little")
                + NBITS.to_bytes(4, "little")
            )
            # The coinbase's witness goes between outputs and locktime.
            whole = coinbase
            if transactions:
                whole = coinbase[:4] + b"\0\1" + coinbase[4:-4] + b"\1\x20" + bytes(32) + bytes(4)
            count = compact_size(1 + len(transactions))
            block = header + count + whole + b"".join(tx.data for tx in transactions)
            reason = self.submit(block)
            assert reason in {None, "inconclusive"}, reason
            self._coins.append(Coin(sha256d(coinbase), 0, subsidy(height), height + MATURITY))
            return shown(sha256d(header))

    def _coinbase(self, height: int, transactions: list[Tx]) -> bytes:
        number = height.to_bytes((height.bit_length() + 8) // 8, "little")
        pushed = bytes([0x50 + height]) if height <= 16 else bytes([len(number)]) + number
        script = pushed + b"\x08" + self._counter.to_bytes(8, "little")
        value = subsidy(height) + sum(tx.fee for tx in transactions)
        outputs = [(value, PAYOUT)]
        if transactions:
            outputs.append((0, self.commitment(transactions)))
        return (
            (2).to_bytes(4, "little")
            + b"\x01"
            + bytes(32)
            + b"\xff" * 4
            + bytes([len(script)])
            + script
            + b"\xff" * 4
            + bytes([len(outputs)])
            + b"".join(v.to_bytes(8, "little") + bytes([len(s)]) + s for v, s in outputs)
            + bytes(4)
        )

    @staticmethod
    def commitment(transactions: list[Tx]) -> bytes:
        root = merkle_root([bytes(32), *(tx.wtxid for tx in transactions)])
        return bytes.fromhex("6a24aa21a9ed") + sha256d(root + bytes(32))

    def longpollid(self) -> str:
        return f"{shown(self.tip)}{len(self._all)}"

    def template(self) -> dict[str, Any]:
        """As getblocktemplate answers."""
        with self.lock:
            transactions = self.mempool()
            places = {tx.txid: i for i, tx in enumerate(transactions, 1)}
            height = self.height + 1
            mintime = self._median_time(self._entry(self.tip)) + 1
            return {
                "capabilities": ["proposal"],
                "version": VERSION | SIGNALLING,
                "rules": ["csv", "!segwit", "taproot"],
                "vbavailable": {},
                "vbrequired": 0,
                "previousblockhash": shown(self.tip),
                "transactions": [
                    {
                        "data": tx.data.hex(),
                        "txid": shown(tx.txid),
                        "hash": shown(tx.wtxid),
                        "depends": [places[tx.spends]] if tx.spends in places else [],
                        "fee": tx.fee,
                        "sigops": 0,
                        "weight": 3 * len(tx.stripped) + len(tx.data),
                    }
                    for tx in transactions
                ],
                "coinbaseaux": {},
                "coinbasevalue": subsidy(height) + sum(tx.fee for tx in transactions),
                "longpollid": self.longpollid(),
                "target": f"{TARGET:064x}",
                "mintime": mintime,
                "mutable": ["time", "transactions", "prevblock"],
                "noncerange": "00000000ffffffff",
                "sigoplimit": 80000,
                "sizelimit": 4000000,
                "weightlimit": 4000000,
                "curtime": max(int(time.time()), mintime),
                "bits": f"{NBITS:08x}",
                "height": height,
                "default_witness_commitment": self.commitment(transactions).hex(),
            }
