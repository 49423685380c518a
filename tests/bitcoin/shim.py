"""A bitcoind for tests: JSON-RPC over HTTP and ZMQ hashblock in front of a `RegtestChain`.

It answers as bitcoind does, and badly when told to (`Faults`). It serves from threads of its own,
so that a node under test may be in this process or another.
"""

from __future__ import annotations

import base64
import contextlib
import json
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

import zmq

from potnode.work.errors import InvalidAddress
from potnode.work.payout import output_script
from tests.bitcoin.chain import RegtestChain, shown

LONG_POLL_LIMIT = 60.0


class RpcError(Exception):
    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(kw_only=True)
class Faults:
    """What is wrong with this bitcoind. `methods` limits all but `unauthorized` to some calls."""

    methods: frozenset[str] | None = None
    delay: float = 0.0
    body: bytes | None = None
    status: int = 200
    error: tuple[int, str] | None = None
    unauthorized: bool = False
    template: Callable[[dict[str, Any]], Any] | None = None

    def hit(self, method: str) -> bool:
        return self.methods is None or method in self.methods


@dataclass
class Regtest:
    """One bitcoind on loopback, on the same port whenever it is started.

    Its chain begins with `blocks` blocks, so that a few coinbases can be spent.
    """

    folder: Path
    blocks: int = 105
    user: str = "miner"
    password: str = "horse/staple"
    faults: Faults = field(default_factory=Faults)
    calls: Counter[str] = field(default_factory=Counter)
    submitted: list[tuple[bytes, str | None]] = field(default_factory=list)
    precious: list[str] = field(default_factory=list)
    # What it says of its chain, whose blocks are regtest's all the same.
    chain_name: str = "regtest"
    # What it says otherwise of every block.
    header_changes: dict[str, Any] = field(default_factory=dict)
    # bitcoind answers a long poll at a new tip at once, for transactions only after a minute.
    wakes_for_transactions: bool = False

    def __post_init__(self) -> None:
        self.chain = RegtestChain(self.folder)
        self.chain.mine(self.blocks)
        self._port = 0
        self._server: _Server | None = None
        self._zmq = zmq.Context()
        self._publisher = self._zmq.socket(zmq.PUB)
        self._publisher.linger = 0
        self.zmq_url = f"tcp://127.0.0.1:{self._publisher.bind_to_random_port('tcp://127.0.0.1')}"
        self._published = 0

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._publisher.close()
        self._zmq.term()
        self.chain.close()

    def start(self) -> None:
        """Listen; after a stop, where it listened before."""
        assert self._server is None
        self._server = _Server(("127.0.0.1", self._port), self)
        self._port = self._server.server_address[1]
        threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        ).start()

    def stop(self) -> None:
        """Go away: no port, no connections, waiting calls cut off. The chain stays."""
        server, self._server = self._server, None
        if server is not None:
            server.stop()

    @property
    def port(self) -> int:
        return self._port

    @property
    def name(self) -> str:
        return f"127.0.0.1:{self._port}"

    @property
    def url(self) -> str:
        """With credentials, percent-encoded as a URL has them."""
        password = self.password.replace("/", "%2F")
        return f"http://{self.user}:{password}@127.0.0.1:{self._port}"

    @property
    def bare_url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def write_cookie(self, path: Path, password: str) -> None:
        """As a start of bitcoind does: new credentials, and a file with them."""
        self.user, self.password = "__cookie__", password
        path.write_text(f"{self.user}:{password}", encoding="utf-8")

    # What happens on the network

    @property
    def height(self) -> int:
        return self.chain.height

    @property
    def tip(self) -> str:
        return shown(self.chain.tip)

    def mine(self, count: int = 1, *, with_transactions: bool = False) -> list[str]:
        hashes = self.chain.mine(count, with_transactions=with_transactions)
        self.publish()
        return hashes

    def add_transactions(self, count: int) -> None:
        self.chain.add_transactions(count)

    def reorganise(self, depth: int) -> list[str]:
        hashes = self.chain.reorganise(depth)
        self.publish()
        return hashes

    def publish(self) -> None:
        """Tell the tip by ZMQ."""
        number = self._published.to_bytes(4, "little")
        self._published += 1
        self._publisher.send_multipart([b"hashblock", bytes.fromhex(self.tip), number])

    # Calls

    def answer(self, method: str, params: list[Any], gone: Callable[[], bool]) -> Any:
        self.calls[method] += 1
        if self.faults.hit(method) and self.faults.error is not None:
            raise RpcError(*self.faults.error)
        call = getattr(self, f"_{method}", None)
        if call is None:
            raise RpcError(-32601, "Method not found")
        if method == "getblocktemplate":
            return self._getblocktemplate(params[0], gone)
        return call(*params)

    def _getblocktemplate(self, request: dict[str, Any], gone: Callable[[], bool]) -> Any:
        if "segwit" not in request["rules"]:
            raise RpcError(-8, "getblocktemplate must be called with the segwit rule set")
        waited_for = request.get("longpollid")
        if waited_for is not None:
            limit = time.monotonic() + LONG_POLL_LIMIT
            with self.chain.changed:
                while time.monotonic() < limit and not gone():
                    now = self.chain.longpollid()
                    if now[:64] != waited_for[:64]:
                        break
                    if self.wakes_for_transactions and now != waited_for:
                        break
                    self.chain.changed.wait(0.05)
        template = self.chain.template()
        if self.faults.template is not None:
            return self.faults.template(template)
        return template

    def _getbestblockhash(self) -> str:
        return self.tip

    def _getblockheader(self, block_hash: str, verbose: bool = True) -> dict[str, Any]:
        assert verbose
        header = self.chain.header(bytes.fromhex(block_hash)[::-1])
        if header is None:
            raise RpcError(-5, "Block not found")
        return {**header, **self.header_changes}

    def _getblockchaininfo(self) -> dict[str, Any]:
        return {
            "chain": self.chain_name,
            "blocks": self.height,
            "headers": self.height,
            "bestblockhash": self.tip,
            "initialblockdownload": False,
        }

    @staticmethod
    def _validateaddress(address: str) -> dict[str, Any]:
        try:
            script = output_script(address, "regtest")
        except InvalidAddress as error:
            return {"isvalid": False, "error": str(error)}
        return {"isvalid": True, "address": address, "scriptPubKey": script.hex()}

    def _submitblock(self, block: str) -> str | None:
        try:
            data = bytes.fromhex(block)
            reason = self.chain.submit(data)
        except (ValueError, RuntimeError) as error:
            raise RpcError(-22, "Block decode failed") from error
        self.submitted.append((data, reason))
        if reason is None:
            self.publish()
        return reason

    def _preciousblock(self, block_hash: str) -> None:
        self._getblockheader(block_hash)
        self.precious.append(block_hash)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, address: tuple[str, int], bitcoind: Regtest) -> None:
        self.bitcoind = bitcoind
        self.stopping = False
        self.open: set[socket.socket] = set()
        super().__init__(address, _Handler)

    def stop(self) -> None:
        self.stopping = True
        self.shutdown()
        self.server_close()
        for connection in list(self.open):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hung up is no error of the server."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def setup(self) -> None:
        super().setup()
        self.server.open.add(self.connection)

    def finish(self) -> None:
        self.server.open.discard(self.connection)
        super().finish()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Say nothing."""

    def do_POST(self) -> None:
        bitcoind = self.server.bitcoind
        body = self.rfile.read(int(self.headers["Content-Length"]))
        login = base64.b64encode(f"{bitcoind.user}:{bitcoind.password}".encode()).decode()
        if bitcoind.faults.unauthorized or self.headers["Authorization"] != f"Basic {login}":
            self._send(401, b"")
            return
        request = json.loads(body)
        method = request["method"]
        faults = bitcoind.faults
        if faults.hit(method):
            if faults.delay:
                time.sleep(faults.delay)
            if faults.body is not None or faults.status != 200:
                bitcoind.calls[method] += 1
                self._send(faults.status, faults.body or b"")
                return
        try:
            result = bitcoind.answer(method, request["params"], lambda: self.server.stopping)
        except RpcError as error:
            answer = {"result": None, "error": {"code": error.code, "message": str(error)}}
            status = 404 if error.code == -32601 else 500
        else:
            answer, status = {"result": result, "error": None}, 200
        self._send(status, json.dumps({**answer, "id": request["id"]}).encode())

    def _send(self, status: int, body: bytes) -> None:
        if self.server.stopping:
            self.close_connection = True
            return
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
