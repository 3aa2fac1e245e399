"""Blocks from files of others: in any order, with rubbish between them, under Core's key."""

import dataclasses
import random
from pathlib import Path
from typing import Any

import builders
import pytest
from builders import coin, spend
from node_chain_tools import coins_of, replay

from altyn.consensus.block import Block
from altyn.consensus.networks import REGTEST
from altyn.node.chain.import_file import import_file
from altyn.node.full import FullNode
from altyn.node.offload import Inline
from altyn.node.settings import Settings


@pytest.fixture(scope="module")
def drawing() -> builders.Drawing:
    drawing = builders.chain("g a1..a101")
    drawing.extend("a101 a102", [spend(coin(drawing["a1"]))])
    drawing.extend("a102 a103..a104")
    return drawing


def as_file(blocks: list[Block], between: bytes = b"") -> bytes:
    return b"".join(REGTEST.magic + len(one.raw).to_bytes(4, "little") + one.raw + between for one in blocks)


@pytest.mark.parametrize("between", [b"", bytes(1000), REGTEST.magic + b"\xff\xff\xff\xff"])
async def test_blocks_in_any_order_are_taken_up(
    open_chain: Any, tmp_path: Path, drawing: builders.Drawing, between: bytes
) -> None:
    blocks = [REGTEST.genesis, *drawing.line("a1..a104")]
    random.Random(1).shuffle(blocks)
    path = tmp_path / "bootstrap.dat"
    path.write_bytes(as_file(blocks, between))
    async with open_chain() as chain:
        assert await import_file(path, chain, Inline()) == 104
        assert chain.tip.hash == drawing["a104"].hash
        assert coins_of(chain) == replay(drawing.line("a1..a104"))
        assert await import_file(path, chain, Inline()) == 0


async def test_files_under_a_key_are_read(open_chain: Any, tmp_path: Path, drawing: builders.Drawing) -> None:
    key = bytes(range(7, 15))
    plain = as_file(drawing.line("a1..a10"))
    (tmp_path / "xor.dat").write_bytes(key)
    (tmp_path / "blk00000.dat").write_bytes(bytes(byte ^ key[at % 8] for at, byte in enumerate(plain)))
    async with open_chain() as chain:
        assert await import_file(tmp_path / "blk00000.dat", chain, Inline()) == 10
        assert chain.tip.hash == drawing["a10"].hash


async def test_bad_blocks_and_absent_files_are_said_and_passed_over(
    open_chain: Any, tmp_path: Path, drawing: builders.Drawing, caplog: pytest.LogCaptureFixture
) -> None:
    greedy = builders.block_on(drawing["a12"].header, 13, fees=1)
    path = tmp_path / "blocks"
    path.write_bytes(as_file([*drawing.line("a1..a12"), greedy]))
    async with open_chain() as chain:
        assert await import_file(path, chain, Inline()) == 12
        assert chain.tip.hash == drawing["a12"].hash
        assert await import_file(tmp_path / "nowhere", chain, Inline()) == 0
        (tmp_path / "xor.dat").write_bytes(b"short")
        assert await import_file(path, chain, Inline()) == 0
    assert f"left out block {greedy.hash[::-1].hex()}" in caplog.text
    assert "cannot read" in caplog.text
    assert f"Could not open blocks file {tmp_path / 'nowhere'}" in caplog.text


async def test_a_node_loads_the_block_files_of_another(tmp_path: Path, drawing: builders.Drawing) -> None:
    def settings(name: str, **fields: Any) -> Settings:
        folder = tmp_path / name
        return dataclasses.replace(Settings(), chain="regtest", network=REGTEST, datadir=folder, listen=False, **fields)

    async with FullNode.open(settings("one")) as one:
        for block in drawing.line("a1..a104"):
            await one.chain.add_block(block)
    files = (str(tmp_path / "one" / "regtest" / "blocks" / "blk00000.dat"),)
    async with FullNode.open(settings("two", loadblock=files, stopatheight=104)) as two:
        if two.chain.tip.height < 104:
            await two.run()
        assert two.chain.tip.hash == drawing["a104"].hash
