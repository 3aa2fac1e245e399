"""What `altyn-cli -getinfo` and `-netinfo` show, out of the answers of a node (Core: bitcoin-cli)."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from altyn.node.version import VERSION

Answer = Mapping[str, Any]

BLUE, GREEN, YELLOW, MAGENTA, CYAN = 34, 32, 33, 35, 36
_UNNAMED = '""'
_BAR = 20
"""Characters of the bar of progress, which is there while less than 99 percent are done."""


def state_text(network: Answer, chain: Answer, wallet: Answer | None, balances: Answer, *, colour: bool) -> str:
    """Return what -getinfo shows; `balances` are those by wallet, if there is more than one wallet."""

    def paint(number: int, text: str) -> str:
        return f"\x1b[{number}m{text}\x1b[0m" if colour else text

    warnings = network["warnings"]
    warnings = "\n".join(warnings) if isinstance(warnings, list) else warnings
    proxies: dict[str, list[str]] = {}
    for each in network["networks"]:
        if each["proxy"]:
            proxies.setdefault(each["proxy"], []).append(each["name"])
    progress = float(str(chain["verificationprogress"]))
    done = math.ceil(progress * _BAR)
    bar = f"{'▒' * done}{'░' * (_BAR - done)} " if progress < 0.99 else ""
    peers = f"in {network['connections_in']}, out {network['connections_out']}, total {network['connections']}"
    lines = [
        paint(BLUE, f"Chain: {chain['chain']}"),
        f"Blocks: {chain['blocks']}",
        f"Headers: {chain['headers']}",
        f"Verification progress: {bar}{progress * 100:.4f}%",
        f"Difficulty: {chain['difficulty']}",
        "",
        paint(GREEN, f"Network: {peers}"),
        f"Version: {network['version']}",
        f"Time offset (s): {network['timeoffset']}",
        "Proxies: " + (", ".join(f"{each} ({', '.join(names)})" for each, names in proxies.items()) or "n/a"),
        f"Min tx relay fee rate (BTC/kvB): {network['relayfee']}",
        "",
    ]
    if wallet is not None:
        lines += [paint(MAGENTA, f"Wallet: {wallet['walletname'] or _UNNAMED}")]
        lines += [f"Keypool size: {wallet['keypoolsize']}"]
        if "unlocked_until" in wallet:
            lines += [f"Unlocked until: {wallet['unlocked_until']}"]
        lines += [f"Transaction fee rate (-paytxfee) (BTC/kvB): {wallet['paytxfee']}", ""]
    if len(balances) == 1:
        lines += [f"{paint(CYAN, 'Balance:')} {amount}" for amount in balances.values()]
    elif balances:
        width = max(len(str(amount)) for amount in balances.values())
        lines += [paint(CYAN, "Balances")]
        lines += [f"{amount!s:>{width}} {name or _UNNAMED}" for name, amount in balances.items()]
    lines += [""] if balances else []
    return "\n".join([*lines, f"{paint(YELLOW, 'Warnings:')} {warnings or '(none)'}"])


class Column(NamedTuple):
    """One of the list of peers: what stands above and below, how wide it is at least, and what it says of a peer."""

    title: str
    unit: str
    width: int
    value: Callable[[Answer, int], str]


_TYPES = {
    "outbound-full-relay": "full",
    "block-relay-only": "block",
    "manual": "manual",
    "feeler": "feeler",
    "addr-fetch": "addr",
}
_NETWORKS = {"not_publicly_routable": "npr", "internal": "int"}


def _network(name: str) -> str:
    return _NETWORKS.get(name, name)


def _milliseconds(seconds: Any) -> str:
    if seconds is None:
        return ""
    milliseconds = round(1000 * float(str(seconds)))
    return "-" if milliseconds > 999_999 else str(milliseconds)


def _ago(when: int, now: int, unit: int = 1) -> str:
    return str((now - when) // unit) if when else ""


_COLUMNS = (
    Column("<->", "", 3, lambda peer, now: "in" if peer["inbound"] else "out"),
    Column("type", "", 7, lambda peer, now: _TYPES.get(peer["connection_type"], "")),
    Column("net", "", 6, lambda peer, now: _network(peer["network"])),
    Column("v", "", 3, lambda peer, now: peer["transport_protocol_type"].replace("detecting", "*").removeprefix("v")),
    Column("mping", "ms", 7, lambda peer, now: _milliseconds(peer.get("minping"))),
    Column("ping", "ms", 7, lambda peer, now: _milliseconds(peer.get("pingtime"))),
    Column("send", "sec", 5, lambda peer, now: _ago(peer["lastsend"], now)),
    Column("recv", "sec", 5, lambda peer, now: _ago(peer["lastrecv"], now)),
    Column("txn", "min", 5, lambda peer, now: _ago(peer["last_transaction"], now, 60) or "*" * (not peer["relaytxes"])),
    Column("blk", "min", 5, lambda peer, now: _ago(peer["last_block"], now, 60)),
    Column("hb", "", 4, lambda peer, now: " ."[peer["bip152_hb_to"]] + " *"[peer["bip152_hb_from"]]),
    Column("addrp", "", 6, lambda peer, now: str(peer["addr_processed"] or "." * (not peer["addr_relay_enabled"]))),
    Column("addrl", "", 6, lambda peer, now: str(peer["addr_rate_limited"] or "")),
    Column("age", "min", 6, lambda peer, now: _ago(peer["conntime"], now, 60)),
    Column("id", "", 3, lambda peer, now: str(peer["id"])),
)
_ADDRESS = Column("address", "", 0, lambda peer, now: peer["addr"])
_VERSION = Column("version", "", 0, lambda peer, now: f"{peer['version'] or ''}{peer['subver']}")
_LEVELS = ((), (), (_ADDRESS,), (_VERSION,), (_ADDRESS, _VERSION))
MOST_DETAIL = len(_LEVELS) - 1

PEERS_HELP = f"""\
-netinfo level|"help"

