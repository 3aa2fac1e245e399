import contextlib
from random import Random

from rpc_fuzz import Calls
from rpc_node import ADDRESS, Rpc

from altyn.node.rpc.errors import RpcError
from altyn.node.rpc.json_text import dump, parse


async def test_no_argument_whatever_gets_anything_but_an_answer_or_a_refusal(rpc: Rpc) -> None:
    blocks = await rpc.call("generatetoaddress", 2, ADDRESS)
    raw_block = await rpc.call("getblock", blocks[0], 0)
    raw_tx = (await rpc.call("getblock", blocks[0], 2))["tx"][0]["hex"]
    calls = Calls(Random(7), [*blocks, blocks[1].upper(), raw_block, raw_tx])
    served = {each.name for each in rpc.methods.methods()}
    calls.names = [name for name in calls.names if name in served]
    for _ in range(3000):
        name, params = calls.call()
        try:
            given = parse(dump(params))
        except ValueError:  # half a character
            continue
        with contextlib.suppress(RpcError):
            dump(await rpc.methods.call(name, given))
    assert await rpc.call("getblockcount") >= 0
