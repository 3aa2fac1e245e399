"""The same money spent twice, in every way, against a running node; and a peer that sends what is refused."""

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from builders import Drawing, chain, coin, spend
from node_processes import NodeProcess, altyn_process, until
from wire import Caller

from altyn.consensus.block import Block
from altyn.consensus.transaction import Transaction
from altyn.node.rpc.client import RpcFailure
from altyn.p2p.addresses import Endpoint
from altyn.p2p.messages import Block as BlockMessage
from altyn.p2p.transport import dial_tcp

FINAL = 0xFFFFFFFF
"""A sequence that does not signal replacement."""


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeProcess]:
    folder: Path = tmp_path_factory.mktemp("double") / "node"
    with altyn_process(folder) as process:
        yield process


@pytest.fixture(scope="module")
def blocks(node: NodeProcess) -> Drawing:
    """Draw a chain that the node has, a payment of a1's coin in its last block, a103."""
    drawing = chain("g a1..a102")
    drawing.extend("a102 a103", [spend(coin(drawing["a1"]))], fees=1000)
    for number in range(1, 104):
        assert node.call("submitblock", drawing[f"a{number}"].raw.hex()) is None
    return drawing


def twice_in_one_transaction(blocks: Drawing) -> list[Transaction]:
    once = spend(coin(blocks["a2"]))
    return [Transaction(2, once.inputs * 2, once.outputs)]


def twice_in_one_block(blocks: Drawing) -> list[Transaction]:
    return [spend(coin(blocks["a2"])), spend(coin(blocks["a2"]), fee=2000)]


def after_it_was_spent(blocks: Drawing) -> list[Transaction]:
    return [spend(coin(blocks["a1"]), fee=2000)]


async def offered_by_a_peer(node: NodeProcess, block: Block) -> bool:
    """Send a block as a peer; return whether that peer was kept."""
    caller = Caller(await dial_tcp(Endpoint("127.0.0.1", node.port)))
    await caller.handshake()
    await caller.send(BlockMessage(block))
    try:
        async with asyncio.timeout(20):
            await caller.sync()
    except AssertionError:
        return False
    finally:
        await caller.transport.close()
    return True


@pytest.mark.parametrize(
    ("transactions", "reason"),
    [
        (twice_in_one_block, "bad-txns-inputs-missingorspent"),
        (twice_in_one_transaction, "bad-txns-inputs-duplicate"),
        (after_it_was_spent, "bad-txns-inputs-missingorspent"),
    ],
)
def test_no_block_spends_twice(node: NodeProcess, blocks: Drawing, transactions: object, reason: str) -> None:
    assert callable(transactions)
    (by_rpc,) = blocks.extend("a103 b104", transactions(blocks))
    (by_peer,) = blocks.extend("a103 c104", transactions(blocks))
    assert node.call("submitblock", by_rpc.raw.hex()) == reason
    assert not asyncio.run(offered_by_a_peer(node, by_peer))
    until(lambda: re.search(rf"\n\S+ {reason}.*, disconnecting peer=\d+\n", node.log) is not None)
    if reason != "bad-txns-inputs-duplicate":  # which is seen before there is a header of it
        assert f"InvalidChainFound: invalid block={by_rpc.hash[::-1].hex()} height=104 " in node.log
    assert node.call("getbestblockhash") == blocks["a103"].hash[::-1].hex()


def test_the_mempool_keeps_the_first_of_two_that_pay_the_same(node: NodeProcess, blocks: Drawing) -> None:
    first = spend(coin(blocks["a3"]), sequence=FINAL)
    node.call("sendrawtransaction", first.raw.hex())
    with pytest.raises(RpcFailure) as refused:
        node.call("sendrawtransaction", spend(coin(blocks["a3"]), fee=900, sequence=FINAL).raw.hex())
    assert refused.value.code == -26
    assert refused.value.message.startswith("insufficient fee, rejecting replacement ")
    assert node.call("getrawmempool") == [first.txid[::-1].hex()]


def test_a_peer_that_repeats_a_refused_block_writes_no_line_each_time(node: NodeProcess, blocks: Drawing) -> None:
    (bad,) = blocks.extend("a103 d104", after_it_was_spent(blocks))
    assert node.call("submitblock", bad.raw.hex()) == "bad-txns-inputs-missingorspent"
    before = node.log.count("\n")
    for _ in range(20):
        assert asyncio.run(offered_by_a_peer(node, bad))  # an inbound peer may not know better (Core)
    assert node.log.count("\n") - before <= 2 * 20  # connected, disconnected
    assert node.call("addnode", "no..host", "add") is None
    good = blocks.extend("a103 e104")[0]
    assert asyncio.run(offered_by_a_peer(node, good))
    assert node.call("getbestblockhash") == good.hash[::-1].hex()
    assert "Traceback" not in node.log