Shows the peers of a node, as getpeerinfo and getnetworkinfo have them, for people: the form may change.

Level (0 to {MOST_DETAIL}, default 0; a higher one is taken for {MOST_DETAIL}):
  0 - how many peers there are in each network, and the addresses of the node
  1 - and before that a list of the peers
  2 - with their addresses
  3 - with their versions
  4 - with both

Columns: <-> direction; type of connection; network; version of the transport; least and last ping; time since something
was sent and received; since the last new transaction (* if none are relayed) and block; hb: who asks whom for compact
blocks at once (. we the peer, * the peer us); addresses taken up (. if none are relayed) and dropped for their number;
age of the connection; number of the peer.

altyn-cli -netinfo 4"""


def peers_text(network: Answer, peers: Sequence[Answer], chain: str, level: int, now: int) -> str:
    """Return what -netinfo shows; `level` up to MOST_DETAIL, `now` in seconds since 1970."""
    title = f"Altyn client v{VERSION}{'' if chain == 'main' else f' {chain}'}"
    parts = [f"{title} - server {network['protocolversion']}{network['subversion']}"]
    if level and peers:
        parts.append(_list_text(peers, level, now))
    parts.append(_counts_text(network, peers))
    addresses = network["localaddresses"]
    width = max((len(each["address"]) + 1 for each in addresses), default=0)
    local = [f"{each['address']:<{width}}    port {each['port']:6}    score {each['score']:6}" for each in addresses]
    parts.append("\n".join(["Local addresses", *local]) if local else "Local addresses: n/a")
    return "\n\n".join(parts)


def _list_text(peers: Sequence[Answer], level: int, now: int) -> str:
    """Return the list of peers, inbound ones first, the nearest first, in columns as wide as they need."""

    def nearness(peer: Answer) -> tuple[bool, float]:
        return not peer["inbound"], float(str(peer.get("minping", -1)))

    ordered = sorted(peers, key=nearness)
    lines = [""] * (len(ordered) + 2)
    for column in _COLUMNS:
        cells = [column.title, *(column.value(peer, now) for peer in ordered), column.unit]
        gap = 1 if lines[0] else 0
        width = max(column.width, *(len(cell) + gap for cell in cells[1:-1]))
        lines = [line + cell.rjust(width) for line, cell in zip(lines, cells, strict=True)]
    for column in _LEVELS[level]:
        cells = [column.title, *(column.value(peer, now) for peer in ordered), ""]
        width = max(map(len, cells))
        lines = [f"{line} {cell:<{width}}" for line, cell in zip(lines, cells, strict=True)]
    return "\n".join(line.rstrip() for line in lines)


def _counts_text(network: Answer, peers: Sequence[Answer]) -> str:
    """Return the table of peers by direction and network: networks that can be reached, or that there are peers in."""
    networks = [each["name"] for each in network["networks"] if each["reachable"]]
    networks += sorted({peer["network"] for peer in peers} - set(networks))
    kinds = [peer["connection_type"] for peer in peers]
    manual = kinds.count("manual")
    lines = [
        "     " + "".join(f"{_network(name):>8}" for name in networks) + "   total   block" + "  manual" * bool(manual)
    ]
    for title, chosen in (
        ("in", [peer for peer in peers if peer["inbound"]]),
        ("out", [peer for peer in peers if not peer["inbound"]]),
        ("total", peers),
    ):
        here = [peer["network"] for peer in chosen]
        line = f"{title:<5}" + "".join(f"{here.count(name):8}" for name in networks) + f"{len(chosen):8}"
        if title == "out":
            line += f"{kinds.count('block-relay-only'):8}" + (f"{manual:8}" if manual else "")
        lines.append(line)
    return "\n".join(lines)
