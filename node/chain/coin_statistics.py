"""Statistics of the unspent outputs: after every block, by the index; of the whole set, by going through it."""

import hashlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from altyn.consensus.block import Block
from altyn.consensus.emission import block_subsidy
from altyn.consensus.encoding import var_bytes
from altyn.consensus.hashes import sha256
from altyn.consensus.muhash import MuHash
from altyn.consensus.networks import Network
from altyn.consensus.script.templates import is_unspendable
from altyn.consensus.transaction import Coin
from altyn.node.chain.rows import NewRows, RowIndex
from altyn.node.chain.tree import Entry, HeaderTree
from altyn.node.storage.errors import StoreError
from altyn.node.storage.layout import COIN_STATISTICS, COIN_STATISTICS_KEY, TOTAL_SIZE, encode_coin
from altyn.node.storage.rows import RowStore

_VALUE_AT, _SCRIPT_AT = 4, 12
"""Where they are in a coin's value form; what is before the script is as in the hashes."""
_BOGO_OVERHEAD = 50
"""Bytes that a coin counts for beside its script (Core: GetBogoSize)."""
_OVERWRITTEN = {
    (91722, bytes.fromhex("00000000000271a2dc26e7667f8419f2e15416dc6955e5a6c6cdf3f2574dd08e")[::-1]),
    (91812, bytes.fromhex("00000000000af0aed4792b1acee3d966af36cf5def14935db8de83d6f9306f2f")[::-1]),
}
"""The two blocks whose coinbases another one of the same id took the place of (Core: IsBIP30Unspendable)."""


def coin_element(outpoint: bytes, data: bytes) -> bytes:
    """Return what the hashes of the set take of a coin in value form (Core: TxOutSer)."""
    return outpoint + data[:_SCRIPT_AT] + var_bytes(data[_SCRIPT_AT:])


class Totals(NamedTuple):
    """Sums over the chain up to a block: counts, sizes in bytes, amounts in satoshis."""

    outputs: int = 0
    """Unspent ones."""
    bogo_size: int = 0
    amount: int = 0
    """Of the unspent outputs."""
    subsidy: int = 0
    prevouts_spent: int = 0
    new_outputs: int = 0
    """Those of coinbases left out."""
    coinbase: int = 0
    genesis: int = 0
    """The amounts nobody can spend, here and below."""
    overwritten: int = 0
    scripts: int = 0
    unclaimed: int = 0

    @property
    def unspendable(self) -> int:
        """The sum of all amounts nobody can spend."""
        return self.genesis + self.overwritten + self.scripts + self.unclaimed

    def less(self, other: "Totals") -> "Totals":
        """Return what came since `other`."""
        return Totals(*(mine - theirs for mine, theirs in zip(self, other, strict=True)))


class CoinStatistics(NamedTuple):
    """The unspent outputs after a block."""

    totals: Totals
    muhash: bytes
    """The state of their MuHash."""

    def encode(self) -> bytes:
        """Return the value form of the index."""
        return b"".join(total.to_bytes(TOTAL_SIZE, "little", signed=True) for total in self.totals) + self.muhash

    @classmethod
    def decode(cls, data: bytes) -> "CoinStatistics":
        """Read what `encode` made."""
        end = TOTAL_SIZE * len(Totals._fields)
        starts = range(0, end, TOTAL_SIZE)
        totals = Totals(*(int.from_bytes(data[at : at + TOTAL_SIZE], "little", signed=True) for at in starts))
        return cls(totals, data[end:])


class CoinStatisticsIndex(RowIndex):
    """Statistics after every block that was ever connected (Core: coinstatsindex)."""

    name = "coinstatistics"
    title = "coinstatsindex"

    def __init__(self, store: RowStore, tree: HeaderTree, network: Network) -> None:
        super().__init__(store, tree)
        self._network = network

    def get(self, entry: Entry) -> CoinStatistics | None:
        """Return the statistics after a block, None where the index has not come; on any thread. Raises StoreError."""
        data = self.at(_key(entry))
        return None if data is None else CoinStatistics.decode(data)

    def prepare(self, entry: Entry, block: Block, spent: Sequence[Sequence[Coin]]) -> NewRows:
        if self.at(_key(entry)) is not None:
            return NewRows.of({})
        if entry.parent is None:
            before = CoinStatistics(Totals(), MuHash().state())
        else:
            found = self.get(entry.parent)
            if found is None:
                raise StoreError(
                    f"the index {self.name} lacks block {entry.parent!r}: delete indexes/{self.name} to build it anew"
                )
            before = found
        after = advance(before, entry, block, spent, self._network)
        return NewRows.of({_key(entry): after.encode()})


