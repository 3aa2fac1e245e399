"""Software written for bitcoind, on altynd: python-bitcoinlib, ElectrumX, and through that an Electrum wallet."""

import json
import os
import subprocess
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import bitcoin
import bitcoin.core as lib
import bitcoin.rpc
import pytest
from bitcoin.core.script import CScriptWitness
from installed_clients import electrum, electrumx
from node_processes import NodeProcess, altynd_process, until
from rpc_node import ADDRESS, RAW_TRUE

from altyn.node.testnet.processes import free_ports

pytestmark = pytest.mark.slow
OP_TRUE = b"\x51"


@pytest.fixture
def node(tmp_path: Path) -> Iterator[NodeProcess]:
    """An altynd with the indexes that ElectrumX wants."""
    with altynd_process(tmp_path / "node", "-txindex", "-txospenderindex") as made:
        yield made


@pytest.fixture
def proxy(tmp_path: Path) -> Iterator[bitcoin.rpc.Proxy]:
    """python-bitcoinlib's proxy, which finds an altynd by bitcoin.conf and the cookie."""
    folder = tmp_path / "node"
    bitcoin.SelectParams("regtest")
    with altynd_process(folder) as node:
        config = folder / "bitcoin.conf"
        config.write_text(f"rpcconnect=127.0.0.1\nrpcport={node.rpc_port}\n")
        made = bitcoin.rpc.Proxy(btc_conf_file=str(config))
        yield made
        made.close()
    bitcoin.SelectParams("mainnet")


def test_python_bitcoinlib_reads_the_chain_pays_and_hands_in_a_block(proxy: bitcoin.rpc.Proxy) -> None:
    hashes = list(proxy.generatetoaddress(101, RAW_TRUE))
    assert proxy.getblockcount() == 101
    assert proxy.getbestblockhash() == proxy.getblockhash(101) == hashes[-1]
    block = proxy.getblock(hashes[0])
    assert block.GetHash() == hashes[0]
    assert proxy.getblockheader(hashes[0]) == block.get_header()
    assert proxy.getblockheader(hashes[0], True)["nextblockhash"] == hashes[1]
    with pytest.raises(IndexError, match="Block height out of range"):
        proxy.getblockhash(102)
    with pytest.raises(IndexError, match="Block not found"):
        proxy.getblock(bytes(32))

    coinbase = block.vtx[0]
    outpoint = lib.COutPoint(coinbase.GetTxid(), 0)
    coin = proxy.gettxout(outpoint)
    assert (coin["txout"], coin["confirmations"], coin["coinbase"]) == (coinbase.vout[0], 101, True)
    payment = lib.CTransaction(
        [lib.CTxIn(outpoint)],
        [lib.CTxOut(50 * lib.COIN - 10_000, coinbase.vout[0].scriptPubKey)],
        witness=lib.CTxWitness([lib.CTxInWitness(CScriptWitness([OP_TRUE]))]),
    )
    txid = proxy.sendrawtransaction(payment)
    assert txid == payment.GetTxid()
    assert proxy.getrawmempool() == [txid]
    assert lib.b2lx(txid) in proxy.getrawmempool(verbose=True)
    assert proxy.getrawtransaction(txid) == payment
    with pytest.raises(IndexError, match="not found"):
        proxy.gettxout(outpoint)  # spent in the mempool
    with pytest.raises(bitcoin.rpc.VerifyRejectedError, match="insufficient fee"):
        proxy.sendrawtransaction(lib.CTransaction(payment.vin, payment.vout, nLockTime=1, witness=payment.wit))

    (mined,) = proxy.generatetoaddress(1, RAW_TRUE)
    assert proxy.submitblock(proxy.getblock(mined)) == "duplicate"
    assert proxy.getmininginfo()["blocks"] == 102
    assert proxy.validateaddress(RAW_TRUE)["isvalid"]
    with pytest.raises(bitcoin.rpc.JSONRPCError) as caught:
        proxy.getinfo()  # which Core has no longer
    assert caught.value.error == {"code": -32601, "message": "Method not found"}


