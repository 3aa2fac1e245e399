"""Methods about peers."""

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Annotated

from altyn.node.rpc.amounts import Amount
from altyn.node.rpc.errors import (
    CLIENT_INVALID_IP_OR_SUBNET,
    CLIENT_NODE_ALREADY_ADDED,
    CLIENT_NODE_NOT_ADDED,
    CLIENT_NODE_NOT_CONNECTED,
    INVALID_PARAMETER,
    INVALID_PARAMS,
    RpcError,
)
from altyn.node.rpc.method import Flag, Json, Number, Text, method, refuse_with_help
from altyn.node.rpc.wire import dial_once
from altyn.node.sync.addresses import AddressCounts
from altyn.p2p.addresses import Endpoint
from altyn.p2p.connections import Connections
from altyn.p2p.kinds import PeerKind, Services
from altyn.p2p.limits import PROTOCOL_VERSION
from altyn.p2p.local_addresses import LocalAddresses
from altyn.p2p.netgroups import NETWORK_NAMES, NOT_ROUTABLE, address_of, network_name
from altyn.p2p.peer import Peer
from altyn.p2p.permissions import permission_names
from altyn.p2p.proxy import Proxies
from altyn.p2p.time_offsets import TimeOffsets

CLIENT_VERSION = 310000
"""The newest version of Core some of whose interfaces are here (spending outputs by `txospenderindex`, REST's parts of
blocks): clients choose by it what they may ask, and ElectrumX 2 wants no older one."""
_SERVICE_NAMES = {service.value: service.name for service in Services if service.value}


@dataclass(frozen=True, slots=True)
class SyncState:
    """What synchronisation knows of a peer: heights in common (-1: unknown), heights asked for, satoshis per kvB."""

    synced_headers: int = -1
    synced_blocks: int = -1
    in_flight: tuple[int, ...] = ()
    fee_filter: int = 0
    addresses: AddressCounts = field(default_factory=AddressCounts)
    high_bandwidth: tuple[bool, bool] = (False, False)
    """Whether compact blocks come unasked: from us to the peer, and from it to us."""
    presynced_headers: int = -1
    wants_transactions: bool | None = None
    """Whether transactions are announced to the peer; None: as it said at first."""


