"""How a process reaches what a data directory or a URL stands for: key, database, chain, datasets.

Shared by the node and by commands that only read. Nothing here trains or serves.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from potnode.chain.embedded import DATABASE_NAME, EmbeddedChain
from potnode.chain.errors import ChainDirectoryInUse
from potnode.chain.facade import Facade
from potnode.chain.keys import KEY_NAME, Key, load, load_or_create
from potnode.chain.rpc import Connection, EmbeddedTransport, HttpTransport, RpcLedger
from potnode.chain.sender import Sender, deploy
from potnode.config import Settings
from potnode.data.catalog import Catalog
from potnode.engine.cost import Limits
from potnode.errors import NodeError, PotnodeError
from potnode.store.lock import DirectoryLock

# The first block of an embedded chain holds the contract's creation and nothing else.
CONTRACT_BLOCK = 1
CONTRACT_FILE = "contract.json"
DATABASE_FILE = "node.sqlite"
# The largest step fits; gas costs nothing on the embedded chain, so nothing is estimated.
EMBEDDED_GAS = 50_000_000


def operator_key(settings: Settings, *, create: bool = True) -> Key:
    """The operator's key, made on the first run. KeyFileError, WrongPassword."""
    directory = settings.data_dir / "keys"
    if not create and not (directory / KEY_NAME).exists():
        raise NodeError(
            f"there is no key in {directory}: `potnode keys new` makes one, "
            "or name another directory with --data-dir"
        )
    password = settings.keys.password.get_secret_value() if settings.keys.password else None
    if password is None and settings.keys.password_file is not None:
        try:
            lines = settings.keys.password_file.read_text("utf-8").splitlines()
        except OSError as error:
            raise PotnodeError(f"keys.password_file: {error}") from error
        password = lines[0] if lines else ""
    return (load_or_create if create else load)(directory, password=password)


def database_url(settings: Settings) -> str:
    """Where the node's database is."""
    return settings.store.url or f"sqlite:///{(settings.data_dir / DATABASE_FILE).absolute()}"


def catalog(settings: Settings) -> Catalog:
    """The datasets this process can find."""
    return Catalog(settings.datasets.path)


def job_limits(settings: Settings) -> Limits:
    """The most that a job may cost this node."""
    jobs = settings.jobs
    return Limits(jobs.memory_mib << 20, jobs.sample_products, jobs.step_products)


def feedback_folder(settings: Settings) -> Path:
    """Where this node puts the parts of feedback."""
    return settings.data_dir / "feedback"


def feedback_folders(settings: Settings) -> list[Path]:
    """Where parts of feedback may be: this node's own, and those fetched from another."""
    fetched = settings.datasets.path
    return [feedback_folder(settings), *([fetched] if fetched is not None else [])]


@dataclass(frozen=True, slots=True)
class WritableChain:
    """The chain a node records on. embedded is None where the chain is someone else's."""

    ledger: RpcLedger
    sender: Sender
    embedded: EmbeddedChain | None

    def facade(self) -> Facade | None:
        """Read-only JSON-RPC of the embedded chain."""
        return Facade(self.embedded) if self.embedded else None

    def close(self) -> None:
        """Let go of the embedded chain's files."""
        if self.embedded is not None:
            self.embedded.close()


def open_chain(settings: Settings, key: Key) -> WritableChain:
    """The chain to record on, with the contract on it: found, or deployed on the first run.

    Raises ChainError: no answer, another chain, no code at the configured address, files in use.
    """
    if settings.chain.url is None:
        embedded = EmbeddedChain.open(
            settings.data_dir, fund=[key.address], clock=lambda: int(time.time())
        )
        try:
            connection = Connection(EmbeddedTransport(embedded), name="the embedded chain")
            sender = Sender(connection, key, gas_limit=EMBEDDED_GAS)
            if connection.latest_block() < CONTRACT_BLOCK:
                deploy(sender)
            ledger = RpcLedger(connection, _embedded_contract(connection))
        except BaseException:
            embedded.close()
            raise
        return WritableChain(ledger, sender, embedded)
    connection = Connection(HttpTransport(settings.chain.url), name=settings.chain.url)
    sender = Sender(connection, key)
    contract, first_block = _remote_contract(settings, sender)
    return WritableChain(RpcLedger(connection, contract, first_block=first_block), sender, None)


@contextmanager
def writing_chain(settings: Settings) -> Iterator[WritableChain]:
    """The chain for one command that writes; the data directory is held meanwhile. StoreInUse."""
    with DirectoryLock(settings.data_dir):
        chain = open_chain(settings, operator_key(settings))
        try:
            yield chain
        finally:
            chain.close()


