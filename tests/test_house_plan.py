"""The house plan: imports point one way between the rooms, and consensus touches nothing of the outside world."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

PROJECT = Path(__file__).parent.parent
MAY_IMPORT = {"consensus": set(), "p2p": {"consensus"}, "node": {"consensus", "p2p"}, "wallet": {"consensus"}}
DOORS = {"node/rpc": {"wallet.formats"}}
"""The one door between the wings."""
MAY_IMPORT_INSIDE_NODE = {
    "storage": set(),
    "chain": {"storage"},
    "mempool": {"storage", "chain"},
    "mining": {"storage", "chain", "mempool"},
    "sync": {"storage", "chain", "mempool"},
    "light": {"storage", "chain", "sync"},
}
"""The parts that know nothing of RPC, web or command line; and of each other, those to the left only."""
INSIDE_NODE = MAY_IMPORT_INSIDE_NODE.keys() | {"rpc", "explorer", "cli", "testnet"}
IMPURE = {
    "aiohttp", "asyncio", "click", "concurrent", "getpass", "glob", "http", "io", "logging", "multiprocessing", "os",
    "pathlib", "platform", "plyvel", "random", "secrets", "select", "selectors", "shutil", "signal", "socket",
    "sqlite3", "ssl", "subprocess", "sys", "tempfile", "threading", "time", "urllib", "uuid",
}  # fmt: skip
"""What reads a clock, draws a number, logs, waits, or reaches a file or socket."""


def imported_names(source: str) -> Iterator[str]:
    """Yield the dotted name of every import, wherever it stands; a relative one begins with dots."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            yield from (f"{module}.{name.name}" for name in node.names)


def breaches(path: str, source: str) -> list[str]:
    """Return what is wrong with the imports of a file, `path` as seen from the project's folder."""
    parts = Path(path).parts
    room = parts[0]
    inner = parts[1] if len(parts) > 2 else ""
    doors = DOORS.get("/".join(parts[:2]), set())
    found = []
    for name in imported_names(source):
        words = name.split(".")
        if name.startswith("."):
            found.append(f"{name}: relative")
        elif words[0] in MAY_IMPORT:
            found.append(f"{name}: the package is called altyn.{words[0]}")
        elif words[0] == "altyn" and len(words) > 1:
            if any(name == f"altyn.{door}" or name.startswith(f"altyn.{door}.") for door in doors):
                continue
            if words[1] in MAY_IMPORT.keys() - MAY_IMPORT[room] - {room}:
                found.append(f"{name}: not from {room}")
            elif room == "node" and inner in MAY_IMPORT_INSIDE_NODE and words[1] == "node" and len(words) > 2:
                closed = INSIDE_NODE - MAY_IMPORT_INSIDE_NODE[inner] - {inner}
                if words[2] in closed:
                    found.append(f"{name}: not from node/{inner}")
        if room == "consensus" and words[0] in IMPURE:
            found.append(f"{name}: consensus is pure")
    return found


def private_imports(source: str) -> list[str]:
    """Return the imports of names that their own module keeps to itself."""
    names = (name.split(".") for name in imported_names(source) if name.startswith("altyn."))
    return [".".join(words) for words in names if any(re.match("_(?!_)", word) for word in words)]


SOURCES = sorted(path.relative_to(PROJECT) for room in MAY_IMPORT for path in (PROJECT / room).rglob("*.py"))
USERS = sorted(path.relative_to(PROJECT) for user in ("tests", "scripts") for path in (PROJECT / user).rglob("*.py"))


@pytest.mark.parametrize("path", SOURCES, ids=str)
def test_imports_point_one_way(path: Path) -> None:
    assert breaches(str(path), (PROJECT / path).read_text()) == []


@pytest.mark.parametrize("path", [*SOURCES, *USERS], ids=str)
def test_no_module_imports_what_another_keeps_to_itself(path: Path) -> None:
    assert private_imports((PROJECT / path).read_text()) == []


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("consensus/pow.py", "import consensus"),
        ("consensus/pow.py", "from consensus.block import Header"),
        ("consensus/pow.py", "from altyn.p2p.peer import Peer"),
        ("consensus/pow.py", "from altyn import node"),
        ("consensus/pow.py", "import altyn.node.chain"),
        ("consensus/pow.py", "from .block import Header"),
        ("consensus/pow.py", "import time"),
        ("consensus/script/verify.py", "import os.path"),
        ("consensus/pow.py", "def work():\n    from random import randbytes"),
        ("consensus/pow.py", "if TYPE_CHECKING:\n    from altyn.node.chain import Chain"),
        ("p2p/peer.py", "from altyn.node.events import Events"),
        ("wallet/wallet.py", "from altyn.p2p.clock import Clock"),
        ("wallet/wallet.py", "from altyn.node.rpc.client import call"),
        ("node/rpc/control.py", "from altyn.wallet.wallet import Wallet"),
        ("node/chain/chain.py", "from altyn.wallet.formats.keys import Key"),
        ("node/storage/coins.py", "from altyn.node.chain.tree import Entry"),
        ("node/chain/chain.py", "from altyn.node.rpc.server import Server"),
        ("node/light/node.py", "import altyn.node.cli.altyn"),
        ("node/mining/miner.py", "from altyn.node import explorer"),
    ],
)
def test_a_breach_of_the_plan_is_seen(path: str, source: str) -> None:
    assert breaches(path, source)


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("consensus/pow.py", "import hashlib\nfrom altyn.consensus.block import Header"),
        ("p2p/peer.py", "import asyncio\nfrom altyn.consensus.block import Block"),
        ("node/rpc/rawtransactions.py", "from altyn.wallet.formats.keys import Key"),
        ("node/rpc/rawtransactions.py", "from altyn.wallet.formats import descriptors"),
        ("node/full.py", "from altyn.node.rpc.server import Server"),
        ("node/chain/chain.py", "from altyn.node.events import Events\nfrom altyn.node.storage.coins import CoinStore"),
    ],
)
def test_what_the_plan_allows_is_no_breach(path: str, source: str) -> None:
    assert breaches(path, source) == []


@pytest.mark.parametrize(
    "source",
    [
        "from altyn.consensus.script.verify import _annex",
        "from altyn.consensus.script.verify import verify_script, _annex as annex",
        "from altyn.node._hidden import Thing",
        "def late():\n    import altyn.node._hidden",
    ],
)
def test_a_private_import_is_seen(source: str) -> None:
    assert private_imports(source)


def test_public_names_and_other_peoples_are_no_private_imports() -> None:
    assert private_imports("from altyn import __version__\nfrom hashlib import _Hash\nimport altyn.p2p.peer") == []