class NetworkMethods:
    """Who the node is connected to."""

    def __init__(
        self,
        connections: Connections,
        sync_state: Callable[[int], SyncState],
        *,
        local_addresses: LocalAddresses | None,
        clocks: TimeOffsets,
        warnings: Callable[[], Json],
        reachable: Collection[str],
        proxies: Proxies,
        default_port: int,
        connect_timeout: float,
        relay_feerate: int,
        incremental_feerate: int,
    ) -> None:
        """`connect_timeout` in seconds, feerates in satoshis per kvB; `local_addresses`: None where nobody can call."""
        self._connections = connections
        self._sync_state = sync_state
        self._local_addresses = local_addresses.scores if local_addresses else {}
        self._reachable, self._proxies, self._clocks, self._warnings = reachable, proxies, clocks, warnings
        self._default_port = default_port
        self._connect_timeout = connect_timeout
        self._relay_feerate = relay_feerate
        self._incremental_feerate = incremental_feerate

    @method(
        "Network",
        result="""
        An object: version, subversion, protocolversion, localservices, localservicesnames, localrelay, timeoffset,
        networkactive, connections, connections_in, connections_out, networks, relayfee, incrementalfee (coins per kvB),
        localaddresses, warnings""",
    )
    def getnetworkinfo(self) -> Json:
        """Returns an object containing various state info regarding P2P networking."""
        connections = self._connections
        inbound = sum(peer.inbound for peer in connections.peers.values())
        services = connections.settings.services
        return {
            "version": CLIENT_VERSION,
            "subversion": connections.settings.user_agent,
            "protocolversion": PROTOCOL_VERSION,
            "localservices": f"{services:016x}",
            "localservicesnames": service_names(services),
            "localrelay": connections.settings.relay,
            "timeoffset": self._clocks.median,
            "networkactive": connections.network_active,
            "connections": len(connections.peers),
            "connections_in": inbound,
            "connections_out": len(connections.peers) - inbound,
            "networks": [self._network(name) for name in NETWORK_NAMES.values()],
            "relayfee": Amount(self._relay_feerate),
            "incrementalfee": Amount(self._incremental_feerate),
            "localaddresses": [
                {"address": address.text, "port": address.port, "score": score}
                for address, score in self._local_addresses.items()
            ],
            "warnings": self._warnings(),
        }

    def _network(self, name: str) -> Json:
        ip, onion = self._proxies.ip, self._proxies.onion
        proxy = {"ipv4": ip, "ipv6": ip, "onion": onion, "cjdns": ip}.get(name)
        return {
            "name": name,
            "limited": name not in self._reachable,
            "reachable": name in self._reachable,
            "proxy": str(proxy or ""),
            "proxy_randomize_credentials": proxy is not None and self._proxies.randomize,
        }

    @method(
        "Network",
        result="""
        A list with an object for each peer: id, addr, addrbind, addrlocal, network, services, servicesnames, relaytxes,
        lastsend, lastrecv, last_transaction, last_block, bytessent, bytesrecv, conntime, timeoffset, pingtime, minping,
        pingwait, version, subver, inbound, bip152_hb_to, bip152_hb_from, startingheight, presynced_headers,
        synced_headers, synced_blocks, inflight, addr_relay_enabled, addr_processed, addr_rate_limited, permissions,
        minfeefilter, bytessent_per_msg, bytesrecv_per_msg, connection_type, transport_protocol_type, session_id""",
    )
    def getpeerinfo(self) -> Json:
        """Returns data about each connected network peer as a json array of objects."""
        peers = sorted(self._connections.peers.values(), key=lambda peer: peer.id)
        return [peer_form(peer, self._sync_state(peer.id)) for peer in peers]

    @method("Network", result="null", example='"192.168.0.6:8333" "onetry" true')
    async def addnode(
        self,
        node: Annotated[str, Text("The address of the peer to connect to")],
        command: Annotated[
            str,
            Text(
                "'add' to add a node to the list, 'remove' to remove a node from the list, "
                "'onetry' to try a connection to the node once"
            ),
        ],
        v2transport: Annotated[
            bool | None, Flag("Attempt to connect using BIP324 v2 transport protocol (default: set by -v2transport)")
        ] = None,
    ) -> None:
        """Attempts to add or remove a node from the addnode list, or tries a connection to a node once."""
        if command not in {"add", "remove", "onetry"}:
            refuse_with_help(self.addnode)
        if v2transport and not self._connections.speaks_v2:
            raise RpcError(INVALID_PARAMETER, "Error: v2transport requested but not enabled (see -v2transport)")
        try:
            endpoint = Endpoint.parse(node, self._default_port)
        except ValueError as error:
            raise RpcError(CLIENT_INVALID_IP_OR_SUBNET, f"Error: Invalid address {node}") from error
        if command == "onetry":
            within = self._connect_timeout
            await dial_once(self._connections, endpoint, PeerKind.MANUAL, v2=v2transport, within=within)
        elif command == "add":
            if not self._connections.add_node(*endpoint, v2=v2transport, name=node):
                raise RpcError(CLIENT_NODE_ALREADY_ADDED, "Error: Node already added")
        elif not self._connections.remove_node(*endpoint):
            raise RpcError(CLIENT_NODE_NOT_ADDED, "Error: Node could not be removed. It has not been added previously.")

    @method(
        "Network",
        result="A list with an object for each added node: addednode, connected, addresses (address, connected)",
        example='"192.168.0.201"',
    )
    def getaddednodeinfo(
        self,
        node: Annotated[
            str | None,
            Text("If provided, return information about this specific node, otherwise all nodes are returned."),
        ] = None,
    ) -> Json:
        """Returns information about the given added node, or all added nodes (onetry ones are not listed)."""
        names = self._connections.added_names
        chosen = [(endpoint, name) for endpoint, name in names.items() if node in (None, name)]
        if node is not None and not chosen:
            raise RpcError(CLIENT_NODE_NOT_ADDED, "Error: Node has not been added.")
        return [self._added_node(endpoint, name) for endpoint, name in chosen]

    def _added_node(self, endpoint: Endpoint, name: str) -> Json:
        peers = [peer for peer in self._connections.peers.values() if endpoint in (peer.address, peer.dialled)]
        found = [{"address": str(p.address), "connected": "inbound" if p.inbound else "outbound"} for p in peers[:1]]
        return {"addednode": name, "connected": bool(found), "addresses": found}

    @method("Network", result="null", example=('"192.168.0.6:8333"', '"" 1'))
    def disconnectnode(
        self,
        address: Annotated[str | None, Text("The IP address/port of the node")] = None,
        nodeid: Annotated[int | None, Number("The node ID (see getpeerinfo for node IDs)", wide=True)] = None,
    ) -> None:
        """Immediately disconnects from the specified peer node, given by its address or its id."""
        if nodeid is None and address is not None:
            try:
                found = self._connections.disconnect(Endpoint.parse(address, self._default_port))
            except ValueError:
                found = False
        elif nodeid is not None and not address:
            found = self._connections.disconnect(nodeid)
        else:
            raise RpcError(INVALID_PARAMS, "Only one of address and nodeid should be provided.")
        if not found:
            raise RpcError(CLIENT_NODE_NOT_CONNECTED, "Node not found in connected nodes")


