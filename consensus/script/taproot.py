"""Taproot outputs: leaves, trees, tweaks and control blocks (BIP341)."""

from collections.abc import Iterator
from hashlib import sha256
from typing import NamedTuple

from altyn.consensus.encoding import var_bytes
from altyn.consensus.secp256k1 import ORDER, Secp256k1

LEAF_VERSION_TAPSCRIPT = 0xC0
LEAF_VERSION_MASK = 0xFE
CONTROL_BASE_SIZE = 33
CONTROL_NODE_SIZE = 32
CONTROL_MAX_NODES = 128
ANNEX_TAG = 0x50
"""The first byte of a last witness element that is no argument but the annex."""

UNSPENDABLE_KEY = bytes.fromhex("50929b74c1a04954b78b4b6035e97a5e078a5a0f28ec96d547bfee9ace803ac0")
"""An internal key to which nobody knows the secret (BIP341): for outputs with scripts only."""

_LEAF = sha256(sha256(b"TapLeaf").digest() * 2)
_BRANCH = sha256(sha256(b"TapBranch").digest() * 2)
_TWEAK = sha256(sha256(b"TapTweak").digest() * 2)


class Leaf(NamedTuple):
    """A script of a tree."""

    script: bytes
    version: int = LEAF_VERSION_TAPSCRIPT

    @property
    def hash(self) -> bytes:
        return leaf_hash(self.script, self.version)


Tree = Leaf | tuple["Tree", "Tree"]
"""A leaf, or a pair of trees."""


def leaf_hash(script: bytes, version: int = LEAF_VERSION_TAPSCRIPT) -> bytes:
    """Return the hash of a leaf, 32 bytes (Core: ComputeTapleafHash)."""
    hasher = _LEAF.copy()
    hasher.update(bytes((version,)) + var_bytes(script))
    return hasher.digest()


def branch_hash(left: bytes, right: bytes) -> bytes:
    """Return the hash above two hashes, in whatever order they come (Core: ComputeTapbranchHash)."""
    hasher = _BRANCH.copy()
    hasher.update(left + right if left < right else right + left)
    return hasher.digest()


def tweak_hash(internal_key: bytes, root: bytes = b"") -> bytes:
    """Return what is added to the internal key: `root` is the 32-byte tree hash, empty for no tree."""
    hasher = _TWEAK.copy()
    hasher.update(internal_key + root)
    return hasher.digest()


def tree_hash(tree: Tree) -> bytes:
    """Return the root of a tree, 32 bytes."""
    return tree.hash if isinstance(tree, Leaf) else branch_hash(tree_hash(tree[0]), tree_hash(tree[1]))


def leaf_paths(tree: Tree, path: bytes = b"") -> Iterator[tuple[Leaf, bytes]]:
    """Yield each leaf, left to right, with the hashes beside its way to the root, leaf first, 32 bytes each."""
    if isinstance(tree, Leaf):
        yield tree, path
    else:
        left, right = tree
        yield from leaf_paths(left, tree_hash(right) + path)
        yield from leaf_paths(right, tree_hash(left) + path)


def output_key(secp: Secp256k1, internal_key: bytes, root: bytes = b"") -> tuple[bytes, int]:
    """Return the x-only key of the output and the parity of its y. Raises InvalidKey."""
    return secp.tweak_x_only(internal_key, tweak_hash(internal_key, root))


def output_secret(secp: Secp256k1, secret: bytes, root: bytes = b"") -> bytes:
    """Return the secret that signs for the output of the internal key of `secret`. Raises InvalidKey."""
    public_key = secp.public_key(secret)
    if public_key[0] == 3:  # x-only keys stand for the point with even y
        secret = (ORDER - int.from_bytes(secret, "big")).to_bytes(32, "big")
    return secp.add_to_secret(secret, tweak_hash(public_key[1:], root))


def control_block(internal_key: bytes, parity: int, leaf: Leaf, path: bytes) -> bytes:
    """Return the last witness element that spends by `leaf`; `path` as leaf_paths gives it."""
    return bytes((leaf.version | parity,)) + internal_key + path


def root_from_control_block(control: bytes, leaf: bytes) -> bytes:
    """Return the root that a leaf hash leads to (Core: ComputeTaprootMerkleRoot)."""
    for start in range(CONTROL_BASE_SIZE, len(control), CONTROL_NODE_SIZE):
        leaf = branch_hash(leaf, control[start : start + CONTROL_NODE_SIZE])
    return leaf


def check_commitment(secp: Secp256k1, control: bytes, program: bytes, leaf: bytes) -> bool:
    """Tell whether the output key `program` commits to a leaf hash (Core: VerifyTaprootCommitment)."""
    internal_key = control[1:CONTROL_BASE_SIZE]
    tweak = tweak_hash(internal_key, root_from_control_block(control, leaf))
    return secp.check_tweak(program, control[0] & 1, internal_key, tweak)
