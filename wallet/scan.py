"""Following the chain: compact filters say which blocks may concern the wallet, those are fetched and read."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from altyn.consensus.block import Block, Header
from altyn.consensus.encoding import EncodingError
from altyn.consensus.filters import filter_header, match_any
from altyn.consensus.merkle import merkle_root_and_mutation
from altyn.consensus.networks import Network
from altyn.consensus.siphash import SipHashItems
from altyn.consensus.transaction import Transaction, TxOut
from altyn.wallet.backend import Backend, BlockFilter, ChainInfo
from altyn.wallet.errors import NodeError, NodeUnreachable, Rejected, WalletError
from altyn.wallet.keychain import Keychain
from altyn.wallet.store import ScannedBlock, State, Store, StoredTransaction

BATCH = 200
"""Filters asked for at once."""
KNOWN_BEFORE_BIRTH = 144
"""How many block hashes a new wallet notes, so that it knows where a reorganised chain parts."""
_RESCAN_BEFORE_BIRTH = 2_016
_MOST_RESTARTS = 20
_HARMLESS_REJECTIONS = {-27}
_NOT_YET = ("non-final", "non-BIP68-final", "bad-txns-premature-spend-of-coinbase")
"""After a reorganisation to a lower height: the payment is good again some blocks later."""
_HARMLESS_REASONS = ("txn-already-in-mempool", "txn-already-known", "txn-same-nonwitness-data-in-mempool")

Progress = Callable[[int, int, int], None]
"""Called with the first height of the scan, the height reached, and the tip's."""


class _ChainMoved(Exception):
    """The node's chain changed while it was being read."""


@dataclass(slots=True)
class ScanResult:
    """What following the chain found: the height reached, blocks whose filters were checked and that were fetched."""

    height: int
    filters_checked: int = 0
    blocks_fetched: int = 0
    rolled_back: int = 0


