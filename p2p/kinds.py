"""What kinds of connection there are, what a peer may do and what it offers."""

from enum import Enum, Flag, IntFlag, auto


class PeerKind(Enum):
    """Why a connection was made; the values are Core's `connection_type`."""

    INBOUND = "inbound"
    MANUAL = "manual"
    OUTBOUND_FULL_RELAY = "outbound-full-relay"
    BLOCK_RELAY_ONLY = "block-relay-only"
    FEELER = "feeler"
    ADDR_FETCH = "addr-fetch"

    @property
    def expects_services(self) -> bool:
        """Whether a peer of this kind is of use only with the services that we need (Core: ExpectServicesFromConn)."""
        return self in (PeerKind.OUTBOUND_FULL_RELAY, PeerKind.BLOCK_RELAY_ONLY, PeerKind.ADDR_FETCH)

    @property
    def relays_transactions(self) -> bool:
        """Whether transactions may go over such a connection."""
        return self not in (PeerKind.BLOCK_RELAY_ONLY, PeerKind.FEELER)

    @property
    def brings_blocks(self) -> bool:
        """Whether we made it to follow the chain (Core: IsOutboundOrBlockRelayConn)."""
        return self in (PeerKind.OUTBOUND_FULL_RELAY, PeerKind.BLOCK_RELAY_ONLY)


class Permission(Flag):
    """What a peer may do beyond others (Core: -whitelist)."""

    NONE = 0
    BLOOM_FILTER = auto()
    FORCE_RELAY = auto()
    RELAY = auto()
    NO_BAN = auto()
    MEMPOOL = auto()
    DOWNLOAD = auto()
    ADDR = auto()
    BLOCK_FILTERS = auto()


class Services(IntFlag):
    """Bits of the version message."""

    NONE = 0
    NETWORK = 1
    BLOOM = 1 << 2
    WITNESS = 1 << 3
    COMPACT_FILTERS = 1 << 6
    NETWORK_LIMITED = 1 << 10
    P2P_V2 = 1 << 11
