import asyncio
from typing import Any

from rpc_node import ADDRESS, Rpc, refusal

from altyn.node.offload import Inline
from altyn.node.rpc.json_forms import Forms
from altyn.node.rpc.scans import SCRIPTS_AT_ONCE, ScanMethods

KEY = "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798"


class Paused(Inline):
    """Waits before each piece of work until it is let go on."""

    def __init__(self) -> None:
        self.has_begun, self.may_go = asyncio.Event(), asyncio.Event()
        self.calls = 0

    async def __call__(self, function: Any, /, *args: Any, **kwargs: Any) -> Any:
        self.calls += 1
        self.has_begun.set()
        await self.may_go.wait()
        return function(*args, **kwargs)


def scanning_slowly(rpc: Rpc) -> Paused:
    """Have the scans of a node wait between their steps."""
    node, paused = rpc.node, Paused()
    forms = Forms(node.network, node.secp)
    rpc.methods.add(ScanMethods(node.chain, forms, node.secp, paused))
    return paused


async def test_unspent_outputs_are_found_with_the_descriptor_that_they_came_from(rpc: Rpc) -> None:
    await rpc.call("generatetoaddress", 2, ADDRESS)
    await rpc.call("generatetodescriptor", 1, "raw(51)")
    found = await rpc.call("scantxoutset", "start", [f"combo({KEY})", {"desc": "raw(51)", "range": 5}])
    assert (found["success"], found["txouts"], found["height"]) == (True, 3, 3)
    assert str(found["total_amount"]) == "150.00000000"
    described = {each["height"]: each["desc"].partition("#")[0] for each in found["unspents"]}
    assert described == {1: f"wpkh([751e76e8]{KEY})", 2: f"wpkh([751e76e8]{KEY})", 3: "raw(51)"}
    assert (await rpc.call("scantxoutset", "start", []))["unspents"] == []


async def test_blocks_that_pay_a_script_are_found_by_their_filters(rpc: Rpc) -> None:
    await rpc.call("generatetoaddress", 2, ADDRESS)
    (wanted,) = await rpc.call("generatetodescriptor", 1, "raw(51)")
    await rpc.call("generatetoaddress", 1, ADDRESS)
    options = {"filter_false_positives": True}
    found = await rpc.call("scanblocks", "start", ["raw(51)"], 0, None, "basic", options)
    assert found == {"from_height": 0, "to_height": 4, "relevant_blocks": [wanted], "completed": True}
    assert (await rpc.call("scanblocks", "start", ["raw(51)"], 0, 2))["relevant_blocks"] == []


async def test_a_scan_tells_how_far_it_is_and_can_be_ended(rpc: Rpc) -> None:
    await rpc.call("generatetodescriptor", 3, "raw(51)")
    paused = scanning_slowly(rpc)
    scan = asyncio.create_task(rpc.call("scantxoutset", "start", ["raw(51)"]))
    await paused.has_begun.wait()
    assert await rpc.call("scantxoutset", "status") == {"progress": 0}
    busy = 'Scan already in progress, use action "abort" or "status"'
    assert await refusal(rpc, "scantxoutset", "start", []) == (-8, busy)
    assert await rpc.call("scantxoutset", "abort") is True
    paused.may_go.set()
    assert (await scan)["success"] is False
    assert await rpc.call("scantxoutset", "status") is None
    assert (await rpc.call("scantxoutset", "start", ["raw(51)"]))["success"] is True


async def test_ten_thousand_indexes_are_expanded_in_steps_that_can_be_ended(rpc: Rpc) -> None:
    text = (
        "wpkh(tpubD6NzVbkrYhZ4WaWSyoBvQwbpLkojyoTZPRsgXELWz3Popb3qkjcJyJUGLnL4qHHoQvao8ESaAstxYSnhyswJ76uZPStJRJCTKvos"
        "UCJZL5B/*)"
    )
    paused = scanning_slowly(rpc)
    scan = asyncio.create_task(rpc.call("scantxoutset", "start", [{"desc": text, "range": 10_000}]))
    await paused.has_begun.wait()
    await rpc.call("scantxoutset", "abort")
    paused.may_go.set()
    assert (await scan)["success"] is False
    assert paused.calls < 10_000 // SCRIPTS_AT_ONCE