def _key(entry: Entry) -> bytes:
    return COIN_STATISTICS_KEY.pack(COIN_STATISTICS, entry.height, entry.hash)


def advance(
    before: CoinStatistics, entry: Entry, block: Block, spent: Sequence[Sequence[Coin]], network: Network
) -> CoinStatistics:
    """Return the statistics after a block, from those before it (Core: CoinStatsIndex::CustomAppend)."""
    totals = before.totals
    subsidy = block_subsidy(entry.height, network)
    totals = totals._replace(subsidy=totals.subsidy + subsidy)
    if entry.parent is None:
        return CoinStatistics(totals._replace(genesis=subsidy), before.muhash)
    outputs, bogo_size, amount = totals.outputs, totals.bogo_size, totals.amount
    prevouts_spent, scripts, overwritten = totals.prevouts_spent, totals.scripts, totals.overwritten
    made = {True: 0, False: 0}  # by whether a coinbase made it
    joining: list[bytes] = []
    leaving: list[bytes] = []
    for tx, coins in zip(block.transactions, spent, strict=True):
        if tx.is_coinbase and (entry.height, entry.hash) in _OVERWRITTEN:
            overwritten += subsidy
            continue
        for index, output in enumerate(tx.outputs):
            if is_unspendable(output.script_pubkey):
                scripts += output.value
                continue
            data = encode_coin(Coin(output, entry.height, tx.is_coinbase))
            joining.append(coin_element(tx.outpoint(index), data))
            made[tx.is_coinbase] += output.value
            amount += output.value
            bogo_size += _BOGO_OVERHEAD + len(output.script_pubkey)
            outputs += 1
        for txin, coin in zip(tx.inputs, coins, strict=False):  # a coinbase has an input, and spends no coin
            leaving.append(coin_element(txin.prevout, encode_coin(coin)))
            prevouts_spent += coin.output.value
            amount -= coin.output.value
            bogo_size -= _BOGO_OVERHEAD + len(coin.output.script_pubkey)
            outputs -= 1
    totals = totals._replace(
        outputs=outputs,
        bogo_size=bogo_size,
        amount=amount,
        prevouts_spent=prevouts_spent,
        new_outputs=totals.new_outputs + made[False],
        coinbase=totals.coinbase + made[True],
        overwritten=overwritten,
        scripts=scripts,
    )
    known = totals.new_outputs + totals.coinbase + totals.unspendable
    totals = totals._replace(unclaimed=totals.unclaimed + totals.prevouts_spent + totals.subsidy - known)
    muhash = MuHash.from_state(before.muhash)
    muhash.insert(joining)
    muhash.remove(leaving)
    return CoinStatistics(totals, muhash.state())


class CoinSetScan:
    """Goes through a snapshot of all coins, piece by piece (Core: ComputeUTXOStats)."""

    def __init__(self, coins: Iterator[tuple[bytes, bytes]], hash_type: str) -> None:
        """`coins` are outpoints in order and value forms; `hash_type` is hash_serialized_3, muhash or none."""
        self._coins = coins
        self._hash_type = hash_type
        self._serialized = hashlib.sha256()
        self._muhash = MuHash()
        self._txid = b""
        self._group: list[tuple[int, bytes]] = []  # coins of one transaction: index and element
        self.outputs = 0
        self.transactions = 0
        self.bogo_size = 0
        self.amount = 0

    def step(self, count: int) -> bool:
        """Take up to `count` coins; return whether there may be more. Blocking. Raises StoreError."""
        elements = []
        for outpoint, data in self._coins:
            if outpoint[:32] != self._txid:
                self._end_group()
                self._txid = outpoint[:32]
                self.transactions += 1
            self.outputs += 1
            self.bogo_size += _BOGO_OVERHEAD + len(data) - _SCRIPT_AT
            self.amount += int.from_bytes(data[_VALUE_AT:_SCRIPT_AT], "little")
            if self._hash_type != "none":
                element = coin_element(outpoint, data)
                if self._hash_type == "muhash":
                    elements.append(element)
                else:
                    self._group.append((int.from_bytes(outpoint[32:], "little"), element))
            count -= 1
            if not count:
                break
        self._muhash.insert(elements)
        return not count

    def _end_group(self) -> None:
        # The database orders indexes by their bytes, the lowest first; the hash has them by number.
        self._serialized.update(b"".join(element for _, element in sorted(self._group)))
        self._group.clear()

    def digest(self) -> bytes:
        """Return the hash of all coins taken, 32 bytes in internal order; none has none, an empty one."""
        if self._hash_type == "none":
            return b""
        if self._hash_type == "muhash":
            return self._muhash.digest()
        self._end_group()
        return sha256(self._serialized.digest())
