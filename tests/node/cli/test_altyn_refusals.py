"""What `altyn` refuses: one line that says what to do, exit code 1, and nothing left behind."""

import json
import os
import signal
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from altyn.node.cli.altyn import main
from altyn.node.cli.testnet import own_command, progress_shown
from altyn.node.rpc.client import RpcClient, RpcFailure
from altyn.node.rpc.errors import METHOD_NOT_FOUND
from altyn.node.testnet.processes import LocalNetwork, TestnetError

ADDRESS = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080"
AWAY = "http://user:password@127.0.0.1:1"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ALTYN_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path / "home"


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


def refused(*arguments: str) -> str:
    """Return the one line that the command ends with."""
    result = run(*arguments)
    assert result.exit_code == 1, result.output
    assert isinstance(result.exception, SystemExit)  # no traceback
    assert result.stdout == ""
    assert result.stderr.startswith("Error: ")
    assert result.stderr.count("\n") == 1
    return result.stderr


@pytest.mark.parametrize("command", ["status", "pay", "mine"])
def test_a_stopped_network_is_named_with_the_way_to_start_it(command: str) -> None:
    LocalNetwork.create("quiet")
    arguments = {"status": [], "pay": [ADDRESS, "1"], "mine": ["2"]}[command]
    line = refused("testnet", command, "--name", "quiet", *arguments)
    assert line == "Error: network 'quiet' is not running; start it with: altyn testnet up --name quiet\n"


def test_an_amount_that_is_none_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    LocalNetwork.create("quiet")
    monkeypatch.setattr("altyn.node.testnet.processes.is_running", lambda node: True)
    result = run("testnet", "pay", "--name", "quiet", "--json", ADDRESS, "much")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("Error: wallet alice: Invalid value for 'AMOUNT': 'much' is no amount")
    assert result.stderr.count("\n") == 1


def test_a_network_does_not_change_its_size(monkeypatch: pytest.MonkeyPatch) -> None:
    network = LocalNetwork.create("three")
    network.proof = {}
    network.save()
    assert "has 3 full nodes, not 5: give a new one another --name" in refused(
        "testnet", "up", "--json", "--name", "three", "--nodes", "5"
    )
    assert "has 1 light nodes, not 2" in refused("testnet", "up", "--json", "--name", "three", "--light", "2")


def test_a_network_with_a_dead_node_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    LocalNetwork.create("quiet", full=2)
    monkeypatch.setattr("altyn.node.testnet.processes.is_running", lambda node: node.name != "full2")
    assert "full2 of network 'quiet' is not running; start it" in refused("testnet", "status", "--name", "quiet")


@pytest.mark.parametrize("command", ["status", "down", "destroy", "mine"])
def test_asking_for_a_network_that_is_not_there_makes_no_folder(command: str, home: Path) -> None:
    assert "there is no network 'nope'" in refused("testnet", command, "--name", "nope")
    assert not (home / "testnets" / "nope").exists()


@pytest.mark.parametrize("command", [["up"], ["prove", "--once"]])
def test_a_home_that_cannot_be_written_is_named(command: list[str], home: Path) -> None:
    home.write_text("a file, no folder")
    line = refused("testnet", *command)
    assert f"cannot write {home}" in line
    assert "set ALTYN_HOME" in line


