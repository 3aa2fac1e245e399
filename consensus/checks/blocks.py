"""The rules of a block: alone, on its parent, and against the coins it spends."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from altyn.consensus.ancestry import ChainEntry, median_time_past
from altyn.consensus.block import Block
from altyn.consensus.checks.headers import check_header
from altyn.consensus.checks.scripts import ScriptCheck
from altyn.consensus.checks.transactions import (
    check_spending,
    check_transaction,
    is_final,
    legacy_sigop_count,
    missing_inputs,
    sequence_locks,
    sequence_locks_met,
    sigop_cost_of_spending,
)
from altyn.consensus.deployments import script_flags
from altyn.consensus.emission import block_subsidy
from altyn.consensus.errors import Fault, ValidationError
from altyn.consensus.hashes import sha256d
from altyn.consensus.limits import (
    MAX_BLOCK_SIGOPS_COST,
    MAX_BLOCK_WEIGHT,
    MAX_MONEY,
    SEQUENCE_LOCKTIME_DISABLE_FLAG,
    WITNESS_SCALE_FACTOR,
)
from altyn.consensus.merkle import merkle_root_and_mutation, witness_commitment, witness_merkle_root
from altyn.consensus.networks import Network
from altyn.consensus.script.opcodes import push_number
from altyn.consensus.script.sighash import SighashCache
from altyn.consensus.script.templates import is_unspendable
from altyn.consensus.secp256k1 import Secp256k1
from altyn.consensus.signet import check_signet_solution
from altyn.consensus.transaction import Coin, OutPoint, Transaction

_new = tuple.__new__
"""Half the price of calling a NamedTuple."""
_BIP34_IMPLIES_BIP30_LIMIT = 1_983_702
"""The first height that an early coinbase claimed in the form of BIP34: from here on a txid may repeat again."""


def check_block(
    block: Block,
    network: Network,
    *,
    check_pow: bool = True,
    check_merkle: bool = True,
    secp: Secp256k1 | None = None,
) -> None:
    """Check what needs neither chain nor coins (Core: CheckBlock). Raises ValidationError.

    `check_pow` False leaves out the work and the signet solution, for templates. `secp` verifies the solution of a
    signet block, the preferred backend if None.
    """
    if check_pow:
        check_header(block.header, network)
        check_signet_solution(block, network, secp)
    if check_merkle:
        check_merkle_root(block)
    transactions = block.transactions
    if (
        not transactions
        or len(transactions) * WITNESS_SCALE_FACTOR > MAX_BLOCK_WEIGHT
        or block.stripped_size * WITNESS_SCALE_FACTOR > MAX_BLOCK_WEIGHT
    ):
        raise ValidationError("bad-blk-length", "size limits failed")
    if not transactions[0].is_coinbase:
        raise ValidationError("bad-cb-missing", "first tx is not coinbase")
    if any(tx.is_coinbase for tx in transactions[1:]):
        raise ValidationError("bad-cb-multiple", "more than one coinbase")
    for tx in transactions:
        try:
            check_transaction(tx)
        except ValidationError as error:
            detail = f"Transaction check failed (tx hash {tx.txid[::-1].hex()}) {error.detail}"
            raise ValidationError(error.reason, detail) from None
    if sum(map(legacy_sigop_count, transactions)) * WITNESS_SCALE_FACTOR > MAX_BLOCK_SIGOPS_COST:
        raise ValidationError("bad-blk-sigops", "out-of-bounds SigOpCount")


def check_merkle_root(block: Block) -> None:
    """Check that the header commits to these transactions, and to no others (CVE-2012-2459). Raises ValidationError."""
    if block.root_is_right:
        return
    root, mutated = merkle_root_and_mutation([tx.txid for tx in block.transactions])
    if root != block.header.merkle_root:
        raise ValidationError("bad-txnmrklroot", "hashMerkleRoot mismatch", fault=Fault.MUTATED)
    if mutated:
        raise ValidationError("bad-txns-duplicate", "duplicate transaction", fault=Fault.MUTATED)
    block.root_is_right = True


def check_block_in_context(block: Block, parent: ChainEntry | None, network: Network) -> None:
    """Check what depends on the parent, not on coins: finality, BIP34, witnesses, weight. None precedes genesis.

    Core: ContextualCheckBlock. Raises ValidationError.
    """
    height = 0 if parent is None else parent.height + 1
    cutoff = block.header.time
    if parent is not None and height >= network.csv_height:  # BIP113
        cutoff = median_time_past(parent)
    if not all(is_final(tx, height, cutoff) for tx in block.transactions):
        raise ValidationError("bad-txns-nonfinal", "non-final transaction")
    if height >= network.bip34_height:
        expected = push_number(height)
        if not block.transactions[0].inputs[0].script_sig.startswith(expected):
            raise ValidationError("bad-cb-height", "block height mismatch in coinbase")
    check_witness(block, height >= network.segwit_height)
    if block.weight > MAX_BLOCK_WEIGHT:
        raise ValidationError("bad-blk-weight", "ContextualCheckBlock : weight limit failed")


def check_witness(block: Block, segwit_active: bool) -> None:
    """Check the witnesses against the commitment, or that there are none (BIP141, Core: CheckWitnessMalleation).

    The block has a coinbase. Raises ValidationError.
    """
    commitment = witness_commitment(block) if segwit_active else None
    if commitment is not None:
        reserved = block.transactions[0].inputs[0].witness
        if len(reserved) != 1 or len(reserved[0]) != 32:
            detail = "CheckWitnessMalleation : invalid witness reserved value size"
            raise ValidationError("bad-witness-nonce-size", detail, fault=Fault.MUTATED)
        if block.witness_root_is_right:
            return
        if sha256d(witness_merkle_root(block.transactions) + reserved[0]) != commitment:
            detail = "CheckWitnessMalleation : witness merkle commitment mismatch"
            raise ValidationError("bad-witness-merkle-match", detail, fault=Fault.MUTATED)
        block.witness_root_is_right = True
    elif any(tx.has_witness for tx in block.transactions):
        detail = "CheckWitnessMalleation : unexpected witness data found"
        raise ValidationError("unexpected-witness", detail, fault=Fault.MUTATED)


def is_mutated(block: Block, segwit_active: bool) -> bool:
    """Tell whether this copy of a block is damaged, whatever its header is worth (Core: IsBlockMutated)."""
    try:
        check_merkle_root(block)
        if not block.transactions or not block.transactions[0].is_coinbase:
            # 64 bytes may be an inner node of the tree that poses as a transaction
            return any(len(tx.stripped) == 64 for tx in block.transactions)
        check_witness(block, segwit_active)
    except ValidationError:
        return True
    return False


@dataclass(frozen=True, slots=True)
class BlockChecks:
    """What connecting a block does, and the script checks that are still to be run; the block is valid if they pass."""

    fees: int
    checks: list[ScriptCheck]
    """In the order of the block's inputs."""
    spent: list[list[Coin]]
    """For each transaction after the coinbase, the coins in the order of its inputs: the block's undo data."""
    created: dict[OutPoint, Coin]
    """The coins that the block leaves; without those spent inside it and those that nobody can spend."""
    removed: set[OutPoint]
    """What it spends of the coins there were before."""
    sigop_cost: int


