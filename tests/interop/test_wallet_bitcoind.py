"""The wallet on a real bitcoind that knows nothing of it: only blocks, filters and payments go back and forth."""

from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path

import pytest
from node_processes import NodeProcess, bitcoind_process

from altyn.consensus.limits import COIN
from altyn.consensus.networks import REGTEST
from altyn.consensus.secp256k1 import load
from altyn.wallet.backend import Credentials, RpcBackend
from altyn.wallet.encryption import KeyDerivation
from altyn.wallet.errors import NodeError, NodeUnreachable, Rejected
from altyn.wallet.formats.descriptors import parse
from altyn.wallet.store import State
from altyn.wallet.wallet import Wallet

pytestmark = [pytest.mark.timeout(300), pytest.mark.xdist_group("interop")]

PASSPHRASE = "correct horse"
QUICK = KeyDerivation(cost=1 << 4)
NOBODY = "bcrt1qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqdku202"
OpenWallet = Callable[..., Wallet]


@pytest.fixture
def create(bitcoind: NodeProcess, tmp_path: Path) -> Iterator[OpenWallet]:
    """Make wallets on bitcoind by name, or restore them from words."""
    wallets: list[Wallet] = []
    backends: list[RpcBackend] = []

    def make(name: str, words: str | None = None) -> Wallet:
        backend = RpcBackend(bitcoind.url, Credentials(bitcoind.cookie_file))
        backends.append(backend)
        path = tmp_path / f"{name}.sqlite"
        if words is None:
            wallet, _ = Wallet.create(path, REGTEST, PASSPHRASE, backend, key_derivation=QUICK)
        else:
            wallet = Wallet.restore(path, REGTEST, PASSPHRASE, words, backend, key_derivation=QUICK)
        wallets.append(wallet)
        return wallet

    yield make
    for wallet in wallets:
        wallet.close()
    for backend in backends:
        backend.close()


@pytest.fixture
def alice(create: OpenWallet, bitcoind: NodeProcess) -> Wallet:
    """A wallet with three mature coinbases of each kind of address."""
    wallet = create("alice")
    for kind in ("bech32", "bech32m"):
        for _ in range(3):
            bitcoind.call("generatetoaddress", 1, wallet.address(kind))
    bitcoind.call("generatetoaddress", 100, NOBODY)
    wallet.sync()
    assert wallet.balance().spendable == 6 * 50 * COIN
    return wallet


def mine(bitcoind: NodeProcess, blocks: int = 1) -> None:
    bitcoind.call("generatetoaddress", blocks, NOBODY)


def test_money_goes_from_wallet_to_wallet(alice: Wallet, create: OpenWallet, bitcoind: NodeProcess) -> None:
    bob = create("bob")
    payment = alice.send([(bob.address("bech32m"), 180 * COIN)], PASSPHRASE, feerate=3_000)
    entry = bitcoind.call("getmempoolentry", payment.txid)
    assert entry["vsize"] == payment.transaction.vsize
    assert Decimal(str(entry["fees"]["base"])) * COIN == payment.fee == 3 * entry["vsize"]
    decoded = bitcoind.call("getrawtransaction", payment.txid, True)
    assert len(decoded["vin"]) >= 4  # of both kinds
    mine(bitcoind)
    assert bob.sync().blocks_fetched == 1
    assert bob.balance().spendable == 180 * COIN
    alice.sync()
    assert alice.balance().total == 120 * COIN - payment.fee
    back = bob.send([(alice.address(), None)], PASSPHRASE)
    assert back.feerate.source == "fallback"  # this bitcoind has seen too little to estimate
    mine(bitcoind)
    bob.sync()
    assert bob.balance().total == 0
    assert [entry.state for entry in bob.history()] == [State.CONFIRMED] * 2
    block = bitcoind.call("getbestblockhash")
    assert bitcoind.call("getrawtransaction", back.txid, True, block)["confirmations"] == 1


