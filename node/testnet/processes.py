"""A local network of real node processes: its folder, its ports, starting, asking and stopping them."""

import contextlib
import fcntl
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Self, TextIO

from altyn.node.rpc.client import RpcClient, RpcFailure, Unreachable
from altyn.node.testnet.lifeline import Lifeline

STATE_FILE = "network.json"
LOCK_FILE = "lock"
START_TIMEOUT = 60.0
STOP_TIMEOUT = 30.0
_POLL = 0.05


class TestnetError(Exception):
    """A local network cannot do what was asked; the text says what to do."""

    __test__ = False  # its name looks like a test class to pytest


@dataclass(frozen=True, slots=True)
class NodeRecord:
    """One node of a network, as kept in its state file. `kind` is "full" or "light"; `pid` is 0 when not started."""

    name: str
    kind: str
    port: int
    rpc_port: int
    datadir: str
    peers: tuple[str, ...]
    pid: int = 0

    @property
    def rpc_url(self) -> str:
        return f"http://127.0.0.1:{self.rpc_port}"

    @property
    def cookie_file(self) -> Path:
        return Path(self.datadir) / "regtest" / ".cookie"

    @property
    def log_file(self) -> Path:
        """Where the process's own output goes; the node's log lies in its data directory."""
        return Path(self.datadir).with_suffix(".out")

    def rpc(self, timeout: float = 60.0) -> RpcClient:
        """Return a client of the node. Its calls raise Unreachable while the node is not there."""
        return RpcClient(self.rpc_url, cookie_file=self.cookie_file, timeout=timeout)


def testnets_folder() -> Path:
    """Return the folder that holds all local networks: $ALTYN_HOME/testnets, by default ~/.altyn/testnets."""
    home = os.environ.get("ALTYN_HOME")
    return (Path(home) if home else Path.home() / ".altyn") / "testnets"


def network_names() -> list[str]:
    """Return the names of the networks that exist, running or not."""
    return sorted(path.parent.name for path in testnets_folder().glob(f"*/{STATE_FILE}"))


