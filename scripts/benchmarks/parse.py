"""Blocks parsed, with all txids, all wtxids and the merkle roots, against python-bitcoinlib on the same blocks.

The blocks are the largest real ones of the vectors (ALTYN_VECTORS, else ../shared/vectors beside the project).
python-bitcoinlib computes both merkle trees while it parses, so that its part is that and the wtxids; ours is the same
work. MB are 10^6 bytes as on the wire.
"""

import functools
import importlib
import os
import sys
from pathlib import Path
from typing import Any

import measure
from measure import Case, Job

from altyn.consensus.block import Block
from altyn.consensus.merkle import merkle_root, witness_merkle_root

PEER = "python-bitcoinlib"
BAR = ">=4"
MEGABYTE = 1e6

Facts = tuple[list[bytes], list[bytes], bytes, bytes | None]
"""Txids, wtxids, the merkle root, and that of the witnesses if there are any."""

bitcoinlib: Any
try:
    bitcoinlib = importlib.import_module("bitcoin.core")  # old, untyped, and not everybody's
except ImportError:
    bitcoinlib = None


def ours(raw: bytes) -> Facts:
    """Parse with Altyn."""
    transactions = Block.parse(raw).transactions
    txids = [tx.txid for tx in transactions]
    wtxids = [tx.wtxid for tx in transactions]
    has_witness = any(tx.has_witness for tx in transactions)
    return txids, wtxids, merkle_root(txids), witness_merkle_root(transactions) if has_witness else None


def peers(raw: bytes) -> Facts:
    """Parse with python-bitcoinlib."""
    block = bitcoinlib.CBlock.deserialize(raw)
    tree, witness_tree = block.vMerkleTree, block.vWitnessMerkleTree
    wtxids = [tx.GetHash() for tx in block.vtx]
    return list(tree[: len(block.vtx)]), wtxids, tree[-1], witness_tree[-1] if witness_tree else None


def largest_blocks(count: int) -> dict[str, bytes]:
    """Return the largest real blocks by the name of their file, largest first."""
    vectors = Path(os.environ.get("ALTYN_VECTORS") or Path(__file__).resolve().parents[3] / "shared" / "vectors")
    files = [file for file in vectors.glob("blocks/*.raw") if not file.stem.endswith("-undo")]
    files.sort(key=lambda file: -file.stat().st_size)
    return {file.stem: file.read_bytes() for file in files[:count]}


def main() -> int:
    options = measure.parser(__doc__)
    options.add_argument("--blocks", type=int, default=5, help="how many of the largest blocks (%(default)s)")
    chosen = options.parse_args()
    blocks = largest_blocks(chosen.blocks)
    if not blocks:
        print("parse: no real blocks; point ALTYN_VECTORS at a folder of vectors", file=sys.stderr)
        return 1
    cases = []
    for name, raw in blocks.items():
        measure.progress(name)
        contestants: dict[str, list[Job]] = {"ours": [functools.partial(ours, raw)]}
        if bitcoinlib is not None:
            if ours(raw) != peers(raw):
                raise AssertionError(f"{name}: {PEER} reads something else")
            contestants[PEER] = [functools.partial(peers, raw)]
        found = measure.rates(contestants, len(raw) / MEGABYTE, chosen.rounds)
        cases.append(Case(name, found["ours"], "MB/s", PEER, found.get(PEER), BAR))
    measure.end_progress()
    remarks = [f"{name}: {len(raw):,} bytes, {len(ours(raw)[0])} transactions" for name, raw in blocks.items()]
    return measure.report("parse", cases, chosen.json, remarks)


if __name__ == "__main__":
    sys.exit(main())