def test_many_payments_chained_on_pending_change_are_all_accepted(alice: Wallet, bitcoind: NodeProcess) -> None:
    sent = [
        alice.send([(NOBODY, 290 * COIN // 12)], PASSPHRASE, change_kind=kind) for kind in ("bech32m", "bech32") * 6
    ]
    assert set(bitcoind.call("getrawmempool")) == {payment.txid for payment in sent}
    for payment in sent:
        size = payment.transaction.vsize
        assert payment.fee >= -(-payment.feerate.per_kvb * size // 1000)
    mine(bitcoind)
    alice.sync()
    assert alice.balance().pending == 0
    assert {entry.txid for entry in alice.history() if entry.amount < 0} == {payment.txid for payment in sent}


def test_descriptors_mean_the_same_to_bitcoind(alice: Wallet, bitcoind: NodeProcess) -> None:
    for branch in alice.info()["descriptors"]:
        about = bitcoind.call("getdescriptorinfo", branch["descriptor"])
        assert about["descriptor"] == branch["descriptor"]
        if branch["next_index"]:
            theirs = bitcoind.call("deriveaddresses", branch["descriptor"], [0, branch["next_index"] - 1])
            found = bitcoind.call("scantxoutset", "start", [{"desc": branch["descriptor"], "range": 30}])
            assert found["success"]
            assert len(theirs) == branch["next_index"]
    descriptor = parse(alice.info()["descriptors"][2]["descriptor"], REGTEST, load())
    scripts = [descriptor.expand(index).scripts[0].hex() for index in range(5)]
    addresses = bitcoind.call("deriveaddresses", str(descriptor), [0, 4])
    assert [bitcoind.call("validateaddress", address)["scriptPubKey"] for address in addresses] == scripts


def test_words_bring_everything_back(alice: Wallet, create: OpenWallet, bitcoind: NodeProcess) -> None:
    payment = alice.send([(NOBODY, 70 * COIN)], PASSPHRASE, change_kind="bech32m")
    mine(bitcoind)
    alice.sync()
    again = create("again", alice.words(PASSPHRASE))
    result = again.sync()
    assert result.filters_checked == 108
    assert again.balance() == alice.balance()
    assert [entry.txid for entry in again.history()] == [entry.txid for entry in alice.history()]
    assert again.history()[-1].fee == payment.fee


def test_a_reorganisation_of_ten_blocks_is_followed(alice: Wallet, bitcoind: NodeProcess) -> None:
    payment = alice.send([(NOBODY, COIN)], PASSPHRASE)
    mine(bitcoind, 10)
    alice.sync()
    before = alice.balance()
    assert alice.history()[-1].confirmations == 10
    bitcoind.call("invalidateblock", bitcoind.call("getblockhash", 107))
    assert alice.sync().rolled_back == 10
    assert alice.history()[-1].state is State.PENDING
    assert payment.txid in bitcoind.call("getrawmempool")
    bitcoind.call("generateblock", NOBODY, [])
    bitcoind.call("generatetoaddress", 11, "bcrt1qqyqszqgpqyqszqgpqyqszqgpqyqszqgpvxat9t")
    alice.sync()
    assert alice.history()[-1].height == 108
    assert alice.history()[-1].confirmations == 11
    assert alice.balance().total == before.total


def test_a_double_spend_in_a_block_is_recognised(alice: Wallet, create: OpenWallet, bitcoind: NodeProcess) -> None:
    thief = create("thief", alice.words(PASSPHRASE))
    thief.sync()
    rival = thief.send([(NOBODY, None)], PASSPHRASE, dry_run=True)
    payment = alice.send([(NOBODY, COIN)], PASSPHRASE, replaceable=False)
    with pytest.raises(Rejected):
        thief._node().broadcast(rival.transaction.raw)
    bitcoind.call("generateblock", NOBODY, [rival.transaction.raw.hex()])
    alice.sync()
    states = {entry.txid: entry.state for entry in alice.history()}
    assert states[payment.txid] is State.CONFLICTED
    assert states[rival.txid] is State.CONFIRMED
    assert alice.balance().total == 0


def test_a_coinbase_waits_until_it_is_mature(create: OpenWallet, bitcoind: NodeProcess) -> None:
    wallet = create("miner")
    bitcoind.call("generatetoaddress", 1, wallet.address())
    mine(bitcoind, 99)
    wallet.sync()
    assert (wallet.balance().immature, wallet.balance().spendable) == (50 * COIN, 0)
    mine(bitcoind)
    wallet.sync()
    wallet.send([(NOBODY, COIN)], PASSPHRASE)
    assert len(bitcoind.call("getrawmempool")) == 1


def test_a_bitcoind_that_goes_and_comes_back(alice: Wallet, bitcoind: NodeProcess) -> None:
    bitcoind.stop()
    with pytest.raises(NodeUnreachable, match="no node answers at"):
        alice.sync()
    bitcoind.start()  # with another cookie
    mine(bitcoind)
    assert alice.sync().height == 107


def test_a_bitcoind_without_filters_says_what_to_do(tmp_path: Path) -> None:
    with bitcoind_process(tmp_path / "plain") as node, RpcBackend(node.url, Credentials(node.cookie_file)) as backend:
        wallet, _ = Wallet.create(tmp_path / "w.sqlite", REGTEST, PASSPHRASE, backend, key_derivation=QUICK)
        with wallet:
            mine(node)
            with pytest.raises(NodeError, match="start bitcoind with -blockfilterindex=1"):
                wallet.sync()
