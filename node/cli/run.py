"""Running a node in the foreground: log, RPC server, node, signals, and how it all ends."""

import asyncio
import logging
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager, nullcontext
from dataclasses import replace
from enum import Enum

import zmq

from altyn.node.chain.progress import SyncProgress
from altyn.node.cli.bars import bars_on_terminal
from altyn.node.events import BlockConnected, Events, TipChanged
from altyn.node.files_limit import raise_files_limit
from altyn.node.full import FullNode
from altyn.node.interpreter import tune_interpreter
from altyn.node.lifetime import NodeError, background, real_surroundings, worker_threads
from altyn.node.light.node import LightNode
from altyn.node.logs import LogCategories, TipLog, log_start, logging_to
from altyn.node.notify import Commands, notify_of_blocks, notify_of_warnings
from altyn.node.options import SettingsError
from altyn.node.rpc.auth import Cookie, Users, make_cookie
from altyn.node.rpc.control import Program
from altyn.node.rpc.groups import full_groups, full_rest, light_groups
from altyn.node.rpc.metrics import NodeMetrics
from altyn.node.rpc.server import RpcServer
from altyn.node.rpc.stream import EventStream
from altyn.node.rpc.zmq import Publication, Publishers, ZmqMethods
from altyn.node.settings import Settings
from altyn.node.storage.errors import RebuildNeeded, StoreError
from altyn.node.storage.folder import DataFolder
from altyn.node.testnet.lifeline import starter_gone
from altyn.node.version import VERSION
from altyn.p2p.clock import SystemClock

log = logging.getLogger(__name__)

_LIGHT_THREADS = 2


class Kind(Enum):
    """What runs."""

    FULL = "full node"
    LIGHT = "light node"


_NO_HTTP_SERVER = "Unable to start HTTP server. See debug log for details."

Ready = Callable[[Sequence[tuple[str, int]]], None]
"""Called when the node answers everything, with the addresses of its RPC server."""


def run(
    settings: Settings,
    kind: Kind,
    *,
    arguments: Sequence[str] = (),
    for_people: bool = False,
    wallets_folder: bool = False,
    ready: Ready = lambda addresses: None,
) -> int:
    """Run a node until it is told to stop; return the exit status. What went wrong is one line on standard error.

    `arguments` are for the log. `wallets_folder` makes the empty folder that Core's tests look for.
    """
    tune_interpreter()
    os.umask(0o077)  # what a node writes is its owner's, as with Core
    try:
        with DataFolder.open(settings.datadir, settings.network):
            pass  # refused before anything is written into a folder that is not ours, or in use
        with logging_to(settings, for_people=for_people) as categories, _pid_file(settings):
            try:
                log_start(settings, VERSION, list(arguments))
                settings = _within_limits(settings)
                if wallets_folder:
                    (settings.folder / "wallets").mkdir(exist_ok=True)
                events = Events()
                with bars_on_terminal(events) if for_people else nullcontext():
                    asyncio.run(_serve(settings, kind, categories, events, ready))
                log.info("Shutdown: done")
            except asyncio.CancelledError:  # told to stop while it was starting
                log.info("Shutdown: interrupted while starting")
            except (SettingsError, NodeError, StoreError) as error:
                log.error("Error: %s", error)
                if isinstance(error, RebuildNeeded) and not for_people:
                    return _fail(f"{error}.\nPlease restart with -reindex or -reindex-chainstate to recover.", title="")
                hint = error.hint if for_people and isinstance(error, NodeError) else ""
                return _fail(f"{error} {hint}".rstrip())
            except Exception:  # the boundary of the program: the log has the traceback, the user one line
                log.exception("bug in the node")
                return _fail(f"internal error; {settings.path(settings.debuglogfile)} has the details")
    except (SettingsError, StoreError, OSError) as error:
        return _fail(str(error))
    return 0


def _within_limits(settings: Settings) -> Settings:
    """Have room for as many files as the settings need; with less, there are fewer peers."""
    possible = raise_files_limit(settings.maxconnections)
    if possible < settings.maxconnections:
        log.warning(
            "Reducing -maxconnections from %d to %d, because of system limitations.", settings.maxconnections, possible
        )
        return replace(settings, maxconnections=possible)
    return settings


def _fail(text: str, title: str = "Error") -> int:
    """Say why not, as bitcoind does; where it would ask a question, there is no title."""
    print(f"{title}: {text}", file=sys.stderr)
    return 1


@contextmanager
def _pid_file(settings: Settings) -> Iterator[None]:
    path = settings.path(settings.pid)
    try:
        path.write_text(f"{os.getpid()}\n")
    except OSError as error:
        raise SettingsError(f"Unable to create the PID file '{path}': {error.strerror} ({error.errno})") from error
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


