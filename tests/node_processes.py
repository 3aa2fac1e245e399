"""Real node processes for tests: Altyn's own and bitcoind, behind one face."""

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from altyn.node.rpc.client import RpcClient, RpcFailure, Unreachable
from altyn.node.testnet.processes import free_ports

START_TIMEOUT = 60.0
POLL = 0.05


@dataclass
class NodeProcess:
    """A running node on regtest; `datadir` holds its `regtest/` folder."""

    command: list[str]
    datadir: Path
    port: int
    rpc_port: int
    process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.rpc_port}"

    @property
    def cookie_file(self) -> Path:
        return self.datadir / "regtest" / ".cookie"

    @property
    def output(self) -> Path:
        """Where the process's own output goes: beside the data directory, which may lie on a disk that fills up."""
        return self.datadir.with_name(f"{self.datadir.name}.out")

    @property
    def log(self) -> str:
        return (self.datadir / "regtest" / "debug.log").read_text(errors="replace")

    def call(self, method: str, *params: Any, wallet: str = "") -> Any:
        """Return the result of a call; `wallet` names one of bitcoind's."""
        url = f"{self.url}/wallet/{wallet}" if wallet else self.url
        return RpcClient(url, cookie_file=self.cookie_file, timeout=120.0).call(method, params)

    def start(self) -> None:
        """Start the process and wait until it answers."""
        self.datadir.mkdir(parents=True, exist_ok=True)
        with self.output.open("ab") as output:
            self.process = subprocess.Popen(self.command, stdout=output, stderr=output, cwd=self.datadir)
        until(self._is_answering, START_TIMEOUT)

    def _is_answering(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self.output.read_text(errors="replace")
        try:
            self.call("getblockcount")
        except (Unreachable, RpcFailure):
            return False
        return True

    def stop(self) -> int:
        """Stop it by RPC, or kill it when that fails; return its exit status."""
        assert self.process is not None
        with contextlib.suppress(Unreachable, RpcFailure):
            self.call("stop")
        try:
            return self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise


def until(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    """Wait for what another process will do; fail after `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds} seconds in vain"
        time.sleep(POLL)


def until_same_tip(*nodes: NodeProcess, seconds: float = 60.0) -> None:
    until(lambda: len({node.call("getbestblockhash") for node in nodes}) == 1, seconds)


def bitcoind_program() -> Path:
    """Return where bitcoind under Core's policy is, if it is installed."""
    prefix = Path(os.environ.get("BITCOIND_PREFIX") or Path.home() / ".cache" / "altyn" / "bitcoind")
    return prefix / "bitcoind-core"


@contextlib.contextmanager
def bitcoind_process(folder: Path, *options: str) -> Iterator[NodeProcess]:
    """Run bitcoind with `options` until the end of the block. Skips, under CI=true fails, when it is not installed."""
    if not bitcoind_program().exists():
        pytest.skip("no bitcoind: get one with ../shared/tools/bitcoind-setup, or set BITCOIND_PREFIX to its folder")
    port, rpc_port = free_ports(2)
    command = [str(bitcoind_program()), "-regtest", f"-datadir={folder}", f"-port={port}", f"-rpcport={rpc_port}"]
    command += [f"-bind=127.0.0.1:{port}", "-listenonion=0", "-fallbackfee=0.0002", "-printtoconsole=0", "-dnsseed=0"]
    with running(NodeProcess([*command, *options], folder, port, rpc_port)) as node:
        yield node


@contextlib.contextmanager
def altyn_process(folder: Path, *options: str, kind: str = "full") -> Iterator[NodeProcess]:
    """Run Altyn's full or light node with `options` until the end of the block."""
    port, rpc_port = free_ports(2)
    program = ["node"] if kind == "full" else ["light"]
    command = [sys.executable, "-m", "altyn.node.cli.altyn", *program, "--datadir", str(folder)]
    command += ["--rpcport", str(rpc_port)]
    if kind == "full":
        command += ["--port", str(port), "--bind", f"127.0.0.1:{port}"]
    with running(NodeProcess([*command, *options], folder, port, rpc_port)) as node:
        yield node


@contextlib.contextmanager
def altynd_process(folder: Path, *options: str) -> Iterator[NodeProcess]:
    """Run `altynd -regtest` with bitcoind's `options` until the end of the block."""
    port, rpc_port = free_ports(2)
    command = [sys.executable, "-m", "altyn.node.cli.altynd", "-regtest", f"-datadir={folder}", f"-port={port}"]
    command += [f"-rpcport={rpc_port}", f"-bind=127.0.0.1:{port}", "-printtoconsole=0"]
    with running(NodeProcess([*command, *options], folder, port, rpc_port)) as node:
        yield node


@contextlib.contextmanager
def running(node: NodeProcess) -> Iterator[NodeProcess]:
    node.start()
    try:
        yield node
    finally:
        assert node.process is not None
        if node.process.poll() is None:
            node.stop()
