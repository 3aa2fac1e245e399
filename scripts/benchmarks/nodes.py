"""A node of any kind as a real process on this machine, on regtest, in a folder of its own."""

import contextlib
import functools
import re
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from altyn.node.rpc.client import RpcClient, RpcFailure, Unreachable
from altyn.p2p.addresses import Endpoint

ALTYND = [sys.executable, "-m", "altyn.node.cli.altynd"]
"""The command of our own node."""
PATIENCE = 60.0
"""Seconds for a start, and for an end."""
_ANSWER = 600.0


@dataclass
class Node:
    """A running node."""

    process: "subprocess.Popen[bytes]"
    endpoint: Endpoint
    url: str
    cookie: Path

    @functools.cached_property
    def client(self) -> RpcClient:
        return self.another_client()

    def another_client(self) -> RpcClient:
        """Return a client for another thread."""
        return RpcClient(self.url, cookie_file=self.cookie, timeout=_ANSWER)

    def call(self, method: str, *params: Any) -> Any:
        """Call it. Raises RpcFailure, Unreachable."""
        return self.client.call(method, params)

    @property
    def memory(self) -> int:
        """Bytes that it holds now, its helpers not counted."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        found = re.search(r"VmRSS:\s+(\d+) kB", status)
        return int(found[1]) * 1024 if found else 0

    def wait(self) -> None:
        """Return when it answers. Raises what it or its absence says when it does not."""
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                self.call("getblockcount")
            except (Unreachable, RpcFailure):
                if self.process.poll() is not None or time.monotonic() > deadline:
                    raise
                time.sleep(0.1)
            else:
                return


@contextlib.contextmanager
def starting(program: Sequence[str], *options: str) -> Iterator[Node]:
    """Start a node, which may not answer yet, and end it with the body."""
    port, rpc_port = free_ports(2)
    with tempfile.TemporaryDirectory(prefix="altyn-bench-") as home:
        places = [f"-datadir={home}", f"-port={port}", f"-bind=127.0.0.1:{port}", f"-rpcport={rpc_port}"]
        process = subprocess.Popen([*program, "-regtest", *places, *options], stdout=subprocess.DEVNULL)
        cookie = Path(home, "regtest", ".cookie")
        node = Node(process, Endpoint("127.0.0.1", port), f"http://127.0.0.1:{rpc_port}", cookie)
        try:
            with node.client:
                yield node
        finally:
            process.terminate()
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@contextlib.contextmanager
def running(program: Sequence[str], *options: str) -> Iterator[Node]:
    """Run a node that answers until the body ends."""
    with starting(program, *options) as node:
        node.wait()
        yield node


def free_ports(count: int) -> list[int]:
    """Return some ports that nobody listens on."""
    with contextlib.ExitStack() as stack:
        servers = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [server.getsockname()[1] for server in servers]