def block_script_checks(
    block: Block,
    coins: Mapping[OutPoint, Coin],
    parent: ChainEntry,
    network: Network,
    flags: int | None = None,
    *,
    with_scripts: bool = True,
) -> BlockChecks:
    """Check a block against the coins at `parent`, all but the scripts (Core: ConnectBlock).

    The block has passed `check_block` and `check_block_in_context`. `coins` need not hold what the block makes itself,
    but must know of outputs it would overwrite where `needs_bip30_check`. `flags` are the network's for the block
    unless given. `with_scripts` False leaves `checks` empty, for blocks below assumevalid. Raises ValidationError.
    """
    height = parent.height + 1
    if flags is None:
        flags = script_flags(network, height, block.hash)
    outpoints = [tx.outpoints() for tx in block.transactions]
    if needs_bip30_check(block.hash, parent, network) and any(
        outpoint in coins for made in outpoints for outpoint in made
    ):
        raise ValidationError("bad-txns-BIP30", "tried to overwrite transaction")
    fees = cost = 0
    checks: list[ScriptCheck] = []
    undo: list[list[Coin]] = []
    created: dict[OutPoint, Coin] = {}
    removed: set[OutPoint] = set()
    for number, tx in enumerate(block.transactions):
        spent: list[Coin] = []
        if number:
            try:
                spent = _take(tx, coins, created, removed)
                fees += check_spending(tx, spent, height, network.coinbase_maturity)
            except ValidationError as error:  # in a block nothing is merely early or unknown
                raise ValidationError(error.reason, error.detail) from None
            if fees > MAX_MONEY:
                detail = "accumulated fee in the block out of range"
                raise ValidationError("bad-txns-accumulated-fee-outofrange", detail)
            if height >= network.csv_height and not _sequences_met(tx, spent, parent):
                raise ValidationError("bad-txns-nonfinal", "contains a non-BIP68-final transaction")
            undo.append(spent)
        cost += sigop_cost_of_spending(tx, spent, flags)
        if cost > MAX_BLOCK_SIGOPS_COST:
            raise ValidationError("bad-blk-sigops", "too many sigops")
        if number and with_scripts:
            cache = SighashCache(tx, [coin.output for coin in spent])
            checks += [ScriptCheck(tx, index, cache, flags) for index in range(len(tx.inputs))]
        is_coinbase = not number
        for outpoint, output in zip(outpoints[number], tx.outputs, strict=True):
            if not is_unspendable(output[1]):
                created[outpoint] = _new(Coin, (output, height, is_coinbase))
    reward, limit = sum(output.value for output in block.transactions[0].outputs), fees + block_subsidy(height, network)
    if reward > limit:
        raise ValidationError("bad-cb-amount", f"coinbase pays too much (actual={reward} vs limit={limit})")
    return BlockChecks(fees, checks, undo, created, removed, cost)


