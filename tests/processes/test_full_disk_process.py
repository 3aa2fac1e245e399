"""A node on a file system that fills up: it ends with one line that says so, and has every block it told of."""

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from node_processes import altyn_process

from altyn.node.rpc.client import RpcFailure, Unreachable

ADDRESS = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of eight megabytes."""
    place = tmp_path / "disk"
    place.mkdir()
    mounting = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(place)]
    try:
        subprocess.run(mounting, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no file system can be mounted here")
    yield place
    subprocess.run(["umount", str(place)], check=True, capture_output=True)


def test_a_node_whose_disk_fills_up_stops_and_loses_nothing(small_disk: Path, tmp_path: Path) -> None:
    filler = small_disk / "filler"
    with altyn_process(small_disk) as node:
        known: list[str] = node.call("generatetoaddress", 5, ADDRESS)
        filler.write_bytes(bytes(5 << 20))
        with filler.open("ab", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(bytes(4096))
        os.truncate(filler, filler.stat().st_size - 100_000)
        with contextlib.suppress(Unreachable, RpcFailure, OSError):
            while True:
                known += node.call("generatetoaddress", 1, ADDRESS)
        assert node.process is not None
        assert node.process.wait(60) == 1
        last_line = node.output.read_text().splitlines()[-1]
    assert last_line.startswith("Error: ")
    assert last_line.endswith("the disk is full: make room and start again, nothing that was accepted is lost")
    filler.unlink()
    with altyn_process(small_disk) as node:
        height = node.call("getblockcount")
        assert height >= len(known)
        assert [node.call("getblockhash", 1 + number) for number in range(len(known))] == known
        node.call("generatetoaddress", 1, ADDRESS)
        assert node.call("getblockcount") == height + 1
