"""The wallet on Altyn's own nodes, full and light, unchanged."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from node_processes import NodeProcess, altyn_process, until, until_same_tip

from altyn.consensus.limits import COIN
from altyn.consensus.networks import REGTEST
from altyn.wallet.backend import Credentials, RpcBackend
from altyn.wallet.encryption import KeyDerivation
from altyn.wallet.store import State
from altyn.wallet.wallet import Wallet

PASSPHRASE = "correct horse"
QUICK = KeyDerivation(cost=1 << 4)
NOBODY = "bcrt1qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqdku202"


@dataclass
class Pair:
    """A full node with a wallet on it, and a light node with another."""

    full: NodeProcess
    light: NodeProcess
    alice: Wallet
    bob: Wallet

    def mine(self, count: int = 1, address: str = NOBODY) -> None:
        self.full.call("generatetoaddress", count, address)
        until_same_tip(self.full, self.light)


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    with ExitStack() as stack:
        full = stack.enter_context(altyn_process(tmp_path / "full"))
        light = stack.enter_context(altyn_process(tmp_path / "light", "--addnode", full.address, kind="light"))
        wallets = []
        for name, node in (("alice", full), ("bob", light)):
            backend = stack.enter_context(RpcBackend(node.url, Credentials(node.cookie_file)))
            path = tmp_path / f"{name}.sqlite"
            wallet, _ = Wallet.create(path, REGTEST, PASSPHRASE, backend, key_derivation=QUICK)
            wallets.append(stack.enter_context(wallet))
        yield Pair(full, light, *wallets)


def test_money_goes_from_full_to_light_and_back(pair: Pair) -> None:
    for kind in ("bech32", "bech32m"):
        pair.mine(1, pair.alice.address(kind))
    pair.mine(100)
    pair.alice.sync()
    assert pair.alice.balance().spendable == 100 * COIN

    payment = pair.alice.send([(pair.bob.address("bech32m"), 70 * COIN)], PASSPHRASE)
    assert len(payment.transaction.inputs) == 2
    pair.mine()
    assert pair.bob.sync().blocks_fetched == 1
    assert pair.bob.balance().spendable == 70 * COIN

    back = pair.bob.send([(pair.alice.address(), COIN)], PASSPHRASE, feerate=2_000)
    until(lambda: back.txid in pair.full.call("getrawmempool"))
    pair.mine()
    pair.bob.sync()
    pair.alice.sync()
    assert [entry.state for entry in pair.bob.history()] == [State.CONFIRMED] * 2
    assert pair.alice.balance().total == 31 * COIN - payment.fee
    assert pair.bob.balance().total == 69 * COIN - back.fee


def test_a_reorganisation_is_followed_through_both(pair: Pair) -> None:
    pair.mine(1, pair.alice.address())
    pair.mine(100)
    pair.alice.sync()
    pair.alice.send([(pair.bob.address(), COIN)], PASSPHRASE)
    pair.mine(3)
    pair.alice.sync()
    pair.bob.sync()
    assert pair.bob.history()[0].confirmations == 3
    pair.full.call("invalidateblock", pair.full.call("getblockhash", 102))
    pair.alice.sync()
    assert pair.alice.history()[-1].state is State.PENDING
    pair.mine(4, "bcrt1qqyqszqgpqyqszqgpqyqszqgpqyqszqgpvxat9t")
    for wallet in (pair.alice, pair.bob):
        assert wallet.sync().height == 105
        entry = wallet.history()[-1]
        assert (entry.height, entry.confirmations, entry.state) == (102, 4, State.CONFIRMED)
