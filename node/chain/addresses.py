"""The index of addresses: every transaction that pays or spends outputs of a script."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from altyn.consensus.block import Block
from altyn.consensus.hashes import sha256
from altyn.consensus.script.templates import is_unspendable
from altyn.consensus.transaction import Coin, OutPoint
from altyn.node.chain.rows import NewRows, RowIndex, tag_of
from altyn.node.chain.tree import Entry
from altyn.node.storage.layout import ADDRESS, MADE, MADE_COUNT, ROW_TRANSACTION, SPENT

_MADE_START = 32 + MADE_COUNT.size


class Touch(NamedTuple):
    """What one transaction did to the outputs of a script; values in satoshis."""

    entry: Entry
    number: int
    """Of the transaction in its block: 0 is the coinbase."""
    txid: bytes
    made: tuple[tuple[int, int], ...]
    """Index and value of the outputs it pays to the script."""
    spent: tuple[tuple[OutPoint, int], ...]
    """Outpoint and value of those it spends."""


class Unspent(NamedTuple):
    """An output that nothing in the chain spends; value in satoshis."""

    outpoint: OutPoint
    value: int
    entry: Entry
    is_coinbase: bool


class AddressIndex(RowIndex):
    """History and unspent outputs by script. What cannot be spent, the genesis coinbase included, is not in it."""

    name = "addresses"
    title = "addressindex"

    def prepare(self, entry: Entry, block: Block, spent: Sequence[Sequence[Coin]]) -> NewRows:
        if entry.parent is None:
            return NewRows.of({})
        rows: dict[bytes, bytes] = {}
        for number, (tx, coins) in enumerate(zip(block.transactions, spent, strict=True)):
            made_by_script: dict[bytes, list[bytes]] = {}
            spent_by_script: dict[bytes, list[bytes]] = {}
            for index, (value, script) in enumerate(tx.outputs):
                if not is_unspendable(script):
                    made_by_script.setdefault(script, []).append(MADE.pack(index, value))
            for txin, coin in zip(tx.inputs, coins, strict=False):  # a coinbase has an input, and spends no coin
                row = SPENT.pack(txin.prevout, coin.output.value)
                spent_by_script.setdefault(coin.output.script_pubkey, []).append(row)
            rest = ROW_TRANSACTION.pack(entry.height, tag_of(entry), number)
            for script in made_by_script.keys() | spent_by_script.keys():
                made = made_by_script.get(script, [])
                value_form = (tx.txid, MADE_COUNT.pack(len(made)), *made, *spent_by_script.get(script, []))
                rows[ADDRESS + sha256(script) + rest] = b"".join(value_form)
        return NewRows.of(rows)

    def history(self, script: bytes, view: Entry) -> Iterator[Touch]:
        """Go through the transactions that touch a script in the chain up to `view`, oldest first.

        `view` is the index's. Blocking, on any thread. Raises StoreError.
        """
        for rest, value in self.group(ADDRESS + sha256(script)):
            height, tag, number = ROW_TRANSACTION.unpack(rest)
            if height > view.height:
                return
            entry = view.ancestor(height)
            if tag_of(entry) == tag:
                (count,) = MADE_COUNT.unpack_from(value, 32)
                middle = _MADE_START + count * MADE.size
                made = tuple(MADE.iter_unpack(value[_MADE_START:middle]))
                spent = tuple((OutPoint(outpoint), amount) for outpoint, amount in SPENT.iter_unpack(value[middle:]))
                yield Touch(entry, number, value[:32], made, spent)

    def unspent(self, script: bytes, view: Entry) -> list[Unspent]:
        """Return the outputs of a script that the chain up to `view` leaves unspent, oldest first; like `history`."""
        left: dict[OutPoint, Unspent] = {}
        for touch in self.history(script, view):
            for index, value in touch.made:
                outpoint = OutPoint.make(touch.txid, index)
                left[outpoint] = Unspent(outpoint, value, touch.entry, touch.number == 0)
            for outpoint, _ in touch.spent:
                del left[outpoint]
        return list(left.values())
