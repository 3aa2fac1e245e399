"""What software written for bitcoind asks a node, word for word, and what it reads of the answers: a table.

Read from the source of each client, wallets left out. Fields are those whose absence, or another type, would make the
client fail: most read JSON into typed structures.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from builders import Spendable, coin, spend
from node_processes import NodeProcess
from rpc_node import ADDRESS, RAW_TRUE
from shapes import MapOf, Maybe, Number, Refused

from altyn.consensus.block import Block
from altyn.consensus.transaction import Transaction

HASH = re.compile("[0-9a-f]{64}")
HEX = re.compile("([0-9a-f]{2})+")
NOWHERE = "00" * 32


class World:
    """A chain with a payment in a block, and two in the mempool, the later paying on the earlier one."""

    def __init__(self, node: NodeProcess) -> None:
        hashes = node.call("generatetoaddress", 24, RAW_TRUE)
        node.call("generatetoaddress", 100, ADDRESS)
        blocks = [Block.parse(bytes.fromhex(node.call("getblock", each, 0))) for each in hashes]
        self._coins = iter([coin(block) for block in blocks])
        self.old, self.version = hashes[0], node.call("getnetworkinfo")["version"]
        confirmed = self.payment()
        node.call("sendrawtransaction", confirmed.raw.hex())
        (self.tip,) = node.call("generatetoaddress", 1, ADDRESS)
        self.height = 125
        self.confirmed, self.confirmed_hex = txid(confirmed), confirmed.raw.hex()
        self.spent = blocks[0].transactions[0].txid[::-1].hex()
        parent = self.payment()
        self.child = spend(coin(parent), fee=2000)
        self.waiting, self.waiting_hex = txid(parent), parent.raw.hex()
        self.waiting_spends = parent.inputs[0].prevout.txid[::-1].hex()
        node.call("sendrawtransaction", self.waiting_hex)
        node.call("sendrawtransaction", self.child.raw.hex())

    def payment(self) -> Transaction:
        """Make a payment that nobody has seen."""
        coins: Spendable = next(self._coins)
        return spend(coins, fee=1000)

    def family(self) -> list[str]:
        """Make a parent and its child that nobody has seen."""
        parent = self.payment()
        return [parent.raw.hex(), spend(coin(parent), fee=2000).raw.hex()]


def txid(tx: Transaction) -> str:
    return tx.txid[::-1].hex()


class Call(NamedTuple):
    """A call and what is read of its result."""

    method: str
    params: Any
    reads: Any
    since: int = 0
    """Version of the node (getnetworkinfo) that answers it."""


@dataclass(frozen=True)
class Client:
    """A program and its calls; `envelope` is what its requests have besides id, method and params."""

    calls: Callable[[World], list[Call]]
    envelope: Mapping[str, str] = field(default_factory=dict)
    omits_no_params: bool = False
    batches: bool = False
    """Whether it sends its calls in one request."""


HEADER = {
    "hash": HASH,
    "confirmations": int,
    "height": int,
    "version": int,
    "versionHex": Maybe(HEX),
    "merkleroot": HASH,
    "time": int,
    "mediantime": int,
    "nonce": int,
    "bits": HEX,
    "difficulty": Number,
    "chainwork": HASH,
    "nTx": int,
    "previousblockhash": Maybe(HASH),
    "nextblockhash": Maybe(HASH),
}
BLOCK = {**HEADER, "size": int, "strippedsize": int, "weight": int, "tx": [HASH]}
CHAIN_INFO = {
    "chain": "regtest",
    "blocks": int,
    "headers": int,
    "bestblockhash": HASH,
    "difficulty": Number,
    "mediantime": int,
    "verificationprogress": Number,
    "initialblockdownload": False,
    "chainwork": HASH,
    "size_on_disk": int,
    "pruned": False,
}
NETWORK_INFO = {
    "version": int,
    "subversion": str,
    "protocolversion": int,
    "localservices": re.compile("[0-9a-f]{16}"),
    "localservicesnames": [str],
    "localrelay": True,
    "timeoffset": int,
    "connections": int,
    "networkactive": bool,
    "networks": [{"name": str, "limited": bool, "reachable": bool, "proxy": str, "proxy_randomize_credentials": bool}],
    "relayfee": Number,
    "incrementalfee": Number,
    "localaddresses": list,
}
MEMPOOL_INFO = {
    "loaded": True,
    "size": int,
    "bytes": int,
    "usage": int,
    "total_fee": Number,
    "maxmempool": int,
    "mempoolminfee": Number,
    "minrelaytxfee": Number,
    "unbroadcastcount": int,
}
ENTRY = {
    "vsize": int,
    "weight": int,
    "time": int,
    "height": int,
    "descendantcount": int,
    "descendantsize": int,
    "ancestorcount": int,
    "ancestorsize": int,
    "wtxid": HASH,
    "fees": {"base": Number, "modified": Number, "ancestor": Number, "descendant": Number},
    "depends": list,
    "spentby": list,
    "bip125-replaceable": bool,
    "unbroadcast": bool,
}
SCRIPT = {"asm": str, "hex": HEX, "type": str, "address": Maybe(str), "desc": Maybe(str)}
DECODED = {
    "txid": HASH,
    "hash": HASH,
    "version": int,
    "size": int,
    "vsize": int,
    "weight": int,
    "locktime": int,
    "vin": [{"txid": HASH, "vout": int, "scriptSig": {"asm": str, "hex": str}, "txinwitness": [HEX], "sequence": int}],
    "vout": [{"value": Number, "n": int, "scriptPubKey": SCRIPT}],
    "hex": HEX,
}
CONFIRMED = DECODED | {"blockhash": HASH, "confirmations": int, "time": int, "blocktime": int}
_BLOCK_FIGURES = """
height time mediantime ins outs subsidy swtotal_size swtotal_weight swtxs total_out total_size total_weight totalfee txs
avgfee avgfeerate avgtxsize maxfee maxfeerate maxtxsize medianfee mediantxsize minfee minfeerate mintxsize
utxo_increase utxo_size_inc
"""
ESTIMATE = {"blocks": int, "feerate": Maybe(Number), "errors": Maybe([str])}
OUTPUT = {"bestblock": HASH, "confirmations": int, "value": Number, "scriptPubKey": SCRIPT, "coinbase": bool}
PACKAGE = {
    "package_msg": "success",
    "tx-results": MapOf({"txid": HASH, "vsize": int, "fees": {"base": Number}}),
    "replaced-transactions": Maybe(list),
}
TRIED = [{"txid": HASH, "wtxid": HASH, "allowed": True, "vsize": int, "fees": {"base": Number}}]


def bdk(world: World) -> list[Call]:
    """bdk_bitcoind_rpc, through the bitcoincore-rpc crate: blocks, mempool, and filters."""
    return [
        Call("getblockcount", [], world.height),
        Call("getblockhash", [world.height], world.tip),
        Call("getblockhash", [world.height + 1], Refused(-8)),
        Call("getblock", [world.tip, 1], BLOCK),
        Call("getblock", [NOWHERE, 1], Refused(-5)),
        Call("getblock", [world.tip, 0], HEX),
        Call("getrawmempool", [], [HASH]),
        Call("getrawtransaction", [world.waiting], HEX),
        Call("getrawtransaction", [NOWHERE, False], Refused(-5)),
        Call("getblockheader", [world.tip, True], HEADER),
        Call("getblockfilter", [world.tip], {"filter": HEX, "header": HASH}),
    ]


def electrs(world: World) -> list[Call]:
    """electrs, through the bitcoincore-rpc crate; it begins with three that must have all fields."""
    return [
        Call("getblockchaininfo", [], CHAIN_INFO),
        Call("getnetworkinfo", [], NETWORK_INFO),
        Call("getmempoolinfo", [], MEMPOOL_INFO),
        Call("estimatesmartfee", [25], ESTIMATE),
        Call("getbestblockhash", [], world.tip),
        Call("getblockheader", [world.old, False], HEX),
        Call("getrawtransaction", [world.confirmed, True, world.tip], CONFIRMED | {"in_active_chain": True}),
        Call("getrawtransaction", [world.confirmed, False, world.tip], world.confirmed_hex),
        Call("getrawmempool", [False], [HASH]),
        Call("getmempoolentry", [world.waiting], ENTRY),
        Call("sendrawtransaction", [world.payment().raw.hex()], HASH),
        Call("submitpackage", [world.family()], PACKAGE),
    ]


def electrs_batch(world: World) -> list[Call]:
    """electrs asking for what is new in the mempool, some of which may have gone."""
    gone = Call("getmempoolentry", [NOWHERE], Refused(-5))
    return [
        Call("getmempoolentry", [world.waiting], ENTRY),
        gone,
        Call("getrawtransaction", [world.waiting, False], HEX),
    ]


def electrs_rest(world: World) -> list[tuple[str, int, int]]:
    """What electrs fetches by REST: path, bytes at least, and the version of the node that has it."""
    return [
        (f"headers/{world.old}.bin?count=5", 5 * 80, 0),
        (f"blockhashbyheight/{world.height}.bin", 32, 0),
        (f"block/{world.tip}.bin", 300, 0),
        (f"spenttxouts/{world.tip}.bin", 40, 300000),
        (f"blockpart/{world.tip}.bin?offset=80&size=100", 100, 310000),
    ]


def electrumx(world: World) -> list[Call]:
    """ElectrumX: no version of JSON-RPC, no params where there are none, and probing by calling."""
    return [
        Call("getblockcount", [], world.height),
        Call("getblock", [world.tip, True], BLOCK),
        Call("getrawmempool", [], [HASH]),
        Call("estimatesmartfee", [], Refused(-1)),
        Call("estimatesmartfee", [2, "CONSERVATIVE"], ESTIMATE),
        Call("estimatefee", [], Refused(-32601)),
        Call("getnetworkinfo", [], NETWORK_INFO),
        Call("getmempoolinfo", [], MEMPOOL_INFO),
        Call("getindexinfo", [], {"txindex": {"synced": True, "best_block_height": int}}),
        Call("getrawtransaction", [world.confirmed, 0], HEX),
        Call("getrawtransaction", [world.confirmed, 1], CONFIRMED),
        Call("gettxspendingprevout", [], Refused(-1)),
        Call(
            "gettxspendingprevout",
            [[{"txid": world.spent, "vout": 0}], {"mempool_only": False}],
            [{"txid": HASH, "vout": int, "spendingtxid": world.confirmed}],
            since=310000,
        ),
        Call("testmempoolaccept", [[world.payment().raw.hex()]], TRIED),
        Call("submitpackage", [world.family()], PACKAGE),
        Call("sendrawtransaction", [world.waiting_hex], world.waiting),
    ]


def electrumx_batch(world: World) -> list[Call]:
    """ElectrumX fetching blocks."""
    return [
        Call("getblockhash", [1], world.old),
        Call("getblockhash", [2], HASH),
        Call("getblock", [world.old, False], HEX),
    ]


def lnd(world: World) -> list[Call]:
    """LND on bitcoind: btcwallet through btcd's rpcclient, which takes a node of another name for one before 0.19."""
    return [
        Call("getinfo", [], Refused(-32601)),
        Call("getnetworkinfo", [], NETWORK_INFO),
        Call("getblockchaininfo", [], CHAIN_INFO),
        Call("getdeploymentinfo", [], {"deployments": {"taproot": {"type": str, "active": True}}}),
        Call("uptime", [], int),
        Call("getbestblockhash", [], world.tip),
        Call("getblockhash", [world.height], world.tip),
        Call("getblockheader", [world.tip, False], HEX),
        Call("getblockheader", [world.tip, True], HEADER),
        Call("getblock", [world.tip, 0], HEX),
        Call("getblock", [world.tip, 1], BLOCK),
        Call("getrawmempool", [False], [HASH]),
        Call("getrawmempool", [True], MapOf(ENTRY)),
        Call("getrawtransaction", [world.waiting, 0], HEX),
        Call("getrawtransaction", [world.confirmed, 1], CONFIRMED),
        Call("gettxout", [world.confirmed, 0, True], OUTPUT),
        Call("gettxout", [world.spent, 0, True], None),
        Call("testmempoolaccept", [[world.payment().raw.hex()], 0.1], TRIED),
        Call("testmempoolaccept", [[world.confirmed_hex], 0.1], [{"allowed": False, "reject-reason": str}]),
        Call("sendrawtransaction", [world.payment().raw.hex(), 0.1], HASH),
        Call("sendrawtransaction", [world.confirmed_hex, 0.1], Refused(-27)),
        Call("sendrawtransaction", [world.payment().raw.hex(), False], HASH, since=310000),
        Call("submitpackage", [world.family()], PACKAGE),
        Call(
            "gettxspendingprevout",
            [[{"txid": world.waiting_spends, "vout": 0}]],
            [{"txid": HASH, "vout": int, "spendingtxid": world.waiting}],
        ),
        Call("estimatesmartfee", [6, "CONSERVATIVE"], ESTIMATE),
        Call("getpeerinfo", [], list),
        Call("getzmqnotifications", [], list),
    ]


