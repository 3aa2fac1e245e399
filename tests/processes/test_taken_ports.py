"""Nodes that cannot have the port they want say which option gives them another."""

import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from altyn.node.testnet.processes import free_ports


@pytest.fixture
def taken() -> Iterator[int]:
    """A port that somebody listens on, on both loopback addresses and all others."""
    with socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True) as server:
        yield int(server.getsockname()[1])


def refused(program: str, *arguments: str) -> str:
    command = [sys.executable, "-m", f"altyn.node.cli.{program}", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1
    assert done.stderr.startswith("Error: ")
    assert done.stderr.count("\n") == 1
    return done.stderr


def test_a_taken_rpc_port_is_named_with_the_option(tmp_path: Path, taken: int) -> None:
    for kind in ("node", "light"):
        line = refused("altyn", kind, "--datadir", str(tmp_path / kind), "--rpcport", str(taken))
        assert line.startswith("Error: Unable to start HTTP server. See debug log for details.")
        assert line.endswith(f"Is port {taken} in use? Choose another one with --rpcport.\n")


def test_a_taken_port_for_peers_is_named_with_the_option(tmp_path: Path, taken: int) -> None:
    ports = ["--rpcport", str(free_ports(1)[0]), "--port", str(taken)]
    line = refused("altyn", "node", "--datadir", str(tmp_path), *ports)
    assert line.startswith("Error: Failed to listen on any port.")
    assert f"Port {taken} is taken, by another node perhaps: choose another with --port." in line


def test_the_daemon_says_what_bitcoind_says_and_no_more(tmp_path: Path, taken: int) -> None:
    line = refused("altynd", "-regtest", f"-datadir={tmp_path}", f"-rpcport={taken}")
    assert line == "Error: Unable to start HTTP server. See debug log for details.\n"
