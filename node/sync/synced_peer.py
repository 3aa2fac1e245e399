"""What is known of a peer that blocks and headers are had from."""

import asyncio

from altyn.node.sync.headers import PeerChain
from altyn.p2p.kinds import PeerKind, Permission, Services
from altyn.p2p.messages import InventoryType
from altyn.p2p.peer import Peer


class SyncedPeer:
    """A peer; what it serves is worked out once, for it is asked often."""

    __slots__ = (
        "announced_at",
        "block_type",
        "chain",
        "headers_turn",
        "limited",
        "peer",
        "preferred",
        "provides_compact",
        "serves_blocks",
        "told_send_headers",
        "witness",
    )

    def __init__(self, peer: Peer) -> None:
        services = Services(peer.features.services)
        trusted = not peer.inbound or Permission.NO_BAN in peer.permissions
        self.peer = peer
        self.chain = PeerChain()
        self.headers_turn = asyncio.Lock()
        """Held while headers of the peer are worked on: those that it sent next, and blocks on them, come after."""
        self.witness = bool(services & Services.WITNESS)
        self.block_type = InventoryType.WITNESS_BLOCK if self.witness else InventoryType.BLOCK
        self.serves_blocks = bool(services & (Services.NETWORK | Services.NETWORK_LIMITED))
        self.limited = not services & Services.NETWORK
        """Serves only the last blocks, if any (BIP159)."""
        self.preferred = trusted and peer.kind is not PeerKind.ADDR_FETCH and self.serves_blocks
        self.announced_at = 0.0
        self.provides_compact = False
        self.told_send_headers = False
