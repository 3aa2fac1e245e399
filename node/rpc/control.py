"""Methods about the node itself."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Protocol

from altyn.consensus.networks import Network
from altyn.node.events import Events, SchedulerForwarded
from altyn.node.memory import Heap, heap, heap_report
from altyn.node.rpc.errors import INVALID_PARAMETER, MISC_ERROR, RpcError
from altyn.node.rpc.method import HIDDEN, Array, Json, MethodTable, Number, Text, expect_type, method

LATEST_MOCK_TIME = 9_223_372_036
"""Seconds; as nanoseconds they just fit 64 bits (Core)."""


_LONGEST_FORWARD = 3600
"""Seconds (Core)."""
_DUMP = "dump_all_command_conversions"
"""A word to `help` in place of a method, for who writes clients (Core)."""
_ABSENT = object()
Echoed = Annotated[Json, Text("", keeps_null=True, check=False)]


class MockableClock(Protocol):
    """A clock that can be stopped at a time."""

    def now(self) -> float: ...
    def set_mock_time(self, seconds: int | None) -> None: ...


class Categories(Protocol):
    """Which debug messages are logged (altyn.node.logs.LogCategories)."""

    def states(self) -> dict[str, bool]: ...
    def change(self, name: str, *, shown: bool) -> None: ...


@dataclass(frozen=True, slots=True)
class Program:
    """What of the running program its methods may use."""

    stop: Callable[[float], None]
    """Makes it end, so many seconds later."""
    categories: Categories
    log_path: Path


class ControlMethods:
    """The program, its clock and its end."""

    def __init__(
        self, methods: MethodTable, network: Network, clock: MockableClock, program: Program, events: Events
    ) -> None:
        self._methods = methods
        self._network = network
        self._clock = clock
        self._program = program
        self._events = events
        self._started = clock.now()

    @method("Control", result='"str"    (string) The help text', example="getblock")
    def help(self, command: Annotated[str, Text("The command to get help on")] = "") -> Json:
        """List all commands, or get help for a specified command."""
        if command == _DUMP:
            return self._methods.conversions()
        return self._methods.help(command)

    @method("Control", result='"str"    (string) that the node is stopping')
    def stop(
        self,
        wait: Annotated[int, Number("how long to wait in ms", hidden=True)] = 0,
    ) -> str:
        """Request a graceful shutdown of the node."""
        self._program.stop(max(wait, 0) / 1000)
        return "Altyn stopping"

    @method("Control", result="n    (numeric) The number of seconds that the server has been running")
    def uptime(self) -> int:
        """Returns the total uptime of the server."""
        return int(self._clock.now() - self._started)

    @method(HIDDEN, result="null", example="1231006505")
    def setmocktime(
        self,
        timestamp: Annotated[int, Number("UNIX epoch time. Pass 0 to go back to using the system time.", wide=True)],
    ) -> None:
        """Set the local time to given timestamp (-regtest only)."""
        if not self._network.is_mockable:
            raise RpcError(MISC_ERROR, "setmocktime is for regression testing (-regtest mode) only")
        if not 0 <= timestamp <= LATEST_MOCK_TIME:
            raise RpcError(
                INVALID_PARAMETER, f"Mocktime must be in the range [0, {LATEST_MOCK_TIME}], not {timestamp}."
            )
        self._clock.set_mock_time(timestamp or None)

    @method(HIDDEN, result="null", example="60")
    def mockscheduler(
        self,
        delta_time: Annotated[int, Number("Number of seconds to forward the scheduler into the future.", wide=True)],
    ) -> None:
        """Bump the scheduler into the future (-regtest only)."""
        if not self._network.is_mockable:
            raise RpcError(MISC_ERROR, "mockscheduler is for regression testing (-regtest mode) only")
        if not 0 < delta_time <= _LONGEST_FORWARD:
            raise RpcError(MISC_ERROR, "delta_time must be between 1 and 3600 seconds (1 hr)")
        self._events.publish(SchedulerForwarded(delta_time))

    @method(
        "Control",
        result="""
        {
          "active_commands" : [ { "method" : "str", "duration" : n }, ... ]    what is being answered, microseconds
          "logpath" : "str"                                                    the complete path of the debug log
        }""",
    )
    def getrpcinfo(self) -> Json:
        """Returns details of the RPC server."""
        running = [{"method": name, "duration": int(seconds * 1e6)} for name, seconds in self._methods.running()]
        return {"active_commands": running, "logpath": str(self._program.log_path)}

    @method(
        "Control",
        result="""
        stats: { "locked" : an object with used, free, total, locked, chunks_used, chunks_free },
          in bytes and pieces, of the memory that the C library manages; none of it is locked
        mallocinfo: "<malloc version=\\"1\\">...", the state of the heap in detail""",
        example=("", "mallocinfo"),
    )
    def getmemoryinfo(
        self,
        mode: Annotated[
            str, Text('"stats" for general figures, "mallocinfo" for an XML report (glibc only)')
        ] = "stats",
    ) -> Json:
        """Returns an object containing information about memory usage."""
        if mode == "mallocinfo":
            report = heap_report()
            if report is None:
                raise RpcError(INVALID_PARAMETER, "mallocinfo mode not available")
            return report
        if mode != "stats":
            raise RpcError(INVALID_PARAMETER, f"unknown mode {mode}")
        found = heap() or Heap(0, 0, 0, 0)
        return {
            "locked": {
                "used": found.used,
                "free": found.free,
                "total": found.used + found.free,
                "locked": 0,
                "chunks_used": found.chunks_used,
                "chunks_free": found.chunks_free,
            }
        }

    @method(
        "Control",
        result="{ category : true|false, ... }    whether the debug messages of each category are logged",
        example="'[\"all\"]' '[\"http\"]'",
    )
    def logging(
        self,
        include: Annotated[
            list[Json] | None, Array("The categories to add to debug logging", shown='["include_category",...]')
        ] = None,
        exclude: Annotated[
            list[Json] | None, Array("The categories to remove from debug logging", shown='["exclude_category",...]')
        ] = None,
    ) -> Json:
        """Gets and sets the logging configuration; "all" or "1" stands for all categories."""
        for names, shown in ((include, True), (exclude, False)):
            for name in names or ():
                try:
                    self._program.categories.change(expect_type(name, "string"), shown=shown)
                except KeyError:
                    raise RpcError(INVALID_PARAMETER, f"unknown logging category {name}") from None
        return self._program.categories.states()

    @method(HIDDEN, result="[ ... ]    the arguments")
    def echo(
        self,
        arg0: Echoed = _ABSENT,
        arg1: Echoed = _ABSENT,
        arg2: Echoed = _ABSENT,
        arg3: Echoed = _ABSENT,
        arg4: Echoed = _ABSENT,
        arg5: Echoed = _ABSENT,
        arg6: Echoed = _ABSENT,
        arg7: Echoed = _ABSENT,
        arg8: Echoed = _ABSENT,
        arg9: Echoed = _ABSENT,
    ) -> list[Json]:
        """Simply echo back the input arguments. This command is for testing.

        It will return an internal bug report when arg9='trigger_internal_bug' is passed.
        """
        if arg9 == "trigger_internal_bug":
            raise RpcError(MISC_ERROR, 'Internal bug detected: request.params[9].get_str() != "trigger_internal_bug"')
        given = [arg0, arg1, arg2, arg3, arg4, arg5, arg6, arg7, arg8, arg9]
        return [each for each in given if each is not _ABSENT]

    @method(HIDDEN, result="[ ... ]    the arguments", name="echojson")
    @functools.wraps(echo)
    def echo_json(self, *arguments: Json) -> list[Json]:
        return self.echo(*arguments)
