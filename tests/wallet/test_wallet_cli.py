"""`altyn-wallet`, command by command."""

import json
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from altyn.consensus.limits import COIN
from altyn.consensus.networks import REGTEST
from altyn.consensus.script.addresses import decode_address
from altyn.consensus.transaction import TxOut
from altyn.wallet import wallet as wallet_module
from altyn.wallet.cli import main
from altyn.wallet.store import Store
from tests.wallet.conftest import PASSPHRASE, QUICK, WORDS
from tests.wallet.fake_node import FakeNode
from tests.wallet.fake_server import FakeServer

FAR = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080"
Run = Callable[..., Result]


@pytest.fixture
def run(server: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a command on the fake node, with a home of its own."""
    monkeypatch.setenv("ALTYN_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("ALTYN_RPC_URL", server.url)
    monkeypatch.setenv("ALTYN_RPC_COOKIE", str(server.cookie_file))
    monkeypatch.setenv("ALTYN_WALLET_PASSPHRASE", PASSPHRASE)
    monkeypatch.setattr(wallet_module, "KeyDerivation", lambda *given: type(QUICK)(*given) if given else QUICK)
    return lambda *arguments, **settings: CliRunner().invoke(main, list(map(str, arguments)), **settings)


def done(result: Result) -> Any:
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def refused(result: Result) -> str:
    """Return the one line on stderr."""
    assert result.exit_code == 1, result.output
    assert isinstance(result.exception, SystemExit)  # no traceback
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1
    return result.stderr


@pytest.fixture
def rich(run: Run, node: FakeNode) -> Run:
    done(run("create", "--json"))
    node.pay(TxOut(3 * COIN, decode_address(done(run("address", "--json"))["address"], REGTEST)))
    return run


def test_create_shows_the_words_once(run: Run, tmp_path: Path) -> None:
    result = run("create")
    assert result.exit_code == 0
    assert "Write down these words" in result.stdout
    assert result.stdout.endswith("Get an address with: altyn-wallet address\n")
    path = tmp_path / "home" / "wallets" / "regtest" / "default.sqlite"
    assert str(path) in result.stdout
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    words = max((line.strip() for line in result.stdout.splitlines()), key=lambda line: len(line.split()))
    assert words.split()[0] not in run("info").stdout.split()
    assert "there is a wallet at" in refused(run("create"))


def test_a_payment_from_end_to_end(rich: Run, node: FakeNode) -> None:
    balance = done(rich("balance", "--json"))
    assert (balance["confirmed_sat"], balance["height"], balance["up_to_date"]) == (3 * COIN, 1, True)
    payment = done(rich("send", FAR, "0.5", "--feerate", "2", "--json"))
    assert payment["amount_sat"] == COIN // 2
    assert payment["fee_sat"] == 2 * payment["vsize"]
    node.mine(1)
    history = done(rich("history", "--json"))["transactions"]
    assert [entry["confirmations"] for entry in history] == [2, 1]
    assert history[1]["txid"] == payment["txid"]
    assert history[1]["amount_sat"] == -COIN // 2 - payment["fee_sat"]


def test_it_speaks_to_people(rich: Run, node: FakeNode) -> None:
    assert rich("balance").stdout == "3.00000000 coins as of block 1\n"
    result = rich("send", FAR, "0.5")
    assert "no fee estimate, so 5 sat/vB is paid" in result.stderr
    assert result.stdout.startswith("Sent: 0.50000000 coins, fee 705 satoshis (5.00 sat/vB)\n")
    assert "pending" in rich("history").stdout
    assert "2.49999295 of it not in a block yet" in rich("balance").stdout
    node.mine(1)
    assert "block 2" in rich("history", "--count", "1").stdout
    assert "wpkh([" in rich("info").stdout


def test_everything_can_be_sent_and_tried_without_sending(rich: Run, node: FakeNode) -> None:
    rich("balance")
    tried = done(rich("send", FAR, "all", "--dry-run", "--json"))
    assert not node.mempool
    assert tried["sent"] is False
    sent = done(rich("send", FAR, "all", "--json"))
    assert sent["amount_sat"] == 3 * COIN - sent["fee_sat"]
    assert done(rich("balance", "--json"))["total_sat"] == 0


def test_restore_finds_the_money(rich: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, node: FakeNode) -> None:
    words = done(rich("create", "--json", "--wallet", "lost", "--words", "24", "--birthday", "0"))["words"]
    address = done(rich("address", "--wallet", "lost", "--json", "--type", "bech32m"))["address"]
    node.pay(TxOut(COIN, decode_address(address, REGTEST)))
    file = tmp_path / "words"
    file.write_text(words + "\n")
    found = done(rich("restore", "--wallet", "again", "--words-file", file, "--birthday", "1", "--json"))
    assert (found["total_sat"], found["complete"]) == (COIN, True)
    monkeypatch.setenv("ALTYN_WALLET_WORDS", words.upper())
    assert "1.00000000 coins as of block 2" in rich("restore", "--wallet", "third").stdout


def test_too_many_unpaid_addresses_are_warned_of(rich: Run) -> None:
    rich("balance")  # the first address was paid
    for _ in range(20):
        assert rich("address").stderr == ""
    assert "The last 21 addresses were not paid" in rich("address").stderr


def test_wrong_words_are_refused_without_repeating_them(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALTYN_WALLET_WORDS", WORDS.replace("about", "abandon"))
    assert "wrong checksum" in refused(run("restore"))
    monkeypatch.setenv("ALTYN_WALLET_WORDS", WORDS.replace("about", "hunter2"))
    line = refused(run("restore"))
    assert "word 12 is not an English one" in line
    assert "hunter2" not in line
    monkeypatch.setenv("ALTYN_WALLET_WORDS", "abandon")
    assert "12, 15, 18, 21 or 24, not 1" in refused(run("restore"))
    monkeypatch.delenv("ALTYN_WALLET_WORDS")
    assert "--words-file" in refused(run("restore"))


def test_options_may_stand_before_and_behind_the_command(run: Run, server: FakeServer) -> None:
    done(run("--wallet", "first", "--json", "create"))
    assert done(run("--wallet", "second", "info", "--wallet", "first", "--json"))["wallet"] == "first"
    assert "no node answers" in refused(run("--wallet", "x", "create", "--rpc-url", "http://127.0.0.1:9"))


def test_the_passphrase_comes_from_a_file(rich: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ALTYN_WALLET_PASSPHRASE")
    assert "--passphrase-file" in refused(rich("send", FAR, "1"))
    file = tmp_path / "passphrase"
    file.write_text(PASSPHRASE + "\n")
    file.chmod(0o644)
    result = rich("send", FAR, "1", "--passphrase-file", file)
    assert result.exit_code == 0
    assert "chmod 600" in result.stderr
    file.chmod(0o600)
    assert "chmod" not in rich("send", FAR, "1", "--passphrase-file", file).stderr
    assert "cannot read" in refused(rich("send", FAR, "1", "--passphrase-file", tmp_path / "none"))
    file.write_text("\n")
    assert "empty" in refused(rich("send", FAR, "1", "--passphrase-file", file))


def test_a_wrong_passphrase_and_too_little_money(rich: Run, monkeypatch: pytest.MonkeyPatch, node: FakeNode) -> None:
    line = refused(rich("send", FAR, "3"))
    assert "not enough money" in line
    assert "3.00000000 can be spent" in line
    monkeypatch.setenv("ALTYN_WALLET_PASSPHRASE", "guess")
    line = refused(rich("send", FAR, "1"))
    assert "wrong passphrase" in line
    assert "guess" not in line
    assert not node.mempool


def test_a_bad_address_is_explained(rich: Run) -> None:
    assert "Invalid Bech32 checksum" in refused(rich("send", FAR[:-1] + "q", "1"))
    assert "is no address of regtest" in refused(rich("send", "1BgGZ9tcN4rm9KBzDn7KprQz87SZ26SAMH", "1"))


def test_a_node_that_is_away(rich: Run, server: FakeServer) -> None:
    rich("balance")
    away = ("--rpc-url", "http://127.0.0.1:9")
    result = rich("balance", *away, "--json")
    assert done(result)["up_to_date"] is False
    assert "Not up to date, this is what was known at block 1: no node answers" in result.stderr
    assert done(rich("history", *away, "--json"))["up_to_date"] is False
    assert "no node answers at http://127.0.0.1:9" in refused(rich("send", FAR, "1", *away))
    assert done(rich("address", *away, "--json"))["address"].startswith("bcrt1q")
    assert "no node answers" in refused(rich("create", "--wallet", "new", *away))
    done(rich("create", "--wallet", "new", "--birthday", "0", "--json", *away))


def test_a_damaged_and_a_missing_wallet(rich: Run, tmp_path: Path) -> None:
    done(rich("create", "--wallet", "savings", "--json"))
    line = refused(rich("balance", "--wallet", "none"))
    assert "make one with `altyn-wallet create`, or choose one with --wallet: default, savings\n" in line
    assert "there is no wallet" in refused(rich("balance", "--wallet-dir", tmp_path / "nowhere"))
    path = tmp_path / "home" / "wallets" / "regtest" / "default.sqlite"
    path.write_bytes(path.read_bytes()[:5000])
    line = refused(rich("balance"))
    assert "is damaged" in line
    assert "altyn-wallet restore" in line


def test_a_wallet_in_use(rich: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("altyn.wallet.store.LOCK_PATIENCE", 0.05)
    with Store.open(tmp_path / "home" / "wallets" / "regtest" / "default.sqlite"):
        assert "in use by another program" in refused(rich("balance"))


@pytest.mark.parametrize(
    "arguments",
    [
        ("send", FAR),
        ("send", FAR, "0"),
        ("send", FAR, "-1"),
        ("send", FAR, "0.000000001"),
        ("send", FAR, "nan"),
        ("send", FAR, "much"),
        ("send", FAR, "22000000"),
        ("send", FAR, "1", "--feerate", "0"),
        ("send", FAR, "1", "--feerate", "1.2345"),
        ("address", "--type", "legacy"),
        ("create", "--words", "13"),
        ("nonsense",),
        ("balance", "--nonsense"),
    ],
)
def test_wrong_usage_has_exit_code_2(run: Run, arguments: tuple[str, ...]) -> None:
    assert run(*arguments).exit_code == 2


def test_an_unknown_network_is_refused(run: Run) -> None:
    assert "no network 'moon'" in refused(run("info", "--network", "moon"))
    assert "is a wallet of" not in refused(run("info", "--network", "main"))


def test_the_main_network_is_warned_of(run: Run, server: FakeServer) -> None:
    result = run("create", "--network", "mainnet", "--birthday", "0")
    assert result.exit_code == 0
    assert "unaudited" in result.stderr


def test_a_local_network_is_easy_to_point_to(
    rich: Run, tmp_path: Path, server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("ALTYN_RPC_URL", "ALTYN_RPC_COOKIE", "ALTYN_WALLET_PASSPHRASE"):
        monkeypatch.delenv(name)
    folder = tmp_path / "home" / "testnets" / "default"
    datadir = folder / "full1"
    (datadir / "regtest").mkdir(parents=True)
    (datadir / "regtest" / ".cookie").write_text(server.secret)
    node = {"name": "full1", "rpc_port": int(server.url.rpartition(":")[2]), "datadir": str(datadir)}
    (folder / "network.json").write_text(json.dumps({"nodes": [node], "passphrase": "local"}))
    there = ("--testnet", "default", "--wallet", "alice")
    made = done(rich(*there, "create", "--json"))
    assert made["path"] == str(folder / "wallets" / "regtest" / "alice.sqlite")
    assert done(rich(*there, "balance", "--json"))["height"] == 1
    made_another = rich("create", "--testnet", "default", "--wallet", "bob")
    assert made_another.stdout.endswith(": altyn-wallet --testnet default --wallet bob address\n")
    assert "not enough money" in refused(rich(*there, "send", FAR, "1"))  # its passphrase is known
    assert "it has full1" in refused(rich("balance", "--testnet", "default:full9"))
    assert "there is no local network 'other'" in refused(rich("balance", "--testnet", "other"))
    assert "there is no local network" in refused(rich("balance", "--testnet", "../default"))


def test_help_has_examples_for_every_command(run: Run) -> None:
    assert isinstance(main, click.Group)
    assert set(main.commands) >= {"create", "restore", "address", "balance", "send", "history", "info"}
    for name in main.commands:
        assert f"altyn-wallet {name}" in run(name, "--help").stdout
