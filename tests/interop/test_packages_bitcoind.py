"""Packages, and several transactions tried at once: the same answers as bitcoind's, field by field."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from builders import ANYONE, Drawing, Spendable, chain, coin, spend
from node_processes import NodeProcess, altynd_process, bitcoind_process

from altyn.consensus.transaction import Transaction, TxOut
from altyn.node.rpc.client import RpcFailure

POLICY = ("-minrelaytxfee=0.00001", "-incrementalrelayfee=0.00001", "-blockmintxfee=0.00001", "-maxmempool=5")
ANCHOR = bytes.fromhex("51024e73")


class Both:
    """Altyn and bitcoind on the same chain, not connected."""

    def __init__(self, altyn: NodeProcess, bitcoind: NodeProcess, drawing: Drawing) -> None:
        self.nodes = altyn, bitcoind
        self.drawing = drawing
        for height in range(1, 131):
            assert self.same("submitblock", drawing[f"a{height}"].raw.hex()) is None

    def coin(self, height: int) -> Spendable:
        return coin(self.drawing[f"a{height}"])

    def same(self, method: str, *params: Any) -> Any:
        """Call both, expect the same answer or refusal, and return it."""
        ours, theirs = (normal(answer(node, method, *params)) for node in self.nodes)
        assert ours == theirs
        return ours

    def package(self, *transactions: Transaction, max_feerate: float = 0) -> Any:
        return self.same("submitpackage", [tx.raw.hex() for tx in transactions], max_feerate)

    def tested(self, *transactions: Transaction) -> Any:
        return self.same("testmempoolaccept", [tx.raw.hex() for tx in transactions], 0)

    def put(self, tx: Transaction) -> Transaction:
        self.same("sendrawtransaction", tx.raw.hex(), 0)
        return tx


def answer(node: NodeProcess, method: str, *params: Any) -> Any:
    try:
        return node.call(method, *params)
    except RpcFailure as refusal:
        return {"code": refusal.code, "message": refusal.message}


def normal(value: Any) -> Any:
    """Take away what differs from release to release, and what Knots adds."""
    if isinstance(value, dict):
        dropped = {"reject-details", "usage"}
        return {key: normal(each) for key, each in value.items() if key not in dropped}
    if isinstance(value, list):
        return [normal(each) for each in value]
    if isinstance(value, str):
        value = re.sub(
            r"^(package RBF failed: )[0-9a-f]{64} (has|is) .*", r"\1entangled", value
        )  # of all, or of direct
        return re.sub(r"^truc-[a-z-]+", "TRUC-violation", value)
    return value


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    folder: Path = tmp_path_factory.mktemp("packages")
    with altynd_process(folder / "altyn", *POLICY) as altyn, bitcoind_process(folder / "bitcoind", *POLICY) as bitcoind:
        yield Both(altyn, bitcoind, chain("g a1..a130"))


def family(spent: Spendable, *, fees: tuple[int, int], version: int = 2) -> tuple[Transaction, Transaction]:
    parent = spend(spent, fee=fees[0], version=version)
    return parent, spend(coin(parent), fee=fees[1], version=version)


def test_packages_of_a_wrong_form_are_refused_with_the_same_words(both: Both) -> None:
    parent, child = family(both.coin(1), fees=(1000, 1000))
    stranger = spend(both.coin(2))
    both.package(child, parent)
    both.package(parent, stranger)
    both.package(parent, parent)
    grandchild = spend(coin(child))
    both.package(parent, child, grandchild)
    for transactions in (
        [child, parent],
        [parent, parent],
        [parent, spend(both.coin(1), fee=2000)],
        [stranger] * 26,
        [],
    ):
        both.tested(*transactions)


def test_several_that_are_tried_at_once(both: Both) -> None:
    parent, child = family(both.coin(1), fees=(1000, 1000))
    both.tested(parent, child)
    both.tested(parent, child, spend(both.coin(2)))
    both.tested(parent, spend(coin(parent), fee=10), spend(both.coin(3)))
    both.tested(spend(both.coin(3), fee=10), parent)
    both.same("testmempoolaccept", [tx.raw.hex() for tx in family(both.coin(1), fees=(1000, 10**7))])
    both.same("testmempoolaccept", [tx.raw.hex() for tx in family(both.coin(1), fees=(10**7, 1000))])
    held = both.put(spend(both.coin(4)))
    both.tested(held, spend(coin(held)))
    both.tested(spend(both.coin(4), fee=9000), spend(both.coin(5)))
    parent, child = family(both.coin(6), fees=(1000, 1000), version=3)
    both.tested(parent, child)
    both.tested(parent, child, spend(coin(child), version=3))
    both.tested(parent, spend(coin(parent), version=2))
    many = [spend(both.coin(7))]
    for _ in range(24):
        many.append(spend(coin(many[-1])))
    both.tested(*many)
    root = both.put(spend(both.coin(8)))
    many = [spend(coin(root))]
    for _ in range(24):
        many.append(spend(coin(many[-1])))
    both.tested(*many)


def test_packages_are_taken_alike(both: Both) -> None:
    both.package(*family(both.coin(9), fees=(1000, 2000)))
    both.package(*family(both.coin(10), fees=(10, 2000)))
    parent, child = family(both.coin(11), fees=(0, 2000), version=3)
    both.package(parent, child)
    both.package(parent, child)
    both.package(parent, Transaction(3, [child.inputs[0]._replace(witness=(b"\x52",))], child.outputs))
    both.package(*family(both.coin(12), fees=(0, 100), version=3))
    both.package(*family(both.coin(13), fees=(1000, 10)))
    both.package(*family(both.coin(14), fees=(1000, 2000)), max_feerate=0.00001)
    parents = [spend(both.coin(height), fee=1000) for height in (15, 16, 17)]
    both.package(*parents, spend([coin(parent) for parent in parents]))
    held = both.put(spend(both.coin(18)))
    parent = spend(both.coin(19))
    both.package(parent, spend([coin(parent), coin(held)]))
    both.same("getrawmempool")


def test_a_package_replaces_as_it_does_there(both: Both) -> None:
    first = both.put(spend(both.coin(20), fee=1000))
    both.package(*family(both.coin(20), fees=(300, 700)))
    both.package(*family(both.coin(20), fees=(900, 700)))
    both.package(*family(both.coin(20), fees=(900, 300)))
    assert both.package(*family(both.coin(20), fees=(500, 9000)))["package_msg"] == "success"
    chained = both.put(spend(both.coin(21), fee=1000))
    second = both.put(spend(coin(chained), fee=1000))
    both.put(spend(coin(second), fee=1000))
    both.package(*family(both.coin(21), fees=(300, 90_000)))
    cheap = both.put(spend(both.coin(22), fee=100))
    both.put(spend(coin(cheap), fee=20_000))
    both.package(*family(both.coin(22), fees=(200, 20_100)))
    both.package(*family(both.coin(22), fees=(200, 40_000)))
    parent = both.put(spend(both.coin(23), [TxOut(10**9, ANYONE)] * 2))
    both.put(spend(coin(parent), fee=1000))
    both.package(*family(coin(parent), fees=(300, 3000)))
    both.put(spend(both.coin(24), fee=2000))
    parents = [spend(both.coin(24), fee=1000), spend(both.coin(25), fee=1000)]
    both.package(*parents, spend([coin(each) for each in parents], fee=9000))
    assert first.txid[::-1].hex() not in both.same("getrawmempool")


def test_dust_lives_within_a_package(both: Both) -> None:
    def with_dust(height: int, fee: int) -> Transaction:
        value = both.coin(height).output.value
        return spend(both.coin(height), [TxOut(value - fee, ANYONE), TxOut(0, ANCHOR)], version=3)

    def sweep(tx: Transaction, fee: int) -> Transaction:
        inputs = spend(coin(tx), fee=fee, version=3).inputs
        anchor = inputs[0]._replace(prevout=tx.outpoint(1), witness=())
        return Transaction(3, [*inputs, anchor], [TxOut(tx.outputs[0].value - fee, ANYONE)])

    paying = with_dust(26, 1000)
    both.tested(paying)
    free = with_dust(26, 0)
    both.tested(free)
    both.package(free, spend(coin(free), fee=2000, version=3))
    both.package(free, sweep(free, 2000))
    both.tested(spend(coin(free), fee=9000, version=3))
    both.tested(spend(both.coin(27), [TxOut(0, ANCHOR), TxOut(100, ANYONE)]))
    two = spend(both.coin(27), [TxOut(both.coin(27).output.value, ANYONE), TxOut(0, ANCHOR)], version=3)
    both.tested(two, spend(coin(two), version=3))
    both.tested(two, sweep(two, 1000))