class Electrum:
    """The command line of an Electrum wallet that knows one server."""

    def __init__(self, folder: Path, cache: pytest.Cache) -> None:
        self._client = electrum(cache)
        self._folder = folder

    def __call__(self, *words: str) -> Any:
        """Run a command; return what it prints, as JSON where it is some."""
        command = [*self._client.command, "--regtest", "-D", str(self._folder), *words]
        environment = {**os.environ, "PYTHONHOME": "", **self._client.environment}
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, timeout=60)
        assert done.returncode == 0, done.stdout + done.stderr
        try:
            return json.loads(done.stdout, parse_float=Decimal)
        except ValueError:
            return done.stdout.strip()


@pytest.fixture
def electrum_server(node: NodeProcess, tmp_path: Path, pytestconfig: pytest.Config) -> Iterator[str]:
    """An ElectrumX on the node; its address as Electrum writes it."""
    assert pytestconfig.cache is not None
    client = electrumx(pytestconfig.cache)
    port, control_port = free_ports(2)
    (tmp_path / "index").mkdir()
    environment = {
        "COIN": "Bitcoin",
        "NET": "regtest",
        "DB_ENGINE": "leveldb",
        "DB_DIRECTORY": str(tmp_path / "index"),
        "DAEMON_URL": f"http://{node.cookie_file.read_text()}@127.0.0.1:{node.rpc_port}/",
        "SERVICES": f"tcp://127.0.0.1:{port},rpc://127.0.0.1:{control_port}",
        "PEER_DISCOVERY": "off",
        "PEER_ANNOUNCE": "",
        "DAEMON_POLL_INTERVAL_BLOCKS": "200",
        "DAEMON_POLL_INTERVAL_MEMPOOL": "200",
    }
    log = tmp_path / "electrumx.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            client.command, env={**os.environ, **client.environment, **environment}, stdout=output, stderr=output
        )
    try:
        until(lambda: process.poll() is not None or "TCP server listening" in log.read_text())
        assert process.poll() is None, log.read_text()
        yield f"127.0.0.1:{port}:t"
    finally:
        process.terminate()
        process.wait(30)
    assert "Traceback" not in log.read_text()


@pytest.mark.timeout(900)  # the first run installs both
def test_an_electrum_wallet_receives_and_pays_through_electrumx(
    node: NodeProcess, tmp_path: Path, pytestconfig: pytest.Config, request: pytest.FixtureRequest
) -> None:
    assert pytestconfig.cache is not None
    wallet = Electrum(tmp_path / "electrum", pytestconfig.cache)
    node.call("generatetoaddress", 1, ADDRESS)  # ElectrumX waits for a chain that is more than a genesis block
    server = request.getfixturevalue("electrum_server")
    wallet("--offline", "create")
    for name, value in (("server", server), ("oneserver", "true"), ("auto_connect", "false")):
        wallet("--offline", "setconfig", name, value)
    wallet("daemon", "-d")
    try:
        assert wallet("load_wallet") is True
        node.call("generatetoaddress", 101, wallet("createnewaddress"))
        until(lambda: wallet("getbalance").get("confirmed") == "100")

        payment = wallet("payto", "--feerate", "2", ADDRESS, "1.5")
        txid = wallet("broadcast", payment)
        assert node.call("getrawmempool") == [txid]
        (output,) = [
            each for each in node.call("getrawtransaction", txid, True)["vout"] if each["value"] == Decimal("1.5")
        ]
        assert output["scriptPubKey"]["address"] == ADDRESS
        until(lambda: Decimal(wallet("getbalance")["confirmed"]) < Decimal("98.5"))
        node.call("generatetoaddress", 1, ADDRESS)
        until(lambda: wallet("get_tx_status", txid)["confirmations"] == 1)
        assert wallet("gettransaction", txid) == payment
    finally:
        wallet("stop")
