"""Merkle trees: of a block's transactions, of its witnesses, and partial trees as proofs (BIP37, BIP141)."""

from collections.abc import Sequence
from hashlib import sha256
from operator import add, eq
from typing import NamedTuple, Self

from altyn.consensus.block import Block
from altyn.consensus.encoding import Cursor, EncodingError, compact_size, var_bytes
from altyn.consensus.hashes import sha256d
from altyn.consensus.limits import MAX_BLOCK_WEIGHT, MIN_TRANSACTION_WEIGHT
from altyn.consensus.transaction import Transaction


def merkle_root(hashes: Sequence[bytes]) -> bytes:
    """Return the root over 32-byte `hashes`; 32 zero bytes for none."""
    return merkle_root_and_mutation(hashes)[0]


def merkle_root_and_mutation(hashes: Sequence[bytes]) -> tuple[bytes, bool]:
    """Return the root, and whether two siblings are equal (CVE-2012-2459: a duplicated tail has the same root)."""
    if not hashes:
        return bytes(32), False
    level = list(hashes)
    mutated = False
    while len(level) > 1:
        left, right = level[::2], level[1::2]
        mutated = mutated or any(map(eq, left, right))
        if len(level) & 1:
            right.append(level[-1])
        level = [sha256(sha256(pair).digest()).digest() for pair in map(add, left, right)]
    return level[0], mutated


def merkle_branch(hashes: Sequence[bytes], index: int) -> list[bytes]:
    """Return the siblings, leaf to root, that prove the hash at `index`."""
    branch = []
    level = list(hashes)
    while len(level) > 1:
        if len(level) & 1:
            level.append(level[-1])
        branch.append(level[index ^ 1])
        level = [sha256d(level[i] + level[i + 1]) for i in range(0, len(level), 2)]
        index >>= 1
    return branch


def root_from_branch(leaf: bytes, branch: Sequence[bytes], index: int) -> bytes:
    """Return the root that `leaf` at `index` leads to through `branch`."""
    for sibling in branch:
        leaf = sha256d(sibling + leaf) if index & 1 else sha256d(leaf + sibling)
        index >>= 1
    return leaf


WITNESS_COMMITMENT_HEADER = bytes.fromhex("6a24aa21a9ed")
"""OP_RETURN, a push of 36 bytes, and the four that mark a commitment; 32 bytes of hash follow (BIP141)."""
_WITNESS_COMMITMENT_SIZE = len(WITNESS_COMMITMENT_HEADER) + 32


def witness_commitment_index(block: Block) -> int | None:
    """Return which output of the coinbase commits to the witnesses: the last that looks like it, None without any."""
    if not block.transactions:
        return None
    outputs = block.transactions[0].outputs
    for index in range(len(outputs) - 1, -1, -1):
        script = outputs[index].script_pubkey
        if len(script) >= _WITNESS_COMMITMENT_SIZE and script.startswith(WITNESS_COMMITMENT_HEADER):
            return index
    return None


def witness_commitment(block: Block) -> bytes | None:
    """Return the hash, 32 bytes, by which the coinbase commits to the witnesses; None if it does not (BIP141)."""
    index = witness_commitment_index(block)
    if index is None:
        return None
    script = block.transactions[0].outputs[index].script_pubkey
    return script[len(WITNESS_COMMITMENT_HEADER) : _WITNESS_COMMITMENT_SIZE]


def witness_merkle_root(transactions: Sequence[Transaction]) -> bytes:
    """Return the root over the wtxids of a block's transactions, 32 bytes, with zeros for the coinbase's (BIP141)."""
    return merkle_root([bytes(32), *(tx.wtxid for tx in transactions[1:])])


def make_witness_commitment(witness_root: bytes, reserved: bytes = bytes(32)) -> bytes:
    """Return the script_pubkey, 38 bytes, of the output that commits to `witness_root`.

    `reserved`, 32 bytes, is the one witness element that the coinbase's input must then have.
    """
    return WITNESS_COMMITMENT_HEADER + sha256d(witness_root + reserved)


