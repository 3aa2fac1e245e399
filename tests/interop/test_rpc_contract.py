"""Altyn's RPC held against bitcoind's, field by field, on one chain that both have."""

import fnmatch
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pytest
from node_processes import NodeProcess, altyn_process, bitcoind_process, until, until_same_tip

from altyn.node.rpc.client import RpcClient, RpcFailure

pytestmark = [pytest.mark.timeout(300), pytest.mark.xdist_group("interop")]

ADDRESS = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080"
UNKNOWN = "00" * 31 + "77"
INNER = "21" + "02" * 33 + "ac"

ALLOWED_ABSENT = {
    # Fields that only the peer has, because it is newer than Core 28.1 or not Core.
    "*target": "from Core 29 on",
    "getblockchaininfo.bits": "from Core 29 on",
    "*reject-details": "from Core 29 on",
    "getblock*.txcount": "Knots only",
    "getblock*.header_version": "Knots only",
    "getmempoolinfo.dustrelayfee": "Knots only",
    "getmempoolinfo.dustrelayfeefloor": "Knots only",
    "getmempoolinfo.dustdynamic": "Knots only",
    "getmempoolinfo.rbf_policy": "Knots only",
    "getmempoolinfo.truc_policy": "Knots only",
    "getrawmempool.*.hash": "Knots only",
    "getrawmempool.*priority": "Knots only",
    "testmempoolaccept.[].usage": "Knots only",
    "getpeerinfo.[].last_block_announcement": "Knots only",
    "getpeerinfo.[].forced_inbound": "Knots only",
    "getpeerinfo.[].misbehavior_score": "Knots only",
    "getpeerinfo.[].cpu_load": "Knots only",
    "getpeerinfo.[].pingtime": "only after the first pong",
    "getpeerinfo.[].minping": "only after the first pong",
    "getpeerinfo.[].pingwait": "only while a ping is out",
    "getpeerinfo.[].addrlocal": "only where the other side names an address",
    "getpeerinfo.[].bytes*_per_msg.*": "depends on what was said",
}
ALLOWED_EXTRA = {
    "getpeerinfo.[].addrlocal": "only where the other side names an address",
    "getpeerinfo.[].pingtime": "only after the first pong",
    "getpeerinfo.[].minping": "only after the first pong",
    "getpeerinfo.[].pingwait": "only while a ping is out",
    "getpeerinfo.[].bytes*_per_msg.*": "depends on what was said",
}
OWN_VALUES = {
    # Fields whose values differ between any two nodes, or between versions; their kinds must agree.
    "getblockchaininfo.verificationprogress": "measured differently",
    "getblockchaininfo.size_on_disk": "counts differ",
    "getblockchaininfo.warnings": "each its own",
    "getmempoolinfo.usage": "memory of another program",
    "getmempoolinfo.*fee": "the peer's default feerates are those of Core 30",
    "getmempoolinfo.unbroadcastcount": "the payment began there",
    "getrawmempool.*.time": "when it came",
    "getrawmempool.*.unbroadcast": "the payment began there",
    "gettxoutsetinfo.disk_size": "another database",
    "getblocktemplate.curtime": "now",
    "getblocktemplate.longpollid": "a counter of its own",
    "getnetworkinfo.*": "each its own",
    "getpeerinfo.*": "each its own",
    "uptime": "each its own",
    "validateaddress.error": "worded otherwise by Knots",
    "validateaddress.error_locations*": "Knots looks further",
}


@dataclass(frozen=True)
class Contract:
    """Both nodes at one tip, with a payment confirmed in the last block and another one waiting."""

    altyn: NodeProcess
    peer: NodeProcess
    block: str
    confirmed: str
    waiting: str
    raw: str

    def both(self, method: str, params: tuple[Any, ...]) -> tuple[Any, Any]:
        """Return what each answers: a result, or an RpcFailure."""
        return _ask(self.altyn, method, params), _ask(self.peer, method, params)


def _ask(node: NodeProcess, method: str, params: tuple[Any, ...]) -> Any:
    try:
        return node.call(method, *params)
    except RpcFailure as failure:
        return failure