class _Ending:
    """Signals and `stop`: they stop the node, or what comes before it is there. SIGHUP opens the log anew."""

    def __init__(self, categories: LogCategories) -> None:
        self._loop = asyncio.get_running_loop()
        self._task = asyncio.current_task()
        self.node: FullNode | LightNode | None = None
        for number in (signal.SIGINT, signal.SIGTERM):
            self._loop.add_signal_handler(number, self.now)

        self._loop.add_signal_handler(signal.SIGHUP, categories.reopen)

    def now(self) -> None:
        """Stop."""
        if self.node is not None:
            self.node.stop()
        elif self._task is not None:
            self._task.cancel()

    def later(self, seconds: float) -> None:
        """Stop in a while."""
        self._loop.call_later(seconds, self.now)


async def _serve(settings: Settings, kind: Kind, categories: LogCategories, events: Events, ready: Ready) -> None:
    ending = _Ending(categories)
    program = Program(ending.later, categories, settings.path(settings.debuglogfile))
    threads = worker_threads(settings.par) if kind is Kind.FULL else _LIGHT_THREADS
    async with _rpc(settings) as (server, addresses), real_surroundings(threads, settings.mocktime) as surroundings:
        clock = surroundings.clock
        assert isinstance(clock, SystemClock)
        server.warm_up("Loading block index…")
        if kind is Kind.FULL:
            async with FullNode.open(settings, surroundings=surroundings, events=events) as full:
                full.events.subscribe(SyncProgress(full.chain, clock), BlockConnected)
                full.events.subscribe(TipLog(full.warnings.of_tip), TipChanged)
                groups = full_groups(full, server.methods, clock, program)
                server.rest = full_rest(full, server.methods)
                server.metrics = NodeMetrics(full.chain, full.mempool, full.connections, server.methods)
                server.stream = EventStream(full.events)
                with _publishing(full) as publications:
                    groups.append(ZmqMethods(publications))
                    await _answer(full, groups, server, ending, lambda: ready(addresses))
        else:
            async with LightNode.open(settings, surroundings=surroundings) as light:
                light.events.subscribe(TipLog())
                groups = light_groups(light, server.methods, clock, program)
                await _answer(light, groups, server, ending, lambda: ready(addresses))


@contextmanager
def _publishing(node: FullNode) -> Iterator[Sequence[Publication]]:
    """Publish by ZMQ while the body runs; where an address cannot be had nothing is, which the log says (Core)."""
    wanted = [Publication(*each) for each in node.settings.publications]
    with ExitStack() as stack:
        if wanted:
            try:
                publishers = stack.enter_context(Publishers.open(node.chain, wanted))
            except zmq.ZMQError as error:
                log.error("zmq: nothing is published: %s", error)
                wanted = []
            else:
                stack.callback(node.events.subscribe(publishers.note))
        yield wanted


async def _answer(
    node: FullNode | LightNode, groups: list[object], server: RpcServer, ending: _Ending, ready: Callable[[], None]
) -> None:
    ending.node = node
    settings, commands = node.settings, Commands()
    if settings.alertnotify:
        node.events.subscribe(notify_of_warnings(settings.alertnotify, commands))
    if settings.blocknotify:
        node.events.subscribe(notify_of_blocks(node.chain, settings.blocknotify, commands))
    server.ready(groups)
    log.info("Done loading")
    ready()
    commands.start(settings.startupnotify)
    async with background(_stop_without_starter(ending)):
        await node.run()
    log.info("Shutdown: in progress...")
    for command in settings.shutdownnotify:
        commands.start(command)
    await server.close()  # who called has the answer; nobody asks a node that is going
    await commands.finish()


async def _stop_without_starter(ending: _Ending) -> None:
    await starter_gone()
    log.info("the process that started this node is gone: stopping")
    ending.now()


@asynccontextmanager
async def _rpc(settings: Settings) -> AsyncIterator[tuple[RpcServer, list[tuple[str, int]]]]:
    """Serve RPC; the cookie is there before anybody is answered."""
    try:
        cookie = make_cookie(settings)
        users = Users.from_settings(settings, cookie)
    except SettingsError as error:
        log.warning("%s", error)
        raise NodeError(_NO_HTTP_SERVER, hint=str(error)) from error
    server = RpcServer(
        users,
        threads=settings.rpcthreads,
        work_queue=settings.rpcworkqueue,
        timeout=float(settings.rpcservertimeout),
        allowed=settings.rpcallowip,
        open_paths={
            path
            for path, is_served in (
                ("rest", settings.rest),
                ("metrics", settings.metrics),
                ("events", settings.eventstream),
            )
            if is_served
        },
    )
    if not settings.server:
        yield server, []
        return
    if cookie is not None:
        _write(cookie)
    try:
        addresses = await server.listen(settings.rpc_addresses)
    except OSError as error:
        log.info("Unable to bind any endpoint for RPC server: %s", error)
        if cookie is not None:
            cookie.remove()
        hint = f"Is port {settings.rpcport} in use? Choose another one with --rpcport."
        raise NodeError(_NO_HTTP_SERVER, hint=hint) from error
    try:
        yield server, addresses
    finally:
        await server.close()
        if cookie is not None:
            cookie.remove()


def _write(cookie: Cookie) -> None:
    try:
        cookie.write()
    except OSError as error:
        reason = f"Unable to write the cookie {cookie.path}: {error}"
        log.warning("%s", reason)
        raise NodeError(_NO_HTTP_SERVER, hint=reason) from error