def test_a_proof_that_fails_keeps_its_logs_and_says_how_to_remove_them(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(network: LocalNetwork, progress: object) -> None:
        raise TestnetError("full1 does not answer")

    monkeypatch.setattr("altyn.node.cli.testnet.bring_up", fail)
    line = refused("testnet", "prove", "--once", "--json")
    assert "full1 does not answer; remove what is left with: altyn testnet destroy --yes --name proof-" in line
    assert run("testnet", *line.split(" testnet ")[1].split()).exit_code == 0
    assert list((home / "testnets").iterdir()) == []


def test_a_proof_that_is_interrupted_is_no_success(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(network: LocalNetwork, progress: object) -> None:
        signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr("altyn.node.cli.testnet.bring_up", interrupt)
    result = run("testnet", "prove", "--once", "--json")
    assert (result.exit_code, result.stdout) == (1, "")
    assert list((home / "testnets").iterdir()) == []
    assert "interrupted; network 'default' is stopped" in refused("testnet", "up")


def test_nothing_is_removed_when_nobody_can_be_asked(home: Path) -> None:
    LocalNetwork.create("precious")
    assert "--yes" in refused("testnet", "destroy", "--name", "precious")
    assert (home / "testnets" / "precious" / "network.json").exists()


def test_a_state_that_cannot_be_read_can_be_removed(home: Path) -> None:
    folder = LocalNetwork.create("broken").folder
    (folder / "network.json").write_text("{")
    assert "altyn testnet destroy --name broken" in refused("testnet", "status", "--name", "broken")
    assert run("testnet", "destroy", "--yes", "--name", "broken").exit_code == 0
    assert not folder.exists()


@pytest.mark.parametrize("kind", ["node", "light"])
def test_a_data_directory_that_cannot_be_made_is_named(kind: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert f"{tmp_path / 'file'} cannot be used as data directory" in refused(kind, "--datadir", str(tmp_path / "file"))
    below = str(tmp_path / "file" / "below")
    assert f"{below} cannot be used as data directory" in refused(kind, "--datadir", below)


def test_a_node_that_was_never_started_is_told_from_one_elsewhere(tmp_path: Path) -> None:
    line = refused("rpc", "--datadir", str(tmp_path), "getblockcount")
    assert f"no cookie of a running node at {tmp_path / 'regtest' / '.cookie'}" in line
    assert "start it (altyn node)" in line
    assert "is it running there?" in refused("rpc", "--rpc-url", AWAY, "getblockcount")
    assert "is it running there?" in refused("mine", ADDRESS, "--rpc-url", AWAY)


def test_a_call_that_does_not_fit_the_method_shows_its_usage_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def call(self: RpcClient, method: str, params: object = ()) -> None:
        raise RpcFailure(-1, "getblockhash height\n\nReturns hash of block ...\n")

    monkeypatch.setattr(RpcClient, "call", call)
    line = refused("rpc", "--rpc-url", AWAY, "getblockhash")
    assert line == "Error: usage: getblockhash height (see: altyn rpc help getblockhash)\n"


def test_a_method_that_is_not_there_points_to_those_that_are(monkeypatch: pytest.MonkeyPatch) -> None:
    def call(self: RpcClient, method: str, params: object = ()) -> None:
        raise RpcFailure(METHOD_NOT_FOUND, "Method not found")

    monkeypatch.setattr(RpcClient, "call", call)
    line = refused("rpc", "--rpc-url", AWAY, "getblockcuont")
    assert line == "Error: Method not found (code -32601). See: altyn rpc help\n"


def test_a_light_node_cannot_be_mined_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def call(self: RpcClient, method: str, params: object = ()) -> object:
        if method == "getblockchaininfo":
            return {"chain": "regtest"}
        raise RpcFailure(METHOD_NOT_FOUND, "Method not found")

    monkeypatch.setattr(RpcClient, "call", call)
    assert "mine on a full node" in refused("mine", ADDRESS, "--rpc-url", AWAY)


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["node", "extra"],
        ["node", "--nonsense"],
        ["node", "--network", "moon"],
        ["rpc"],
        ["mine"],
        ["mine", ADDRESS, "--blocks", "-1"],
        ["testnet", "up", "--nodes", "0"],
        ["testnet", "mine", "none"],
        ["testnet", "pay", ADDRESS],
        ["testnet", "logs"],
    ],
)
def test_wrong_usage_has_exit_code_2(arguments: list[str]) -> None:
    assert run(*arguments).exit_code == 2


def test_an_interrupted_first_start_is_cleared_away_but_for_its_lock(home: Path) -> None:
    network = LocalNetwork.create("half")
    with network.locked():
        (network.wallets / "alice.sqlite").write_text("")
        network.clear()
        assert [path.name for path in network.folder.iterdir()] == ["lock"]


def test_our_commands_are_named_so_that_they_can_be_typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    programs = tmp_path / "environment" / "bin"
    programs.mkdir(parents=True)
    for name in ("python", "altyn"):
        (programs / name).write_text("#!/bin/sh\n")
        (programs / name).chmod(0o755)
    monkeypatch.setattr("sys.executable", str(programs / "python"))
    monkeypatch.setenv("PATH", os.defpath)
    monkeypatch.chdir(tmp_path)
    assert own_command("altyn") == os.path.join("environment", "bin", "altyn")
    monkeypatch.chdir("/")
    assert own_command("altyn").endswith("environment/bin/altyn")
    monkeypatch.setenv("PATH", str(programs))
    assert own_command("altyn") == "altyn"
    assert own_command("altyn-wallet") == "altyn-wallet"  # installed some other way: its name is the best guess


def test_the_state_of_a_network_names_its_nodes(home: Path) -> None:
    network = LocalNetwork.create("three", full=2, light=1)
    state = json.loads((network.folder / "network.json").read_text())
    assert [node["name"] for node in state["nodes"]] == ["full1", "full2", "light1"]


@pytest.mark.parametrize(
    ("terminal", "quiet", "shown"),
    [(True, True, True), (True, False, True), (False, False, True), (False, True, False)],
)
def test_steps_are_shown_on_a_terminal_even_when_the_answer_is_for_machines(
    terminal: bool, quiet: bool, shown: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr("rich.console.Console.is_terminal", property(lambda console: terminal))
    with progress_shown(quiet) as progress:
        progress("mining")
    printed = capsys.readouterr()
    assert printed.out == ""
    assert ("mining" in printed.err) is shown
