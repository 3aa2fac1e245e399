"""The RPC of a light node, as a real process beside a full one."""

from collections.abc import Iterator

import pytest
from node_processes import NodeProcess, altyn_process, until, until_same_tip

from altyn.node.rpc.client import RpcFailure

ADDRESS = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080"
SUBSET = """
getblockchaininfo getblockcount getbestblockhash getblockhash getblockheader getblock getblockfilter sendrawtransaction
getnetworkinfo getpeerinfo uptime help stop
"""


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[NodeProcess, NodeProcess]]:
    """A full node with four blocks, and a light node that follows it."""
    folder = tmp_path_factory.mktemp("light")
    with (
        altyn_process(folder / "full") as full,
        altyn_process(folder / "light", "--addnode", full.address, kind="light") as light,
    ):
        full.call("generatetoaddress", 4, ADDRESS)
        until_same_tip(full, light)
        until(lambda: light.call("getlightinfo")["filter_headers"] == 4)
        yield full, light


def test_a_light_node_answers_as_the_full_one(nodes: tuple[NodeProcess, NodeProcess]) -> None:
    full, light = nodes
    block = full.call("getblockhash", 2)
    for method, *params in (
        ("getblockcount",),
        ("getbestblockhash",),
        ("getblockhash", 3),
        ("getblockheader", block, False),
        ("getblock", block, 0),
        ("getblock", block, 1),
        ("getblock", block, 2),
        ("getblockfilter", block),
        ("getblockfilter", block, "basic"),
    ):
        assert light.call(method, *params) == full.call(method, *params), method
    ours, theirs = light.call("getblockchaininfo"), full.call("getblockchaininfo")
    assert ours.keys() == theirs.keys()
    assert (ours["chain"], ours["chainwork"]) == (theirs["chain"], theirs["chainwork"])
    assert light.call("getlightinfo")["blocks_fetched"] >= 3


def test_it_serves_the_subset_and_refuses_the_rest_as_unknown(nodes: tuple[NodeProcess, NodeProcess]) -> None:
    _, light = nodes
    for name in SUBSET.split():
        assert light.call("help", name).startswith(name)
    for name in ("getrawmempool", "generatetoaddress", "gettxout", "submitblock"):
        with pytest.raises(RpcFailure, match="Method not found"):
            light.call(name)


def test_it_shows_its_peers_and_the_addresses_it_knows(nodes: tuple[NodeProcess, NodeProcess]) -> None:
    _, light = nodes
    [peer] = light.call("getpeerinfo")
    assert (peer["synced_headers"], peer["presynced_headers"], peer["addr_relay_enabled"]) == (4, -1, True)
    assert light.call("addpeeraddress", "31.2.3.4", 8333) == {"success": True}
    assert light.call("getaddrmaninfo")["all_networks"] == {"new": 1, "tried": 0, "total": 1}
    assert [known["address"] for known in light.call("getnodeaddresses")] == ["31.2.3.4"]


@pytest.mark.parametrize(
    ("method", "params", "code"),
    [
        ("getblockhash", (99,), -8),
        ("getblock", ("77" * 32,), -5),
        ("getblockheader", ("77" * 32,), -5),
        ("getblockfilter", ("77" * 32,), -5),
        ("sendrawtransaction", ("00",), -22),
        ("getblock", ("77",), -8),
        ("getblockcount", (1,), -1),
    ],
)
def test_its_refusals_have_cores_codes(
    nodes: tuple[NodeProcess, NodeProcess], method: str, params: tuple[object, ...], code: int
) -> None:
    full, light = nodes
    answers = []
    for node in (full, light):
        with pytest.raises(RpcFailure) as caught:
            node.call(method, *params)
        answers.append((caught.value.code, caught.value.message))
    assert answers[0] == answers[1]
    assert answers[0][0] == code
