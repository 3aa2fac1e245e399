import asyncio
from typing import Any

from rpc_node import Rpc, refusal

from altyn.node.offload import Inline, Threads
from altyn.node.rpc.json_forms import Forms
from altyn.node.rpc.rawtransactions import RawTransactionMethods
from altyn.node.rpc.sources import ChainBlocks


class Counting(Inline):
    calls = 0

    async def __call__(self, function: Any, /, *args: Any, **kwargs: Any) -> Any:
        self.calls += 1
        return function(*args, **kwargs)


def methods(rpc: Rpc, offload: Any) -> RawTransactionMethods:
    node = rpc.node
    blocks = ChainBlocks(node.chain, node.offload)
    return RawTransactionMethods(node.chain, node.mempool, blocks, Forms(node.network, node.secp), None, offload)


async def test_what_takes_long_is_done_on_a_thread_and_what_is_short_is_not(rpc: Rpc) -> None:
    offload = Counting()
    group = methods(rpc, offload)
    await group.decodescript("51" * 1000)
    assert offload.calls == 0
    assert len((await group.decodescript("51" * 60_000))["asm"]) == 2 * 60_000 - 1
    assert offload.calls == 1


async def test_a_script_longer_than_a_block_is_refused(rpc: Rpc) -> None:
    code, message = await refusal(rpc, "decodescript", "51" * 4_000_001)
    assert (code, message) == (-8, "Script is longer than a block, 4000000 bytes")


async def test_others_are_answered_while_a_long_script_is_decoded(rpc: Rpc) -> None:
    threads = Threads(1)
    try:
        decoding = asyncio.create_task(methods(rpc, threads).decodescript("51" * 250_000))
        turns = 0
        while not decoding.done():
            await asyncio.sleep(0.001)
            turns += 1
    finally:
        threads.close()
    assert turns > 20