def core_lightning(world: World) -> list[Call]:
    """Core Lightning's bcli; how its bitcoin-cli exits is tried with altyn-cli."""
    return [
        Call("getnetworkinfo", [], {"version": int, "localrelay": True}),
        Call(
            "getblockchaininfo", [], {"chain": "regtest", "headers": int, "blocks": int, "initialblockdownload": bool}
        ),
        Call("getmempoolinfo", [], {"mempoolminfee": Number, "minrelaytxfee": Number}),
        *(Call("estimatesmartfee", list(each), ESTIMATE) for each in ((2, "CONSERVATIVE"), (100, "ECONOMICAL"))),
        Call("getblockhash", [world.height], world.tip),
        Call("getblockhash", [999_999], Refused(-8)),
        Call("getblock", [world.tip, 0], HEX),
        Call("getblockfrompeer", [world.tip, 0], Refused(-1)),
        Call("gettxout", [world.confirmed, 0], OUTPUT),
        Call("gettxout", [world.spent, 0], None),
        Call("sendrawtransaction", [world.payment().raw.hex(), 0], HASH),
        Call("sendrawtransaction", [world.confirmed_hex], Refused(-27)),
    ]


def nbxplorer(world: World) -> list[Call]:
    """NBXplorer, through NBitcoin, which tries what a node knows by calls without parameters."""
    return [
        *(
            Call(each, [], Refused(-1))
            for each in (
                "generatetoaddress",
                "setban",
                "signrawtransactionwithkey",
                "scantxoutset",
                "testmempoolaccept",
            )
        ),
        Call("importmulti", [], Refused(-32601)),
        Call("getblockchaininfo", [], CHAIN_INFO),
        Call("getnetworkinfo", [], NETWORK_INFO),
        Call("getindexinfo", ["txindex"], {"txindex": {"synced": True, "best_block_height": int}}),
        Call("getbestblockhash", [], world.tip),
        Call("getblockheader", [world.tip, False], HEX),
        Call("getblockheader", [world.tip], HEADER),
        Call("getblock", [world.tip, 0], HEX),
        Call("getmempoolentry", [world.waiting], ENTRY),
        Call("getrawtransaction", [world.confirmed, True], CONFIRMED),
        Call("getpeerinfo", [], list),
        Call("estimatesmartfee", [1, "CONSERVATIVE"], ESTIMATE),
        Call("sendrawtransaction", [world.payment().raw.hex()], HASH),
        Call("testmempoolaccept", [[world.payment().raw.hex()]], TRIED),
        Call("scantxoutset", ["status"], None),
        Call(
            "scantxoutset",
            ["start", [{"desc": f"addr({RAW_TRUE})"}]],
            {
                "success": True,
                "height": int,
                "bestblock": HASH,
                "total_amount": Number,
                "unspents": [{"txid": HASH, "vout": int, "scriptPubKey": HEX, "amount": Number, "height": int}],
            },
        ),
        Call("scantxoutset", ["abort"], False),
        Call("utxoupdatepsbt", ["cHNidP8BAAoCAAAAAAAAAAAAAA=="], str),
    ]


