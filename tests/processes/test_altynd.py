"""altynd and altyn-cli as real processes, driven as software written for bitcoind drives it."""

import contextlib
import json
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import zmq
from builders import ANYONE, coin, spend
from core_framework import ARGUMENTS, CONFIG
from node_processes import until

from altyn.consensus.block import Block
from altyn.node.rpc.client import RpcClient, RpcFailure, Unreachable
from altyn.node.rpc.errors import IN_WARMUP
from altyn.node.testnet.processes import free_ports

ADDRESS = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080"
LEGACY = "mipcBbFg9gMiCh81Kj8tqqdgoZub1ZJRfn"
NO_HTTP_SERVER = "Unable to start HTTP server. See debug log for details."
TAPROOT = "bcrt1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqc8gma6"


@dataclass
class Daemon:
    """An altynd with its data directory, as Core's test framework sets it up."""

    datadir: Path
    number: int
    port: int
    rpc_port: int
    process: subprocess.Popen[bytes] | None = None

    @property
    def folder(self) -> Path:
        return self.datadir / "regtest"

    def start(self, *options: str) -> None:
        command = [sys.executable, "-m", "altyn.node.cli.altynd", f"-datadir={self.datadir}"]
        command += ARGUMENTS.format(number=self.number).split()
        with (self.datadir / "stdout").open("ab") as out, (self.datadir / "stderr").open("ab") as err:
            self.process = subprocess.Popen([*command, *options], stdout=out, stderr=err, cwd="/")
        until(self._is_ready)

    def _is_ready(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, (self.datadir / "stderr").read_text()
        try:
            self.call("getblockcount")
        except Unreachable:
            return False
        except RpcFailure as failure:
            if failure.code != IN_WARMUP:
                raise
            return False
        return bool(self.call("getmempoolinfo")["loaded"])

    def call(self, method: str, *params: Any, **named: Any) -> Any:
        url = f"http://127.0.0.1:{self.rpc_port}"
        return RpcClient(url, cookie_file=self.folder / ".cookie", timeout=60).call(method, named or params)

    def ends(self) -> tuple[int, str]:
        """Return the exit status and what was said on standard error, once the process has ended."""
        assert self.process is not None
        return self.process.wait(60), (self.datadir / "stderr").read_text()

    def stop(self) -> tuple[int, str]:
        self.call("stop", wait=0)
        return self.ends()


@contextlib.contextmanager
def daemons(folder: Path, count: int) -> Iterator[list[Daemon]]:
    ports = free_ports(2 * count)
    made = []
    for number in range(count):
        datadir = folder / f"node{number}"
        datadir.mkdir()
        made.append(Daemon(datadir, number, ports[2 * number], ports[2 * number + 1]))
        config = CONFIG.format(port=made[-1].port, rpc_port=made[-1].rpc_port)
        (datadir / "bitcoin.conf").write_text(config)
    try:
        yield made
    finally:
        for daemon in made:
            if daemon.process is not None and daemon.process.poll() is None:
                daemon.process.kill()
                daemon.process.wait()


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    with daemons(tmp_path, 1) as (made,):
        yield made


def cli(daemon: Daemon, *words: str, text: str = "") -> tuple[int, str, str]:
    """Run altyn-cli on the daemon; return its exit status and what it printed on either stream."""
    command = [sys.executable, "-m", "altyn.node.cli.altyn_cli", f"-datadir={daemon.datadir}", *words]
    done = subprocess.run(command, capture_output=True, text=True, input=text, check=False, timeout=60)
    return done.returncode, done.stdout, done.stderr


def test_a_daemon_lives_as_cores_framework_expects(daemon: Daemon) -> None:
    daemon.start()
    socket.create_connection(("127.0.0.1", daemon.port), 5).close()
    assert (daemon.folder / ".cookie").stat().st_mode & 0o777 == 0o600
    assert list((daemon.folder / "wallets").iterdir()) == []
    assert "(testnode0)/" in daemon.call("getnetworkinfo")["subversion"]

    hashes = daemon.call("generatetoaddress", 5, ADDRESS)
    assert daemon.call("getbestblockhash") == hashes[-1]
    block = daemon.call("getblock", hashes[-1], 0)
    assert daemon.call("submitblock", block) == "duplicate"
    daemon.call("invalidateblock", hashes[3])
    assert daemon.call("getblockcount") == 3
    assert [tip["status"] for tip in daemon.call("getchaintips")] == ["invalid", "active"]
    daemon.call("reconsiderblock", hashes[3])
    assert daemon.call("getbestblockhash") == hashes[-1]
    log = (daemon.folder / "debug.log").read_text()
    assert f"UpdateTip: new best={hashes[-1]} height=5" in log
    assert "Done loading" in log

    assert daemon.stop() == (0, "")
    assert not (daemon.folder / ".cookie").exists()
    assert {path.name for path in daemon.folder.iterdir() if path.is_dir()} == {
        "blocks",
        "chainstate",
        "indexes",
        "wallets",
    }
    modes = {path: path.stat().st_mode & 0o777 for path in (daemon.folder, *daemon.folder.rglob("*"))}
    assert all(mode == (0o700 if path.is_dir() else 0o600) for path, mode in modes.items())
    for path in daemon.folder.iterdir():  # what the framework does to its cached chain
        if path.is_file():
            path.unlink()
    (daemon.folder / "wallets").rmdir()
    daemon.start()
    assert daemon.call("getbestblockhash") == hashes[-1]
    daemon.call("setmocktime", 2_000_000_000)
    daemon.call("generatetoaddress", 1, ADDRESS)
    assert daemon.call("getblockheader", daemon.call("getbestblockhash"))["time"] == 2_000_000_000
    assert daemon.stop() == (0, "")


def test_three_folders_are_a_whole_node(tmp_path: Path) -> None:
    """As the framework makes its cached chain: mine it once, copy it to every node, and go on from there."""
    with daemons(tmp_path, 2) as (one, other):
        one.start("-mocktime=1388536200", "-blockfilterindex=1", "-txindex")
        for address in (ADDRESS, LEGACY, TAPROOT):
            hashes = one.call("generatetoaddress", nblocks=40, address=address)
        coins = one.call("gettxoutsetinfo")["hash_serialized_3"]
        txid = one.call("getblock", hashes[0])["tx"][0]
        header = one.call("getblockfilter", hashes[-1])["header"]
        assert one.stop() == (0, "")
        (one.folder / "wallets").rmdir()
        for path in one.folder.iterdir():
            if path.is_file():
                path.unlink()
        shutil.copytree(one.folder, other.folder)
        shutil.rmtree(one.folder)
        config = other.datadir / "bitcoin.conf"
        config.write_text(config.read_text().replace("bind=127.0.0.1", ""))
        binds = (f"-bind=0.0.0.0:{other.port}", f"-bind=127.0.0.1:{free_ports(1)[0]}=onion")  # where the file has none
        other.start("-blockfilterindex=1", "-txindex", *binds)
        assert other.call("getbestblockhash") == hashes[-1]
        assert other.call("gettxoutsetinfo")["hash_serialized_3"] == coins
        assert other.call("getrawtransaction", txid, True)["blockhash"] == hashes[0]
        assert other.call("getblockfilter", hashes[-1])["header"] == header
        assert other.call("getblockchaininfo")["initialblockdownload"]
        other.call("generatetoaddress", 1, ADDRESS)
        assert not other.call("getblockchaininfo")["initialblockdownload"]
        assert other.stop() == (0, "")


def test_two_daemons_meet_and_one_follows_the_other(tmp_path: Path) -> None:
    with daemons(tmp_path, 2) as (one, other):
        one.start()
        other.start()
        one.call("generatetoaddress", 3, ADDRESS)
        one.call("addnode", f"127.0.0.1:{other.port}", "onetry")
        until(lambda: one.call("getbestblockhash") == other.call("getbestblockhash"))
        for mine, subver, inbound in ((one, "testnode1", False), (other, "testnode0", True)):
            until(lambda mine=mine: mine.call("getpeerinfo")[0]["bytesrecv_per_msg"].get("pong", 0) >= 29)
            (peer,) = mine.call("getpeerinfo")
            assert subver in peer["subver"]
            assert peer["inbound"] is inbound
        one.call("disconnectnode", "", 0)
        until(lambda: other.call("getpeerinfo") == [])
        assert [each.stop() for each in (one, other)] == [(0, ""), (0, "")]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_as_stop_does(daemon: Daemon, number: signal.Signals) -> None:
    daemon.start()
    assert daemon.process is not None
    daemon.process.send_signal(number)
    assert daemon.ends() == (0, "")
    assert not (daemon.folder / ".cookie").exists()


@pytest.mark.parametrize(
    ("chain", "options", "message"),
    [
        ("signet", "-signetchallenge=abc", "-signetchallenge must be hex, not 'abc'."),
        ("signet", "-signetchallenge=abc -signetchallenge=abc", "-signetchallenge cannot be multiple values."),
        ("regtest", "-peerblockfilters", "Cannot set -peerblockfilters without -blockfilterindex."),
        ("regtest", "-blockfilterindex=abc", "Unknown -blockfilterindex value abc."),
        ("regtest", "-maxmempool=4", "-maxmempool must be at least 5 MB"),
        ("regtest", "-peertimeout=0", "peertimeout must be a positive integer."),
        ("regtest", "-foo", "Error parsing command line arguments: Invalid parameter -foo"),
        ("regtest", "-debug=dreams", "Unsupported logging category -debug=dreams."),
        ("regtest", "-rpcauth= -rpcauth=nonsense", NO_HTTP_SERVER),
        ("regtest", "-rpccookieperms=everybody", NO_HTTP_SERVER),
        ("regtest", "-rpccookiefile=/nowhere/cookie", NO_HTTP_SERVER),
        ("regtest", "-pid=/nowhere/pid", "Unable to create the PID file '/nowhere/pid': No such file or directory (2)"),
        ("regtest", "-conf=/", 'Error reading configuration file: Config file "/" is a directory.'),
        ("regtest", "-port=0", "Invalid port specified in -port: '0'"),
        ("regtest", "-rpcport=0", "Invalid port specified in -rpcport: '0'"),
        ("regtest", "-bind=1.2.3.4.5", "Cannot resolve -bind address: '1.2.3.4.5'"),
        (
            "regtest",
            "-bind=8.8.8.8:8",
            "Unable to bind to 8.8.8.8:8 on this computer (bind returned error Cannot assign requested address (99))\n"
            "Error: Failed to listen on any port. Use -listen=0 if you want this.",
        ),
        (
            "regtest",
            "-signet",
            "Invalid combination of -regtest, -signet, -testnet, -testnet4 and -chain. Can use at most one.",
        ),
        (
            "regtest",
            "-rpcallowip=nowhere",
            "Invalid -rpcallowip subnet specification: nowhere. Valid values are a single IP (e.g. 1.2.3.4), a "
            "network/netmask (e.g. 1.2.3.4/255.255.255.0), a network/CIDR (e.g. 1.2.3.4/24), all ipv4 (0.0.0.0/0), or "
            f"all ipv6 (::/0).\nError: {NO_HTTP_SERVER}",
        ),
    ],
)
def test_a_start_that_must_fail_says_why(daemon: Daemon, chain: str, options: str, message: str) -> None:
    config = daemon.datadir / "bitcoin.conf"
    config.write_text(config.read_text().replace("regtest", chain))
    command = [sys.executable, "-m", "altyn.node.cli.altynd", f"-datadir={daemon.datadir}"]
    command += [*ARGUMENTS.format(number=0).split(), *options.split()]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (1, f"Error: {message}\n")
    assert not (daemon.datadir / chain / ".cookie").exists()


def test_a_cookie_that_cannot_be_written_is_refused_as_bitcoind_does(daemon: Daemon) -> None:
    (daemon.folder / ".cookie.tmp").mkdir(parents=True)
    command = [sys.executable, "-m", "altyn.node.cli.altynd", f"-datadir={daemon.datadir}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (1, f"Error: {NO_HTTP_SERVER}\n")
    assert "Unable to write the cookie" in (daemon.folder / "debug.log").read_text()


def test_pruned_blocks_that_are_needed_are_missed_in_bitcoinds_words(daemon: Daemon) -> None:
    pruning = ["-prune=1", "-fastprune"]
    daemon.start(*pruning, "-coinstatsindex")
    daemon.call("generatetodescriptor", 300, "raw(51)")
    daemon.stop()
    daemon.start(*pruning)
    daemon.call("generatetodescriptor", 700, "raw(51)")
    assert daemon.call("pruneblockchain", 600) > 300
    assert daemon.stop() == (0, "")
    command = [sys.executable, "-m", "altyn.node.cli.altynd", f"-datadir={daemon.datadir}"]
    for options, message in (
        (
            [],
            ": You need to rebuild the database using -reindex to go back to unpruned mode.  This will redownload the "
            "entire blockchain.\nPlease restart with -reindex or -reindex-chainstate to recover.\n",
        ),
        (
            [*pruning, "-coinstatsindex"],
            "Error: coinstatsindex best block of the index goes beyond pruned data. Please disable the index or "
            "reindex (which will download the whole blockchain again)\nError: A fatal internal error occurred, see "
            "debug.log for details: Failed to start indexes, shutting down..\n",
        ),
    ):
        done = subprocess.run([*command, *options], capture_output=True, text=True, check=False, timeout=60)
        assert (done.returncode, done.stderr) == (1, message)


def test_what_a_file_says_in_vain_is_said_on_standard_error(daemon: Daemon) -> None:
    config = daemon.datadir / "bitcoin.conf"
    text = config.read_text()
    config.write_text(f"includeconf=more.conf\n{text}[elsewhere]\npar=1\n")
    (daemon.datadir / "more.conf").write_text("includeconf=evenmore.conf\n")
    daemon.start()
    line = text.count("\n") + 2
    assert daemon.stop() == (
        0,
        "warning: -includeconf cannot be used from included files; ignoring -includeconf=evenmore.conf\n"
        f"Warning: {config}:{line} Section [elsewhere] is not recognized.\n",
    )


def test_a_block_that_cannot_be_undone_ends_it_in_bitcoinds_words(daemon: Daemon) -> None:
    daemon.start()
    hashes = daemon.call("generatetoaddress", 3, ADDRESS)
    (daemon.folder / "blocks" / "rev00000.dat").unlink()
    with contextlib.suppress(RpcFailure, Unreachable):  # whether the answer comes before the end is chance
        daemon.call("invalidateblock", hashes[1])
    message = "A fatal internal error occurred, see debug.log for details: Failed to disconnect block."
    assert daemon.ends() == (1, f"Error: {message}\n")
    assert "rev00000.dat: No such file or directory" in (daemon.folder / "debug.log").read_text()


def test_blocks_out_of_order_are_taken_up_and_told_of(daemon: Daemon) -> None:
    daemon.start()
    hashes = daemon.call("generatetodescriptor", 5, "raw(51)")
    raw = [bytes.fromhex(daemon.call("getblock", each, 0)) for each in hashes]
    assert daemon.stop() == (0, "")
    file = daemon.folder / "blocks" / "blk00000.dat"
    one, other = (len(each).to_bytes(4, "little") + each for each in raw[1:3])
    magic = file.read_bytes()[:4]
    file.write_bytes(file.read_bytes().replace(one + magic + other, other + magic + one))
    daemon.start("-reindex")
    assert daemon.call("getbestblockhash") == hashes[-1]
    assert daemon.stop() == (0, "")
    log = (daemon.folder / "debug.log").read_text()
    assert "initload thread start" in log
    assert f"LoadExternalBlockFile: Out of order block {hashes[2]}, parent {hashes[1]} not known" in log
    assert f"LoadExternalBlockFile: Processing out of order child {hashes[2]} of {hashes[1]}" in log


def test_files_that_are_gone_cost_answers_in_bitcoinds_words(daemon: Daemon) -> None:
    daemon.start("-txindex")
    first, *_ = daemon.call("generatetodescriptor", 101, f"raw({ANYONE.hex()})")
    coinbase = Block.parse(bytes.fromhex(daemon.call("getblock", first, 0))).transactions[0]
    tx = spend(coin(coinbase), fee=1000)
    txid = tx.txid[::-1].hex()
    block = daemon.call("generateblock", ADDRESS, [tx.raw.hex()])["hash"]
    until(lambda: daemon.call("getindexinfo")["txindex"]["synced"])
    blocks = daemon.folder / "blocks"

    def refusal(method: str, *params: Any) -> tuple[int, str]:
        with pytest.raises(RpcFailure) as caught:
            daemon.call(method, *params)
        return caught.value.code, caught.value.message

    (blocks / "rev00000.dat").rename(blocks / "rev")
    assert not any("fee" in each for each in daemon.call("getblock", block, 3)["tx"])
    assert refusal("getblockstats", block) == (-1, "Can't read undo data from disk")
    assert refusal("getrawtransaction", txid, 2)[1].startswith("Undo data expected but can't be read.")
    (blocks / "blk00000.dat").rename(blocks / "blk")
    for verbosity in range(4):
        assert refusal("getblock", block, verbosity) == (-1, "Block not found on disk")
    missing = "No such mempool or blockchain transaction. Use gettransaction for wallet transactions."
    assert refusal("getrawtransaction", txid) == (-5, missing)
    for name in ("rev", "blk"):
        (blocks / name).rename(blocks / f"{name}00000.dat")
    assert "fee" in daemon.call("getblock", block, 3)["tx"][1]
    assert daemon.stop() == (0, "")


def test_a_second_daemon_on_the_same_folder_is_refused_and_disturbs_nothing(daemon: Daemon) -> None:
    daemon.start()
    cookie = (daemon.folder / ".cookie").read_text()
    (rpc_port,) = free_ports(1)
    command = [sys.executable, "-m", "altyn.node.cli.altynd", f"-datadir={daemon.datadir}", f"-rpcport={rpc_port}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1
    said = f"Error: Cannot obtain a lock on directory {daemon.folder}. Altyn is probably already running.\n"
    assert done.stderr == said
    assert (daemon.folder / ".cookie").read_text() == cookie
    assert daemon.stop() == (0, "")


def test_the_client_prints_and_exits_as_bitcoin_cli(daemon: Daemon) -> None:
    status, _, error = cli(daemon, "getblockcount")
    assert (status, error.splitlines()[0]) == (
        1,
        f"error: timeout on transient error: Could not connect to the server 127.0.0.1:{daemon.rpc_port}",
    )
    status, _, later = cli(daemon, "-rpcwait", "-rpcwaittimeout=1", "getblockcount")
    assert (status, later) == (1, error)
    daemon.start()
    assert cli(daemon, "-rpcwait", "getblockcount") == (0, "0\n", "")
    assert cli(daemon, "getblockhash", "9") == (8, "", "error code: -8\nerror message:\nBlock height out of range\n")
    assert cli(daemon, "nothing")[0] == 32601 & 0xFF
    assert cli(daemon, "-named", "getblockhash", "height=0")[1] == daemon.call("getblockhash", 0) + "\n"
    assert cli(daemon, "-stdin", "getblockhash", text="0\n")[1] == daemon.call("getblockhash", 0) + "\n"
    assert cli(daemon, "-rpcpassword=wrong", "uptime")[2] == (
        "error: Authorization failed: Incorrect rpcuser or rpcpassword\n"
    )
    shown = json.loads(cli(daemon, "getblockchaininfo")[1], parse_float=Decimal)
    assert shown == daemon.call("getblockchaininfo")
    assert cli(daemon, "stop") == (0, "Altyn stopping\n", "")
    assert daemon.ends() == (0, "")


def test_a_daemon_runs_the_commands_of_its_user_and_publishes_blocks(daemon: Daemon, tmp_path: Path) -> None:
    (tmp_path / "blocks").mkdir()
    (port,) = free_ports(1)
    address = f"tcp://127.0.0.1:{port}"
    daemon.start(
        f"-startupnotify=echo started > {tmp_path}/start",
        f"-blocknotify=echo x > {tmp_path}/blocks/%s",
        f"-shutdownnotify=echo one > {tmp_path}/end1",
        f"-shutdownnotify=echo two > {tmp_path}/end2",
        f"-zmqpubhashblock={address}",
        "-zmqpubhashblockhwm=7",
    )
    assert daemon.call("getzmqnotifications") == [{"type": "pubhashblock", "address": address, "hwm": 7}]
    with zmq.Context() as context, context.socket(zmq.SUB) as socket_:
        socket_.subscribe(b"hashblock")
        socket_.connect(address)
        time.sleep(0.3)  # ZMQ does not say when a subscription has arrived
        hashes = daemon.call("generatetoaddress", 3, ADDRESS)
        assert [socket_.recv_multipart()[1].hex() for _ in hashes] == hashes
    until(lambda: {path.name for path in (tmp_path / "blocks").iterdir()} == set(hashes))
    assert daemon.stop() == (0, "")
    assert [(tmp_path / name).read_text() for name in ("start", "end1", "end2")] == ["started\n", "one\n", "two\n"]


def test_an_address_that_cannot_be_published_at_does_not_keep_a_daemon_from_starting(daemon: Daemon) -> None:
    daemon.start("-zmqpubrawtx=foo", "-zmqpubhashtx=bar")
    assert daemon.call("getzmqnotifications") == []
    assert daemon.stop() == (0, "")
