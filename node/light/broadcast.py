"""Transactions that a light node offers to its peers until they take them."""

import asyncio
from dataclasses import dataclass, field

from altyn.consensus.transaction import Transaction
from altyn.p2p.messages import Inv, Inventory, InventoryType, Tx
from altyn.p2p.peer import Peer

MAX_OFFERS = 100


@dataclass(slots=True)
class Offer:
    """A transaction on offer; `taken_by` are the peers that asked for it."""

    tx: Transaction
    taken_by: set[int] = field(default_factory=set)
    taken: asyncio.Event = field(default_factory=asyncio.Event)


class Broadcast:
    """The last transactions offered, by txid and wtxid. Peers that come later are offered them too."""

    def __init__(self) -> None:
        self._offers: dict[bytes, Offer] = {}
        self._by_hash: dict[bytes, Offer] = {}

    def add(self, tx: Transaction) -> Offer:
        """Put a transaction on offer; return the offer that there is already, if there is one."""
        offer = self._offers.get(tx.txid)
        if offer is None:
            offer = self._offers[tx.txid] = Offer(tx)
            self._by_hash[tx.txid] = self._by_hash[tx.wtxid] = offer
            if len(self._offers) > MAX_OFFERS:
                oldest = self._offers.pop(next(iter(self._offers)))
                for tx_hash in {oldest.tx.txid, oldest.tx.wtxid}:
                    del self._by_hash[tx_hash]
        return offer

    def announce(self, offer: Offer, peer: Peer) -> None:
        """Tell a peer of a transaction, unless it took it."""
        if peer.id not in offer.taken_by:
            tx = offer.tx
            wtx = peer.features.wtxid_relay
            item = Inventory(InventoryType.WTX, tx.wtxid) if wtx else Inventory(InventoryType.TX, tx.txid)
            peer.send(Inv((item,)))

    def announce_all(self, peer: Peer) -> None:
        """Tell a new peer of all that is on offer."""
        for offer in self._offers.values():
            self.announce(offer, peer)

    def requested(self, peer: Peer, item: Inventory) -> bool:
        """Send what a peer asked for; False if it is not on offer."""
        offer = self._by_hash.get(item.hash)
        if offer is None or item.type not in (InventoryType.TX, InventoryType.WITNESS_TX, InventoryType.WTX):
            return False
        if item.type == InventoryType.TX:
            peer.send_raw("tx", offer.tx.stripped)
        else:
            peer.send(Tx(offer.tx))
        offer.taken_by.add(peer.id)
        offer.taken.set()
        return True