def pyln_testing(world: World) -> list[Call]:
    """pyln-testing, as far as it needs no wallet, through python-bitcoinlib's raw proxy."""
    return [
        Call("generatetoaddress", [1, ADDRESS], [HASH]),
        Call("getrawmempool", [], list),
        Call("prioritisetransaction", [world.waiting, 0, 1], True),
        Call("generateblock", [ADDRESS, []], {"hash": HASH}),
        Call("getblockhash", [world.height], world.tip),
        Call("getblock", [world.tip, False], HEX),
        Call("submitblock", [NOWHERE], Refused(-22)),
        Call("invalidateblock", [world.tip], None),
        Call("getblockcount", [], world.height - 1),
        Call("getrawmempool", [True], MapOf(ENTRY)),
        Call("reconsiderblock", [world.tip], None),
    ]


def mempool_space(world: World) -> list[Call]:
    """The backend of mempool.space on a node without an Electrum server."""
    in_block = {
        "txid": HASH,
        "hash": HASH,
        "size": int,
        "vsize": int,
        "weight": int,
        "vin": [dict],
        "vout": [dict],
        "hex": HEX,
    }
    previous = {"generated": bool, "height": int, "value": Number, "scriptPubKey": SCRIPT}
    return [
        Call("getblockchaininfo", [], CHAIN_INFO),
        Call("getrawmempool", [True], MapOf(ENTRY)),
        Call("getmempoolentry", [world.waiting], ENTRY),
        Call("getmempoolinfo", [], MEMPOOL_INFO),
        Call("getblock", [world.tip, 2], {**BLOCK, "tx": [in_block]}),
        Call("getblock", [world.tip, 0], HEX),
        Call("getrawtransaction", [world.confirmed, True], CONFIRMED),
        Call("getrawtransaction", [world.confirmed, 2], CONFIRMED | {"fee": Number, "vin": [{"prevout": previous}]}),
        Call("gettxout", [world.confirmed, 0, False], OUTPUT),
        Call(
            "validateaddress", [ADDRESS], {"isvalid": True, "address": ADDRESS, "scriptPubKey": HEX, "iswitness": True}
        ),
        Call("validateaddress", ["nonsense"], {"isvalid": False, "error": str, "error_locations": list}),
        Call("getchaintips", [], [{"height": int, "hash": HASH, "branchlen": int, "status": str}]),
        Call("getnetworkhashps", [10, world.height], Number),
        Call("testmempoolaccept", [[world.payment().raw.hex()], 0.1], TRIED),
    ]


