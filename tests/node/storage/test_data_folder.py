"""Whose folder it is, found out before a database is opened."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from altyn.consensus.networks import MAINNET, REGTEST, SIGNET, TESTNET4
from altyn.node.storage.errors import FolderRefused, StoreError
from altyn.node.storage.folder import DataFolder


def contents(path: Path) -> dict[str, bytes]:
    return {str(file.relative_to(path)): file.read_bytes() for file in path.rglob("*") if file.is_file()}


def test_a_new_folder_is_made_and_marked(tmp_path: Path) -> None:
    with DataFolder.open(tmp_path / "new", REGTEST) as folder:
        assert folder.path == tmp_path / "new" / "regtest"
        marker = json.loads((folder.chainstate / "altyn.json").read_text())
        assert marker["product"] == "altyn"
        assert marker["genesis"] == "0f9188f13cb7b2c71f2a335e3a4fc328bf5beb436012afca590b1a11466e2206"
    with DataFolder.open(tmp_path / "new", REGTEST):
        pass


def test_mainnet_lies_in_the_data_directory_itself(tmp_path: Path) -> None:
    with DataFolder.open(tmp_path, MAINNET) as folder:
        assert folder.path == tmp_path


def test_a_folder_in_use_is_refused(tmp_path: Path) -> None:
    with (
        DataFolder.open(tmp_path, REGTEST),
        pytest.raises(
            FolderRefused, match=r"Cannot obtain a lock on directory .*\. Altyn is probably already running\."
        ),
    ):
        DataFolder.open(tmp_path, REGTEST)
    with DataFolder.open(tmp_path, REGTEST), DataFolder.open(tmp_path, TESTNET4):
        pass


def test_a_folder_that_core_has_locked_is_refused(tmp_path: Path) -> None:
    (tmp_path / "regtest").mkdir()
    program = (
        "import fcntl, sys; file = open(sys.argv[1], 'w'); fcntl.lockf(file, fcntl.LOCK_EX); "
        "print('locked', flush=True); sys.stdin.read()"
    )
    core = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path / "regtest" / ".lock")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with core:
        assert core.stdout is not None
        assert core.stdout.readline() == b"locked\n"
        with pytest.raises(FolderRefused, match="Cannot obtain a lock"):
            DataFolder.open(tmp_path, REGTEST)
        core.kill()


@pytest.mark.parametrize(
    "file", ["blocks/blk00000.dat", "blocks/index/CURRENT", "chainstate/CURRENT", "indexes/txindex/CURRENT"]
)
def test_chain_data_without_our_marker_is_refused_and_left_alone(tmp_path: Path, file: str) -> None:
    path = tmp_path / "regtest" / file
    path.parent.mkdir(parents=True)
    path.write_bytes(b"of Bitcoin Core")
    before = contents(tmp_path)
    with pytest.raises(
        FolderRefused, match="holds chain data of other software, perhaps Bitcoin Core's: choose another"
    ):
        DataFolder.open(tmp_path, REGTEST)
    after = contents(tmp_path)
    assert after.pop("regtest/.lock") == b""
    assert after == before


def test_a_folder_of_another_network_is_refused(tmp_path: Path) -> None:
    with DataFolder.open(tmp_path, SIGNET):
        pass
    (tmp_path / "signet").rename(tmp_path / "regtest")
    with pytest.raises(FolderRefused, match="belongs to the network signet, not regtest"):
        DataFolder.open(tmp_path, REGTEST)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"schema": 999}, r"written by a newer Altyn \(schema 999, this one knows \d+\): update Altyn"),
        ({"product": "other"}, "belongs to other"),
        ({"schema": "new"}, "cannot be read"),
    ],
)
def test_a_marker_that_does_not_fit_is_refused(tmp_path: Path, change: dict[str, object], text: str) -> None:
    with DataFolder.open(tmp_path, REGTEST) as folder:
        marker = folder.chainstate / "altyn.json"
    marker.write_text(json.dumps(json.loads(marker.read_text()) | change))
    with pytest.raises(FolderRefused, match=text) as refused:
        DataFolder.open(tmp_path, REGTEST)
    assert "\n" not in str(refused.value)
    marker.write_text("nonsense")
    with pytest.raises(FolderRefused, match="cannot be read"):
        DataFolder.open(tmp_path, REGTEST)


def test_a_crash_while_the_folder_was_made_does_no_harm(tmp_path: Path) -> None:
    half = tmp_path / "regtest" / "chainstate"
    half.mkdir(parents=True)
    (half / "altyn.json.new").write_text("{")
    with DataFolder.open(tmp_path, REGTEST):
        pass


def test_a_file_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "regtest").write_text("")
    with pytest.raises(StoreError, match="regtest cannot be used as data directory"):
        DataFolder.open(tmp_path, REGTEST)
