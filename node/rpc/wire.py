"""Methods that act on connections and count what went through them; some are for tests of the protocol alone."""

import asyncio
import logging
import time
from typing import Annotated

from altyn.consensus.networks import Network
from altyn.node.rpc.errors import (
    CLIENT_NODE_CAPACITY_REACHED,
    INVALID_PARAMETER,
    MISC_ERROR,
    RpcError,
)
from altyn.node.rpc.method import HIDDEN, Flag, Json, Number, Text, decode_hex, method, refuse_with_help
from altyn.p2p.addresses import Endpoint
from altyn.p2p.clock import Clock
from altyn.p2p.connections import Connections
from altyn.p2p.errors import Disconnect
from altyn.p2p.kinds import PeerKind
from altyn.p2p.outbound import MAX_BLOCK_RELAY, MAX_FULL_RELAY
from altyn.p2p.upload import CYCLE, UploadTarget

log = logging.getLogger(__name__)

_TYPES = (PeerKind.OUTBOUND_FULL_RELAY, PeerKind.BLOCK_RELAY_ONLY, PeerKind.ADDR_FETCH, PeerKind.FEELER)
_CAPACITY = {PeerKind.OUTBOUND_FULL_RELAY: MAX_FULL_RELAY, PeerKind.BLOCK_RELAY_ONLY: MAX_BLOCK_RELAY}
"""Connections of a kind; there may be any number of the others."""
_LONGEST_COMMAND = 12


class WireMethods:
    """What goes over the wire, and what is put there by hand."""

    def __init__(
        self,
        connections: Connections,
        network: Network,
        upload: UploadTarget,
        clock: Clock,
        *,
        connect_timeout: float,
    ) -> None:
        """`connect_timeout` in seconds."""
        self._upload, self._clock = upload, clock
        self._connections = connections
        self._network = network
        self._connect_timeout = connect_timeout

    @method("Network", result="A number: the connections to other nodes")
    def getconnectioncount(self) -> int:
        """Returns the number of connections to other nodes."""
        return len(self._connections.peers)

    @method("Network", result="null")
    def ping(self) -> None:
        """Requests that a ping be sent to all other nodes; getpeerinfo shows how long the answers took."""
        self._connections.ping_all()

    @method("Network", result="The value that was passed in", example="false")
    def setnetworkactive(self, state: Annotated[bool, Flag("true to enable networking, false to disable")]) -> bool:
        """Disable/enable all p2p network activity."""
        self._connections.set_network_active(state)
        return self._connections.network_active

    @method(
        "Network",
        result="""
        An object: totalbytesrecv, totalbytessent, timemillis, uploadtarget (an object: timeframe, target,
        target_reached, serve_historical_blocks, bytes_left_in_cycle, time_left_in_cycle)""",
    )
    def getnettotals(self) -> Json:
        """Returns information about network traffic, including bytes in, bytes out, and current system time."""
        upload, now = self._upload, self._clock.now()
        return {
            "totalbytesrecv": self._connections.total_bytes_received,
            "totalbytessent": self._connections.total_bytes_sent,
            "timemillis": time.time_ns() // 1_000_000,
            "uploadtarget": {
                "timeframe": CYCLE,
                "target": upload.target,
                "target_reached": upload.is_reached(now, historical=False),
                "serve_historical_blocks": not upload.is_reached(now, historical=True),
                "bytes_left_in_cycle": upload.bytes_left(now),
                "time_left_in_cycle": upload.time_left(now),
            },
        }

    @method(HIDDEN, result="An object: address, connection_type", example='"192.168.0.6:8333" "feeler" true')
    async def addconnection(
        self,
        address: Annotated[str, Text("The IP address and port to attempt connecting to")],
        connection_type: Annotated[
            str,
            Text('Type of connection to open ("outbound-full-relay", "block-relay-only", "addr-fetch" or "feeler")'),
        ],
        v2transport: Annotated[bool, Flag("Attempt to connect using BIP324 v2 transport protocol")],
    ) -> Json:
        """Open an outbound connection to a specified node. This RPC is for testing only."""
        if self._network.chain != "regtest":
            raise RpcError(MISC_ERROR, "addconnection is for regression testing (-regtest mode) only.")
        kind = next((kind for kind in _TYPES if kind.value == connection_type), None)
        if kind is None:
            refuse_with_help(self.addconnection, INVALID_PARAMETER)
        if v2transport and not self._connections.speaks_v2:
            message = "Error: Adding v2transport connections requires -v2transport init flag to be set."
            raise RpcError(INVALID_PARAMETER, message)
        if sum(peer.kind is kind for peer in self._connections.peers.values()) >= _CAPACITY.get(kind, 1 << 31):
            message = "Error: Already at capacity for specified connection type."
            raise RpcError(CLIENT_NODE_CAPACITY_REACHED, message)
        try:
            endpoint = Endpoint.parse(address.strip(), self._network.port)
        except ValueError as error:
            log.info("connection to %s failed: %s", address, error)
        else:
            await dial_once(self._connections, endpoint, kind, v2=v2transport, within=self._connect_timeout)
        return {"address": address.strip(), "connection_type": connection_type}

    @method(HIDDEN, result="An empty object", example='0 "addr" "ffffff"')
    def sendmsgtopeer(
        self,
        peer_id: Annotated[int, Number("The peer to send the message to", wide=True)],
        msg_type: Annotated[str, Text("The message type (maximum length 12)")],
        msg: Annotated[str, Text("The serialized message body to send, in hex, without a message header")],
    ) -> Json:
        """Send a p2p message to a peer specified by id. This RPC is for testing only."""
        if len(msg_type) > _LONGEST_COMMAND or not msg_type.isascii():
            raise RpcError(INVALID_PARAMETER, f"Error: msg_type too long, max length is {_LONGEST_COMMAND}")
        payload = decode_hex(msg)
        if payload is None:
            raise RpcError(INVALID_PARAMETER, "Error parsing input for msg")
        peer = self._connections.peers.get(peer_id)
        if peer is None or not peer.is_ready:
            raise RpcError(MISC_ERROR, "Error: Could not send message to peer")
        peer.send_raw(msg_type, payload)
        return {}


async def dial_once(
    connections: Connections, endpoint: Endpoint, kind: PeerKind, *, v2: bool | None, within: float
) -> None:
    """Dial for at most `within` seconds; that nobody is there is no error of the call (Core)."""
    try:
        async with asyncio.timeout(within):
            await connections.connect(*endpoint, kind, v2=v2)
    except (OSError, Disconnect) as error:
        log.info("connection to %s failed: %s", endpoint, error or "timed out")