def btc_rpc_explorer(world: World) -> list[Call]:
    """btc-rpc-explorer: the figures of its pages."""
    stats = dict.fromkeys(_BLOCK_FIGURES.split(), int) | {"blockhash": HASH, "feerate_percentiles": [int]}
    return [
        Call(
            "getnettotals", [], {"totalbytesrecv": int, "totalbytessent": int, "timemillis": int, "uploadtarget": dict}
        ),
        Call("getmininginfo", [], {"blocks": int, "difficulty": Number, "networkhashps": Number, "pooledtx": int}),
        Call("uptime", [], int),
        Call("getpeerinfo", [], list),
        Call("getblockstats", [world.tip], stats),
        Call("getblockstats", [world.height, ["txs", "totalfee"]], {"txs": int, "totalfee": int}),
        Call(
            "getchaintxstats",
            [50],
            {"time": int, "txcount": int, "window_tx_count": int, "window_interval": int, "window_block_count": 50},
        ),
        Call(
            "gettxoutsetinfo",
            [],
            {"height": int, "bestblock": world.tip, "txouts": int, "total_amount": Number, "hash_serialized_3": HASH},
        ),
        Call("getblocktemplate", [{"rules": ["segwit"]}], {"transactions": list, "coinbasevalue": int}),
        Call("decodescript", ["51"], {"asm": "1", "desc": str, "type": str, "p2sh": str, "segwit": dict}),
        Call("getdescriptorinfo", [f"addr({ADDRESS})"], {"descriptor": str, "checksum": str, "issolvable": False}),
        Call("getmempoolancestors", [txid(world.child), True], MapOf(ENTRY)),
        Call("getmempooldescendants", [world.waiting, True], MapOf(ENTRY)),
        Call("getindexinfo", [], MapOf({"synced": True, "best_block_height": int})),
        Call("help", ["getblock"], str),
    ]


