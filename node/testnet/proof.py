"""The staged payment: mined money, one payment, a double spend that is refused, and what the light node checked.

Everything is done as a user would do it: by the nodes' RPC and by the `altyn-wallet` command.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from altyn.node.rpc.client import RpcFailure
from altyn.node.testnet.processes import LocalNetwork, NodeRecord, TestnetError, wait_until

AMOUNT = "1.5"
"""Coins paid from alice to bob."""
CONFIRMATIONS = 6
MATURE = 101
"""Blocks until the first one's reward may be spent."""
SYNC_TIMEOUT = 60.0

Progress = Callable[[str], None]


class WalletCommand:
    """`altyn-wallet` for one wallet of the network, on one of its nodes."""

    def __init__(self, network: LocalNetwork, name: str, node: NodeRecord) -> None:
        self.name = name
        self._network = network
        self._options = ["--wallet", name, "--wallet-dir", str(network.wallets), "--network", "regtest"]
        self._options += ["--rpc-url", node.rpc_url, "--rpc-cookie-file", str(node.cookie_file)]

    def run(self, *arguments: str) -> Any:
        """Run a command of the wallet and return its JSON. Raises TestnetError with its one-line reason."""
        command = [sys.executable, "-m", "altyn.wallet.cli", *self._options, *arguments, "--json"]
        environment = {**os.environ, "ALTYN_WALLET_PASSPHRASE": self._network.passphrase}
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
        if done.returncode:
            lines = done.stderr.strip().splitlines() or ["failed without a word"]
            raise TestnetError(f"wallet {self.name}: {lines[-1].removeprefix('Error: ')}")
        return json.loads(done.stdout)


def stage(network: LocalNetwork, progress: Progress) -> dict[str, Any]:
    """Mine, pay, try to pay twice, confirm, verify; return the account of it as it is printed with `--json`."""
    miner, *others = network.full_nodes
    thief_node = others[-1] if others else miner
    light = network.light_nodes[0]
    alice = WalletCommand(network, "alice", miner)
    bob = WalletCommand(network, "bob", light)
    progress("making the wallets of alice and bob")
    alice.run("create")
    bob.run("create")

    progress(f"mining {MATURE} blocks for alice on {miner.name}")
    alice_address = alice.run("address")["address"]
    mined = mine(network, miner, MATURE, alice_address)
    alice.run("balance")
    # A thief with a copy of alice's wallet, who has not heard of the payment yet.
    shutil.copyfile(wallet_file(network, "alice"), wallet_file(network, "thief"))
    (wallet_file(network, "thief")).chmod(0o600)

    progress(f"paying {AMOUNT} coins from alice to bob")
    bob_address = bob.run("address")["address"]
    payment = alice.run("send", bob_address, AMOUNT)
    txid = payment["txid"]
    await_everywhere(network.full_nodes, f"payment {txid}", lambda node: txid in node.rpc().call("getrawmempool"))

    progress(f"trying to spend the same coin again on {thief_node.name}")
    double_spend = attempt_double_spend(network, thief_node, txid)

    progress(f"mining {CONFIRMATIONS} blocks to confirm it")
    confirmer = others[0] if others else miner
    blocks = mine(network, confirmer, CONFIRMATIONS, alice_address)
    block = blocks[0]
    raw = confirmer.rpc().call("getrawtransaction", [txid, True, block])
    progress(f"asking {light.name} whether bob was paid")
    verified = verify_by_light_node(network, light, bob, txid, block)
    return {
        "network": network.name,
        "nodes": describe_nodes(network),
        "mined": {"by": miner.name, "to": "alice", "address": alice_address, "blocks": len(mined)},
        "payment": {
            "from": "alice",
            "to": "bob",
            "address": bob_address,
            "txid": txid,
            "amount_sat": payment["amount_sat"],
            "fee_sat": payment["fee_sat"],
            "block": block,
            "height": confirmer.rpc().call("getblockheader", [block])["height"],
            "confirmations": raw["confirmations"],
        },
        "double_spend": double_spend,
        "light": verified,
    }


def wallet_file(network: LocalNetwork, name: str) -> Path:
    """Return where the wallet program keeps a wallet of the network, given the folder of its wallets."""
    return network.wallets / "regtest" / f"{name}.sqlite"


def mine(network: LocalNetwork, node: NodeRecord, count: int, address: str) -> list[str]:
    """Mine `count` blocks on `node` and wait until every node, light ones too, stands at the new tip."""
    hashes: list[str] = node.rpc(timeout=600.0).call("generatetoaddress", [count, address])
    tip = hashes[-1]
    await_everywhere(network.nodes, f"block {tip}", lambda one: one.rpc().call("getbestblockhash") == tip)
    return hashes


def await_everywhere(nodes: list[NodeRecord], what: str, holds: Callable[[NodeRecord], bool]) -> None:
    """Wait until `holds` for each node. Raises TestnetError naming the first that does not get there."""
    for node in nodes:
        if not wait_until(partial(holds, node), SYNC_TIMEOUT):
            raise TestnetError(
                f"{node.name} did not get {what} within {SYNC_TIMEOUT:.0f} s; its log is in {node.datadir}"
            )


def attempt_double_spend(network: LocalNetwork, node: NodeRecord, txid: str) -> dict[str, Any]:
    """Have the thief spend what `txid` spends; return who refused it and why."""
    thief = WalletCommand(network, "thief", node)
    address = thief.run("address")["address"]
    built = thief.run("send", address, AMOUNT, "--dry-run")
    spent = {(txin["txid"], txin["vout"]) for txin in node.rpc().call("decoderawtransaction", [built["hex"]])["vin"]}
    first = {(txin["txid"], txin["vout"]) for txin in node.rpc().call("getrawtransaction", [txid, True])["vin"]}
    if not spent & first:
        raise TestnetError("the staged double spend does not spend the payment's coin")
    try:
        node.rpc().call("sendrawtransaction", [built["hex"]])
    except RpcFailure as refusal:
        return {
            "rejected": True,
            "reason": refusal.message,
            "code": refusal.code,
            "by": node.name,
            "txid": built["txid"],
        }
    return {"rejected": False, "reason": "", "code": 0, "by": node.name, "txid": built["txid"]}


def verify_by_light_node(
    network: LocalNetwork, light: NodeRecord, bob: WalletCommand, txid: str, block: str
) -> dict[str, Any]:
    """Let bob's wallet look through the light node, and return what that node checked by itself."""
    history = bob.run("history")
    seen = [entry for entry in history["transactions"] if entry["txid"] == txid and entry["confirmations"] > 0]
    state = light.rpc().call("getlightinfo")
    return {
        "node": light.name,
        "headers": state["headers"],
        "filter_headers": state["filter_headers"],
        "filters_checked": state["filters_checked"],
        "blocks_fetched": state["blocks_fetched"],
        "peers": len(light.rpc().call("getpeerinfo")),
        "payment_seen": bool(seen),
        "block": block,
    }


def describe_nodes(network: LocalNetwork) -> list[dict[str, Any]]:
    """Ask every node where it stands."""
    described = []
    for node in network.nodes:
        rpc = node.rpc()
        described.append(
            {
                "name": node.name,
                "kind": node.kind,
                "height": rpc.call("getblockcount"),
                "tip": rpc.call("getbestblockhash"),
                "rpc": node.rpc_url,
                "rpc_url": node.rpc_url,  # as programs tend to look for it
                "cookie": str(node.cookie_file),
                "p2p": f"127.0.0.1:{node.port}" if node.kind == "full" else None,
                "datadir": node.datadir,
                "pid": node.pid,
            }
        )
    return described
