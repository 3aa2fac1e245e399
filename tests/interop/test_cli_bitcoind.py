"""altyn-cli beside bitcoin-cli: the same words to the same altynd give the same output and exit status."""

import io
import re
import subprocess
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest
from node_processes import NodeProcess, altynd_process, bitcoind_process, bitcoind_program, until

from altyn.node.cli.altyn_cli import main

pytestmark = pytest.mark.slow
GENESIS = "0f9188f13cb7b2c71f2a335e3a4fc328bf5beb436012afca590b1a11466e2206"
DIFFERENT_NAMES = re.compile("bitcoin-cli|altyn-cli|the bitcoind server|the node")


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeProcess]:
    with altynd_process(tmp_path_factory.mktemp("cli") / "node") as made:
        yield made


def arguments(node: NodeProcess, words: str) -> list[str]:
    return ["-regtest", f"-datadir={node.datadir}", f"-rpcport={node.rpc_port}", *words.split()]


def their_outcome(node: NodeProcess, words: str, text: str) -> tuple[int, str, str]:
    program = bitcoind_program().with_name("bitcoin-cli")
    if not program.exists():
        pytest.skip("no bitcoin-cli: get one with ../shared/tools/bitcoind-setup, or set BITCOIND_PREFIX to its folder")
    command = [program, *arguments(node, words)]
    done = subprocess.run(command, capture_output=True, text=True, input=text, check=False, timeout=60)
    return done.returncode, done.stdout, DIFFERENT_NAMES.sub("it", done.stderr)


def our_outcome(node: NodeProcess, words: str, text: str) -> tuple[int, str, str]:
    """The same of altyn-cli, without the time that a process takes to start."""
    output, problems = io.StringIO(), io.StringIO()
    status: object = 0
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(output), redirect_stderr(problems):
        patch.setattr("sys.stdin", io.StringIO(text))
        try:
            main(arguments(node, words))
        except SystemExit as end:
            status = end.code
    assert isinstance(status, int)
    return status, output.getvalue(), DIFFERENT_NAMES.sub("it", problems.getvalue())


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ("getblockhash 0", ""),
        (f"getblock {GENESIS} 0", ""),
        (f"getblock {GENESIS}", ""),
        (f"gettxout {GENESIS} 0", ""),
        ("getblockhash 9", ""),
        ("getblockhash abc", ""),
        ("getblock 1", ""),
        ("nothing", ""),
        ("", ""),
        ("echo 1 2", ""),
        ("-named getblockhash height=0", ""),
        ("-named getblockhash 0", ""),
        ("-named echo arg0=1 arg1=x", ""),
        ("-stdin getblockhash", "0\n"),
        ("-stdin echo a", "b c\nd\n"),
        ("-rpcuser=u -stdinrpcpass -stdin getblockhash", "wrong\n0\n"),
        ("-rpcpassword=wro@ng/ uptime", ""),
        ("-rpccookiefile=gone uptime", ""),
        ("-rpcwallet=any getblockcount", ""),
        ("-rpcclienttimeout=0 getblockcount", ""),
        ("-rpcwait -rpcwaittimeout=1 getblockcount", ""),
        ("-rpcport=1 getblockcount", ""),
        ("-rpcport=1 -rpcwait -rpcwaittimeout=1 getblockcount", ""),
        ("-datadir=/not/there getblockcount", ""),
        ("-foo=1 getblockcount", ""),
        ("-getinfo", ""),
        ("-getinfo x", ""),
        ("-color=always -getinfo", ""),
        ("-color=sometimes -getinfo", ""),
        ("-rpcwallet=any -getinfo", ""),
        ("-addrinfo", ""),
        ("-addrinfo 1", ""),
        ("-netinfo abc", ""),
        ("-getinfo -netinfo", ""),
        ("-stdinrpcpass uptime", ""),
        ("-stdinwalletpassphrase walletpassphrase 10", ""),
        ("-stdinwalletpassphrase walletpassphrase 10", "secret\n"),
        ("-stdinwalletpassphrase getblockcount", "secret\n"),
        ("-stdinwalletpassphrase", "secret\n"),
        ("-rpcuser=u -stdinrpcpass -stdinwalletpassphrase walletpassphrase 3", "a\nb\n"),
        ("-rpcconnect=127.0.0.1:99999 uptime", ""),
        ("-rpcconnect=127.0.0.1:abc uptime", ""),
        ("-rpcconnect=127.0.0.1:1 getblockcount", ""),
        ("getnetworkinfo", ""),  # from here what Core Lightning's bcli asks
        ("getblockchaininfo", ""),
        ("getmempoolinfo", ""),
        ("estimatesmartfee 2 CONSERVATIVE", ""),
        ("estimatesmartfee 100 ECONOMICAL", ""),
        ("-stdin sendrawtransaction", "00\n0\n"),
        ("getpeerinfo", ""),
        (f"getblockfrompeer {GENESIS} 0", ""),
        ("-generate 1", ""),
        ("createrawtransaction [] {bad", ""),
        ("createrawtransaction [] [{\"data\":\"00\"}]", ""),
    ],
)  # fmt: skip
def test_both_clients_print_and_exit_alike(node: NodeProcess, words: str, text: str) -> None:
    assert our_outcome(node, words, text) == their_outcome(node, words, text)


def test_both_clients_count_peers_alike(tmp_path: Path) -> None:
    with (
        altynd_process(tmp_path / "ours", "-externalip=1.2.3.4", "-externalip=[2a00::5]:6") as altynd,
        bitcoind_process(tmp_path / "theirs", f"-connect={altynd.address}") as bitcoind,
    ):
        altynd.call("addnode", bitcoind.address, "onetry")
        until(lambda: len(altynd.call("getpeerinfo")) == 2)
        outputs = [outcome(altynd, "-netinfo", "")[1] for outcome in (our_outcome, their_outcome)]
        ours, theirs = (re.sub("(.* - server |Local services: .*\n)", "", each).split() for each in outputs)
        assert ours == theirs
        assert ours.count("1") > 2