class PartialMerkleTree(NamedTuple):
    """A proof that some transactions are in a block: the tree, cut where nothing below is wanted (BIP37).

    `total` counts the block's transactions, `hashes` are 32 bytes each, depth first, `flags` one bit a node, the lowest
    bit of a byte first.
    """

    total: int
    hashes: tuple[bytes, ...]
    flags: bytes

    @classmethod
    def build(cls, txids: Sequence[bytes], wanted: Sequence[bool]) -> Self:
        """Prove the txids that are `wanted`, of all those of a block."""
        levels, marks = [list(txids)], [list(wanted)]
        while len(levels[-1]) > 1:
            level, mark = levels[-1], marks[-1]
            if len(level) & 1:
                level, mark = [*level, level[-1]], [*mark, mark[-1]]
            levels.append([sha256d(level[i] + level[i + 1]) for i in range(0, len(level), 2)])
            marks.append([mark[i] or mark[i + 1] for i in range(0, len(mark), 2)])
        hashes: list[bytes] = []
        bits: list[bool] = []
        pending = [(len(levels) - 1, 0)]
        while pending:
            depth, index = pending.pop()
            bits.append(marks[depth][index])
            if not bits[-1] or not depth:
                hashes.append(levels[depth][index])
                continue
            if 2 * index + 1 < len(levels[depth - 1]):
                pending.append((depth - 1, 2 * index + 1))
            pending.append((depth - 1, 2 * index))
        flags = bytearray((len(bits) + 7) // 8)
        for number, bit in enumerate(bits):
            flags[number >> 3] |= bit << (number & 7)
        return cls(len(txids), tuple(hashes), bytes(flags))

    def extract(self) -> tuple[bytes, list[tuple[int, bytes]]]:
        """Return the merkle root, and index and txid of each transaction proved. Raises EncodingError if malformed.

        Whoever trusts the result compares the root with a header's. Core: CPartialMerkleTree::ExtractMatches.
        """
        total = self.total
        if not 0 < total <= MAX_BLOCK_WEIGHT // MIN_TRANSACTION_WEIGHT:
            raise EncodingError("no block has that many transactions")
        if len(self.hashes) > total or 8 * len(self.flags) < len(self.hashes):
            raise EncodingError("more hashes than nodes")
        hashes = iter(self.hashes)
        used = 0
        matches: list[tuple[int, bytes]] = []

        def descend(depth: int, index: int) -> bytes:
            nonlocal used
            if used >= 8 * len(self.flags):
                raise EncodingError("flag bits end early")
            flag = self.flags[used >> 3] >> (used & 7) & 1
            used += 1
            if not flag or not depth:
                found = next(hashes, None)
                if found is None:
                    raise EncodingError("hashes end early")
                if flag:
                    matches.append((index, found))
                return found
            left = descend(depth - 1, 2 * index)
            width = (total + (1 << depth - 1) - 1) >> depth - 1
            if 2 * index + 1 >= width:
                return sha256d(left + left)
            right = descend(depth - 1, 2 * index + 1)
            if left == right:  # CVE-2012-2459
                raise EncodingError("two equal siblings")
            return sha256d(left + right)

        root = descend((total - 1).bit_length(), 0)
        if (used + 7) // 8 != len(self.flags):
            raise EncodingError("flag bits left over")
        if next(hashes, None) is not None:
            raise EncodingError("hashes left over")
        return root, matches

    def serialize(self) -> bytes:
        """Encode it as it follows the header in a merkleblock message and in gettxoutproof."""
        total = self.total.to_bytes(4, "little")
        return b"".join((total, compact_size(len(self.hashes)), *self.hashes, var_bytes(self.flags)))

    @classmethod
    def read(cls, cursor: Cursor) -> Self:
        """Read it as `serialize` writes it. Raises EncodingError."""
        total = cursor.u32()
        count = cursor.compact_size()
        return cls(total, tuple(cursor.read(32) for _ in range(count)), cursor.var_bytes())
