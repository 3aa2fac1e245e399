import asyncio
import json
import struct
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from builders import coin, spend
from rpc_node import ADDRESS, Rpc, funded, rpc_node

from altyn.consensus.block import Block, Header
from altyn.node.rpc.auth import Users
from altyn.node.rpc.groups import full_rest
from altyn.node.rpc.rest import Refusal, Rest
from altyn.node.rpc.server import RpcServer
from altyn.node.testnet.processes import free_ports


@pytest.fixture
async def rest(rpc: Rpc) -> Rest:
    return full_rest(rpc.node, rpc.methods)


async def refused(rest: Rest, target: str, body: bytes = b"") -> tuple[int, str]:
    with pytest.raises(Refusal) as caught:
        await rest.answer(target, body)
    return caught.value.status, caught.value.text


async def test_a_block_comes_whole_in_parts_and_as_its_headers(rpc: Rpc, rest: Rest) -> None:
    block = await funded(rpc)
    shown = block.hash[::-1].hex()
    assert await rest.answer(f"block/{shown}.bin", b"") == ("bin", block.raw)
    assert await rest.answer(f"blockpart/{shown}.bin?offset=80&size=10", b"") == ("bin", block.raw[80:90])
    assert await rest.answer(f"blockpart/{shown}.hex?offset=0&size={len(block.raw)}", b"") == ("hex", block.raw)
    for offset, size in ((0, 0), (0, len(block.raw) + 1), (len(block.raw), 1), ("", 5), (-1, 5), (5, "x")):
        status, text = await refused(rest, f"blockpart/{shown}.bin?offset={offset}&size={size}")
        assert (status, text) == (400, f"Bad block part offset/size {offset}/{size} for {shown}")
    assert (await refused(rest, f"blockpart/{shown}.json?offset=0&size=1"))[0] == 404
    _, headers = await rest.answer(f"headers/{shown}.bin?count=3", b"")
    assert [Header.parse(headers[at : at + 80]).prev_hash for at in (80, 160)] == [
        rpc.node.chain.tip.ancestor(height).hash for height in (1, 2)
    ]


async def test_what_a_block_spent_is_listed_by_transaction(rpc: Rpc, rest: Rest) -> None:
    reward = coin(await funded(rpc))
    made = await rpc.call("generateblock", ADDRESS, [spend(reward).raw.hex()])
    _, data = await rest.answer(f"spenttxouts/{made['hash']}.bin", b"")
    assert data == b"\x02\x00\x01" + reward.output.serialize()
    genesis = rpc.node.network.genesis.hash[::-1].hex()
    assert (await rest.answer(f"spenttxouts/{genesis}.bin", b""))[1] == b"\x01\x00"


async def test_unspent_outputs_are_found_by_path_and_by_body(rpc: Rpc, rest: Rest) -> None:
    reward = coin(await funded(rpc))
    tx = spend(reward)
    await rpc.call("sendrawtransaction", tx.raw.hex(), 0)
    gone, new = f"{str(reward.outpoint).replace(':', '-')}", f"{tx.txid[::-1].hex()}-0"
    for path, bitmap in ((f"{gone}/{new}", "10"), (f"checkmempool/{gone}/{new}", "01")):
        _, found = await rest.answer(f"getutxos/{path}.json", b"")
        assert found["bitmap"] == bitmap
    body = b"\x01\x02" + reward.outpoint + tx.outpoint(0)
    _, data = await rest.answer("getutxos.bin", body)
    height, tip, size, bits, count = struct.unpack_from("<i32sBBB", data)
    assert (height, tip, size, bits, count) == (101, rpc.node.chain.tip.hash, 1, 0b10, 1)
    assert data.endswith(tx.outputs[0].serialize())
    assert await rest.answer("getutxos.hex", body.hex().encode()) == ("hex", data)
    assert await refused(rest, f"getutxos/{new}.bin", body) == (
        400,
        "Combination of URI scheme inputs and raw post data is not allowed",
    )
    assert await refused(rest, "getutxos.bin", body[:-1]) == (400, "Parse error")
    assert await refused(rest, "getutxos.bin", b"\0\xff" + b"\xff" * 8) == (400, "Parse error")
    many = "Error: max outpoints exceeded (max: 15, tried: 16)"
    assert await refused(rest, "getutxos.bin", b"\0\x10" + bytes(36 * 16)) == (400, many)
    assert await refused(rest, f"getutxos/{'/'.join([new] * 16)}.json") == (400, many)