def needs_bip30_check(block_hash: bytes, parent: ChainEntry, network: Network) -> bool:
    """Tell whether it must be looked up that the block on `parent` repeats no txid with unspent outputs (BIP30).

    Not where BIP34 makes coinbases differ, and not for two old blocks that did repeat one. Where BIP34 holds from the
    first block on no block can repeat one: each coinbase begins with its height, and all else descends from those.
    """
    if network.bip34_height <= 1:
        return False
    height = parent.height + 1
    if height >= _BIP34_IMPLIES_BIP30_LIMIT:
        return True
    if network.bip30_exceptions.get(height) == block_hash:
        return False
    has_bip34 = network.bip34_hash is not None and parent.height >= network.bip34_height
    return not (has_bip34 and parent.ancestor(network.bip34_height).hash == network.bip34_hash)


def _take(
    tx: Transaction, coins: Mapping[OutPoint, Coin], created: dict[OutPoint, Coin], removed: set[OutPoint]
) -> list[Coin]:
    """Move the coins that `tx` spends out of `created`, or note them in `removed`; return them."""
    spent = []
    for txin in tx.inputs:
        prevout = txin.prevout
        coin = created.pop(prevout, None)
        if coin is None:
            coin = None if prevout in removed else coins.get(prevout)
            if coin is None:
                raise missing_inputs()
            removed.add(prevout)
        spent.append(coin)
    return spent


def _sequences_met(tx: Transaction, spent: Sequence[Coin], parent: ChainEntry) -> bool:
    if tx.version < 2 or all(txin.sequence & SEQUENCE_LOCKTIME_DISABLE_FLAG for txin in tx.inputs):
        return True
    return sequence_locks_met(sequence_locks(tx, [coin.height for coin in spent], parent), parent)
