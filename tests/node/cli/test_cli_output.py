import io
import json
import os
import subprocess
import sys
from typing import Any

import pytest
from click.testing import CliRunner
from stranger import strange_port

from altyn.node.cli.altyn import main
from altyn.node.cli.altyn_cli import CliError, call
from altyn.node.cli.altynd import help_text
from altyn.node.cli.output import ArgumentError, indented, named_arguments, positional_arguments, result_text
from altyn.node.rpc.client import RpcClient
from altyn.node.rpc.json_text import dump, parse
from altyn.node.settings import OPTIONS

HASH = "00" * 32


@pytest.mark.parametrize(
    ("method", "words", "params"),
    [
        ("getblock", [HASH, "2"], [HASH, 2]),
        ("getblockhash", ["100"], [100]),
        ("sendrawtransaction", ["01", "0.10"], '["01",0.10]'),
        ("addnode", ["127.0.0.1:1", "onetry", "false"], ["127.0.0.1:1", "onetry", False]),
        ("getblocktemplate", ['{"rules": ["segwit"]}'], [{"rules": ["segwit"]}]),
        ("disconnectnode", ["", "7"], ["", 7]),
        ("nobodyknows", ["1", "x", "[2]", '"q"', "null"], [1, "x", [2], '"q"', None]),
    ],
)
def test_words_become_what_the_method_takes(method: str, words: list[str], params: Any) -> None:
    assert dump(positional_arguments(method, words)) == (params if isinstance(params, str) else dump(params))


def test_named_words_may_be_mixed_with_others() -> None:
    assert named_arguments("getblock", [HASH, "verbose=1"]) == {"args": [HASH], "verbose": 1}
    assert named_arguments("help", ["command=stop=1"]) == {"command": "stop=1"}


def test_a_word_that_should_be_json_and_is_not_is_refused() -> None:
    with pytest.raises(ArgumentError, match="Error parsing JSON: abc"):
        positional_arguments("getblockhash", ["abc"])


@pytest.mark.parametrize("program", ["altynd", "altyn_cli"])
def test_a_reader_that_has_seen_enough_is_no_error(program: str) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", f"altyn.node.cli.{program}", "-help"], stdout=writer, stderr=subprocess.PIPE, check=False
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize("group", [[], ["testnet"]])
def test_no_line_of_the_list_of_commands_is_cut_off(group: list[str]) -> None:
    shown = CliRunner().invoke(main, [*group, "--help"], terminal_width=80).output
    listed = shown.partition("Commands:\n")[2].splitlines()
    assert len(listed) >= 7
    assert not [line for line in listed if line.endswith("...")]


def test_results_are_printed_as_bitcoin_cli_prints_them() -> None:
    assert result_text(None) == ""
    assert result_text("text") == "text"
    assert result_text(True) == "true"
    assert result_text(parse('{"a": 1.50, "b": [], "c": [1, "ü"]}')) == (
        '{\n  "a": 1.50,\n  "b": [\n  ],\n  "c": [\n    1,\n    "ü"\n  ]\n}'
    )
    value = {"x": [{"y": {}}], "z": "\n"}
    assert json.loads(indented(value)) == value


UNREACHABLE = "error: timeout on transient error: Could not connect to the server 127.0.0.1:1\n"


@pytest.mark.parametrize(
    ("options", "command", "status", "text"),
    [
        (["-regtest"], [], 1, "error: too few parameters (need at least command)"),
        (["-regtest", "-datadir=.", "-rpcport=1"], ["uptime"], 1, UNREACHABLE),
        (["-regtest", "-rpcpassword=x", "-rpcport=1"], ["uptime"], 1, UNREACHABLE),
        (["-netinfo", "-getinfo"], [], 1, "error: Only one of -getinfo, -netinfo may be specified."),
    ],
)
def test_what_cannot_be_asked_ends_with_a_line(options: list[str], command: list[str], status: int, text: str) -> None:
    with pytest.raises(CliError) as caught:
        call(options, command)
    assert caught.value.status == status
    assert text in str(caught.value)


def test_all_options_are_in_the_help_of_the_daemon() -> None:
    text = help_text()
    assert all(f"  -{name}" in text for name in OPTIONS)