@contextmanager
def read_ledger(
    settings: Settings, *, rpc: str | None = None, contract: str | None = None
) -> Iterator[RpcLedger]:
    """The chain to read from.

    `rpc` and `contract` name one; else it is the configured chain, the data directory's embedded
    one, or, while a node has that open, the node's own JSON-RPC.
    """
    url = rpc or settings.chain.url
    if url is not None:
        connection = Connection(HttpTransport(url), name=url)
        yield RpcLedger(connection, _contract_to_read(settings, connection, contract))
        return
    if not (settings.data_dir / DATABASE_NAME).exists():
        raise NodeError(
            f"there is no chain in {settings.data_dir}: run `potnode run` first, name another "
            "directory with --data-dir, or a chain with --rpc"
        )
    try:
        embedded = EmbeddedChain.open(settings.data_dir, fund=[], clock=lambda: int(time.time()))
    except ChainDirectoryInUse:
        host = settings.api.host if settings.api.host != "0.0.0.0" else "127.0.0.1"  # noqa: S104
        url = f"http://{host}:{settings.api.port}/rpc"
        connection = Connection(HttpTransport(url), name=f"the running node at {url}")
        yield RpcLedger(connection, _contract_to_read(settings, connection, contract))
        return
    with embedded:
        connection = Connection(EmbeddedTransport(embedded), name="the embedded chain")
        yield RpcLedger(connection, _contract_to_read(settings, connection, contract))


def parse_hash(text: str, what: str) -> bytes:
    """32 bytes from 64 hex digits, 0x or not; PotnodeError names `what` otherwise."""
    digits = text.removeprefix("0x")
    try:
        value = bytes.fromhex(digits)
    except ValueError:
        value = b""
    if len(value) != 32 or len(digits) != 64:
        raise PotnodeError(f"{what} must be 64 hex digits, not {text!r}")
    return value


def parse_address(text: str, what: str) -> bytes:
    """20 bytes from 0x and 40 hex digits; PotnodeError names `what` otherwise."""
    digits = text.removeprefix("0x")
    try:
        value = bytes.fromhex(digits)
    except ValueError:
        value = b""
    if len(value) != 20 or len(digits) != 40:
        raise PotnodeError(f"{what} must be 0x and 40 hex digits, not {text!r}")
    return value


def _contract_to_read(settings: Settings, connection: Connection, contract: str | None) -> bytes:
    given = contract or settings.chain.contract
    if given is not None:
        return parse_address(given, "a contract")
    remembered = _remembered(settings.data_dir / CONTRACT_FILE, connection.chain_id)
    return remembered[0] if remembered else _embedded_contract(connection)


def _embedded_contract(connection: Connection) -> bytes:
    """The address the first block's transaction created: an embedded chain need not remember it."""
    block = connection.request("eth_getBlockByNumber", [hex(CONTRACT_BLOCK), False])
    transactions = block.get("transactions") if isinstance(block, dict) else None
    if transactions:
        receipt = connection.receipt(bytes.fromhex(transactions[0].removeprefix("0x")))
        if receipt is not None and receipt.contract is not None:
            return receipt.contract
    raise NodeError("which contract? this chain is not an embedded one: name it with --contract")


def _remote_contract(settings: Settings, sender: Sender) -> tuple[bytes, int]:
    """The contract on another's chain and its first block: configured, remembered, or deployed."""
    if settings.chain.contract is not None:
        return bytes.fromhex(settings.chain.contract[2:]), 0
    file = settings.data_dir / CONTRACT_FILE
    remembered = _remembered(file, sender.chain.chain_id)
    if remembered is not None:
        return remembered
    receipt = deploy(sender)
    address = receipt.contract or b""
    entry = {
        "chain_id": sender.chain.chain_id,
        "address": "0x" + address.hex(),
        "block": receipt.block_number,
    }
    temporary = file.with_suffix(".new")
    temporary.write_text(json.dumps(entry) + "\n", "utf-8")
    temporary.replace(file)
    return address, receipt.block_number


def _remembered(file: Path, chain_id: int) -> tuple[bytes, int] | None:
    if not file.exists():
        return None
    try:
        entry = json.loads(file.read_text("utf-8"))
        if entry["chain_id"] != chain_id:
            raise NodeError(
                f"{file} is of chain {entry['chain_id']}, the node answers for chain {chain_id}: "
                "use another data directory, or name the contract (chain.contract)"
            )
        return bytes.fromhex(entry["address"][2:]), int(entry["block"])
    except (ValueError, KeyError, TypeError) as error:
        raise NodeError(
            f"{file} is damaged ({error}): name the contract (chain.contract)"
        ) from error