async def test_a_node_without_indexes_says_so(tmp_path: Path) -> None:
    async with rpc_node(tmp_path) as rpc:
        rest = full_rest(rpc.node, rpc.methods)
        block = await funded(rpc)
        shown = block.hash[::-1].hex()
        assert await refused(rest, f"blockfilter/basic/{shown}.json") == (
            400,
            "Index is not enabled for filtertype basic",
        )
        txid = block.transactions[0].txid[::-1].hex()
        assert await refused(rest, f"tx/{txid}.json") == (404, f"{txid} not found")


@pytest.fixture
async def url(rpc: Rpc, rest: Rest) -> AsyncIterator[str]:
    server = RpcServer(Users(), open_paths={"rest"})
    (port,) = free_ports(1)
    await server.listen([("127.0.0.1", port)])
    server.rest = rest
    yield f"http://127.0.0.1:{port}/rest"
    await server.close()


async def test_resources_are_served_without_a_password(rpc: Rpc, url: str) -> None:
    block = await funded(rpc)
    shown = block.hash[::-1].hex()
    async with aiohttp.ClientSession() as session:
        async with session.get(f"{url}/block/{shown}.bin") as answer:
            assert (answer.status, answer.content_type) == (200, "application/octet-stream")
            assert Block.parse(await answer.read()) == block
        async with session.get(f"{url}/block/{shown}.hex") as answer:
            assert (answer.headers["Content-Type"], await answer.text()) == ("text/plain", block.raw.hex() + "\n")
        async with session.get(f"{url}/chaininfo.json") as answer:
            assert (answer.content_type, json.loads(await answer.text())["blocks"]) == ("application/json", 101)
        async with session.get(f"{url}/block/00.json") as answer:
            assert (answer.status, await answer.text()) == (400, "Invalid hash: 00\r\n")
        async with session.get(f"{url}/nothing") as answer:
            assert (answer.status, await answer.read()) == (404, b"")


async def test_a_node_that_starts_asks_for_patience_and_one_without_rest_has_nothing() -> None:
    ports = free_ports(2)
    servers = [RpcServer(Users(), open_paths=paths) for paths in ({"rest"}, ())]
    for server, port in zip(servers, ports, strict=True):
        await server.listen([("127.0.0.1", port)])
        server.warm_up("Loading block index…")
    async with aiohttp.ClientSession() as session:
        statuses = []
        for port in ports:
            async with session.get(f"http://127.0.0.1:{port}/rest/chaininfo.json") as answer:
                statuses.append((answer.status, "Loading block index…" in await answer.text()))
    assert statuses == [(503, True), (404, False)]
    await asyncio.gather(*(server.close() for server in servers))


STRANGE = """
? tx/%00.json tx/é.json headers/9999999999999999999/00.json getutxos/-.json block//.bin blockhashbyheight/²³.json
mempool/contents.json?verbose=%ff blockfilterheaders/a/b/c/d/e.json nothing
"""


@pytest.mark.parametrize("target", STRANGE.split())
async def test_strange_paths_are_refused(rest: Rest, target: str) -> None:
    status, _ = await refused(rest, target)
    assert status in {400, 404}


@pytest.mark.parametrize(
    "target",
    [
        "headers/{number}/{block}.json",
        "headers/{block}.json?count={number}",
        "blockhashbyheight/{number}.json",
        "blockpart/{block}.bin?offset={number}&size=1",
        "blockpart/{block}.bin?offset=0&size={number}",
    ],
)
async def test_numbers_longer_than_python_reads_are_refused(rpc: Rpc, rest: Rest, target: str) -> None:
    block = rpc.node.network.genesis.hash[::-1].hex()
    assert (await refused(rest, target.format(number="1" * 5000, block=block)))[0] == 400
