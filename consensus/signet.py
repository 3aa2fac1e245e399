"""Signets: networks whose blocks carry a solution to a script, the challenge (BIP325)."""

import struct
from collections.abc import Sequence
from typing import NamedTuple

from altyn.consensus.block import Block
from altyn.consensus.encoding import Cursor, EncodingError
from altyn.consensus.errors import ValidationError
from altyn.consensus.merkle import merkle_root, witness_commitment_index
from altyn.consensus.networks import Network
from altyn.consensus.script.errors import ScriptError
from altyn.consensus.script.flags import DERSIG, NULLDUMMY, P2SH, WITNESS
from altyn.consensus.script.opcodes import push, script_operations
from altyn.consensus.script.sighash import SighashCache
from altyn.consensus.script.verify import TransactionChecker, verify_script
from altyn.consensus.secp256k1 import Secp256k1, load
from altyn.consensus.transaction import NULL_OUTPOINT, OutPoint, Transaction, TxIn, TxOut

SIGNET_HEADER = bytes.fromhex("ecc7daa2")
"""Marks the push of the witness commitment that holds the solution."""
_FLAGS = P2SH | WITNESS | DERSIG | NULLDUMMY
_BLOCK_DATA = struct.Struct("<i32s32sI")


class SignetTransactions(NamedTuple):
    """The two transactions that a block stands for: one whose output is the challenge, one that spends it."""

    to_spend: Transaction
    spending: Transaction


def check_signet_solution(block: Block, network: Network, secp: Secp256k1 | None = None) -> None:
    """Check that a signet's block solves its challenge; of other networks' blocks nothing is asked.

    Raises ValidationError. Core: CheckSignetBlockSolution.
    """
    challenge = network.signet_challenge
    if challenge is None or block.hash == network.genesis.hash:
        return
    pair = signet_transactions(block, challenge)
    if pair is None or not _spends(pair, secp or load()):
        raise ValidationError("bad-signet-blksig", "signet block signature validation failure")


def signet_transactions(block: Block, challenge: bytes) -> SignetTransactions | None:
    """Return what `block` stands for, with the solution that it carries, if any.

    None if it commits to no witnesses, or if the solution cannot be read.
    """
    index = witness_commitment_index(block)
    if index is None:
        return None
    coinbase = block.transactions[0]
    value, commitment = coinbase.outputs[index]
    script, solution = _take_solution(commitment)
    script_sig = b""
    witness: tuple[bytes, ...] = ()
    if solution is not None:
        try:
            script_sig, witness = _read_solution(solution)
        except EncodingError:
            return None
    outputs: Sequence[TxOut] = [*coinbase.outputs[:index], TxOut(value, script), *coinbase.outputs[index + 1 :]]
    unsolved = Transaction(coinbase.version, coinbase.inputs, outputs, coinbase.lock_time)
    root = merkle_root([unsolved.txid, *(tx.txid for tx in block.transactions[1:])])
    header = block.header
    data = _BLOCK_DATA.pack(header.version, header.prev_hash, root, header.time)
    to_spend = Transaction(0, [TxIn(NULL_OUTPOINT, b"\x00" + push(data), 0)], [TxOut(0, challenge)])
    spent = OutPoint.make(to_spend.txid, 0)
    return SignetTransactions(to_spend, Transaction(0, [TxIn(spent, script_sig, 0, witness)], [TxOut(0, b"\x6a")]))


def _spends(pair: SignetTransactions, secp: Secp256k1) -> bool:
    challenge, txin = pair.to_spend.outputs[0], pair.spending.inputs[0]
    checker = TransactionChecker(pair.spending, 0, challenge.value, SighashCache(pair.spending, [challenge]), secp)
    try:
        verify_script(txin.script_sig, challenge.script_pubkey, txin.witness, _FLAGS, checker)
    except ScriptError:
        return False
    return True


def _take_solution(commitment: bytes) -> tuple[bytes, bytes | None]:
    """Return the commitment's script with nothing behind the first signet header, and what stood there.

    Each push is written anew, and what cannot be read as an operation is dropped: so the signer sees it too.
    """
    script, solution = b"", None
    try:
        for opcode, data, _ in script_operations(commitment):
            if not data:
                script += bytes([opcode])
                continue
            if solution is None and len(data) > len(SIGNET_HEADER) and data.startswith(SIGNET_HEADER):
                data, solution = SIGNET_HEADER, data[len(SIGNET_HEADER) :]
            script += push(data)
    except ScriptError:
        pass  # a push that is cut short ends the script
    return (commitment, None) if solution is None else (script, solution)


def _read_solution(solution: bytes) -> tuple[bytes, tuple[bytes, ...]]:
    cursor = Cursor(solution)
    script_sig = cursor.var_bytes()
    witness = tuple(cursor.var_bytes() for _ in range(cursor.compact_size()))
    cursor.finish()
    return script_sig, witness
