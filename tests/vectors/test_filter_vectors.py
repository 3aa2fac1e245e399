"""BIP158 filters and filter headers, and BIP37 proofs, of real blocks."""

import bz2
from itertools import pairwise
from typing import Any

import pytest
from ledger import records

from altyn.consensus.block import Block, Header
from altyn.consensus.encoding import Cursor
from altyn.consensus.filters import build_filter, filter_header, match_any
from altyn.consensus.merkle import PartialMerkleTree
from altyn.consensus.networks import NETWORKS
from altyn.consensus.transaction import OutPoint, Transaction
from tests.vectors.conftest import load_rows, vectors_matching, vectors_path

CASES = [
    pytest.param(row, id=f"{row[0]} {row[7]}") for name in vectors_matching("filters/*.json") for row in load_rows(name)
]


@pytest.mark.parametrize("row", CASES)
def test_the_filter_of_a_testnet_block(row: list[Any]) -> None:
    _, block_hash, block_hex, spent, previous, data, header, _ = row
    block = Block.parse(bytes.fromhex(block_hex))
    assert block.hash[::-1].hex() == block_hash
    scripts = [bytes.fromhex(script) for script in spent]
    built = build_filter(block, scripts)
    assert built.hex() == data
    assert filter_header(bytes.fromhex(previous)[::-1], built)[::-1].hex() == header
    assert all(match_any(built, block.hash, [script]) for script in scripts if script)


@pytest.mark.parametrize("name", vectors_matching("filters/filter-headers-*-0-*.bz2"))
def test_the_first_filter_headers_of_a_network(name: str) -> None:
    data = bz2.decompress(vectors_path(name).read_bytes())
    network = NETWORKS[name.split("-")[2]]
    assert data[:4] == network.magic
    expected = [data[at : at + 32] for at in range(10, len(data), 32)]
    blocks = [network.genesis]
    for chain in vectors_matching(f"blocks/{network.name}-1-*.dat.bz2"):
        blocks += map(Block.parse, records(bz2.decompress(vectors_path(chain).read_bytes()), network.magic))
    outputs: dict[OutPoint, bytes] = {}
    header = bytes(32)
    for height, block in enumerate(blocks):
        for tx in block.transactions:
            outputs |= {tx.outpoint(index): output.script_pubkey for index, output in enumerate(tx.outputs)}
        spent = [outputs[txin.prevout] for tx in block.transactions[1:] for txin in tx.inputs]
        header = filter_header(header, build_filter(block, spent))
        assert header == expected[height]
    assert len(set(expected)) == len(expected)
    assert all(before != after for before, after in pairwise(expected))


def test_the_merkle_block_of_a_real_block() -> None:
    cursor = Cursor(vectors_path("p2p/merkle300025.raw").read_bytes())
    header = Header.parse(cursor.read(80))
    tree = PartialMerkleTree.read(cursor)
    cursor.finish()
    root, matches = tree.extract()
    assert root == header.merkle_root
    assert matches
    for path in vectors_path("blocks").glob("*.raw"):
        if path.read_bytes()[:80] == header.raw:
            block = Block.parse(path.read_bytes())
            assert [block.transactions[index].txid for index, _ in matches] == [txid for _, txid in matches]
            txids = [tx.txid for tx in block.transactions]
            proved = {txid for _, txid in matches}
            assert PartialMerkleTree.build(txids, [txid in proved for txid in txids]) == tree


def test_the_extended_merkle_block_holds_the_transactions_it_proves() -> None:
    cursor = Cursor(vectors_path("p2p/merkle300025-extended.raw").read_bytes())
    cursor.read(80)
    _, matches = PartialMerkleTree.read(cursor).extract()
    transactions = []
    for _ in range(cursor.compact_size()):
        tx, cursor.position = Transaction.parse_from(cursor.data, cursor.position)
        transactions.append(tx)
    cursor.finish()
    assert [tx.txid for tx in transactions] == [txid for _, txid in matches]
