"""Block templates: everything about the next block but the proof of its work (BIP22, BIP23, BIP145)."""

from collections.abc import Sequence
from dataclasses import dataclass

from altyn.consensus.ancestry import ChainEntry, median_time_past
from altyn.consensus.block import Block, Header
from altyn.consensus.deployments import VersionBits, is_active
from altyn.consensus.difficulty import required_bits
from altyn.consensus.emission import block_subsidy
from altyn.consensus.limits import MAX_TIMEWARP, WITNESS_SCALE_FACTOR
from altyn.consensus.merkle import make_witness_commitment, merkle_root, witness_merkle_root
from altyn.consensus.networks import Network
from altyn.consensus.pow import bits_to_target
from altyn.consensus.script.opcodes import push_number
from altyn.consensus.script.verify import legacy_sigops
from altyn.consensus.transaction import NULL_OUTPOINT, Transaction, TxIn, TxOut
from altyn.node.mempool.entry import MempoolEntry
from altyn.node.mempool.pool import Mempool
from altyn.node.mining.select import RESERVED_SIGOP_COST, RESERVED_WEIGHT, Room, select

_WITNESS_RESERVED = bytes(32)
_HEADER_AND_COUNT_WEIGHT = WITNESS_SCALE_FACTOR * (80 + 5)


@dataclass(frozen=True, slots=True)
class TemplateTransaction:
    """A transaction of a template: fee in satoshis, cost of signature checks, weight units.

    `depends` are the places, from 1, of those transactions of the template whose outputs it spends.
    """

    tx: Transaction
    fee: int
    sigop_cost: int
    weight: int
    depends: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class BlockTemplate:
    """The next block, as far as it is known before the search. Times in seconds, amounts in satoshis."""

    previous_hash: bytes
    height: int
    version: int
    bits: int
    time: int
    min_time: int
    """The earliest time that the block may have."""
    transactions: tuple[TemplateTransaction, ...]
    """Without the coinbase, in the order of the block."""
    coinbase_value: int
    """Subsidy and fees."""
    script_pubkey: bytes
    """Whom the coinbase pays."""
    witness_commitment: bytes | None
    """The script of the coinbase's output that commits to the witnesses; None before segwit (BIP141)."""
    mempool_changes: int = 0
    """The mempool's count of changes when this was made: a later one may mean a better template."""

    @property
    def target(self) -> int:
        """The number that the block's hash must not exceed."""
        return bits_to_target(self.bits)

    @property
    def weight(self) -> int:
        """Weight units, with what is kept for header and coinbase (Core: m_last_block_weight)."""
        return RESERVED_WEIGHT + sum(each.weight for each in self.transactions)

    def coinbase(self, extra_nonce: int = 0) -> Transaction:
        """Make the first transaction; each `extra_nonce` gives another txid."""
        outputs = [TxOut(self.coinbase_value, self.script_pubkey)]
        witness: tuple[bytes, ...] = ()
        if self.witness_commitment is not None:
            outputs.append(TxOut(0, self.witness_commitment))
            witness = (_WITNESS_RESERVED,)
        script_sig = push_number(self.height) + push_number(extra_nonce)  # two bytes at least, as a coinbase must have
        return Transaction(2, [TxIn(NULL_OUTPOINT, script_sig, witness=witness)], outputs)

    def to_block(self, extra_nonce: int = 0, nonce: int = 0) -> Block:
        """Put the block together."""
        transactions = [self.coinbase(extra_nonce), *(each.tx for each in self.transactions)]
        root = merkle_root([tx.txid for tx in transactions])
        return Block(Header(self.version, self.previous_hash, root, self.time, self.bits, nonce), transactions)


def build_template(
    parent: ChainEntry,
    mempool: Mempool,
    network: Network,
    script_pubkey: bytes,
    now: int,
    *,
    version_bits: VersionBits | None = None,
    room: Room | None = None,
) -> BlockTemplate:
    """Make the template of a block on `parent`, the tip that `mempool` is settled at (Core: CreateNewBlock).

    `now` is the node's time in seconds. The transactions pay the most per weight that `room` allows; it is shrunk
    where the coinbase needs more than is usual.
    """
    room = room or Room()
    height = parent.height + 1
    coinbase = _template(parent, [], network, script_pubkey, now, 0, version_bits, block_subsidy(height, network))
    reserved = coinbase.coinbase().weight + _HEADER_AND_COUNT_WEIGHT
    sigop_cost = legacy_sigops(script_pubkey, accurate=False) * WITNESS_SCALE_FACTOR
    room = Room(
        room.weight,
        max(room.reserved_weight, RESERVED_WEIGHT, reserved),
        max(room.reserved_sigop_cost, RESERVED_SIGOP_COST, sigop_cost),
        room.min_feerate,
    )
    entries = select(mempool, room, height, median_time_past(parent))
    value = block_subsidy(height, network) + sum(entry.fee for entry in entries)
    transactions = _with_depends(entries)
    return _template(parent, transactions, network, script_pubkey, now, mempool.changes, version_bits, value)


def template_of(
    parent: ChainEntry,
    transactions: Sequence[Transaction],
    network: Network,
    script_pubkey: bytes,
    now: int,
    *,
    version_bits: VersionBits | None = None,
) -> BlockTemplate:
    """Make the template of a block that holds the given transactions, whose fees nobody takes (Core: generateblock)."""
    listed = [TemplateTransaction(tx, 0, 0, tx.weight) for tx in transactions]
    value = block_subsidy(parent.height + 1, network)
    return _template(parent, listed, network, script_pubkey, now, 0, version_bits, value)


def min_block_time(parent: ChainEntry, network: Network) -> int:
    """Return the earliest time, in seconds, of a block on `parent` (BIP113, BIP94; Core: UpdateTime)."""
    earliest = median_time_past(parent) + 1
    if network.enforce_bip94 and (parent.height + 1) % network.retarget_interval == 0:
        earliest = max(earliest, parent.header.time - MAX_TIMEWARP)
    return earliest


def _template(
    parent: ChainEntry,
    transactions: Sequence[TemplateTransaction],
    network: Network,
    script_pubkey: bytes,
    now: int,
    mempool_changes: int,
    version_bits: VersionBits | None,
    coinbase_value: int,
) -> BlockTemplate:
    height = parent.height + 1
    min_time = min_block_time(parent, network)
    time = max(now, min_time)
    commitment = None
    if is_active(network, "segwit", height):
        # The coinbase counts as zeros in this tree: any transaction may stand in its place.
        listed = [each.tx for each in transactions]
        root = witness_merkle_root([Transaction(2, [TxIn(NULL_OUTPOINT)], []), *listed])
        commitment = make_witness_commitment(root, _WITNESS_RESERVED)
    return BlockTemplate(
        previous_hash=parent.hash,
        height=height,
        version=(version_bits or VersionBits(network)).block_version(parent),
        bits=required_bits(parent, time, network),
        time=time,
        min_time=min_time,
        transactions=tuple(transactions),
        coinbase_value=coinbase_value,
        script_pubkey=script_pubkey,
        witness_commitment=commitment,
        mempool_changes=mempool_changes,
    )


def _with_depends(entries: Sequence[MempoolEntry]) -> list[TemplateTransaction]:
    places: dict[bytes, int] = {}
    listed = []
    for place, entry in enumerate(entries, start=1):
        depends = [places.get(txin.prevout.txid) for txin in entry.tx.inputs]
        known = tuple(each for each in depends if each is not None)
        listed.append(TemplateTransaction(entry.tx, entry.fee, entry.sigop_cost, entry.weight, known))
        places[entry.txid] = place
    return listed
