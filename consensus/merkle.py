"""Merkle trees: of a block's transactions, of its witnesses, and partial trees as proofs (BIP37, BIP141)."""

from collections.abc import Sequence

from altyn.consensus.hashes import sha256, sha256d


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
        if not mutated:
            mutated = any(level[i] == level[i + 1] for i in range(0, len(level) - 1, 2))
        if len(level) & 1:
            level.append(level[-1])
        level = [sha256(sha256(level[i] + level[i + 1])) for i in range(0, len(level), 2)]
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
