"""Processes that synchronise a chain from nothing, each whole: what it costs is read off the process when it ends."""

import asyncio
import contextlib
import importlib
import importlib.util
import json
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from altyn.consensus.networks import REGTEST
from altyn.consensus.secp256k1 import load
from altyn.node.chain.chain import Chain
from altyn.node.chain.import_file import import_file
from altyn.node.chain.stores import Stores
from altyn.node.chain.verify import in_processes
from altyn.node.full import FullNode
from altyn.node.interpreter import tune_interpreter
from altyn.node.lifetime import background, real_surroundings, script_checkers, worker_threads
from altyn.node.load_settings import load as load_settings
from altyn.node.storage.folder import DataFolder
from altyn.node.writer import Writer

HAS_KERNEL = importlib.util.find_spec("pbk") is not None
"""libbitcoinkernel is not there for every system."""
_PROGRAM = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); import contestants; contestants.main()"
Beside = Coroutine[Any, Any, None]
_LIMIT = 3600.0
"""Seconds until a contestant counts as stuck."""
_TICK = 0.005
"""Seconds between two looks at the event loop."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What a process took, from its start to its end."""

    wall: float
    """Seconds."""
    cpu: float
    """Seconds of processors, its own and the system's for it."""
    memory: int
    """Bytes at the highest; each of its helpers counts as much as the largest of them."""
    stall: float
    """Seconds for which its event loop did not answer, at the worst; 0 without one."""


def run(name: str, *arguments: str) -> Cost:
    """Run a contestant in a process of its own, in a folder that is gone afterwards unless it is among `arguments`."""
    with tempfile.TemporaryDirectory(prefix="altyn-ibd-") as folder:
        command = [sys.executable, "-c", _PROGRAM, name, *(arguments if name == "keep" else (*arguments, folder))]
        return measured(command)


def measured(command: Sequence[str]) -> Cost:
    """Run a command to its end. Raises RuntimeError if it fails."""
    start = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        limit = threading.Timer(_LIMIT, process.kill)
        limit.start()
        output = process.stdout.read()
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        limit.cancel()
    wall = time.perf_counter() - start
    if process.returncode:
        raise RuntimeError(f"{command} ended with {process.returncode}:\n{output}")
    last = output.splitlines()[-1:]
    told: dict[str, Any] = (
        json.loads(last[0]) if last and last[0].startswith('{"stall"') else {"stall": 0.0, "memory": 0}
    )
    memory = used.ru_maxrss * 1024 + told["memory"]
    return Cost(wall, used.ru_utime + used.ru_stime, memory, told["stall"])


@contextlib.contextmanager
def serving(folder: Path, port: int) -> Iterator[None]:
    """Have an Altyn node offer the chain in `folder` to peers on this machine while the body runs."""
    command = [sys.executable, "-c", _PROGRAM, "serve", str(port), str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            if not process.stdout.readline():
                raise RuntimeError("the node that was to serve the chain did not start")
            yield
        finally:
            process.terminate()


class _Watchdog:
    """The longest time for which the event loop did not get round to what was due."""

    def __init__(self) -> None:
        self.worst = 0.0

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + _TICK
            await asyncio.sleep(_TICK)
            self.worst = max(self.worst, loop.time() - due)


def report(watchdog: _Watchdog) -> None:
    """Tell what cannot be read off the process from outside. Its helpers have ended."""
    helper = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
    print(json.dumps({"stall": watchdog.worst, "memory": helper * script_checkers(0)}))


def blocks_of(path: Path) -> Iterator[bytes]:
    """Yield the blocks of a file in Core's form, in its order."""
    with path.open("rb") as file:
        while head := file.read(8):
            yield file.read(int.from_bytes(head[4:], "little"))


async def from_file(path: Path, folder: Path) -> None:
    """Have Altyn read a block file, as fast as it takes the blocks."""
    watchdog = _Watchdog()
    async with real_surroundings(worker_threads(0), 0) as surroundings:
        offload, writer = surroundings.offload, Writer()
        secp = load("coincurve")
        with DataFolder.open(folder, REGTEST) as data:
            stores, clock = Stores.open(data), surroundings.clock
            async with (
                in_processes(script_checkers(0), offload, secp) as verifier,
                Chain.open(REGTEST, stores, clock, writer, offload=offload, secp=secp, verifier=verifier) as chain,
                background(writer.run(), chain.run(), watchdog.run()),
            ):
                await import_file(path, chain, offload)
    report(watchdog)


async def from_peer(port: int, height: int, folder: Path, *beside: Callable[[FullNode], Beside]) -> None:
    """Have an Altyn node fetch the chain from one on this machine, with something to do `beside` it."""
    watchdog = _Watchdog()
    options = [f"-connect=127.0.0.1:{port}", "-listen=0", f"-stopatheight={height}"]
    settings = load_settings(["-regtest", f"-datadir={folder}", *options])
    async with FullNode.open(settings) as node, background(watchdog.run(), *(each(node) for each in beside)):
        await node.run()
    report(watchdog)


async def serve(port: int, folder: Path) -> None:
    """Offer a chain to peers until terminated."""
    settings = load_settings(["-regtest", f"-datadir={folder}", f"-bind=127.0.0.1:{port}", "-connect=0", "-listen=1"])
    async with FullNode.open(settings) as node:
        print("ready", flush=True)
        await node.run()


def kernel(path: Path, workers: int, folder: Path) -> None:
    """Have libbitcoinkernel import a block file with worker threads beside its own."""
    pbk: Any = importlib.import_module("pbk")  # here, as the asker below
    pbk.disable_log_category(pbk.LogCategory.ALL)
    options = pbk.ChainstateManagerOptions(pbk.make_context(pbk.ChainType.REGTEST), str(folder), str(folder / "blocks"))
    options.set_worker_threads_num(workers)
    manager = pbk.ChainstateManager(options)
    height = sum(1 for _ in blocks_of(path)) - 1
    manager.import_blocks([path])
    if manager.get_active_chain().height != height:
        raise AssertionError("the kernel refuses blocks that were made to be valid")


def main() -> None:
    tune_interpreter()
    name, *arguments = sys.argv[1:]
    folder = Path(arguments[-1])
    match name:
        case "file" | "keep":
            asyncio.run(from_file(Path(arguments[0]), folder))
        case "peer":
            asyncio.run(from_peer(int(arguments[0]), int(arguments[1]), folder))
        case "asked":
            ask = importlib.import_module("asker").ask  # here, for the others shall not pay for it
            asyncio.run(from_peer(int(arguments[0]), int(arguments[1]), folder, ask))
        case "serve":
            asyncio.run(serve(int(arguments[0]), folder))
        case "kernel":
            kernel(Path(arguments[0]), int(arguments[1]), folder)
