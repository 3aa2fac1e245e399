"""Methods about the addresses of nodes that we know of."""

from typing import Annotated

from altyn.node.rpc.errors import INVALID_PARAMETER, MISC_ERROR, RpcError
from altyn.node.rpc.method import HIDDEN, Flag, Json, Number, Text, method
from altyn.node.sync.addresses import AddressGossip
from altyn.p2p.addresses import NetworkAddress, NetworkId, TimedAddress
from altyn.p2p.clock import Clock
from altyn.p2p.kinds import Services
from altyn.p2p.netgroups import NETWORK_NAMES, network_name, parse_address


class AddressMethods:
    """The address book, as tools and tests look into it."""

    def __init__(self, gossip: AddressGossip, clock: Clock) -> None:
        self._gossip = gossip
        self._clock = clock

    @method(
        "Network",
        result="A list with an object for each: time, services, address, port, network",
        example=("8", '4 "i2p"'),
    )
    def getnodeaddresses(
        self,
        count: Annotated[
            int, Number("The maximum number of addresses to return. Specify 0 to return all known addresses.")
        ] = 1,
        network: Annotated[
            str | None,
            Text("Return only addresses of the specified network. Can be one of: ipv4, ipv6, onion, i2p, cjdns."),
        ] = None,
    ) -> Json:
        """Return known addresses, after filtering for quality and recency."""
        if count < 0:
            raise RpcError(INVALID_PARAMETER, "Address count out of range")
        ids = {name: number for number, name in NETWORK_NAMES.items()}
        if network is not None and network.lower() not in ids:
            raise RpcError(INVALID_PARAMETER, f"Network not recognized: {network}")
        chosen = None if network is None else ids[network.lower()]
        return [
            {
                "time": timed.time,
                "services": timed.services,
                "address": timed.address.text,
                "port": timed.address.port,
                "network": network_name(timed.address),
            }
            for timed in self._gossip.known_addresses(count, 0, chosen)
        ]

    @method(HIDDEN, result="An object: success, error (if not)", example='"1.2.3.4" 8333 true')
    def addpeeraddress(
        self,
        address: Annotated[str, Text("The IP address of the peer")],
        port: Annotated[int, Number("The port of the peer")],
        tried: Annotated[bool, Flag("If true, attempt to add the peer to the tried addresses table")] = False,
    ) -> Json:
        """Add the address of a potential peer to an address manager table. This RPC is for testing only."""
        if not 0 <= port < 1 << 16:
            raise RpcError(MISC_ERROR, "JSON integer out of range")
        try:
            target = parse_address(address, port)
        except ValueError:
            return {"success": False}
        book, now = self._gossip.book, self._clock.now()
        services = int(Services.NETWORK | Services.WITNESS)
        if not book.add([TimedAddress(int(now), services, target)], target, now):
            return {"success": False, "error": "failed-adding-to-new"}
        if tried and not book.good(target, now):
            return {"success": False, "error": "failed-adding-to-tried"}
        return {"success": True}

    @method("Network", result="An object by network and for all_networks: objects of new, tried and total")
    def getaddrmaninfo(self) -> Json:
        """Provides information about the node's address manager, by network: addresses in its tables."""
        new, tried = self._gossip.book.counts()
        networks = {name: (new[number], tried[number]) for number, name in NETWORK_NAMES.items()}
        networks["all_networks"] = (sum(new.values()), sum(tried.values()))
        return {name: {"new": fresh, "tried": used, "total": fresh + used} for name, (fresh, used) in networks.items()}

    @method(
        HIDDEN,
        result="""
        An object: new and tried, each an object by bucket/position of objects: address, port, services, time, network,
        source, source_network""",
    )
    def getrawaddrman(self) -> Json:
        """EXPERIMENTAL warning: this call may be changed in future releases. Returns the address manager's tables."""
        return {
            name: {
                f"{place.bucket}/{place.position}": {
                    "address": known.address.text,
                    "port": known.address.port,
                    "services": known.services,
                    "time": int(known.time),
                    "network": network_name(known.address),
                    "source": known.source.text,
                    "source_network": _source_network(known.source),
                }
                for place, known in self._gossip.book.rows(tried=name == "tried")
            }
            for name in ("new", "tried")
        }


def _source_network(source: NetworkAddress) -> str:
    return NETWORK_NAMES[NetworkId(source.network)] if source.network in NETWORK_NAMES else network_name(source)
