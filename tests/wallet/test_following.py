"""Following the chain: receipts, gaps, reorganisations, conflicts, nodes that err."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from altyn.consensus.block import Block
from altyn.consensus.limits import COIN
from altyn.consensus.networks import REGTEST
from altyn.consensus.script.addresses import decode_address
from altyn.consensus.transaction import OutPoint, Transaction, TxIn, TxOut
from altyn.wallet.backend import BlockFilter
from altyn.wallet.errors import NodeError, NodeUnreachable, Rejected, WalletError
from altyn.wallet.scan import BATCH
from altyn.wallet.store import State
from altyn.wallet.wallet import Wallet
from tests.wallet.conftest import PASSPHRASE, QUICK, WORDS
from tests.wallet.fake_node import NOBODY, FakeNode


def script_of(address: str) -> bytes:
    return decode_address(address, REGTEST)


def states(wallet: Wallet) -> list[State]:
    return [entry.state for entry in wallet.history()]


@pytest.fixture
def rich(wallet: Wallet, node: FakeNode) -> Wallet:
    """A wallet with one confirmed coin of 3 and one of 5."""
    for amount, kind in ((3, "bech32"), (5, "bech32m")):
        node.pay(TxOut(amount * COIN, script_of(wallet.address(kind))))
    wallet.sync()
    return wallet


def test_a_receipt_is_found_by_its_filter_and_only_its_block_is_fetched(wallet: Wallet, node: FakeNode) -> None:
    node.mine(5)
    node.pay(TxOut(COIN, script_of(wallet.address())))
    node.mine(5)
    result = wallet.sync()
    assert (result.filters_checked, result.blocks_fetched) == (12, 1)
    assert wallet.balance().confirmed == COIN
    (entry,) = wallet.history()
    assert (entry.amount, entry.height, entry.confirmations, entry.fee) == (COIN, 6, 6, None)


def test_nothing_is_scanned_twice(wallet: Wallet, node: FakeNode) -> None:
    node.mine(3)
    wallet.sync()
    node.mine(2)
    assert wallet.sync().filters_checked == 2
    assert wallet.sync().filters_checked == 0


def test_filters_are_asked_for_in_batches(wallet: Wallet, node: FakeNode) -> None:
    node.mine(2 * BATCH)
    heights: list[tuple[int, int, int]] = []
    wallet.sync(lambda *each: heights.append(each))
    assert node.asked.count("filters") == 3
    assert heights == [(0, BATCH - 1, 2 * BATCH), (0, 2 * BATCH - 1, 2 * BATCH), (0, 2 * BATCH, 2 * BATCH)]


def test_a_used_address_near_the_end_of_the_gap_extends_it_within_the_same_block(
    open_wallet: Callable[..., Wallet], node: FakeNode
) -> None:
    other = open_wallet("copy")
    addresses = [other.address() for _ in range(45)]
    node.pay(*(TxOut(COIN, script_of(addresses[index])) for index in (44, 38, 19)))
    wallet = open_wallet("one")
    wallet.sync()
    assert wallet.balance().confirmed == 3 * COIN
    assert wallet.address() not in addresses


def test_beyond_the_gap_nothing_is_found(open_wallet: Callable[..., Wallet], node: FakeNode) -> None:
    other = open_wallet("copy")
    addresses = [other.address() for _ in range(21)]
    node.pay(TxOut(COIN, script_of(addresses[20])))
    wallet = open_wallet("one")
    wallet.sync()
    assert wallet.balance().total == 0


def test_an_address_is_handed_out_once(open_wallet: Callable[..., Wallet]) -> None:
    wallet = open_wallet()
    first = wallet.address()
    wallet.close()
    assert open_wallet().address() != first


def test_a_new_wallet_does_not_look_at_old_blocks(tmp_path: Path, node: FakeNode) -> None:
    node.mine(300)
    wallet, words = Wallet.create(tmp_path / "new.sqlite", REGTEST, PASSPHRASE, node, key_derivation=QUICK)
    with wallet:
        assert len(words.split()) == 12
        assert wallet.info()["birthday"] == 301
        assert wallet.sync().filters_checked == 0
        node.pay(TxOut(COIN, script_of(wallet.address())))
        assert wallet.sync().filters_checked == 1
        assert wallet.balance().confirmed == COIN


def test_a_reorganisation_below_the_birthday_is_followed(tmp_path: Path, node: FakeNode) -> None:
    node.mine(300)
    wallet, _ = Wallet.create(tmp_path / "new.sqlite", REGTEST, PASSPHRASE, node, key_derivation=QUICK)
    with wallet:
        node.drop(100)
        node.pay(TxOut(COIN, script_of(wallet.address())))
        node.mine(110)
        wallet.sync()
        assert wallet.balance().confirmed == COIN
        node.drop(311)  # all but the genesis block: nothing that the wallet noted is left
        node.pay(TxOut(2 * COIN, script_of(wallet.address())))
        node.mine(400)
        wallet.sync()
        assert wallet.balance().confirmed == 2 * COIN


def test_a_birthday_in_the_future_waits(tmp_path: Path, node: FakeNode) -> None:
    wallet = Wallet.restore(
        tmp_path / "late.sqlite", REGTEST, PASSPHRASE, WORDS, node, birthday=5, key_derivation=QUICK
    )
    with wallet:
        node.pay(TxOut(COIN, script_of(wallet.address())))
        assert wallet.sync().height == 1
        node.mine(5)
        assert wallet.sync().filters_checked == 2
        assert wallet.balance().total == 0


def test_a_receipt_moves_with_a_reorganisation(wallet: Wallet, node: FakeNode) -> None:
    node.mine(3)
    receipt = node.pay(TxOut(COIN, script_of(wallet.address())))
    node.mine(2)
    wallet.sync()
    node.drop(3)
    node.mine(4)
    result = wallet.sync()
    assert result.rolled_back == 3
    node.mine(transactions=[receipt])
    wallet.sync()
    (entry,) = wallet.history()
    assert (entry.height, entry.confirmations) == (8, 1)
    assert wallet.balance().confirmed == COIN


def test_a_receipt_that_a_reorganisation_removed_cannot_be_spent(wallet: Wallet, node: FakeNode) -> None:
    node.pay(TxOut(COIN, script_of(wallet.address())))
    wallet.sync()
    node.drop(1)
    node.mine(2)
    wallet.sync()
    assert states(wallet) == [State.FAILED]  # its coin does not exist on the new chain
    assert wallet.balance().total == 0


def test_a_coinbase_that_a_reorganisation_removed_is_gone(wallet: Wallet, node: FakeNode) -> None:
    node.mine(1, script_of(wallet.address()))
    wallet.sync()
    assert wallet.balance().immature == 50 * COIN
    node.drop(1)
    node.mine(2)
    wallet.sync()
    assert states(wallet) == [State.CONFLICTED]
    assert wallet.balance().total == 0


def test_a_coinbase_ripens_after_a_hundred_blocks(wallet: Wallet, node: FakeNode) -> None:
    node.mine(1, script_of(wallet.address()))
    node.mine(99)
    wallet.sync()
    assert (wallet.balance().immature, wallet.balance().spendable) == (50 * COIN, 0)
    node.mine(1)
    wallet.sync()
    assert (wallet.balance().immature, wallet.balance().spendable) == (0, 50 * COIN)


def test_a_payment_is_pending_then_confirmed(rich: Wallet, node: FakeNode, open_wallet: Callable[..., Wallet]) -> None:
    payment = rich.send([(FAR, 2 * COIN)], PASSPHRASE)
    assert node.mempool.keys() == {payment.transaction.txid}
    assert rich.balance().pending == payment.change
    assert rich.balance().total == 6 * COIN - payment.fee
    node.mine()
    rich.sync()
    entry = rich.history()[-1]
    assert (entry.state, entry.amount, entry.fee) == (State.CONFIRMED, -2 * COIN - payment.fee, payment.fee)
    assert entry.addresses == (FAR,)
    assert rich.balance().confirmed == 6 * COIN - payment.fee


FAR = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080"


def test_pending_change_can_be_spent_on(rich: Wallet, node: FakeNode) -> None:
    first = rich.send([(FAR, 4 * COIN)], PASSPHRASE)
    second = rich.send([(FAR, 7 * COIN // 2)], PASSPHRASE)
    assert first.transaction.txid in {txin.prevout.txid for txin in second.transaction.inputs}
    node.mine()
    rich.sync()
    assert states(rich)[2:] == [State.CONFIRMED] * 2


def test_a_payment_that_was_double_spent_is_shown_as_such_and_what_hung_on_it(
    rich: Wallet, open_wallet: Callable[..., Wallet], node: FakeNode
) -> None:
    copy = open_wallet("copy")
    copy.sync()
    rival = copy.send([(FAR, 9 * COIN // 2)], PASSPHRASE)  # with the coin of 5
    node.mempool.clear()
    rich.send([(FAR, 4 * COIN)], PASSPHRASE)  # with the same
    rich.send([(FAR, 7 * COIN // 2)], PASSPHRASE)  # with its change and the coin of 3
    node.mine(transactions=[rival.transaction])
    rich.sync()
    by_state = {entry.txid: entry for entry in rich.history()}
    assert by_state[rival.txid].state is State.CONFIRMED
    others = [entry for entry in rich.history() if entry.txid != rival.txid and entry.amount < 0]
    assert [entry.state for entry in others] == [State.CONFLICTED] * 2
    assert rival.txid in others[0].reason
    assert others[1].reason == "it spends a payment that failed"
    assert rich.balance().confirmed == 3 * COIN + rival.change


def test_a_double_spend_that_a_reorganisation_undid_lets_the_payment_live_again(
    rich: Wallet, open_wallet: Callable[..., Wallet], node: FakeNode
) -> None:
    copy = open_wallet("copy")
    copy.sync()
    rival = copy.send([(FAR, None)], PASSPHRASE)
    node.mempool.clear()
    payment = rich.send([(FAR, 4 * COIN)], PASSPHRASE)
    node.mine(transactions=[rival.transaction])
    rich.sync()
    node.drop(1)
    node.mempool.clear()
    node.mine(2)
    rich.sync()
    by_txid = {entry.txid: entry.state for entry in rich.history()}
    # Both could be confirmed now; the node has the one that the wallet made.
    assert sorted([by_txid[payment.txid], by_txid[rival.txid]]) == [State.FAILED, State.PENDING]


def test_an_evicted_payment_is_sent_again(rich: Wallet, node: FakeNode) -> None:
    payment = rich.send([(FAR, COIN)], PASSPHRASE)
    node.mempool.clear()
    rich.sync()
    assert payment.transaction.txid in node.mempool


def test_a_payment_the_node_no_longer_takes_fails_and_frees_its_coins(
    rich: Wallet, node: FakeNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    rich.send([(FAR, 4 * COIN)], PASSPHRASE)

    def refuse(raw: bytes) -> None:
        raise Rejected("mempool min fee not met", -26)

    monkeypatch.setattr(node, "broadcast", refuse)
    rich.sync()
    entry = rich.history()[-1]
    assert (entry.state, entry.reason) == (State.FAILED, "the node refused it: mempool min fee not met")
    assert rich.balance().spendable == 8 * COIN


def test_payments_that_a_lower_chain_does_not_take_yet_wait(rich: Wallet, node: FakeNode) -> None:
    node.mine(5)
    rich.sync()
    parent = rich.send([(FAR, 4 * COIN)], PASSPHRASE)
    child = rich.send([(FAR, 7 * COIN // 2)], PASSPHRASE)
    node.drop(3)
    node.mempool.clear()
    rich.sync()
    assert states(rich)[2:] == [State.PENDING] * 2  # their lock time lies ahead
    node.mine(3)
    rich.sync()
    assert node.mempool.keys() == {parent.transaction.txid, child.transaction.txid}


def test_parents_are_sent_again_before_their_children_whatever_their_times(rich: Wallet, node: FakeNode) -> None:
    parent = rich.send([(FAR, 4 * COIN)], PASSPHRASE)
    rich._now = lambda: 1_500_000_000.0  # a clock that is behind that of the blocks
    child = rich.send([(FAR, 7 * COIN // 2)], PASSPHRASE)
    assert rich._store.transactions(State.PENDING)[0].transaction == child.transaction
    node.mempool.clear()
    rich.sync()
    assert node.mempool.keys() == {parent.transaction.txid, child.transaction.txid}


def test_a_payment_confirmed_meanwhile_is_not_taken_for_refused(rich: Wallet, node: FakeNode) -> None:
    payment = rich.send([(FAR, COIN)], PASSPHRASE)
    scan_only = rich._scanner()
    node.mine()
    scan_only.rebroadcast()  # before the scan: the node answers that it is in the chain already
    assert states(rich)[-1] is State.PENDING
    rich.sync()
    assert rich.history()[-1].txid == payment.txid
    assert states(rich)[-1] is State.CONFIRMED


def test_a_payment_that_failed_is_confirmed_all_the_same(
    rich: Wallet, node: FakeNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(raw: bytes) -> None:
        raise Rejected("min relay fee not met", -26)

    with monkeypatch.context() as patch:
        patch.setattr(node, "broadcast", refuse)
        with pytest.raises(Rejected, match="nothing was sent: min relay fee not met"):
            rich.send([(FAR, COIN)], PASSPHRASE)
    (failed,) = [entry for entry in rich._store.transactions() if entry.state is State.FAILED]
    assert rich.balance().spendable == 8 * COIN
    node.mine(transactions=[failed.transaction])
    rich.sync()
    assert states(rich)[-1] is State.CONFIRMED


def test_a_payment_that_did_not_reach_the_node_goes_out_later(
    rich: Wallet, node: FakeNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(raw: bytes) -> None:
        raise NodeUnreachable("no node answers")

    with monkeypatch.context() as patch:
        patch.setattr(node, "broadcast", away)
        with pytest.raises(NodeError, match="kept and goes out when"):
            rich.send([(FAR, COIN)], PASSPHRASE)
    assert not node.mempool
    rich.sync()
    assert len(node.mempool) == 1


def test_a_node_that_is_still_catching_up_does_not_undo_what_was_seen(rich: Wallet, node: FakeNode) -> None:
    blocks = node.drop(2)
    node.headers_ahead = 2
    with pytest.raises(NodeError, match=r"still catching up \(block 0; this wallet has seen 2\)"):
        rich.sync()
    assert rich.balance().confirmed == 8 * COIN
    node.blocks += blocks
    node.headers_ahead = 0
    assert rich.sync().rolled_back == 0


def test_a_shorter_chain_is_followed_when_the_node_knows_no_longer_one(rich: Wallet, node: FakeNode) -> None:
    node.drop(1)
    assert rich.sync().rolled_back == 1
    assert rich.balance().confirmed == 3 * COIN


def test_a_node_of_another_network_is_refused(rich: Wallet, node: FakeNode) -> None:
    node.chain = "main"
    with pytest.raises(WalletError, match="is on main, this wallet on regtest"):
        rich.sync()


def test_a_node_with_another_first_block_is_refused(rich: Wallet, node: FakeNode) -> None:
    node.mine()
    node.blocks = node.blocks[1:]
    with pytest.raises(WalletError, match="another network"):
        rich.sync()


class Liar(FakeNode):
    """A node that lies about one thing."""

    lie = ""

    def filters(self, hashes: Sequence[bytes]) -> list[BlockFilter]:
        honest = super().filters(hashes)
        match self.lie:
            case "filter":  # another filter under the right header
                return [BlockFilter(b"\0", each.header) for each in honest]
            case "garbage":
                return [BlockFilter(b"\x05", each.header) for each in honest]
        return honest

    def block(self, block_hash: bytes) -> Block:
        block = super().block(block_hash)
        if self.lie == "transactions":
            return Block(block.header, block.transactions[:1])
        return block


@pytest.mark.parametrize(
    ("lie", "message"),
    [
        ("filter", "filters that do not fit their headers"),
        ("garbage", "filters that do not fit their headers"),
        ("transactions", "whose transactions are not its own"),
    ],
)
def test_a_lie_is_noticed_and_nothing_is_kept(
    lie: str, message: str, open_wallet: Callable[..., Wallet], node: FakeNode
) -> None:
    liar = Liar()
    wallet = open_wallet(backend=liar)
    address = wallet.address()
    for index in range(25):
        address = wallet.address() if index else address
        liar.pay(TxOut(COIN, script_of(address)), TxOut(COIN, NOBODY))
    liar.lie = lie
    with pytest.raises(NodeError, match=message):
        wallet.sync()
    assert wallet.balance().total == 0
    liar.lie = ""
    wallet.sync()
    assert wallet.balance().confirmed == 25 * COIN


def test_a_block_with_a_repeated_tail_is_not_taken_for_the_real_one(
    wallet: Wallet, node: FakeNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    paid = [TxOut(COIN, script_of(wallet.address()))]
    node.mine(transactions=[Transaction(2, [TxIn(OutPoint.make(bytes((n,)) * 32, 0))], paid) for n in (1, 2)])
    block = node.blocks[-1]
    repeated = Block(block.header, [*block.transactions, block.transactions[-1]])  # has the same merkle root
    monkeypatch.setattr(node, "block", lambda block_hash: repeated)
    with pytest.raises(NodeError, match="whose transactions are not its own"):
        wallet.sync()


def test_a_chain_that_changes_while_it_is_read_is_read_again(
    wallet: Wallet, node: FakeNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    node.mine(4)
    node.pay(TxOut(COIN, script_of(wallet.address())))
    honest = FakeNode.headers
    moved = []

    def move_then_answer(self: FakeNode, hashes: Sequence[bytes]) -> list:  # type: ignore[type-arg]
        if not moved:
            moved.append(True)
            headers = honest(self, hashes)
            node.drop(2)
            node.mine(4)
            return [*headers[:3], self.blocks[-1].header, *headers[4:]]
        return honest(self, hashes)

    monkeypatch.setattr(FakeNode, "headers", move_then_answer)
    assert wallet.sync().height == 7
    assert wallet.balance().total == 0


def test_a_node_that_cannot_pass_a_payment_on_leaves_it_pending(
    rich: Wallet, node: FakeNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    payment = rich.send([(FAR, COIN)], PASSPHRASE)

    def nobody_asks(raw: bytes) -> None:
        raise NodeError("no peer asked for the transaction", -1)

    monkeypatch.setattr(node, "broadcast", nobody_asks)
    rich.sync()  # what it says of the chain counts
    assert rich.history()[-1].txid == payment.txid
    assert states(rich)[-1] is State.PENDING
