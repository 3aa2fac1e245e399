"""What `altyn doctor` looks at: is everything here that a node with these settings needs? It changes nothing."""

import errno
import fcntl
import importlib.metadata
import importlib.util
import json
import os
import platform
import resource
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path

from altyn.consensus import secp256k1
from altyn.node.files_limit import files_needed
from altyn.node.mining.search import backend_names
from altyn.node.settings import Settings
from altyn.node.storage.errors import StoreError
from altyn.node.storage.kv import LevelDb

_OLDEST_PYTHON = (3, 11)
_LEAST_SPACE = 5 << 30
"""Bytes below which a disk counts as nearly full, on chains that grow by themselves."""
_LEAST_TEST_SPACE = 200 << 20
_WRITTEN = 1_760_000_000
"""Seconds since 1970: no clock of a machine that runs this is before."""


class State(StrEnum):
    """How bad it is."""

    OK = "ok"
    WARNING = "warning"
    """A node runs, with less than it could have."""
    FAILURE = "failure"
    """A node will not start, or not work."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at: what was found, and what mends it."""

    name: str
    state: State
    text: str
    remedy: str = ""


def examine(settings: Settings) -> Iterator[Finding]:
    """Look at everything, one after the other."""
    for look in (_python, _signatures, _leveldb, _mining, _folder, _space, _ports, _files, _clock):
        yield from look(settings)


def as_json(findings: list[Finding]) -> str:
    """Write findings for machines."""
    return json.dumps({"healthy": is_healthy(findings), "findings": [asdict(each) for each in findings]}, indent=2)


def is_healthy(findings: list[Finding]) -> bool:
    return all(each.state is not State.FAILURE for each in findings)


def _python(settings: Settings) -> Iterator[Finding]:
    version = platform.python_version()
    if sys.version_info < _OLDEST_PYTHON:
        yield Finding("python", State.FAILURE, f"Python {version} is too old", "install Python 3.11 or later")
    else:
        yield Finding("python", State.OK, f"Python {version} on {platform.system()}, {os.cpu_count()} processors")


def _signatures(settings: Settings) -> Iterator[Finding]:
    try:
        name = secp256k1.load(settings.secp256k1).name
    except (ImportError, ValueError) as error:
        yield Finding("signatures", State.FAILURE, str(error), "python3 -m pip install coincurve")
        return
    if name == "coincurve":
        yield Finding("signatures", State.OK, "libsecp256k1, through coincurve")
    else:
        remedy = "python3 -m pip install coincurve: a hundred times as fast, and needed for encrypted connections"
        yield Finding("signatures", State.WARNING, f"the portable library ({name})", remedy)


def _leveldb(settings: Settings) -> Iterator[Finding]:
    with tempfile.TemporaryDirectory(prefix="altyn-doctor-") as folder:
        try:
            database = LevelDb(Path(folder) / "test")
            with database.batch() as batch:
                batch.put(b"key", b"value")
            found = database.get(b"key")
            database.close()
        except StoreError as error:
            yield Finding("database", State.FAILURE, str(error), "python3 -m pip install --force-reinstall plyvel")
            return
    version = importlib.metadata.version("plyvel")
    if found == b"value":
        yield Finding("database", State.OK, f"LevelDB, through plyvel {version}")
    else:
        remedy = "python3 -m pip install --force-reinstall plyvel"
        yield Finding("database", State.FAILURE, f"plyvel {version} loses what it is given", remedy)


def _mining(settings: Settings) -> Iterator[Finding]:
    hint = "" if importlib.util.find_spec("numba") else " (numba is not installed: altyn[mining])"
    yield Finding("mining", State.OK, f"backends: {', '.join(backend_names())}{hint}")


def _folder(settings: Settings) -> Iterator[Finding]:
    folder = settings.folder
    existing = _existing(folder)
    if not os.access(existing, os.W_OK | os.X_OK):
        remedy = f"make {existing} writable, or choose another folder with --datadir"
        yield Finding("data folder", State.FAILURE, f"{folder} cannot be written", remedy)
    elif not folder.exists():
        yield Finding("data folder", State.OK, f"{folder} (made when a node starts)")
    elif _is_locked(folder / ".lock"):
        yield Finding("data folder", State.WARNING, f"{folder} is in use by a running node", "stop it to start another")
    elif (folder / "blocks").is_dir() and not (folder / "chainstate" / "altyn.json").exists():
        remedy = "choose another folder with --datadir; Altyn will not touch this one"
        yield Finding("data folder", State.FAILURE, f"{folder} belongs to other software", remedy)
    else:
        yield Finding("data folder", State.OK, str(folder))


def _existing(folder: Path) -> Path:
    """Return `folder`, or the nearest above it that exists."""
    return next(path for path in (folder, *folder.parents) if path.exists())


def _is_locked(path: Path) -> bool:
    try:
        with path.open("r+") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return False


def _space(settings: Settings) -> Iterator[Finding]:
    existing = _existing(settings.folder)
    free = shutil.disk_usage(existing).free
    least = _LEAST_TEST_SPACE if settings.network.is_test_chain else _LEAST_SPACE
    text = f"{free / 2**30:.1f} GiB free at {existing}"
    if free < least:
        yield Finding("disk", State.WARNING, text, "make room, choose another --datadir, or prune with --prune 550")
    else:
        yield Finding("disk", State.OK, text)


def _ports(settings: Settings) -> Iterator[Finding]:
    doors = [(door.endpoint.host, door.endpoint.port) for door in settings.doors]
    wanted = [("peers", doors, "--port"), ("rpc", list(settings.rpc_addresses), "--rpcport")]
    for name, addresses, option in wanted:
        taken = [_written(host, port) for host, port in addresses if _is_taken(host, port)]
        where = ", ".join(_written(host, port) for host, port in addresses) or "none"
        if taken:
            remedy = f"stop what listens there (a node that runs already?), or choose another with {option}"
            yield Finding(f"port for {name}", State.WARNING, f"{', '.join(taken)} is taken", remedy)
        else:
            yield Finding(f"port for {name}", State.OK, f"{where} free")


def _written(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host and not host.startswith("[") else f"{host}:{port}"


def _is_taken(host: str, port: int) -> bool:
    host = host.strip("[]")
    try:
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
    except PermissionError:
        return True
    except OSError as error:
        return error.errno == errno.EADDRINUSE  # an address this machine has not is no port that is taken
    return False


def _files(settings: Settings) -> Iterator[Finding]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = files_needed(settings.maxconnections)
    if hard < needed:
        remedy = f"raise the hard limit (ulimit -Hn {needed}), or lower --maxconnections"
        yield Finding("open files", State.WARNING, f"{hard} at most, {needed} wanted", remedy)
    else:
        yield Finding("open files", State.OK, f"{max(soft, needed)} of {hard}")


def _clock(settings: Settings) -> Iterator[Finding]:
    now = time.time()
    text = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(now))
    if now < _WRITTEN:
        yield Finding(
            "clock", State.FAILURE, f"{text} lies in the past", "set the clock: a node refuses blocks by time"
        )
    else:
        yield Finding("clock", State.OK, text)
