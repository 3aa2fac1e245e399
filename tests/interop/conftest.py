"""A real bitcoind beside Altyn's nodes."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from node_processes import NodeProcess, altyn_process, bitcoind_process, bitcoind_program


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say which bitcoind the interoperation was tried with."""
    program = bitcoind_program()
    if program.exists():
        version = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout
        terminalreporter.write_line(f"bitcoind: {version.splitlines()[0]}")


@pytest.fixture
def bitcoind(tmp_path: Path) -> Iterator[NodeProcess]:
    """A bitcoind on regtest that builds and serves compact filters."""
    with bitcoind_process(tmp_path / "bitcoind", "-blockfilterindex=1", "-peerblockfilters=1") as node:
        yield node


@pytest.fixture
def altyn(tmp_path: Path) -> Iterator[NodeProcess]:
    """An Altyn full node on regtest."""
    with altyn_process(tmp_path / "altyn") as node:
        yield node