def cpuminer(world: World) -> list[Call]:
    """pooler's cpuminer."""
    wanted = {"capabilities": ["coinbasetxn", "coinbasevalue", "longpoll", "workid"], "rules": ["segwit"]}
    template = {
        "height": int,
        "version": int,
        "previousblockhash": HASH,
        "curtime": int,
        "bits": HEX,
        "target": HASH,
        "transactions": [{"data": HEX, "txid": HASH, "hash": HASH, "fee": int, "sigops": int, "weight": int}],
        "coinbasevalue": int,
        "coinbaseaux": dict,
        "mutable": [str],
        "rules": [str],
        "longpollid": str,
        "default_witness_commitment": HEX,
    }
    return [Call("getblocktemplate", [wanted], template), Call("submitblock", [NOWHERE], Refused(-22))]


CLIENTS = {
    "bdk": Client(bdk, {"jsonrpc": "2.0"}),
    "electrs": Client(electrs, {"jsonrpc": "2.0"}),
    "electrs, batch": Client(electrs_batch, {"jsonrpc": "2.0"}, batches=True),
    "ElectrumX": Client(electrumx, omits_no_params=True),
    "ElectrumX, batch": Client(electrumx_batch, batches=True),
    "LND": Client(lnd, {"jsonrpc": "1.0"}),
    "Core Lightning": Client(core_lightning),
    "NBXplorer": Client(nbxplorer, {"jsonrpc": "1.0"}),
    "mempool.space": Client(mempool_space, {"jsonrpc": "1.0"}),
    "btc-rpc-explorer": Client(btc_rpc_explorer),
    "cpuminer": Client(cpuminer),
    "pyln-testing": Client(pyln_testing, {"version": "1.1"}),  # last: it changes the chain
}
"""By name, in an order in which none takes away what the next looks for."""
