"""Methods about the node itself."""

from collections.abc import Callable
from typing import Annotated, Protocol

from altyn.consensus.networks import Network
from altyn.node.rpc.errors import INVALID_PARAMETER, MISC_ERROR, RpcError
from altyn.node.rpc.method import HIDDEN, MethodTable, Number, Text, method

LATEST_MOCK_TIME = 9_223_372_036
"""Seconds; as nanoseconds they just fit 64 bits (Core)."""


class MockableClock(Protocol):
    """A clock that can be stopped at a time."""

    def now(self) -> float: ...
    def set_mock_time(self, seconds: int | None) -> None: ...


class ControlMethods:
    """Help, clock and end of a node."""

    def __init__(
        self, methods: MethodTable, network: Network, clock: MockableClock, stop: Callable[[float], None]
    ) -> None:
        """`stop` makes the node end, `stop(seconds)` later."""
        self._methods = methods
        self._network = network
        self._clock = clock
        self._stop = stop
        self._started = clock.now()

    @method("Control", result='"str"    (string) The help text', example="getblock")
    def help(self, command: Annotated[str, Text("The command to get help on")] = "") -> str:
        """List all commands, or get help for a specified command."""
        return self._methods.help(command)

    @method("Control", result='"str"    (string) that the node is stopping')
    def stop(
        self,
        wait: Annotated[int, Number("how long to wait in ms", hidden=True)] = 0,
    ) -> str:
        """Request a graceful shutdown of the node."""
        self._stop(max(wait, 0) / 1000)
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
