"""A node that exists only in memory: the wallet's backend in tests."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from altyn.consensus.block import Block, Header
from altyn.consensus.filters import build_filter, filter_header
from altyn.consensus.limits import COIN
from altyn.consensus.merkle import merkle_root
from altyn.consensus.networks import REGTEST
from altyn.consensus.secp256k1 import load
from altyn.consensus.transaction import NULL_OUTPOINT, Transaction, TxIn, TxOut
from altyn.wallet.backend import BlockFilter, ChainInfo
from altyn.wallet.errors import NodeUnreachable, Rejected
from altyn.wallet.formats.signing import SigningError, check_signatures

NOBODY = bytes.fromhex("51")
SECP = load()


@dataclass
class FakeNode:
    """A chain of blocks without proof of work, their filters, and a mempool that checks coins and signatures."""

    name: str = "http://fake"
    chain: str = "regtest"
    blocks: list[Block] = field(default_factory=lambda: [REGTEST.genesis])
    mempool: dict[bytes, Transaction] = field(default_factory=dict)
    headers_ahead: int = 0
    estimate: int | None = None
    relay_fee: int = 1000
    is_away: bool = False
    asked: list[str] = field(default_factory=list)
    serial: int = 0

    # What tests do to it

    @property
    def height(self) -> int:
        return len(self.blocks) - 1

    def mine(self, count: int = 1, script: bytes = NOBODY, transactions: Sequence[Transaction] | None = None) -> None:
        """Add blocks that pay `script`; the first holds the mempool, or `transactions`."""
        for _ in range(count):
            inside = list(self.mempool.values()) if transactions is None else list(transactions)
            self._add(inside, [TxOut(50 * COIN, script)])
            transactions = None

    def pay(self, *outputs: TxOut) -> Transaction:
        """Mine a block whose coinbase is nobody's, with a transaction out of nowhere that has these outputs."""
        self.serial += 1
        inputs = [TxIn(Transaction(1, [], [TxOut(self.serial, NOBODY)]).outpoint(0))]
        tx = Transaction(2, inputs, outputs)
        self.mine(transactions=[tx])
        return tx

    def _add(self, inside: list[Transaction], outputs: list[TxOut]) -> None:
        self.serial += 1
        height = len(self.blocks)
        script_sig = bytes((3,)) + height.to_bytes(3, "little") + self.serial.to_bytes(4, "little")
        transactions = [Transaction(1, [TxIn(NULL_OUTPOINT, script_sig)], outputs), *inside]
        root = merkle_root([tx.txid for tx in transactions])
        self.blocks.append(Block(Header(4, self.blocks[-1].hash, root, 1_600_000_000 + height, 0, 0), transactions))
        spent = {txin.prevout for tx in inside for txin in tx.inputs}
        self.mempool = {
            txid: tx
            for txid, tx in self.mempool.items()
            if tx not in inside and not spent & {txin.prevout for txin in tx.inputs}
        }

    def drop(self, count: int) -> list[Block]:
        """Take the last blocks away and return them."""
        dropped = self.blocks[-count:]
        del self.blocks[-count:]
        return dropped

    def outputs(self) -> dict[bytes, TxOut]:
        """All outputs that were ever made on the chain or in the mempool, spent or not."""
        transactions = [tx for block in self.blocks for tx in block.transactions]
        transactions += self.mempool.values()
        return {tx.outpoint(i): out for tx in transactions for i, out in enumerate(tx.outputs)}

    def unspent(self) -> dict[bytes, TxOut]:
        spent = {txin.prevout for block in self.blocks for tx in block.transactions for txin in tx.inputs}
        return {outpoint: output for outpoint, output in self.outputs().items() if outpoint not in spent}

    # What wallets ask

    def _called(self, method: str) -> None:
        if self.is_away:
            raise NodeUnreachable("no node answers: start one")
        self.asked.append(method)

    def chain_info(self) -> ChainInfo:
        self._called("chain_info")
        return ChainInfo(self.chain, self.height, self.height + self.headers_ahead, self.blocks[-1].hash)

    def block_hashes(self, heights: Sequence[int]) -> list[bytes] | None:
        self._called("block_hashes")
        return [self.blocks[h].hash for h in heights] if all(h < len(self.blocks) for h in heights) else None

    def _find(self, block_hash: bytes) -> Block:
        return next(block for block in self.blocks if block.hash == block_hash)

    def headers(self, hashes: Sequence[bytes]) -> list[Header]:
        self._called("headers")
        return [self._find(each).header for each in hashes]

    def filters(self, hashes: Sequence[bytes]) -> list[BlockFilter]:
        self._called("filters")
        outputs, header, found = self.outputs(), bytes(32), {}
        for block in self.blocks:
            spent = [txin.prevout for tx in block.transactions[1:] for txin in tx.inputs]
            data = build_filter(block, [outputs[each].script_pubkey for each in spent if each in outputs])
            header = filter_header(header, data)
            found[block.hash] = BlockFilter(data, header)
        return [found[each] for each in hashes]

    def block(self, block_hash: bytes) -> Block:
        self._called("block")
        return self._find(block_hash)

    def broadcast(self, raw: bytes) -> None:
        self._called("broadcast")
        tx = Transaction.parse(raw)
        if tx.txid in self.mempool:
            return
        if any(tx.txid == other.txid for block in self.blocks for other in block.transactions):
            raise Rejected("Transaction outputs already in utxo set", -27)
        if tx.lock_time > self.height:
            raise Rejected("non-final", -26)
        unspent = self.unspent()
        prevouts = [txin.prevout for txin in tx.inputs]
        if any(prevout not in unspent for prevout in prevouts):
            raise Rejected("bad-txns-inputs-missingorspent", -25)
        taken = {txin.prevout for other in self.mempool.values() for txin in other.inputs}
        if taken & set(prevouts):
            raise Rejected("txn-mempool-conflict", -26)
        try:
            check_signatures(tx, [unspent[prevout] for prevout in prevouts], SECP)
        except SigningError as error:
            raise Rejected(f"mandatory-script-verify-flag-failed ({error})", -26) from None
        self.mempool[tx.txid] = tx

    def estimate_feerate(self, blocks: int) -> int | None:
        self._called("estimate_feerate")
        return self.estimate

    def min_feerate(self) -> int:
        self._called("min_feerate")
        return self.relay_fee
