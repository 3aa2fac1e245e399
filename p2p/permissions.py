"""What single peers may do beyond others: `-whitelist` and `-whitebind`."""

from collections.abc import Sequence
from typing import NamedTuple, Self

from altyn.p2p.addresses import Endpoint, NetworkAddress
from altyn.p2p.kinds import Permission
from altyn.p2p.netgroups import parse_address
from altyn.p2p.subnets import Subnet

PERMISSION_NAMES = {
    "bloomfilter": Permission.BLOOM_FILTER,
    "noban": Permission.NO_BAN | Permission.DOWNLOAD,
    "forcerelay": Permission.FORCE_RELAY | Permission.RELAY,
    "relay": Permission.RELAY,
    "mempool": Permission.MEMPOOL,
    "download": Permission.DOWNLOAD,
    "addr": Permission.ADDR,
    "blockfilters": Permission.BLOCK_FILTERS,
}
"""What each name grants, in the order in which `getpeerinfo` lists them; `noban` and `forcerelay` bring another."""
ALL = ~Permission.BLOCK_FILTERS  # a name that Core does not have; what Core calls all is without it
_SYNONYMS = {"all": ALL, "bloom": Permission.BLOOM_FILTER}


def permission_names(permissions: Permission) -> list[str]:
    """Return the names of what is permitted."""
    return [name for name, flags in PERMISSION_NAMES.items() if permissions & flags == flags]


class Grant(NamedTuple):
    """`permissions` is None where the text names none: then the defaults hold."""

    permissions: Permission | None
    inbound: bool
    outbound: bool
    rest: str

    @classmethod
    def parse(cls, text: str, *, may_be_outbound: bool) -> Self:
        """Read `[permission,...[,in][,out]@]rest`. Raises ValueError with Core's text."""
        words, at, rest = text.partition("@")
        if not at:
            return cls(None, True, False, text)
        permissions, inbound, outbound = Permission.NONE, False, False
        for word in filter(None, words.split(",")):
            if word == "in":
                inbound = True
            elif word == "out":
                if not may_be_outbound:
                    raise ValueError('whitebind may only be used for incoming connections ("out" was passed)')
                outbound = True
            elif word in PERMISSION_NAMES or word in _SYNONYMS:
                permissions |= PERMISSION_NAMES.get(word) or _SYNONYMS[word]
            else:
                raise ValueError(f"Invalid P2P permission: '{word}'")
        if (inbound or outbound) and not permissions:
            raise ValueError(f"Only direction was set, no permissions: '{text}'")
        return cls(permissions, inbound or not outbound, outbound, rest)


class Whitelisted(NamedTuple):
    """A range of addresses and what peers there may do; manual connections count as outbound."""

    subnet: Subnet
    permissions: Permission
    inbound: bool
    outbound: bool

    @classmethod
    def parse(cls, text: str, defaults: Permission) -> Self:
        """Read a `-whitelist`. Raises ValueError with Core's text."""
        grant = Grant.parse(text, may_be_outbound=True)
        try:
            subnet = Subnet.parse(grant.rest)
        except ValueError:
            raise ValueError(f"Invalid netmask specified in -whitelist: '{grant.rest}'") from None
        return cls(subnet, defaults if grant.permissions is None else grant.permissions, grant.inbound, grant.outbound)


class Door(NamedTuple):
    """An address to listen on, what those who knock there may do, and whether it is Tor that passes them on."""

    endpoint: Endpoint
    permissions: Permission = Permission.NONE
    onion: bool = False

    @classmethod
    def parse_whitebind(cls, text: str, defaults: Permission) -> Self:
        """Read a `-whitebind`. Raises ValueError with Core's text."""
        grant = Grant.parse(text, may_be_outbound=False)
        try:
            endpoint = Endpoint.parse(grant.rest, 0)
            parse_address(endpoint.host)
        except ValueError:
            raise ValueError(f"Cannot resolve -whitebind address: '{grant.rest}'") from None
        if not endpoint.port:
            raise ValueError(f"Need to specify a port with -whitebind: '{grant.rest}'")
        return cls(endpoint, defaults if grant.permissions is None else grant.permissions)


def permissions_of(address: NetworkAddress, whitelist: Sequence[Whitelisted], *, inbound: bool) -> Permission:
    """Return what the whitelist grants a peer at `address`."""
    granted = Permission.NONE
    for entry in whitelist:
        if (entry.inbound if inbound else entry.outbound) and entry.subnet.holds(address):
            granted |= entry.permissions
    return granted
