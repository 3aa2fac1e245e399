"""Whole chains as Bitcoin Core stored them: read from its files, connected, and written again byte for byte."""

import asyncio
import bz2
import dataclasses
import json
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from node_chain_tools import coins_of, replay

from altyn.consensus.block import Block
from altyn.consensus.networks import MAINNET, NETWORKS, Network
from altyn.consensus.secp256k1 import load
from altyn.node.chain.chain import Chain
from altyn.node.chain.stores import Stores
from altyn.node.offload import Threads
from altyn.node.storage.blocks import BlockFiles, FilePosition
from altyn.node.storage.coins import CoinStore
from altyn.node.storage.disk import FolderDisk
from altyn.node.storage.headers import HeaderStore
from altyn.node.storage.kv import Memory
from altyn.node.storage.undo import decode_undo, encode_undo
from altyn.node.writer import Writer
from tests.vectors.conftest import vectors_matching, vectors_path

CORE_FILES = [name.rsplit("/", maxsplit=1)[1] for name in vectors_matching("blocks/core_files/*-*")]


class LateClock:
    def now(self) -> float:
        return 4e9

    def monotonic(self) -> float:
        return 0.0


@asynccontextmanager
async def opened(network: Network, stores: Stores) -> AsyncIterator[Chain]:
    threads, writer = Threads(2), Writer()
    async with Chain.open(network, stores, LateClock(), writer, offload=threads, secp=load()) as chain:
        running = asyncio.create_task(writer.run())
        yield chain
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    threads.close()


def core_files(name: str, to: Path) -> tuple[Network, Path]:
    source = vectors_path(f"blocks/core_files/{name}")
    for file in ("blk00000.dat", "rev00000.dat", "xor.dat"):
        shutil.copyfile(source / file, to / file)
    return NETWORKS[name.split("-", maxsplit=1)[0]], source


@pytest.mark.parametrize("name", CORE_FILES)
def test_core_block_and_undo_files_are_read(name: str, tmp_path: Path) -> None:
    network, source = core_files(name, tmp_path)
    size = (tmp_path / "rev00000.dat").stat().st_size
    files = BlockFiles(FolderDisk(tmp_path), network.magic)
    expected = {case["height"]: case for case in json.loads((source / "spent_outputs.json").read_bytes())}
    raw = (tmp_path / "rev00000.dat").read_bytes()
    blocks = [Block.parse(data) for _, data in files.recover({})]
    assert blocks[0] == network.genesis
    (tmp_path / "rev00000.dat").write_bytes(raw)  # `recover` cut what no index knew of
    offset = 8
    for height, block in enumerate(blocks[1:], 1):
        data = files.read_undo(FilePosition(0, offset), block.header.prev_hash)
        offset += len(data) + 32 + 8
        spent = decode_undo(data)
        assert encode_undo(spent) == data
        found = [
            [
                {
                    "value": coin.output.value,
                    "script_pubkey": coin.output.script_pubkey.hex(),
                    "height": coin.height,
                    "coinbase": coin.is_coinbase,
                }
                for coin in coins
            ]
            for coins in spent
        ]
        assert found == (expected[height]["spent"] if height in expected else [])
    assert offset == size + 8


@pytest.mark.parametrize("name", CORE_FILES)
async def test_a_core_chain_connects_and_is_written_byte_for_byte(name: str, tmp_path: Path) -> None:
    theirs, ours = tmp_path / "theirs", tmp_path / "ours"
    theirs.mkdir()
    ours.mkdir()
    network, source = core_files(name, theirs)
    shutil.copyfile(source / "xor.dat", ours / "xor.dat")
    blocks = [Block.parse(data) for _, data in BlockFiles(FolderDisk(theirs), network.magic).recover({})]
    files = BlockFiles(FolderDisk(ours), network.magic)
    stores = Stores(files, HeaderStore(Memory()), CoinStore(Memory()), lambda _: Memory())
    async with opened(network, stores) as chain:
        for block in blocks[1:]:
            await chain.add_block(block)
        assert chain.tip.hash == blocks[-1].hash
        assert coins_of(chain) == replay(blocks[1:])
    for file in ("blk00000.dat", "rev00000.dat"):
        assert (ours / file).read_bytes() == (source / file).read_bytes()


async def test_the_longer_branch_of_the_reorganisation_set_wins() -> None:
    folder = vectors_path("blocks/reorg")
    blocks = []
    for part in ("0_to_4", "3A", "4A", "5A"):
        data = bz2.decompress((folder / f"blk_{part}.dat.bz2").read_bytes())
        while data:
            size = int.from_bytes(data[4:8], "little")
            blocks.append(Block.parse(data[8 : 8 + size]))
            data = data[8 + size :]
    network = dataclasses.replace(MAINNET, coinbase_maturity=1)
    async with opened(network, Stores.in_memory(network)) as chain:
        for block in blocks[1:]:
            await chain.add_block(block)
        assert chain.tip.hash[::-1].hex().startswith("00000000195f8518")
        assert chain.tip.height == 5
        assert [tip.height for tip in chain.tree.tips()] == [5, 4]
        assert coins_of(chain) == replay([*blocks[1:3], *blocks[5:]])