class LocalNetwork:
    """A named network under `testnets_folder()`. Use it inside `locked()` to change anything."""

    def __init__(self, name: str) -> None:
        if not name or name != Path(name).name or name.startswith("."):
            raise TestnetError(f"{name!r} is no name for a network: use letters, digits and dashes")
        self.name = name
        self.folder = testnets_folder() / name
        self.nodes: list[NodeRecord] = []
        self.passphrase = ""
        self.proof: dict[str, Any] | None = None
        self._lifelines: dict[str, Lifeline] = {}
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    @property
    def exists(self) -> bool:
        return (self.folder / STATE_FILE).exists()

    @property
    def wallets(self) -> Path:
        """Where the wallets of the network lie."""
        return self.folder / "wallets"

    @classmethod
    def load(cls, name: str) -> Self:
        """Return the network called `name`. Raises TestnetError when there is none or its state cannot be read."""
        network = cls(name)
        if not network.exists:
            raise TestnetError(f"there is no network {name!r}; start it with: altyn testnet up --name {name}")
        try:
            state = json.loads((network.folder / STATE_FILE).read_text())
            network.nodes = [NodeRecord(**{**node, "peers": tuple(node["peers"])}) for node in state["nodes"]]
            network.passphrase = state["passphrase"]
            network.proof = state["proof"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise TestnetError(
                f"cannot read {network.folder / STATE_FILE} ({error}); remove the network with: "
                f"altyn testnet destroy --name {name}"
            ) from error
        return network

    @classmethod
    def create(cls, name: str, full: int = 3, light: int = 1) -> Self:
        """Lay out a new network: every full node dials those before it, each light node dials all full ones."""
        network = cls(name)
        ports = iter(free_ports(2 * (full + light)))
        for number in range(full):
            network._lay_out(f"full{number + 1}", "full", network.nodes[-2:], next(ports), next(ports))
        servers = list(network.nodes)
        for number in range(light):
            network._lay_out(f"light{number + 1}", "light", servers, next(ports), next(ports))
        network.passphrase = secrets.token_hex(16)
        network.folder.mkdir(parents=True, exist_ok=True)
        network.wallets.mkdir(mode=0o700, exist_ok=True)
        network.save()
        return network

    def _lay_out(self, name: str, kind: str, peers: Sequence[NodeRecord], port: int, rpc_port: int) -> None:
        addresses = tuple(f"127.0.0.1:{peer.port}" for peer in peers)
        self.nodes.append(NodeRecord(name, kind, port, rpc_port, str(self.folder / name), addresses))

    def save(self) -> None:
        """Write the state file, whole or not at all; it holds the wallets' passphrase, so it is private."""
        state = {
            "name": self.name,
            "nodes": [asdict(node) for node in self.nodes],
            "passphrase": self.passphrase,
            "proof": self.proof,
        }
        path = self.folder / STATE_FILE
        fresh = path.with_suffix(".new")
        with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            json.dump(state, file, indent=1)
        fresh.replace(path)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other commands from changing the network meanwhile. Raises TestnetError after a minute's wait."""
        with self._opened_lock() as file:

            def acquire() -> bool:
                with contextlib.suppress(BlockingIOError):
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    return True
                return False

            if not wait_until(acquire, START_TIMEOUT):
                raise TestnetError(f"another command is busy with network {self.name!r}; try again when it is done")
            yield

    def _opened_lock(self) -> TextIO:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            return open(self.folder / LOCK_FILE, "w")
        except OSError as error:
            raise TestnetError(
                f"cannot write {self.folder} ({error.strerror}): set ALTYN_HOME to a folder that can be written"
            ) from error

    # Starting and stopping

    def check_running(self) -> None:
        """Raise TestnetError, which says what to do, unless every node's process is there."""
        missing = [node.name for node in self.nodes if not is_running(node)]
        if missing:
            some = "" if len(missing) == len(self.nodes) else f"{', '.join(missing)} of "
            raise TestnetError(
                f"{some}network {self.name!r} is not running; start it with: altyn testnet up --name {self.name}"
            )

    def node(self, name: str) -> NodeRecord:
        """Return the node called `name`. Raises TestnetError."""
        for node in self.nodes:
            if node.name == name:
                return node
        raise TestnetError(f"no node {name!r} in network {self.name!r}; it has {', '.join(n.name for n in self.nodes)}")

    @property
    def full_nodes(self) -> list[NodeRecord]:
        return [node for node in self.nodes if node.kind == "full"]

    @property
    def light_nodes(self) -> list[NodeRecord]:
        return [node for node in self.nodes if node.kind == "light"]

    def start(self, progress: Callable[[str], None]) -> None:
        """Start every node that does not run and wait until all answer. Raises TestnetError."""
        for node in self.nodes:
            if not is_running(node):
                progress(f"starting {node.name}")
                self._start_node(node)
        for node in self.nodes:
            self._wait_ready(node)

    def _start_node(self, node: NodeRecord) -> None:
        Path(node.datadir).mkdir(mode=0o700, exist_ok=True)
        lifeline = Lifeline()
        command = [sys.executable, "-m", "altyn.node.cli.altyn", node.kind if node.kind == "light" else "node"]
        command += ["--network", "regtest", "--datadir", node.datadir, "--rpcport", str(node.rpc_port)]
        if node.kind == "full":
            command += ["--bind", f"127.0.0.1:{node.port}", "--port", str(node.port)]
        for peer in node.peers:
            command += ["--addnode", peer]
        with open(node.log_file, "ab") as output:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=node.datadir,
                env={**os.environ, **lifeline.environment},
                pass_fds=[lifeline.read_fd],
                start_new_session=True,  # Ctrl-C is for the starter, which then stops its nodes in order
            )
        lifeline.started()
        self._lifelines[node.name] = lifeline
        self._processes[node.name] = process
        self.nodes[self.nodes.index(node)] = replace(node, pid=process.pid)
        self.save()

    def _wait_ready(self, node: NodeRecord) -> None:
        process = self._processes.get(node.name)

        def ready() -> bool:
            if process is not None and process.poll() is not None:
                raise TestnetError(f"{node.name} ended while starting: {last_line(node.log_file)}")
            return is_answering(node)

        if not wait_until(ready, START_TIMEOUT):
            raise TestnetError(f"{node.name} does not answer; its output is in {node.log_file}")

    def release(self) -> None:
        """Let the nodes started here outlive this process."""
        for lifeline in self._lifelines.values():
            lifeline.release()
        self._lifelines.clear()

    def stop(self, progress: Callable[[str], None]) -> None:
        """Stop every running node, in order and cleanly; kill what does not end within STOP_TIMEOUT."""
        running = [node for node in self.nodes if is_running(node)]
        for node in running:
            progress(f"stopping {node.name}")
            try:
                node.rpc(timeout=5.0).call("stop")
            except (Unreachable, RpcFailure):  # still starting, or stuck: the signal below reaches it
                _signal(node, signal.SIGTERM)
        for node in running:
            if not wait_until(partial(self._has_ended, node), STOP_TIMEOUT):
                _signal(node, signal.SIGKILL)
                wait_until(partial(self._has_ended, node), STOP_TIMEOUT)
        self.nodes = [replace(node, pid=0) for node in self.nodes]
        self.save()

    def _has_ended(self, node: NodeRecord) -> bool:
        process = self._processes.get(node.name)
        if process is not None:
            return process.poll() is not None  # also collects the ended child
        return not is_running(node)

    def clear(self) -> None:
        """Remove everything of the stopped network but its name, which stays locked."""
        for path in self.folder.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            elif path.name != LOCK_FILE:
                path.unlink()

    def destroy(self) -> None:
        """Remove the stopped network's folder with everything in it."""
        shutil.rmtree(self.folder)


def is_running(node: NodeRecord) -> bool:
    """Tell whether the recorded process exists and is this node's: a number may have been given away again."""
    return bool(node.pid) and node.datadir in _command_line(node.pid)


def _command_line(pid: int) -> str:
    """Return the arguments of a process; nothing for one that has ended, collected by its parent or not."""
    if Path("/proc/self/cmdline").exists():
        try:
            return Path(f"/proc/{pid}/cmdline").read_text(errors="replace").replace("\0", " ")
        except OSError:
            return ""
    listing = ["ps", "-ww", "-o", "command=", "-p", str(pid)]
    return subprocess.run(listing, capture_output=True, text=True, check=False).stdout


def is_answering(node: NodeRecord) -> bool:
    """Tell whether the node's RPC answers."""
    try:
        node.rpc(timeout=5.0).call("getblockcount")
    except (Unreachable, RpcFailure):
        return False
    return True


def _signal(node: NodeRecord, number: signal.Signals) -> None:
    if is_running(node):
        with contextlib.suppress(ProcessLookupError):
            os.kill(node.pid, number)


def free_ports(count: int) -> list[int]:
    """Return `count` different TCP ports that are free on the loopback address now."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def wait_until(condition: Callable[[], bool], timeout: float) -> bool:
    """Ask `condition` until it holds, for at most `timeout` seconds; return whether it came to hold."""
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL)
    return True


def last_line(path: Path) -> str:
    """Return the last line of a text file, for an error message."""
    try:
        lines = path.read_text(errors="replace").strip().splitlines()
    except OSError as error:
        return str(error)
    return lines[-1] if lines else "it said nothing"
