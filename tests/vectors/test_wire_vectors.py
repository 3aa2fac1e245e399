"""Real payloads of the public vectors read, and are written back as they were."""

import pytest

from altyn.consensus.block import Block
from altyn.node.sync.compact import PartialBlock
from altyn.p2p.messages import CompactBlock, Headers, MerkleBlock
from tests.vectors.conftest import load, vectors_matching, vectors_path

COUNTS: dict[bytes, int] = {bytes.fromhex(case["hash"])[::-1]: case["tx_count"] for case in load("blocks/index.json")}
"""Transactions of the real blocks, by hash."""


@pytest.mark.parametrize("name", vectors_matching("p2p/compact*.raw"))
def test_compact_blocks_read_and_are_written_back(name: str) -> None:
    raw = vectors_path(name).read_bytes()
    compact = CompactBlock.parse(raw)
    count = len(compact.short_ids) + 1
    assert count == COUNTS.get(compact.header.hash, count)
    assert [prefilled.position for prefilled in compact.prefilled] == [0]
    assert compact.prefilled[0].tx.is_coinbase
    assert compact.payload() == raw


@pytest.mark.parametrize("name", vectors_matching("p2p/merkle*[0-9].raw"))
def test_a_merkle_block_reads_and_is_written_back(name: str) -> None:
    raw = vectors_path(name).read_bytes()
    block = MerkleBlock.parse(raw)
    assert block.transaction_count == COUNTS.get(block.header.hash, block.transaction_count)
    assert block.payload() == raw


def test_an_entry_of_headers_reads_and_is_written_back() -> None:
    raw = b"\1" + vectors_path("p2p/headers1.raw").read_bytes()
    headers = Headers.parse(raw)
    assert headers.headers[0].hash[::-1].hex() == "00000000839a8e6886ab5951d76f411475428afc90947ee320161bbf18eb6048"
    assert headers.payload() == raw


@pytest.mark.parametrize(
    ("name", "block_file"),
    [("p2p/compact426884.raw", "mainnet-426884"), ("p2p/compact898352.raw", "testnet3-898352")],
)
def test_real_compact_blocks_are_put_together_from_the_transactions_of_their_block(name: str, block_file: str) -> None:
    block = Block.parse(vectors_path(f"blocks/{block_file}.raw").read_bytes())
    partial = PartialBlock(CompactBlock.parse(vectors_path(name).read_bytes()))
    partial.search(block.transactions[:0:-1])
    assert partial.missing == ()
    assert partial.fill((), segwit_active=False).raw == block.raw
