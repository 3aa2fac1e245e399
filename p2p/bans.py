"""Who may not connect: subnets banned by hand, and addresses discouraged because somebody there misbehaved."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from altyn.p2p.addresses import NetworkAddress
from altyn.p2p.netgroups import parse_address
from altyn.p2p.subnets import Subnet

DEFAULT_BAN_TIME = 24 * 60 * 60
"""Seconds of a ban of which nobody said how long it is to last (Core: -bantime)."""
MAX_DISCOURAGED = 50_000
"""Addresses remembered for misbehaviour; the oldest are forgotten first."""


@dataclass(frozen=True, slots=True)
class Ban:
    """Times in seconds since 1970."""

    created: int
    until: int


class Bans:
    """What is banned and discouraged; times are passed in."""

    def __init__(self, changed: Callable[[], None] = lambda: None) -> None:
        """`changed` is called after each change of the bans, which is to be remembered at once."""
        self._changed = changed
        self._banned: dict[Subnet, Ban] = {}
        self._discouraged: dict[bytes, NetworkAddress] = {}

    def ban(self, subnet: Subnet, now: int, until: int) -> None:
        """Ban a range up to a time; a ban that lasts longer stays (Core: BanMan::Ban)."""
        if subnet not in self._banned or self._banned[subnet].until < until:
            self._banned[subnet] = Ban(now, until)
            self._changed()

    def unban(self, subnet: Subnet) -> bool:
        """Lift the ban of exactly this range. False if there is none."""
        was_banned = self._banned.pop(subnet, None) is not None
        if was_banned:
            self._changed()
        return was_banned

    def clear(self) -> None:
        """Lift all bans; what was discouraged stays so."""
        self._banned.clear()
        self._changed()

    def banned(self, now: int) -> dict[Subnet, Ban]:
        """Return the bans that last, by range; forget the others."""
        self._banned = {subnet: ban for subnet, ban in self._banned.items() if now <= ban.until}
        return dict(sorted(self._banned.items()))

    def is_banned(self, address: NetworkAddress, now: int) -> bool:
        """Whether an address lies in a banned range."""
        return any(now < ban.until and subnet.holds(address) for subnet, ban in self._banned.items())

    def discourage(self, address: NetworkAddress) -> None:
        """Remember that somebody at an address, whatever the port, misbehaved."""
        key = bytes((address.network,)) + address.host
        self._discouraged.pop(key, None)
        self._discouraged[key] = address._replace(port=0)
        if len(self._discouraged) > MAX_DISCOURAGED:
            del self._discouraged[next(iter(self._discouraged))]

    def is_discouraged(self, address: NetworkAddress) -> bool:
        """Whether somebody at this address misbehaved."""
        return bytes((address.network,)) + address.host in self._discouraged

    def as_json(self, now: int) -> dict[str, Any]:
        """Return what `banlist.json` holds: the bans as Core writes them, and what is discouraged."""
        return {
            "banned_nets": [
                {"version": 1, "ban_created": ban.created, "banned_until": ban.until, "address": str(subnet)}
                for subnet, ban in self.banned(now).items()
            ],
            "discouraged": [address.text for address in self._discouraged.values()],
        }

    def load(self, saved: Mapping[str, Any]) -> None:
        """Take up what `as_json` gave, or a file of Core's. Raises ValueError, KeyError, TypeError."""
        nets: Iterable[Mapping[str, Any]] = saved["banned_nets"]
        banned = {Subnet.parse(net["address"]): Ban(int(net["ban_created"]), int(net["banned_until"])) for net in nets}
        discouraged = [parse_address(text) for text in saved.get("discouraged", ())]
        self._banned |= banned
        for address in discouraged:
            self.discourage(address)
