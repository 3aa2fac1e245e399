"""Filters held against blocks: which of two filters that peers give for one block is the lie (BIP157)."""

from collections.abc import Iterable
from typing import NamedTuple

from altyn.consensus.block import Block
from altyn.consensus.encoding import EncodingError
from altyn.consensus.filters import decode_filter, matching
from altyn.consensus.hashes import hash160, sha256
from altyn.consensus.script.opcodes import OP_RETURN
from altyn.consensus.script.templates import p2pkh, p2sh, p2wpkh, p2wsh
from altyn.consensus.transaction import TxIn

_KEY_SIZES = {2: 33, 3: 33, 4: 65}


class Fit(NamedTuple):
    """How well a filter fits a block."""

    possible: bool
    """It can be read, has all scripts that the block pays to, and not more elements than the block can account for."""
    explained_inputs: int
    """Inputs whose spent script shows in the input itself, and is in the filter."""
    elements: int

    @property
    def by_block(self) -> tuple[bool, int]:
        """What the block says of it; the better one is the greater."""
        return self.possible, self.explained_inputs


_IMPOSSIBLE = Fit(False, 0, 0)


def fit(data: bytes, block: Block) -> Fit:
    """Hold the basic filter `data` against the block that it is said to describe.

    Outputs decide. What an input spends is known only as far as the input tells, and a light node has no older blocks
    to look it up, so inputs count for the comparison of filters and refute none by themselves.
    """
    try:
        elements = len(decode_filter(data))
    except EncodingError:
        return _IMPOSSIBLE
    paid = {
        output.script_pubkey
        for tx in block.transactions
        for output in tx.outputs
        if output.script_pubkey and output.script_pubkey[0] != OP_RETURN
    }
    inputs = [txin for tx in block.transactions[1:] for txin in tx.inputs]
    spent = [set(possible_spent_scripts(txin)) for txin in inputs]
    found = matching(data, block.hash, paid.union(*spent))
    if not paid <= found:
        return _IMPOSSIBLE
    explained = sum(not scripts.isdisjoint(found) for scripts in spent)
    # Each element is one that was recognised, or what an input spends that does not show it.
    return Fit(elements <= len(found) + len(inputs) - explained, explained, elements)


def possible_spent_scripts(txin: TxIn) -> Iterable[bytes]:
    """Yield the scripts that this input may spend, as far as it shows: none for a taproot key or a bare key."""
    pushes = _pushes(txin.script_sig)
    if txin.witness and pushes is not None and len(pushes) == 1:
        yield p2sh(hash160(pushes[0]))
    elif txin.witness and not txin.script_sig:
        last = txin.witness[-1]
        yield p2wsh(sha256(last))
        if len(txin.witness) == 2 and len(last) == 33:
            yield p2wpkh(hash160(last))
    elif pushes:
        last = pushes[-1]
        yield p2sh(hash160(last))
        if len(pushes) == 2 and last and len(last) == _KEY_SIZES.get(last[0]):
            yield p2pkh(hash160(last))


def _pushes(script: bytes) -> list[bytes] | None:
    """Return what a script of plain pushes pushes; None if it is anything else."""
    found = []
    position = 0
    while position < len(script):
        opcode = script[position]
        position += 1
        if opcode <= 75:
            size = opcode
        elif opcode <= 78:
            width = 1 << (opcode - 76)
            size = int.from_bytes(script[position : position + width], "little")
            position += width
        else:
            return None
        found.append(script[position : position + size])
        position += size
    return found if position == len(script) else None
