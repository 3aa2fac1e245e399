"""Altyn's RPC held against bitcoind's, field by field, on one chain that both have."""

import fnmatch
import json
import urllib.error
import urllib.request
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
    "get*info.bits": "from Core 29 on",
    "getmininginfo.next": "from Core 29 on",
    "*reject-details": "from Core 29 on",
    "getblock*.txcount": "Knots only",
    "getblock*.header_version": "Knots only",
    "getmempoolinfo.dust*": "Knots only",
    "getmempoolinfo.*_policy": "Knots only",
    "getrawmempool.*.hash": "Knots only",
    "getrawmempool.*priority": "Knots only",
    "testmempoolaccept.[].usage": "Knots only",
    "signrawtransactionwithkey.fee*": "Knots only",
    "getpeerinfo.[].last_block_announcement": "Knots only",
    "getpeerinfo.[].forced_inbound": "Knots only",
    "getpeerinfo.[].misbehavior_score": "Knots only",
    "getpeerinfo.[].cpu_load": "Knots only",
}
NOT_ALWAYS = {
    # Fields that either may have at a time when the other has not.
    "getpeerinfo.[].*ping*": "after the first pong, or while a ping is out",
    "getpeerinfo.[].addrlocal": "only where the other side names an address",
    "getpeerinfo.[].bytes*_per_msg.*": "depends on what was said",
    "getmininginfo.currentblock*": "only after a block was assembled",
}
OWN_VALUES = {
    # Fields whose values differ between any two nodes, or between versions; their kinds must agree.
    "getblockchaininfo.verificationprogress": "measured differently",
    "getblockchaininfo.size_on_disk": "counts differ",
    "getblockchaininfo.warnings": "each its own",
    "getmempoolinfo.usage": "memory of another program",
    "getmempoolinfo.*fee": "the peer's default feerates are those of Core 30",
    "getmempoolinfo.unbroadcastcount": "the payment began there",
    "getmininginfo.currentblock*": "what was assembled last, with the reserved weight of that version",
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
        bitcoind_process(
            folder / "bitcoind", "-blockfilterindex=1", "-txindex=1", "-peerblockfilters=1", "-rest=1"
        ) as peer,
        altyn_process(folder / "altyn", "--txindex", "--rest") as altyn,
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
            if not is_listed(f"{path}.{name}", NOT_ALWAYS):
                yield f"{path}.{name}: only Altyn has it"
        for name in theirs.keys() - ours.keys():
            if not is_listed(f"{path}.{name}", ALLOWED_ABSENT | NOT_ALWAYS):
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
SURELY = {"filter_false_positives": True}
SECRET = "cMahea7zqjxrtgAbB7LSGbcQUr1uX1ojuat9jZodMN87JcbXMTcA"
KEY = "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798"
OTHER_KEY = "02c6047f9441ed7d6d3045406e95c07cd85c778e4b8cef3ca7abac09b95c709ee5"
TPUB = "tpubD6NzVbkrYhZ4WaWSyoBvQwbpLkojyoTZPRsgXELWz3Popb3qkjcJyJUGLnL4qHHoQvao8ESaAstxYSnhyswJ76uZPStJRJCTKvosUCJZL5B"
ONE = "00" * 31 + "01"
SPEND = "0200000001" + "01" + "00" * 31 + "00000000" + "00fdffffff" + "01" + "8096980000000000" + "0151" + "00000000"
"""Spends the first output of ONE and needs no signature of ours."""
P2WPKH, P2PKH = "0014751e76e8199196d454941c45d1b3a323f1433bd6", "76a914751e76e8199196d454941c45d1b3a323f1433bd688ac"
P2SH_ELEVENS = "a914" + "11" * 20 + "87"
P2WSH_TRUE = "00204ae81572f06e1b88fd5ced7a1a000945432e83e1551e6f721ee9c00b8cc33260"


def previous(script_pubkey: str, **others: Any) -> list[dict[str, Any]]:
    """Return what signrawtransactionwithkey is told of the output that SPEND spends."""
    return [{"txid": ONE, "vout": 0, "scriptPubKey": script_pubkey, **others}]


SIGN_RESULTS = [
    ("signrawtransactionwithkey", (SPEND, keys, prevouts))
    for keys, prevouts in (
        ([SECRET], []),
        ([SECRET], previous(P2WPKH, amount=1)),
        ([SECRET], previous(P2PKH)),
        ([SECRET], previous("21" + KEY + "ac")),
        ([SECRET], previous("5121" + KEY + "21" + OTHER_KEY + "52ae")),
        ([SECRET], previous("5221" + KEY + "21" + OTHER_KEY + "52ae")),
        ([SECRET], previous("5120" + KEY[2:], amount=1)),
        ([SECRET], previous("a914bcfeb728b584253d5f3f70bcb780e9ef218a68f487", amount=1, redeemScript=P2WPKH)),
        ([SECRET], previous(P2WSH_TRUE, amount=1, witnessScript="51")),
        ([], previous(P2WPKH, amount=1)),
        ([], previous(P2PKH)),
    )
]
BUILD_RESULTS = [
    ("createrawtransaction", params)
    for params in (
        ([], []),
        ([], {}),
        ([{"txid": ONE, "vout": 0}], {ADDRESS: 1}),
        ([{"txid": ONE, "vout": 0}], [{ADDRESS: "0.00000001"}, {"data": "99"}], 5, False),
        ([{"txid": ONE, "vout": 0}], [], 0, False),
        ([{"txid": ONE, "vout": 0, "sequence": 4294967295}], [], 7),
        ([{"txid": ONE, "vout": 0, "sequence": "a"}], []),
        ([{"txid": ONE, "vout": 0, "sequence": True}], []),
    )
]
BUILD_ERRORS = [
    ("createrawtransaction", params)
    for params in (
        ([1], {}),
        ([{}], {}),
        ([{"txid": ONE}], {}),
        ([{"txid": ONE, "vout": -1}], {}),
        ([{"txid": ONE, "vout": "x"}], {}),
        ([{"txid": ONE, "vout": 1.5}], {}),
        ([{"txid": ONE, "vout": 0, "sequence": 1.5}], {}),
        ([{"txid": "zz", "vout": 1}], {}),
        ([{"txid": ONE, "vout": 0, "sequence": -1}], {}),
        ([{"txid": ONE, "vout": 0, "sequence": 4294967296}], {}),
        ([{"txid": ONE, "vout": 0, "sequence": 4294967295}], {}, 0, True),
        ([], {}, -1),
        ([], {}, 4294967296),
        ([], {ADDRESS: -1}),
        ([], {ADDRESS: "foo"}),
        ([], [{ADDRESS: 1}, {ADDRESS: 2}]),
        ([], [{"data": "99"}, {"data": "99"}]),
        ([], {"data": "foo"}),
        ([], {"data": ""}),
        ([], {"data": 1}),
        ([], {"data": ["aa"]}),
        ([], {"foo": 0}),
        ([], [{ADDRESS: 1, "data": "99"}]),
        ([], [[]]),
        ([], [{}]),
        ([], 1),
        ([], None),
        (None, []),
        ({}, []),
    )
]
SIGN_ERRORS = [
    ("signrawtransactionwithkey", params)
    for params in (
        ("00", []),
        (SPEND, ["x"]),
        (SPEND, [1]),
        (SPEND, [SECRET], previous(P2WPKH)),
        (SPEND, [], [1]),
        (SPEND, [], [{}]),
        (SPEND, [], [{"txid": ONE, "vout": 0}]),
        (SPEND, [], [{"vout": 0, "scriptPubKey": P2WPKH}]),
        (SPEND, [], [{"txid": ONE, "vout": "0", "scriptPubKey": P2WPKH}]),
        (SPEND, [], [{"txid": ONE, "vout": -1, "scriptPubKey": P2WPKH}]),
        (SPEND, [], previous("zz")),
        (SPEND, [], previous(P2WPKH) + previous("51")),
        (SPEND, [], previous(P2SH_ELEVENS, amount=1)),
        (SPEND, [], previous(P2SH_ELEVENS, amount=1, redeemScript="51")),
        (SPEND, [], previous(P2WSH_TRUE, amount=1)),
        (SPEND, [], previous(P2WSH_TRUE, amount=1, redeemScript="51", witnessScript="52")),
        (SPEND, [], previous(P2WSH_TRUE, amount=1, redeemScript=5)),
        (SPEND, [], [], "X"),
        (SPEND, [], [], 1),
    )
]
DESCRIPTOR_RESULTS = [
    *(("createmultisig", (1, [KEY, OTHER_KEY], kind)) for kind in ("legacy", "p2sh-segwit", "bech32")),
    *(
        ("getdescriptorinfo", (text,))
        for text in (f"wpkh({TPUB}/1/*)", f"wpkh({TPUB}/<0;1>/*)", "raw(51)", f"pkh({SECRET})", f"addr({ADDRESS})")
    ),
    ("deriveaddresses", (f"wpkh({TPUB}/1/1/*)#dkdwv7el", 2)),
    ("deriveaddresses", (f"wpkh({TPUB}/1/1/*)#dkdwv7el", [1, 2])),
    ("deriveaddresses", (f"combo({KEY})#lq9sf04s",)),
    ("deriveaddresses", (f"wpkh({TPUB}/<0;1>/*)#0pfxqzvr", [0, 2])),
    *(
        ("scantxoutset", ("start", [each]))
        for each in (
            f"addr({ADDRESS})",
            f"combo({KEY})",
            "raw(51)",
            f"wpkh({KEY})",
            {"desc": f"wpkh({TPUB}/<0;1>/*)", "range": [0, 3]},
            f"tr({KEY},pk({OTHER_KEY}))",
        )
    ),
    ("scantxoutset", ("status",)),
    ("scantxoutset", ("abort",)),
    ("scanblocks", ("start", [f"addr({ADDRESS})"])),
    ("scanblocks", ("start", [f"addr({ADDRESS})"], 103, 103)),
    ("scanblocks", ("start", [f"addr({ADDRESS})"], 0, 102, "basic", {"filter_false_positives": True})),
    ("scanblocks", ("status",)),
    ("scanblocks", ("abort",)),
]
DESCRIPTOR_ERRORS = [
    *(
        ("createmultisig", params)
        for params in (
            (1, ["x"]),
            (1, ["0200"]),
            (1, [1]),
            (1, []),
            (0, [KEY]),
            (2, [KEY]),
            (1, ["03" + "00" * 32]),
            (1, [KEY] * 17),
            (1, [KEY] * 21),
            (1, [KEY], "bech32m"),
            (1, [KEY], "foo"),
        )
    ),
    ("getdescriptorinfo", ("foo",)),
    *(
        ("deriveaddresses", (text, *params))
        for text, *params in (
            (f"wpkh({TPUB}/1/1/*)#dkdwv7el",),
            (f"wpkh({TPUB}/1/1/*)",),
            (f"wpkh({TPUB}/1/1/*)#dkdwv7el", -1),
            (f"wpkh({TPUB}/1/1/*)#dkdwv7el", [1, 0]),
            (f"wpkh({TPUB}/1/1/*)#dkdwv7el", [-1, 0]),
            (f"wpkh({TPUB}/1/1/*)#dkdwv7el", [0, 1000001]),
            (f"wpkh({TPUB}/1/1/*)#dkdwv7el", 1 << 31),
            (f"wpkh({TPUB}/1/1/*)#dkdwv7el", [1, 2, 3]),
            (f"wpkh({TPUB}/1/1/*)#dkdwv7el", "x"),
            (f"combo({KEY})#lq9sf04s", 1),
            ("raw(51)#8lvh9jxk",),
        )
    ),
    *(
        ("scantxoutset", params)
        for params in (
            ("foo",),
            ("start",),
            ("start", 1),
            ("start", ["foo"]),
            ("start", [1]),
            ("start", [{}]),
            ("start", [{"desc": 1}]),
            ("start", [{"desc": "raw(51)", "range": -1}]),
            ("start", [f"wpkh({TPUB}/1h/*)"]),
            ("start", [f"wpkh({TPUB}/1h/*)#gv8m0y6d"]),
            ("start", [{"desc": f"wpkh({TPUB}/<1h;2h>/*)"}]),
        )
    ),
    *(
        ("scanblocks", params)
        for params in (
            ("foo",),
            ("start",),
            ("start", ["raw(51)"], -1),
            ("start", ["raw(51)"], 500),
            ("start", ["raw(51)"], 3, 2),
            ("start", ["raw(51)"], 0, 1, "foo"),
            ("start", ["raw(51)"], 0, 1, "basic", {"filter_false_positives": 1}),
        )
    ),
    ("submitheader", ("00",)),
    ("submitheader", ("01000000" + "11" * 76,)),
    ("getnetworkhashps", (0,)),
    ("getnetworkhashps", (-2,)),
    ("getnetworkhashps", (1, 9999)),
    ("generate", ()),
    ("generatetodescriptor", (1, "foo()")),
    ("generatetodescriptor", (1, f"wpkh({TPUB}/*)")),
    ("generateblock", ("foo", [])),
    ("generateblock", ("raw(51)", ["00"])),
    ("generateblock", ("raw(51)", [ONE])),
    ("combinerawtransaction", ([],)),
    ("combinerawtransaction", (["00"],)),
    ("combinerawtransaction", ([SPEND],)),
]
UPDATED_PSBT = (
    "cHNidP8BAHUCAAAAASaBcTce3/KF6Tet7qSze3gADAVmy7OtZGQXE8pCFxv2AAAAAAD+////AtPf9QUAAAAAGXapFNDFmQPFusKGh2DpD9UhpGZap2"
    "UgiKwA4fUFAAAAABepFDVF5uM7gyxHBQ8k0+65PJwDlIvHh7MuEwAAAQD9pQEBAAAAAAECiaPHHqtNIOA3G7ukzGmPopXJRjr6Ljl/hTPMti+VZ+UBA"
    "AAAFxYAFL4Y0VKpsBIDna89p95PUzSe7LmF/////4b4qkOnHf8USIk6UwpyN+9rRgi7st0tAXHmOuxqSJC0AQAAABcWABT+Pp7xp0XpdNkCxDVZQ6vL"
    "NL1TU/////8CAMLrCwAAAAAZdqkUhc/xCX/Z4Ai7NK9wnGIZeziXikiIrHL++E4sAAAAF6kUM5cluiHv1irHU6m80GfWx6ajnQWHAkcwRAIgJxK+IuA"
    "nDzlPVoMR3HyppolwuAJf3TskAinwf4pfOiQCIAGLONfc0xTnNMkna9b7QPZzMlvEuqFEyADS8vAtsnZcASED0uFWdJQbrUqZY3LLh+GFbTZSYG2YVi"
    "/jnF6efkE/IQUCSDBFAiEA0SuFLYXc2WHS9fSrZgZU327tzHlMDDPOXMMJ/7X85Y0CIGczio4OFyXBl/saiK9Z9R5E5CVbIBZ8hoQDHAXR8lkqASECI"
    "7cr7vCWXRC+B3jv7NYfysb3mk6haTkzgHNEZPhPKrMAAAAAAAAA"
)
PSBT_RESULTS = [
    ("createpsbt", ([{"txid": ONE, "vout": 0}], [{ADDRESS: "0.1"}, {"data": "99"}], 5)),
    ("converttopsbt", (SPEND,)),
    ("converttopsbt", ("RAW", True)),
    ("decodepsbt", (UPDATED_PSBT,)),
    ("analyzepsbt", (UPDATED_PSBT,)),
    ("combinepsbt", ([UPDATED_PSBT, UPDATED_PSBT],)),
    ("finalizepsbt", (UPDATED_PSBT,)),
    ("utxoupdatepsbt", (UPDATED_PSBT,)),
    ("utxoupdatepsbt", ("PSBT", [f"combo({KEY})", f"wpkh({TPUB}/*)"])),
    ("descriptorprocesspsbt", ("PSBT", [f"combo({SECRET})"])),
    ("descriptorprocesspsbt", ("PSBT", [f"combo({SECRET})"], "ALL", True, False)),
    ("descriptorprocesspsbt", ("PSBT", [f"combo({SECRET})"], "DEFAULT", False)),
    ("decodepsbt", ("SIGNED_PSBT",)),
    ("analyzepsbt", ("PSBT",)),
    ("analyzepsbt", ("UPDATED",)),
    ("analyzepsbt", ("SIGNED_PSBT",)),
    ("finalizepsbt", ("SIGNED_PSBT",)),
    ("finalizepsbt", ("SIGNED_PSBT", False)),
]
PSBT_ERRORS = [
    ("decodepsbt", ("x",)),
    ("decodepsbt", ("cHNidP8=",)),
    ("combinepsbt", ([],)),
    ("combinepsbt", ([UPDATED_PSBT, "PSBT"],)),
    ("combinepsbt", ([1],)),
    ("joinpsbts", ([UPDATED_PSBT],)),
    ("joinpsbts", ([UPDATED_PSBT, UPDATED_PSBT],)),
    ("converttopsbt", ("00",)),
    ("converttopsbt", ("RAW",)),
    ("finalizepsbt", (5,)),
    ("utxoupdatepsbt", ("PSBT", ["foo"])),
    ("utxoupdatepsbt", ("PSBT", [1])),
    ("descriptorprocesspsbt", ("PSBT", [], "X")),
]
P2PKH_ADDRESS = "mrCDrCybB6J1vRfbwM5hemdJz73FwDBC8r"
MORE_RESULTS = [
    ("getblockstats", ("BLOCK",)),
    ("getblockstats", (103,)),
    ("getblockstats", (50, ["minfee", "utxo_size_inc_actual", "height"])),
    ("getblockstats", (0,)),
    ("getchaintxstats", ()),
    ("getchaintxstats", (2,)),
    ("getchaintxstats", (0, "BLOCK")),
    ("gettxoutproof", (["CONFIRMED"],)),
    ("gettxoutproof", (["CONFIRMED"], "BLOCK")),
    ("verifytxoutproof", ("PROOF",)),
    ("waitforblock", ("BLOCK", 10)),
    ("waitforblockheight", (500, 10)),
    ("waitfornewblock", (10,)),
    ("signmessagewithprivkey", (SECRET, "a message")),
    (
        "verifymessage",
        (
            P2PKH_ADDRESS,
            "IPEebjK/rCtGVDGulVssAI6HBis8qc3rRvKzoMCFhOhzRKp/1DZA4GNshk4yvPC2HZuO9rTecZ7OZtvPJa0icUk=",
            "hi",
        ),
    ),
    ("verifymessage", (P2PKH_ADDRESS, "AAAA", "hi")),
    ("verifychain", (4, 3)),
    ("echo", ()),
    ("echo", (1, None, "x")),
    ("echojson", ({"a": [1]},)),
    ("mockscheduler", (5,)),
    ("getzmqnotifications", ()),
]
MORE_ERRORS = [
    ("getblockstats", (500,)),
    ("getblockstats", (-1,)),
    ("getblockstats", ("00",)),
    ("getblockstats", (UNKNOWN,)),
    ("getblockstats", (5, ["foo"])),
    ("getblockstats", (5, [1])),
    ("getchaintxstats", (-1,)),
    ("getchaintxstats", (103,)),
    ("getchaintxstats", (1, UNKNOWN)),
    ("gettxoutproof", ([],)),
    ("gettxoutproof", (["00"],)),
    ("gettxoutproof", (["CONFIRMED", "CONFIRMED"],)),
    ("gettxoutproof", ([UNKNOWN],)),
    ("gettxoutproof", (["WAITING"], "BLOCK")),
    ("gettxoutproof", (["CONFIRMED"], UNKNOWN)),
    ("verifytxoutproof", ("zz",)),
    ("verifytxoutproof", ("00",)),
    ("verifytxoutproof", ("STRANGE_PROOF",)),
    ("waitfornewblock", (-1,)),
    ("waitforblock", ("00", 10)),
    ("signmessagewithprivkey", ("x", "y")),
    ("verifymessage", (P2PKH_ADDRESS, "???", "hi")),
    ("mockscheduler", (0,)),
    ("mockscheduler", (3601,)),
    ("logging", (["foo"],)),
    ("estimaterawfee", (6, "x")),
    ("getmempoolentry", ("x",)),
    ("getmempoolancestors", ("x",)),
    ("getmempooldescendants", ("x",)),
    ("getrawtransaction", ("x",)),
    ("getrawtransaction", (UNKNOWN, 1, "x")),
    ("getblockheader", ("x",)),
]

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
    ("gettxout", (UNKNOWN, 4294967295)),
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
    ("getmininginfo", ()),
    ("getnetworkhashps", ()),
    ("getnetworkhashps", (-1, 50)),
    ("submitheader", ("HEADER",)),
    ("submitheader", ("HEADER_AND_MORE",)),
    ("combinerawtransaction", (["RAW", "RAW"],)),
    *MORE_RESULTS,
    *PSBT_RESULTS,
    *BUILD_RESULTS,
    *SIGN_RESULTS,
    *DESCRIPTOR_RESULTS,
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
    ("gettxout", (UNKNOWN, -1)),
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
    ("getblocktemplate", ({"rules": "segwit"},)),
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
    *MORE_ERRORS,
    *PSBT_ERRORS,
    *BUILD_ERRORS,
    *SIGN_ERRORS,
    *DESCRIPTOR_ERRORS,
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
        case "HEADER_AND_MORE":
            return contract.peer.call("getblockheader", contract.block, False) + "00"
        case "HEADER":
            return contract.peer.call("getblockheader", contract.block, False)
        case "PSBT" | "UPDATED" | "SIGNED_PSBT":
            call = contract.peer.call
            outputs = call("decoderawtransaction", call("getrawtransaction", contract.confirmed))["vout"]
            paid = next(each["n"] for each in outputs if each["scriptPubKey"].get("address") == ADDRESS)
            psbt = call("createpsbt", [{"txid": contract.confirmed, "vout": paid}], [{P2PKH_ADDRESS: "0.9"}])
            if value == "UPDATED":
                psbt = call("utxoupdatepsbt", psbt, [f"combo({KEY})"])
            if value == "SIGNED_PSBT":
                psbt = call("descriptorprocesspsbt", psbt, [f"combo({SECRET})"], "ALL", True, False)["psbt"]
            return psbt
        case "PROOF":
            return contract.peer.call("gettxoutproof", [contract.confirmed])
        case "STRANGE_PROOF":
            return "01" + contract.peer.call("gettxoutproof", [contract.confirmed])[2:]
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
        {"method": "scanblocks", "id": 1, "params": {"action": "start", "scanobjects": ["raw(51)"], **SURELY}},
        {"method": "importmempool", "id": 1, "params": {"filepath": "/nowhere", "apply_unbroadcast_set": True}},
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


REST = """
tx/CONFIRMED.json tx/WAITING.json tx/CONFIRMED.hex tx/CONFIRMED.bin tx/CONFIRMED tx/CONFIRMED.foo tx/00.json tx/
tx/UNKNOWN.json block/BLOCK.json block/BLOCK.hex block/BLOCK.bin block/BLOCK block/00.json block/UNKNOWN.json
block/notxdetails/BLOCK.json headers/2/BLOCK.json headers/FIRST.json?count=3 headers/FIRST.hex headers/FIRST.bin
headers/FIRST.json?count=0 headers/FIRST.json?count=2001 headers/0/FIRST.json headers/foo/FIRST.json headers/5/00.json
headers/5/UNKNOWN.json headers/1/2/FIRST.json headers/FIRST blockhashbyheight/1.json blockhashbyheight/1.hex
blockhashbyheight/1.bin blockhashbyheight/1000.json blockhashbyheight/foo.json blockhashbyheight/-1.json
blockhashbyheight/1 blockhashbyheight/.json chaininfo.json chaininfo.hex chaininfo deploymentinfo.json
deploymentinfo/BLOCK.json deploymentinfo/00.json deploymentinfo/UNKNOWN.json deploymentinfo.hex mempool/info.json
mempool/contents.json mempool/contents.json?verbose=false mempool/contents.json?verbose=true&mempool_sequence=true
mempool/contents.json?verbose=foo mempool/contents.json?mempool_sequence=foo mempool/info.hex mempool
getutxos/CONFIRMED-0.json getutxos/CONFIRMED-0.bin getutxos/checkmempool/CONFIRMED-0/WAITING-0/UNKNOWN-5.hex
getutxos/CONFIRMED-0/WAITING-0.json getutxos/checkmempool/WAITING-0.json getutxos.json getutxos/ getutxos/foo.json
getutxos/CONFIRMED-0 getutxos/checkmempool.json getutxos/CONFIRMED-x.json
getutxos/UNKNOWN-1.json blockfilter/basic/BLOCK.json
blockfilter/basic/BLOCK.hex blockfilter/basic/BLOCK.bin blockfilter/foo/BLOCK.json blockfilter/basic/00.json
blockfilter/basic.json blockfilter/basic/UNKNOWN.json blockfilter/basic/BLOCK blockfilterheaders/basic/2/FIRST.json
blockfilterheaders/basic/FIRST.json?count=2 blockfilterheaders/basic/FIRST.hex blockfilterheaders/foo/FIRST.json
blockfilterheaders/basic/0/FIRST.json blockfilterheaders/FIRST.json blockfilterheaders/basic/1/00.json foo
spenttxouts/BLOCK.json spenttxouts/BLOCK.hex spenttxouts/BLOCK.bin
""".split()  # noqa: SIM905 - a list of ninety lines otherwise


def fetch(node: NodeProcess, path: str) -> tuple[int, str, bytes]:
    """Return status, type and body of what a node serves."""
    try:
        with urllib.request.urlopen(f"{node.url}/rest/{path}", timeout=60) as answer:
            return answer.status, answer.headers["Content-Type"], answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.headers["Content-Type"].partition(";")[0], error.read()


@pytest.mark.parametrize("path", REST)
def test_resources_are_the_same(contract: Contract, path: str) -> None:
    names = {
        "CONFIRMED": contract.confirmed,
        "WAITING": contract.waiting,
        "BLOCK": contract.block,
        "FIRST": contract.peer.call("getblockhash", 1),
        "UNKNOWN": UNKNOWN,
    }
    for name, value in names.items():
        path = path.replace(name, value)
    ours, theirs = (fetch(node, path) for node in (contract.altyn, contract.peer))
    assert ours[:2] == theirs[:2]
    if theirs[1] != "application/json":
        assert ours[2] == theirs[2]
        return
    method = {"chaininfo": "getblockchaininfo", "mempool/info": "getmempoolinfo", "mempool/contents": "getrawmempool"}
    name = method.get(path.partition(".")[0], "getblock")
    parsed = [json.loads(body, parse_float=Decimal) for body in (ours[2], theirs[2])]
    if name == "getmempoolinfo":  # as getmempoolinfo is compared
        assert parsed[0].keys() <= parsed[1].keys()
        return
    assert list(differences(name, *parsed)) == []


def test_an_internal_bug_can_be_asked_for(contract: Contract) -> None:
    ours, theirs = contract.both("echo", (0, 0, 0, 0, 0, 0, 0, 0, 0, "trigger_internal_bug"))
    assert (ours.code, ours.message) == (theirs.code, theirs.message.splitlines()[0])


def test_the_list_of_leave_stays_short() -> None:
    assert len(ALLOWED_ABSENT) + len(NOT_ALWAYS) + len(OWN_VALUES) <= 40
