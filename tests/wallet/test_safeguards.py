"""What must hold when something else went wrong before: in the file, in memory, in a signature."""

import sqlite3
from collections.abc import Callable

import pytest

from altyn.consensus.limits import COIN
from altyn.consensus.networks import REGTEST
from altyn.consensus.script.addresses import decode_address
from altyn.consensus.transaction import OutPoint, Transaction, TxIn, TxOut
from altyn.wallet import wallet as wallet_module
from altyn.wallet.errors import NodeError, StoreError, WalletError
from altyn.wallet.store import State
from altyn.wallet.wallet import Wallet
from tests.wallet.conftest import PASSPHRASE
from tests.wallet.fake_node import FakeNode

FAR = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080"


@pytest.fixture
def rich(wallet: Wallet, node: FakeNode) -> Wallet:
    for _ in range(3):
        node.pay(TxOut(COIN, decode_address(wallet.address(), REGTEST)))
    wallet.sync()
    return wallet


def test_after_a_scan_that_failed_the_same_wallet_scans_on(
    open_wallet: Callable[..., Wallet], node: FakeNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    wallet = open_wallet()
    other = open_wallet("other")
    addresses = [other.address() for _ in range(30)]
    node.pay(TxOut(COIN, decode_address(addresses[15], REGTEST)))
    node.pay(TxOut(COIN, decode_address(addresses[29], REGTEST)))
    honest = node.block

    def fail_at_the_second(block_hash: bytes) -> object:
        if block_hash == node.blocks[2].hash:
            raise NodeError("gone")
        return honest(block_hash)

    with monkeypatch.context() as patch:
        patch.setattr(node, "block", fail_at_the_second)
        with pytest.raises(NodeError, match="gone"):
            wallet.sync()
    assert wallet.balance().total == 0
    wallet.sync()
    assert wallet.balance().confirmed == 2 * COIN


def test_the_fee_is_exact_even_with_signatures_of_unusual_size(rich: Wallet) -> None:
    for amount in range(COIN // 2, COIN // 2 + 600):  # one input, whose signature is a byte shorter once in 256
        payment = rich.send([(FAR, amount)], PASSPHRASE, feerate=20_000, dry_run=True)
        assert payment.fee == 20 * payment.transaction.vsize


def test_a_receipt_without_a_block_is_shown_but_not_spent(rich: Wallet, node: FakeNode) -> None:
    node.pay(TxOut(5 * COIN, decode_address(rich.address(), REGTEST)))
    rich.sync()
    rich._store.rollback(3)  # as after a reorganisation, before the node was asked again
    balance = rich.balance()
    assert (balance.pending, balance.spendable) == (5 * COIN, 3 * COIN)
    with pytest.raises(WalletError, match="not enough money"):
        rich.send([(FAR, 4 * COIN)], PASSPHRASE)


def test_a_signature_that_does_not_hold_is_not_sent(
    rich: Wallet, node: FakeNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    def spoil(tx: Transaction, *given: object) -> Transaction:
        signed = honest(tx, *given)  # type: ignore[arg-type]
        first = signed.inputs[0]
        witness = (first.witness[0][:-2] + b"\x00\x01", first.witness[1])
        return Transaction(signed.version, [first._replace(witness=witness), *signed.inputs[1:]], signed.outputs)

    honest = wallet_module.sign
    monkeypatch.setattr(wallet_module, "sign", spoil)
    with pytest.raises(WalletError, match="could not be signed: the signature of input 0 does not hold"):
        rich.send([(FAR, COIN)], PASSPHRASE)
    assert not node.mempool
    assert all(entry.state is State.CONFIRMED for entry in rich.history())


@pytest.mark.parametrize(
    ("statement", "value"),
    [
        ("UPDATE coins SET value = ?", COIN + 1),
        ("UPDATE transactions SET raw = ?", Transaction(2, [TxIn(OutPoint(bytes(36)))], [TxOut(1, b"")]).raw),
        ("UPDATE transactions SET raw = ?", b"\x01"),
    ],
)
def test_a_coin_that_was_changed_in_the_file_is_noticed_before_it_is_spent(
    rich: Wallet, open_wallet: Callable[..., Wallet], statement: str, value: object
) -> None:
    rich.close()
    with sqlite3.connect(rich._store.path) as database:
        database.execute(statement, (value,))
    database.close()
    with pytest.raises(StoreError, match="damaged"):
        open_wallet().send([(FAR, COIN)], PASSPHRASE, feerate=1000)


def test_a_transaction_that_was_exchanged_in_the_file_is_not_shown(rich: Wallet) -> None:
    other = Transaction(2, [TxIn(OutPoint(bytes(36)))], [TxOut(1, b"")])
    with rich._store.batch():
        rich._store._run("UPDATE transactions SET raw = ?", (other.raw,))
    with pytest.raises(StoreError, match="a transaction is not what it was"):
        rich.history()
