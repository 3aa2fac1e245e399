"""A FakeNode behind JSON-RPC over HTTP, as bitcoind would answer."""

import base64
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from altyn.wallet.errors import Rejected
from tests.wallet.fake_node import FakeNode


class RpcError(Exception):
    def __init__(self, code: int, message: str) -> None:
        super().__init__(code, message)
        self.code, self.message = code, message


@dataclass
class FakeServer:
    """`answers` replaces the answer of a method: a value, an RpcError, or a list of either, used one by one."""

    node: FakeNode
    cookie_file: Path
    url: str = ""
    secret: str = "__cookie__:1"
    answers: dict[str, Any] = field(default_factory=dict)
    status: int = 0
    raw: bytes | None = None
    hang_up: bool = False
    requests: int = 0
    connections: int = 0

    def set_secret(self, secret: str) -> None:
        self.secret = secret
        self.cookie_file.write_text(secret)

    def answer(self, request: Any) -> Any:
        if isinstance(request, list):
            return [self.answer(each) for each in request]
        try:
            result = self.result(request["method"], request["params"])
        except RpcError as error:
            return {"result": None, "error": {"code": error.code, "message": error.message}, "id": request["id"]}
        return {"result": result, "error": None, "id": request["id"]}

    def result(self, method: str, params: list[Any]) -> Any:
        if method in self.answers:
            answer = self.answers[method]
            if isinstance(answer, list):
                answer = answer.pop(0)
                if not self.answers[method]:
                    del self.answers[method]
            if isinstance(answer, RpcError):
                raise answer
            return answer
        node = self.node
        match method, params:
            case "getblockchaininfo", []:
                info = node.chain_info()
                return {
                    "chain": info.chain,
                    "blocks": info.blocks,
                    "headers": info.headers,
                    "bestblockhash": info.best_hash[::-1].hex(),
                }
            case "getblockhash", [int(height)]:
                hashes = node.block_hashes([height])
                if hashes is None:
                    raise RpcError(-8, "Block height out of range")
                return hashes[0][::-1].hex()
            case "getblockheader", [str(block_hash), False]:
                return node.headers([bytes.fromhex(block_hash)[::-1]])[0].raw.hex()
            case "getblockfilter", [str(block_hash), "basic"]:
                (found,) = node.filters([bytes.fromhex(block_hash)[::-1]])
                return {"filter": found.filter.hex(), "header": found.header[::-1].hex()}
            case "getblock", [str(block_hash), 0]:
                return node.block(bytes.fromhex(block_hash)[::-1]).raw.hex()
            case "sendrawtransaction", [str(raw)]:
                try:
                    node.broadcast(bytes.fromhex(raw))
                except Rejected as error:
                    raise RpcError(error.code or 0, str(error)) from None
                return ""
            case "getnetworkinfo", []:
                return {"relayfee": node.relay_fee / 1e8}
            case "estimatesmartfee", [_] if node.estimate:
                return {"feerate": node.estimate / 1e8, "blocks": 6}
            case "estimatesmartfee", [_]:
                return {"errors": ["Insufficient data or no feerate found"], "blocks": 0}
        raise RpcError(-32601, "Method not found")


@contextmanager
def serving(node: FakeNode, folder: Path) -> Iterator[FakeServer]:
    """Serve a node on a free port until the end of the block."""
    fake = FakeServer(node, folder / ".cookie")
    fake.set_secret(fake.secret)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def setup(self) -> None:
            fake.connections += 1
            super().setup()

        def do_POST(self) -> None:
            fake.requests += 1
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if fake.hang_up:
                fake.hang_up = False
                self.close_connection = True
                return
            allowed = "Basic " + base64.b64encode(fake.secret.encode()).decode()
            status, answer = 200, b""
            if self.headers["Authorization"] != allowed:
                status = 401
            elif fake.status:
                status = fake.status
            elif fake.raw is not None:
                answer = fake.raw
            else:
                answer = json.dumps(fake.answer(json.loads(body))).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    fake.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield fake
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