@pytest.fixture(scope="module")
def contract(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Contract]:
    folder = tmp_path_factory.mktemp("contract")
    with (
        bitcoind_process(folder / "bitcoind", "-blockfilterindex=1", "-txindex=1", "-peerblockfilters=1") as peer,
        altyn_process(folder / "altyn", "--txindex") as altyn,
    ):
        peer.call("createwallet", "w")
        own = peer.call("getnewaddress", wallet="w")
        altyn.call("addnode", peer.address, "onetry")
        peer.call("generatetoaddress", 102, own)
        until_same_tip(altyn, peer)
        confirmed = peer.call("sendtoaddress", ADDRESS, 1, wallet="w")
        (block,) = peer.call("generatetoaddress", 1, own)
        until_same_tip(altyn, peer)
        waiting = peer.call("sendtoaddress", ADDRESS, 2, wallet="w")
        until(lambda: waiting in altyn.call("getrawmempool"))
        raw = peer.call("getrawtransaction", waiting)
        yield Contract(altyn, peer, block, confirmed, waiting, raw)


def is_listed(path: str, table: dict[str, str]) -> bool:
    return any(fnmatch.fnmatchcase(path, pattern.replace("[]", "[[]]")) for pattern in table)


def differences(path: str, ours: Any, theirs: Any) -> Iterator[str]:
    """Yield where two answers differ without leave."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        for name in ours.keys() - theirs.keys():
            if not is_listed(f"{path}.{name}", ALLOWED_EXTRA):
                yield f"{path}.{name}: only Altyn has it"
        for name in theirs.keys() - ours.keys():
            if not is_listed(f"{path}.{name}", ALLOWED_ABSENT):
                yield f"{path}.{name}: only the peer has it"
        for name in ours.keys() & theirs.keys():
            yield from differences(f"{path}.{name}", ours[name], theirs[name])
    elif is_listed(path, OWN_VALUES):
        if not isinstance(ours, list) and kind(ours) != kind(theirs):
            yield f"{path}: {kind(ours)} against {kind(theirs)}"
        if isinstance(ours, list) and isinstance(theirs, list) and ours and theirs:
            yield from differences(f"{path}.[]", ours[0], theirs[0])
    elif isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        for one, other in zip(ours, theirs, strict=True):
            yield from differences(f"{path}.[]", one, other)
    elif ours != theirs:
        yield f"{path}: {ours!r} against {theirs!r}"


def kind(value: Any) -> str:
    return "number" if isinstance(value, int | Decimal) and not isinstance(value, bool) else type(value).__name__


SEGWIT = {"rules": ["segwit"]}
RESULTS: list[tuple[str, tuple[str, ...] | tuple[Any, ...]]] = [
    ("getblockchaininfo", ()),
    ("getbestblockhash", ()),
    ("getblockcount", ()),
    ("getblockhash", (50,)),
    ("getblockheader", ("BLOCK",)),
    ("getblockheader", ("BLOCK", False)),
    ("getblock", ("BLOCK",)),
    ("getblock", ("BLOCK", 0)),
    ("getblock", ("BLOCK", 2)),
    ("getblock", ("BLOCK", 3)),
    ("getblock", ("BLOCK", True)),
    ("getblockfilter", ("BLOCK",)),
    ("getchaintips", ()),
    ("gettxout", ("CONFIRMED", 0)),
    ("gettxout", ("CONFIRMED", 1)),
    ("gettxout", ("WAITING", 0)),
    ("gettxout", ("WAITING", 0, False)),
    ("gettxout", (UNKNOWN, 0)),
    ("getrawtransaction", ("CONFIRMED",)),
    ("getrawtransaction", ("CONFIRMED", 1)),
    ("getrawtransaction", ("CONFIRMED", 2)),
    ("getrawtransaction", ("CONFIRMED", True, "BLOCK")),
    ("getrawtransaction", ("WAITING", 1)),
    ("getmempoolinfo", ()),
    ("getrawmempool", ()),
    ("getrawmempool", (True,)),
    ("testmempoolaccept", (["RAW"],)),
    ("sendrawtransaction", ("RAW",)),
    ("decoderawtransaction", ("RAW",)),
    ("decodescript", (INNER,)),
    ("decodescript", ("5121" + "02" * 33 + "51ae",)),
    ("decodescript", ("76a914" + "11" * 20 + "88ac",)),
    ("decodescript", ("",)),
    ("decodescript", ("6a0401020304",)),
    ("decodescript", ("51024e73",)),
    ("validateaddress", (ADDRESS,)),
    ("validateaddress", ("mipcBbFg9gMiCh81Kj8tqqdgoZub1ZJRfn",)),
    ("validateaddress", ("2N2JD6wb56AfK4tfmM6PwdVmoYk2dCKf4Br",)),
    ("validateaddress", ("bcrt1pqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqc8gma6",)),
    ("validateaddress", ("bcrt1pfeesnyr2tx",)),
    ("validateaddress", ("nonsense",)),
    ("getblocktemplate", (SEGWIT,)),
    ("getblocktemplate", ({"mode": "proposal", "data": "BLOCK_HEX"},)),
    ("submitblock", ("BLOCK_HEX",)),
    ("getpeerinfo", ()),
    ("getnetworkinfo", ()),
    ("getdeploymentinfo", ()),
    ("getdeploymentinfo", ("BLOCK",)),
    ("syncwithvalidationinterfacequeue", ()),
    ("uptime", ()),
    ("getindexinfo", ()),
    ("getindexinfo", ("txindex",)),
    ("getindexinfo", ("nonsense",)),
    ("gettxoutsetinfo", ()),
    ("gettxoutsetinfo", ("muhash",)),
    ("gettxoutsetinfo", ("none", None, False)),
    ("gettxspendingprevout", ([{"txid": "WAITING", "vout": 0}, {"txid": "CONFIRMED", "vout": 1}],)),
]

ERRORS: list[tuple[str, tuple[Any, ...]]] = [
    ("getblockhash", (9999,)),
    ("getblockhash", (-1,)),
    ("getblockhash", ("1",)),
    ("getblockhash", (1.5,)),
    ("getblock", ("00",)),
    ("getblock", (UNKNOWN,)),
    ("getblock", ("zz" * 32,)),
    ("getblock", ("BLOCK", "1")),
    ("getblockheader", (UNKNOWN,)),
    ("getblockheader", ("BLOCK", 1)),
    ("getblockfilter", (UNKNOWN,)),
    ("getblockfilter", ("BLOCK", "extended")),
    ("gettxout", ("00", 0)),
    ("gettxout", (UNKNOWN, "0")),
    ("getrawtransaction", (UNKNOWN,)),
    ("getrawtransaction", (UNKNOWN, 0, UNKNOWN)),
    ("getrawtransaction", (UNKNOWN, 0, "BLOCK")),
    ("getrawmempool", (True, True)),
    ("testmempoolaccept", ("RAW",)),
    ("testmempoolaccept", ([],)),
    ("testmempoolaccept", (["ff00baar"],)),
    ("testmempoolaccept", (["RAW"], 1)),
    ("testmempoolaccept", (["RAW"], -1)),
    ("testmempoolaccept", ([1],)),
    ("sendrawtransaction", ("00",)),
    ("sendrawtransaction", ("SPENT",)),
    ("sendrawtransaction", ("ORPHAN",)),
    ("decoderawtransaction", ("00",)),
    ("decodescript", ("zz",)),
    ("getblocktemplate", ({},)),
    ("getblocktemplate", ({"mode": "dream"},)),
    ("getblocktemplate", ({"mode": "proposal"},)),
    ("getblocktemplate", ({"mode": "proposal", "data": "00"},)),
    ("submitblock", ("00",)),
    ("submitblock", ("",)),
    ("generatetoaddress", (1, "nobody")),
    ("addnode", ("127.0.0.1:1", "remove")),
    ("disconnectnode", ()),
    ("disconnectnode", ("127.0.0.1:1", 5)),
    ("disconnectnode", ("127.0.0.1:1",)),
    ("disconnectnode", ("", 99)),
    ("invalidateblock", (UNKNOWN,)),
    ("reconsiderblock", (UNKNOWN,)),
    ("preciousblock", (UNKNOWN,)),
    ("setmocktime", (-1,)),
    ("getdeploymentinfo", (UNKNOWN,)),
    ("getindexinfo", (1,)),
    ("gettxoutsetinfo", ("sha256",)),
    ("gettxoutsetinfo", (1,)),
    ("gettxoutsetinfo", ("muhash", 1)),
    ("gettxoutsetinfo", ("muhash", None, 1)),
    ("gettxspendingprevout", ([],)),
    ("gettxspendingprevout", ([1],)),
    ("gettxspendingprevout", ([{"vout": 0}],)),
    ("gettxspendingprevout", ([{"txid": 1, "vout": 0}],)),
    ("gettxspendingprevout", ([{"txid": UNKNOWN, "vout": "0"}],)),
    ("gettxspendingprevout", ([{"txid": UNKNOWN, "vout": -1}],)),
    ("gettxspendingprevout", ([{"txid": UNKNOWN, "vout": 1.5}],)),
    ("gettxspendingprevout", ([{"txid": UNKNOWN, "vout": 0, "n": 1}],)),
    ("gettxspendingprevout", ([{"txid": "00", "vout": 0}],)),
    ("nothing", ()),
]


def filled(contract: Contract, value: Any) -> Any:
    """Put what is only known now in the place of its name."""
    if isinstance(value, list | tuple):
        return type(value)(filled(contract, each) for each in value)
    if isinstance(value, dict):
        return {name: filled(contract, each) for name, each in value.items()}
    match value:
        case "BLOCK":
            return contract.block
        case "BLOCK_HEX":
            return contract.peer.call("getblock", contract.block, 0)
        case "CONFIRMED":
            return contract.confirmed
        case "WAITING":
            return contract.waiting
        case "RAW":
            return contract.raw
        case "SPENT":
            return contract.peer.call("getrawtransaction", contract.confirmed)
        case "ORPHAN":
            return (
                "0200000001"
                + "77" * 32
                + "00000000"
                + "00"
                + "ffffffff"
                + "01"
                + "e803000000000000"
                + "16"
                + ("0014" + "11" * 20)
                + "00000000"
            )
    return value


def label(value: Any) -> str:
    return str(value)[:60]


@pytest.mark.parametrize(("method", "params"), RESULTS, ids=label)
def test_results_agree_field_by_field(contract: Contract, method: str, params: tuple[Any, ...]) -> None:
    ours, theirs = contract.both(method, filled(contract, params))
    assert not isinstance(ours, RpcFailure), ours
    assert not isinstance(theirs, RpcFailure), theirs
    assert list(differences(method, ours, theirs)) == []


@pytest.mark.parametrize(("method", "params"), ERRORS, ids=label)
def test_errors_agree_in_code_and_message(contract: Contract, method: str, params: tuple[Any, ...]) -> None:
    ours, theirs = contract.both(method, filled(contract, params))
    assert isinstance(ours, RpcFailure), ours
    assert isinstance(theirs, RpcFailure), theirs
    assert (ours.code, ours.message) == (theirs.code, theirs.message)


@pytest.mark.parametrize("method", ["getblockhash", "getblock", "sendrawtransaction", "addnode", "getblocktemplate"])
def test_missing_arguments_get_the_help_that_begins_alike(contract: Contract, method: str) -> None:
    ours, theirs = contract.both(method, ())
    assert isinstance(ours, RpcFailure)
    assert isinstance(theirs, RpcFailure)
    assert ours.code == theirs.code == -1
    assert ours.message.split()[0] == theirs.message.split()[0] == method


@pytest.mark.parametrize(
    "body",
    [
        {"method": "getblockcount"},
        {"method": "getblockcount", "id": "x", "jsonrpc": "1.0"},
        {"method": "getblockcount", "id": 1, "jsonrpc": "2.0"},
        {"method": "getblockhash", "id": 1, "params": {"height": 0}},
        {"method": "getblockhash", "id": 1, "params": {"args": [0]}},
        {"method": "getblockhash", "id": 1, "params": {"depth": 0}},
        {"method": "getblockhash", "id": 1, "params": {"args": [0], "height": 1}},
        {"method": "nothing", "id": 1},
        {"method": "nothing", "id": 1, "jsonrpc": "2.0"},
        {"method": 7, "id": 1},
        {"id": 1},
        {"method": "getblockcount", "params": 7, "id": 1},
        [],
        [{"method": "getblockcount", "id": 1, "jsonrpc": "2.0"}, {"method": "nothing", "id": 2}, {}],
        5,
    ],
    ids=label,
)
def test_requests_of_every_form_get_the_same_reply(contract: Contract, body: Any) -> None:
    replies = [RpcClient(node.url, cookie_file=node.cookie_file).post(body) for node in (contract.altyn, contract.peer)]
    assert replies[0] == replies[1]
