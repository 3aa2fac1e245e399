"""Real payloads of the public vectors read, and are written back as they were."""

import pytest

from altyn.p2p.messages import CompactBlock, Headers, MerkleBlock
from tests.vectors.conftest import vectors_path


@pytest.mark.parametrize(("name", "short_ids"), [("compact426884", 408), ("compact898352", 9)])
def test_compact_blocks_read_and_are_written_back(name: str, short_ids: int) -> None:
    raw = vectors_path(f"p2p/{name}.raw").read_bytes()
    compact = CompactBlock.parse(raw)
    assert len(compact.short_ids) == short_ids
    assert [prefilled.position for prefilled in compact.prefilled] == [0]
    assert compact.prefilled[0].tx.is_coinbase
    assert compact.payload() == raw


def test_a_merkle_block_reads_and_is_written_back() -> None:
    raw = vectors_path("p2p/merkle300025.raw").read_bytes()
    block = MerkleBlock.parse(raw)
    assert (block.transaction_count, len(block.hashes), block.flags.hex()) == (461, 10, "f57a00")
    assert block.payload() == raw


def test_an_entry_of_headers_reads_and_is_written_back() -> None:
    raw = b"\1" + vectors_path("p2p/headers1.raw").read_bytes()
    headers = Headers.parse(raw)
    assert headers.headers[0].hash[::-1].hex() == "00000000839a8e6886ab5951d76f411475428afc90947ee320161bbf18eb6048"
    assert headers.payload() == raw