def peer_form(peer: Peer, sync: SyncState) -> dict[str, Json]:
    """Show a peer (Core: getpeerinfo); before its version message nothing is known of what it says there."""
    features = peer.introduction
    stats = peer.stats
    services = features.services if features else 0
    form: dict[str, Json] = {"id": peer.id, "addr": str(peer.address), "addrbind": str(peer.bound_address)}
    if features and features.receiver.text not in {"::", "0.0.0.0"}:
        form["addrlocal"] = str(features.receiver)
    form |= {
        "network": _network_of(peer),
        "services": f"{services:016x}",
        "servicesnames": service_names(services),
        "relaytxes": (features.relay if sync.wants_transactions is None else sync.wants_transactions)
        if features
        else False,
        "lastsend": int(stats.last_send),
        "lastrecv": int(stats.last_receive),
        "last_transaction": int(stats.last_transaction),
        "last_block": int(stats.last_block),
        "bytessent": stats.bytes_sent,
        "bytesrecv": stats.bytes_received,
        "conntime": int(peer.connected_at),
        "timeoffset": int(features.time_offset) if features else 0,
    }
    for name, seconds in (("pingtime", stats.ping_time), ("minping", stats.min_ping), ("pingwait", peer.ping_wait)):
        if seconds is not None and (seconds or name != "pingwait"):
            form[name] = round(float(seconds), 6)
    return form | {
        "version": features.version if features else 0,
        "subver": features.user_agent if features else "",
        "inbound": peer.inbound,
        "bip152_hb_to": sync.high_bandwidth[1],
        "bip152_hb_from": sync.high_bandwidth[0],
        "startingheight": features.start_height if features else -1,
        "presynced_headers": sync.presynced_headers,
        "synced_headers": sync.synced_headers,
        "synced_blocks": sync.synced_blocks,
        "inflight": list(sync.in_flight),
        "addr_relay_enabled": sync.addresses.enabled,
        "addr_processed": sync.addresses.processed,
        "addr_rate_limited": sync.addresses.rate_limited,
        "permissions": permission_names(peer.permissions),
        "minfeefilter": Amount(sync.fee_filter),
        "bytessent_per_msg": dict(sorted(stats.bytes_sent_by_command.items())),
        "bytesrecv_per_msg": dict(sorted(stats.bytes_received_by_command.items())),
        "connection_type": peer.kind.value,
        "transport_protocol_type": peer.transport_name,
        "session_id": peer.session_id,
    }


def service_names(services: int) -> list[str]:
    """Return the names of the bits of `services` (Core: serviceFlagsToStr)."""
    bits = [1 << position for position in range(64) if services >> position & 1]
    return [_SERVICE_NAMES.get(bit) or f"UNKNOWN[2^{bit.bit_length() - 1}]" for bit in bits]


def _network_of(peer: Peer) -> str:
    address = address_of(peer.address)
    return "onion" if peer.is_onion else NOT_ROUTABLE if address is None else network_name(address)
