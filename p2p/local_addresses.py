"""Where others can reach us, as far as we know, and which of it to tell a peer."""

import random
from enum import IntEnum

from altyn.p2p.addresses import Endpoint, NetworkAddress, NetworkId
from altyn.p2p.netgroups import is_routable
from altyn.p2p.peer import Peer


class Score(IntEnum):
    """How sure we are; each peer that sees us at an address adds one (Core: LOCAL_*)."""

    BOUND = 2
    MANUAL = 4


class LocalAddresses:
    """Our own addresses with a score each: those we bound, and those the user named."""

    def __init__(self, rng: random.Random, *, discover: bool, port: int) -> None:
        """`discover`: believe what peers see, too. `port`: where we listen, for those."""
        self._rng, self._discover, self._port = rng, discover, port
        self.scores: dict[NetworkAddress, int] = {}

    def add(self, address: NetworkAddress, score: Score) -> None:
        """Take up an address, if others could reach it."""
        if is_routable(address) and (self._discover or score is Score.MANUAL):
            self.scores[address] = max(self.scores.get(address, 0), int(score))

    def seen(self, address: NetworkAddress) -> None:
        """Note that a peer sees us at an address (Core: SeenLocal)."""
        for known in self.scores:
            if known[:2] == address[:2]:
                self.scores[known] += 1

    def for_peer(self, peer: Peer) -> NetworkAddress | None:
        """Return what to tell a peer of where we are: our best address on its network, or what it sees now and then."""
        of_network = [(score, address) for address, score in self.scores.items() if _suits(address, peer.address)]
        best_score, best = max(of_network, default=(0, None))
        seen = peer.features.receiver
        if self._discover and is_routable(seen) and seen.network in (NetworkId.IPV4, NetworkId.IPV6):
            # Inbound, it sees the port that it dialled; outbound, one that is only ours for this connection.
            seen = seen if peer.inbound else seen._replace(port=self._port)
            if best is None or not self._rng.randrange(8 if best_score > Score.MANUAL else 2):
                return seen
        return best


def _suits(address: NetworkAddress, peer: Endpoint) -> bool:
    """Whether a peer there may be told of `address`: not of our place in one network if we meet in another."""
    hidden = (NetworkId.TORV3, NetworkId.I2P)
    return (address.network in hidden) is peer.host.endswith((".onion", ".i2p"))
