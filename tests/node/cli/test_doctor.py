"""`altyn doctor` finds what keeps a node from running, and `altyn sample-config` explains every option."""

import json
import resource
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from altyn.node.cli.altyn import main
from altyn.node.files_limit import files_needed, raise_files_limit
from altyn.node.load_settings import load
from altyn.node.settings import OPTIONS
from altyn.node.storage.folder import DataFolder


def doctor(folder: Path, *options: str) -> Result:
    return CliRunner().invoke(main, ["doctor", "--datadir", str(folder), "--rpcport", "1", "--nolisten", *options])


def finding(result: Result, name: str) -> dict[str, str]:
    found: dict[str, str] = {each["name"]: each for each in json.loads(result.output)["findings"]}[name]
    return found


def test_a_healthy_place_is_said_to_be_so_and_left_as_it_is(tmp_path: Path) -> None:
    result = doctor(tmp_path)
    assert result.exit_code == 0
    assert "libsecp256k1" in result.output
    assert not list(tmp_path.iterdir())


def test_a_folder_of_others_is_a_failure(tmp_path: Path) -> None:
    (tmp_path / "regtest" / "blocks").mkdir(parents=True)
    result = doctor(tmp_path, "--json")
    assert result.exit_code == 1
    assert json.loads(result.output)["healthy"] is False
    assert finding(result, "data folder")["state"] == "failure"
    assert "--datadir" in finding(result, "data folder")["remedy"]


def test_a_folder_that_a_node_would_make_is_no_failure(tmp_path: Path) -> None:
    result = doctor(tmp_path / "new", "--json")
    assert result.exit_code == 0
    assert "made when a node starts" in finding(result, "data folder")["text"]
    assert not list(tmp_path.iterdir())


def test_a_folder_in_use_is_a_warning(tmp_path: Path) -> None:
    with DataFolder.open(tmp_path, load(["-regtest"]).network):
        result = doctor(tmp_path, "--json")
    assert result.exit_code == 0
    assert "in use" in finding(result, "data folder")["text"]


def test_a_port_that_is_taken_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        result = doctor(tmp_path, "--json", "--rpcport", str(port))
    assert f"127.0.0.1:{port}" in finding(result, "port for rpc")["text"]
    assert "--rpcport" in finding(result, "port for rpc")["remedy"]


def test_a_port_of_ipv6_is_written_as_one_types_it(tmp_path: Path) -> None:
    result = doctor(tmp_path, "--json", "--rpcbind", "[::1]:1", "--rpcallowip", "::1")
    assert finding(result, "port for rpc")["text"].startswith("[::1]:1 ")


def test_the_portable_library_is_a_warning(tmp_path: Path) -> None:
    result = doctor(tmp_path, "--json", "--secp256k1", "ecdsa")
    assert finding(result, "signatures")["state"] == "warning"
    assert "coincurve" in finding(result, "signatures")["remedy"]


def test_a_clock_of_the_past_is_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("altyn.node.cli.doctor.time.time", lambda: 1_000_000_000.0)
    result = doctor(tmp_path, "--json")
    assert result.exit_code == 1
    assert finding(result, "clock")["state"] == "failure"


def test_the_sample_explains_every_option_and_reads_as_a_configuration(tmp_path: Path) -> None:
    text = CliRunner().invoke(main, ["sample-config"]).output
    for name, option in OPTIONS.items():
        if name not in {"conf", "includeconf"}:
            assert f"\n#{name}=" in text
            assert option.help in text
    (tmp_path / "bitcoin.conf").write_text(text)
    assert not load([f"-datadir={tmp_path}", "-regtest"]).warnings


@pytest.fixture
def limits() -> Iterator[tuple[int, int]]:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield before
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_the_limit_of_open_files_is_raised_as_far_as_needed(limits: tuple[int, int]) -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (300, limits[1]))
    assert raise_files_limit(125) == 125
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == files_needed(125)


def test_with_too_few_files_there_are_fewer_peers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (410, 410))
    monkeypatch.setattr(resource, "setrlimit", lambda *_: None)
    assert raise_files_limit(125) == 10
