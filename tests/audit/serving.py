"""The embedded chain's JSON-RPC over HTTP, truthful or not, in a thread."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from potnode.chain.embedded import EmbeddedChain
from potnode.chain.facade import Facade
from tests.audit.lying import Lie


@contextmanager
def rpc_server(chain: EmbeddedChain, lie: Lie | None = None) -> Iterator[str]:
    """The URL of a server that passes its results through `lie`."""
    facade = Facade(chain)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            answer = facade.handle(body)
            if lie is not None:
                asked, said = json.loads(body), json.loads(answer)
                if "result" in said:
                    said["result"] = lie(asked["method"], asked["params"], said["result"])
                answer = json.dumps(said).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            """Tests print nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/rpc"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
