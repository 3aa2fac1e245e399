"""One parent that pays nothing and its child, from Altyn to a real bitcoind and back."""

import pytest
from builders import ANYONE, chain, coin, spend
from node_processes import NodeProcess, until, until_same_tip

pytestmark = [pytest.mark.timeout(300), pytest.mark.xdist_group("interop")]
DRAWING = chain("g a1..a110")


def test_a_package_goes_from_altyn_to_bitcoind_and_back(bitcoind: NodeProcess, altyn: NodeProcess) -> None:
    for block in DRAWING.line("a1..a110"):
        altyn.call("submitblock", block.raw.hex())
    altyn.call("generatetodescriptor", 1, f"raw({ANYONE.hex()})")  # young enough to end the first synchronisation
    altyn.call("addnode", bitcoind.address, "onetry")
    until_same_tip(altyn, bitcoind)
    for number, (sender, receiver) in enumerate(((altyn, bitcoind), (bitcoind, altyn))):
        parent = spend(coin(DRAWING[f"a{number + 1}"]), fee=0, version=3)
        child = spend(coin(parent), fee=10_000, version=3)
        result = sender.call("submitpackage", [parent.raw.hex(), child.raw.hex()])
        assert result["package_msg"] == "success"
        wanted = {tx.txid[::-1].hex() for tx in (parent, child)}
        until(lambda: wanted <= set(receiver.call("getrawmempool")), seconds=90)  # noqa: B023 - waited for here
