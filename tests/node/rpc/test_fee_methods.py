from rpc_node import Rpc, refusal

from altyn.node.rpc.amounts import JsonNumber


async def test_a_fresh_node_has_an_estimate(rpc: Rpc) -> None:
    answer = await rpc.call("estimatesmartfee", 6)
    assert str(answer.pop("feerate")) == "0.00001000"
    assert answer == {"blocks": 6, "source": "mempool"}


async def test_each_horizon_says_what_it_lacks(rpc: Rpc) -> None:
    answer = await rpc.call("estimaterawfee", 20, JsonNumber("0.5"))
    assert list(answer) == ["medium", "long"]
    assert answer["long"]["scale"] == 24
    assert str(answer["long"]["decay"]) == "0.99931"
    assert answer["long"]["errors"] == ["Insufficient data or no feerate found which meets threshold"]
    assert answer["long"]["fail"]["startrange"] == 0


async def test_targets_and_modes_are_checked_as_by_core(rpc: Rpc) -> None:
    for method in ("estimatesmartfee", "estimaterawfee"):
        for target in (0, 1009):
            assert await refusal(rpc, method, target) == (-8, "Invalid conf_target, must be between 1 and 1008")
    assert await refusal(rpc, "estimatesmartfee", 1, "fast") == (
        -8,
        'Invalid estimate_mode parameter, must be one of: "unset", "economical", "conservative"',
    )
    assert await refusal(rpc, "estimaterawfee", 1, 2) == (-8, "Invalid threshold")