@pytest.mark.parametrize("command", ["node", "light", "rpc", "mine", "testnet"])
def test_every_command_explains_itself(command: str) -> None:
    result = CliRunner().invoke(main, [command, "--help"])
    assert result.exit_code == 0
    assert "Usage:" in result.output


def test_the_help_of_a_light_node_leaves_out_what_only_a_full_node_has() -> None:
    full, light = (CliRunner().invoke(main, [kind, "--help"]).output for kind in ("node", "light"))
    for option in ("--dbcache", "--txindex", "--port ", "--maxmempool", "--blockfilterindex"):
        assert option in full
        assert option not in light
    for option in ("--addnode", "--datadir", "--rpcport"):
        assert option in light


@pytest.mark.parametrize(
    ("words", "arguments"), [([], [1, "an address"]), (["2", "9"], [2, "an address", 9]), (["0"], None)]
)
def test_generate_mines_to_a_new_address_of_the_nodes_wallet(
    monkeypatch: pytest.MonkeyPatch, words: list[str], arguments: list[object] | None
) -> None:
    answers = {"getnewaddress": "an address", "generatetoaddress": ["a hash"]}
    calls = []

    def answer(_: RpcClient, method: str, params: list[object] | tuple[()] = ()) -> object:
        calls.append((method, params))
        return answers[method]

    monkeypatch.setattr(RpcClient, "call", answer)
    if arguments is None:
        with pytest.raises(CliError, match="must be an integer value greater than zero"):
            call(["-regtest", "-generate"], words)
        return
    assert call(["-regtest", "-generate"], words) == {"address": "an address", "blocks": ["a hash"]}
    assert calls == [("getnewaddress", ()), ("generatetoaddress", arguments)]


def test_a_node_that_is_away_is_one_line_and_exit_code_1() -> None:
    result = CliRunner().invoke(main, ["rpc", "--rpc-url", "http://a:b@127.0.0.1:1", "getblockcount"])
    assert result.exit_code == 1
    assert result.output.startswith("Error: no node answers at 127.0.0.1:1")
    assert CliRunner().invoke(main, ["rpc"]).exit_code == 2


def test_what_a_stranger_says_is_kept_from_the_terminal() -> None:
    with strange_port(calls=1) as port:
        result = CliRunner().invoke(main, ["rpc", "--rpc-url", f"http://a:b@127.0.0.1:{port}", "getblockcount"])
    assert result.exit_code == 1
    assert f"what answers at 127.0.0.1:{port} is no RPC server" in result.output
    assert "owned" not in result.output


def test_secrets_come_from_standard_input_before_other_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(RpcClient, "call", lambda self, method, params: asked.append((self._password, method, params)))
    options = ["-regtest", "-datadir=.", "-rpcuser=u", "-stdinrpcpass", "-stdinwalletpassphrase", "-stdin"]
    monkeypatch.setattr("sys.stdin", io.StringIO("password\nold words\nnew words\n"))
    call(options, ["walletpassphrasechange"])
    assert asked == [("password", "walletpassphrasechange", ["old words", "new words"])]
    with pytest.raises(CliError, match="only applicable for walletpassphrase"):
        call(["-regtest", "-stdinwalletpassphrase"], ["stop"])
    with pytest.raises(CliError, match="-stdinwalletpassphrase specified but failed to read from standard input"):
        call(["-regtest", "-datadir=.", "-stdinwalletpassphrase"], ["walletpassphrase", "10"])


def test_a_port_by_itself_wins_over_that_of_the_host(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(RpcClient, "call", lambda self, method, params: self._port)
    options = ["-regtest", "-datadir=.", "-rpcconnect=localhost:5"]
    assert call(options, ["uptime"]) == 5
    assert capsys.readouterr().err == ""
    assert call([*options, "-rpcport=6"], ["uptime"]) == 6
    text = "Warning: Port specified in both -rpcconnect and -rpcport. Using -rpcport 6\n"
    assert capsys.readouterr().err == text
    with pytest.raises(CliError, match="Invalid port provided in -rpcconnect: localhost:x"):
        call(["-regtest", "-datadir=.", "-rpcconnect=localhost:x"], ["uptime"])