class Scanner:
    """Brings a wallet to the tip of a node's chain."""

    def __init__(
        self, store: Store, keychain: Keychain, backend: Backend, network: Network, progress: Progress | None = None
    ) -> None:
        self._store = store
        self._keychain = keychain
        self._backend = backend
        self._network = network
        self._progress = progress or (lambda first, height, tip: None)
        self._outpoints = store.own_outpoints()
        self._items: SipHashItems | None = None  # made when first used, and anew when more scripts are watched

    def run(self) -> ScanResult:
        """Follow the node to its tip, roll back first where its chain parts from the one seen. Raises WalletError."""
        info = self._checked_chain()
        result = ScanResult(0)
        for _ in range(_MOST_RESTARTS):
            try:
                self._find_fork(info, result)
                self._catch_up(info, result)
            except _ChainMoved:
                info = self._backend.chain_info()
                continue
            info = self._backend.chain_info()
            if info.blocks == result.height:
                return result
        raise NodeError(f"the chain of {self._backend.name} keeps changing: try again later")

    def note_birth(self, height: int) -> None:
        """Note the last block hashes up to `height`, where a new wallet begins."""
        heights = range(max(0, height - KNOWN_BEFORE_BIRTH + 1), height + 1)
        hashes = self._backend.block_hashes(heights)
        if hashes is None:
            raise NodeError(f"the chain of {self._backend.name} ends before block {height}: choose a lower birthday")
        blocks = [ScannedBlock(*pair, None) for pair in zip(heights, hashes, strict=True)]
        with self._store.batch():
            self._store.add_blocks(blocks)

    def _checked_chain(self) -> ChainInfo:
        info = self._backend.chain_info()
        if info.chain != self._network.chain:
            raise WalletError(
                f"the node at {self._backend.name} is on {info.chain}, this wallet on {self._network.chain}: "
                "say where the right one is with --rpc-url"
            )
        genesis = self._backend.block_hashes([0])
        if genesis != [self._network.genesis.hash]:
            raise WalletError(f"the node at {self._backend.name} is on another network: its first block differs")
        return info

    # Where the chains part

    def _find_fork(self, info: ChainInfo, result: ScanResult) -> None:
        tip = self._store.tip()
        if tip is None:
            return
        if info.blocks < tip.height and info.headers > info.blocks:
            raise NodeError(
                f"the node at {self._backend.name} is still catching up (block {info.blocks}; this wallet has seen "
                f"{tip.height}): try again later"
            )
        fork = self._last_common(info)
        if fork == tip.height:
            return
        with self._store.batch():
            self._store.rollback(fork)
            if not self._store.tip():
                self._store.set_fact("birthday", fork + 1)
        result.rolled_back += tip.height - fork

    def _last_common(self, info: ChainInfo) -> int:
        """Return the greatest kept height at which the node has the same block."""
        below, count = info.blocks + 1, 1
        while kept := self._store.blocks(count, below):
            hashes = self._backend.block_hashes([block.height for block in kept])
            if hashes is None:
                raise _ChainMoved
            for block, block_hash in zip(kept, hashes, strict=True):
                if block.hash == block_hash:
                    return block.height
            below, count = kept[-1].height, min(BATCH, count * 8)
        # Nothing in common: from before the birthday, for the wallet may have been paid in blocks that were replaced.
        return max(-1, int(self._store.fact("birthday")) - _RESCAN_BEFORE_BIRTH)

    # Forward

    def _catch_up(self, info: ChainInfo, result: ScanResult) -> None:
        tip = self._store.tip()
        first = int(self._store.fact("birthday")) if tip is None else tip.height + 1
        result.height = min(first - 1, info.blocks)
        for start in range(first, info.blocks + 1, BATCH):
            heights = range(start, min(start + BATCH, info.blocks + 1))
            self._scan(heights, result)
            result.height = heights[-1]
            self._progress(first, heights[-1], info.blocks)

    def _scan(self, heights: range, result: ScanResult) -> None:
        hashes = self._backend.block_hashes(heights)
        if hashes is None:
            raise _ChainMoved
        headers = self._backend.headers(hashes)
        before = self._store.tip()
        if before and before.height == heights[0] - 1 and headers[0].prev_hash != before.hash:
            raise _ChainMoved
        for parent, header in pairwise(headers):
            if header.prev_hash != parent.hash:
                raise _ChainMoved
        filters = self._backend.filters(hashes)
        self._check_filter_chain(before, heights[0], filters)
        with self._store.batch():
            for height, header, each in zip(heights, headers, filters, strict=True):
                result.filters_checked += 1
                if self._may_concern(each.filter, header.hash):
                    result.blocks_fetched += 1
                    self._read_block(self._fetch(header), height)
            self._store.add_blocks(
                [
                    ScannedBlock(height, header.hash, each.header)
                    for height, header, each in zip(heights, headers, filters, strict=True)
                ]
            )

    def _check_filter_chain(self, before: ScannedBlock | None, height: int, filters: list[BlockFilter]) -> None:
        """Check that each filter has the hash that its filter header commits to (BIP157)."""
        previous = bytes(32) if height == 0 else None
        if before and before.height == height - 1:
            previous = before.filter_header
        for each in filters:
            if previous is not None and filter_header(previous, each.filter) != each.header:
                raise NodeError(f"{self._backend.name} gives filters that do not fit their headers: use another node")
            previous = each.header

    def _may_concern(self, data: bytes, block_hash: bytes) -> bool:
        if self._items is None:
            self._items = SipHashItems(self._keychain.scripts)
        try:
            return match_any(data, block_hash, self._items)
        except EncodingError:
            raise NodeError(f"{self._backend.name} gives a filter that cannot be read: use another node") from None

    def _fetch(self, header: Header) -> Block:
        block = self._backend.block(header.hash)
        root, mutated = merkle_root_and_mutation([tx.txid for tx in block.transactions])
        if root != header.merkle_root or mutated:
            raise NodeError(f"{self._backend.name} gives a block whose transactions are not its own: use another node")
        return block

    def _read_block(self, block: Block, height: int) -> None:
        grown = True
        while grown:  # again after an address near the end of the gap: the same block may pay those that follow it
            grown = False
            for place, tx in enumerate(block.transactions):
                grown |= self._read_transaction(tx, block, height, place)
            self._items = None if grown else self._items

    def _read_transaction(self, tx: Transaction, block: Block, height: int, place: int) -> bool:
        """Record a confirmed transaction if it concerns the wallet; tell whether more scripts are watched for it."""
        coins = self._own_outputs(tx)
        spent = [txin.prevout in self._outpoints for txin in tx.inputs]
        if not coins and not any(spent):
            return False
        entry = StoredTransaction(tx, State.CONFIRMED, "", all(spent), height, place, block.header.time)
        self._store.put_transaction(entry, coins, is_coinbase=tx.is_coinbase)
        self._outpoints.update(bytes(tx.outpoint(index)) for index, _ in coins)
        for rival in self._store.rivals(tx.txid):
            self._fail(rival, State.CONFLICTED, f"{tx.txid[::-1].hex()} spends the same coin")
        grown = False
        for _, output in coins:
            grown |= self._keychain.mark_used(output.script_pubkey)
        return grown

    def _own_outputs(self, tx: Transaction) -> list[tuple[int, TxOut]]:
        scripts = self._keychain.scripts
        return [(index, output) for index, output in enumerate(tx.outputs) if output.script_pubkey in scripts]

    def _fail(self, txid: bytes, state: State, reason: str) -> None:
        self._store.set_state(txid, state, reason)
        for child in self._store.spenders(txid):
            self._fail(child, state, "it spends a payment that failed")

    # Payments without a block

    def rebroadcast(self) -> None:
        """Hand every pending payment to the node again; what it refuses has failed, and its coins are free.

        Raises NodeUnreachable.
        """
        waiting: set[bytes] = set()
        for tx in _parents_first([entry.transaction for entry in self._store.transactions(State.PENDING)]):
            current = self._store.transaction(tx.txid)
            if current is None or current.state is not State.PENDING:  # failed with its parent, just now
                continue
            if any(txin.prevout.txid in waiting for txin in tx.inputs):
                waiting.add(tx.txid)
                continue
            try:
                self._backend.broadcast(tx.raw)
            except Rejected as error:
                if str(error).startswith(_NOT_YET):
                    waiting.add(tx.txid)
                elif error.code not in _HARMLESS_REJECTIONS and not str(error).startswith(_HARMLESS_REASONS):
                    with self._store.batch():
                        self._fail(tx.txid, State.FAILED, f"the node refused it: {error}")
            except NodeUnreachable:
                raise
            except NodeError:  # no verdict: a light node whose peers know the payment, or that has none now
                return


def _parents_first(transactions: Sequence[Transaction]) -> list[Transaction]:
    """Order transactions so that none comes before one it spends; their times do not tell."""
    left = {tx.txid: tx for tx in transactions}
    ordered: list[Transaction] = []
    while left:
        ready = [tx for tx in left.values() if not any(txin.prevout.txid in left for txin in tx.inputs)]
        for tx in ready:
            del left[tx.txid]
        ordered += ready
    return ordered
