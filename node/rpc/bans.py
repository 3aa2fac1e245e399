"""Methods about who may not connect."""

from typing import Annotated

from altyn.node.rpc.errors import CLIENT_INVALID_IP_OR_SUBNET, CLIENT_NODE_ALREADY_ADDED, INVALID_PARAMETER, RpcError
from altyn.node.rpc.method import Flag, Json, Number, Text, method, refuse_with_help
from altyn.p2p.clock import Clock
from altyn.p2p.connections import Connections
from altyn.p2p.netgroups import is_valid, parse_address
from altyn.p2p.subnets import Subnet


class BanMethods:
    """Bans by hand; they are kept on disk."""

    def __init__(self, connections: Connections, clock: Clock, ban_time: int) -> None:
        """`ban_time`: seconds of a ban of which nobody says how long it is to last."""
        self._connections = connections
        self._clock = clock
        self._ban_time = ban_time

    @method("Network", result="null", example=('"192.168.0.6" "add" 86400', '"192.168.0.0/24" "add"'))
    def setban(
        self,
        subnet: Annotated[str, Text("The IP/Subnet (see getpeerinfo for nodes IP) with an optional netmask")],
        command: Annotated[
            str,
            Text("'add' to add an IP/Subnet to the list, 'remove' to remove an IP/Subnet from the list"),
        ],
        bantime: Annotated[
            int,
            Number(
                "Time in seconds how long (or until when if [absolute] is set) the IP is banned (0 or empty means "
                "using the default time of 24h which can also be overwritten by the -bantime startup argument)",
                wide=True,
            ),
        ] = 0,
        absolute: Annotated[
            bool, Flag("If set, the bantime must be an absolute timestamp expressed in UNIX epoch time")
        ] = False,
    ) -> None:
        """Attempts to add or remove an IP/Subnet from the banned list."""
        if command not in {"add", "remove"}:
            refuse_with_help(self.setban)
        bans, now = self._connections.bans, int(self._clock.now())
        try:
            address = None if "/" in subnet else parse_address(subnet)
            chosen = Subnet.parse(subnet) if address is None else Subnet.single(address)
            if address is not None and not is_valid(address):
                raise ValueError("no address of anything")
        except ValueError:
            raise RpcError(CLIENT_INVALID_IP_OR_SUBNET, "Error: Invalid IP/Subnet") from None
        if command == "remove":
            if not bans.unban(chosen):
                raise RpcError(
                    CLIENT_INVALID_IP_OR_SUBNET,
                    "Error: Unban failed. Requested address/subnet was not previously manually banned.",
                )
            return
        if chosen in bans.banned(now) if address is None else bans.is_banned(address, now):
            raise RpcError(CLIENT_NODE_ALREADY_ADDED, "Error: IP/Subnet already banned")
        if absolute and bantime < now:
            raise RpcError(INVALID_PARAMETER, "Error: Absolute timestamp is in the past")
        until = bantime if absolute and bantime > 0 else now + (bantime if bantime > 0 else self._ban_time)
        bans.ban(chosen, now, until)
        self._connections.disconnect(chosen, "banned")

    @method(
        "Network",
        result="A list with an object for each ban: address, ban_created, banned_until, ban_duration, time_remaining",
    )
    def listbanned(self) -> Json:
        """List all manually banned IPs/Subnets."""
        now = int(self._clock.now())
        return [
            {
                "address": str(subnet),
                "ban_created": ban.created,
                "banned_until": ban.until,
                "ban_duration": ban.until - ban.created,
                "time_remaining": ban.until - now,
            }
            for subnet, ban in self._connections.bans.banned(now).items()
        ]

    @method("Network", result="null")
    def clearbanned(self) -> None:
        """Clear all banned IPs."""
        self._connections.bans.clear()
