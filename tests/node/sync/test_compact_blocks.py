"""Compact blocks: short ids, putting blocks together, and whom to ask for them unasked."""

import asyncio
import time
from itertools import pairwise
from types import SimpleNamespace

import pytest
from builders import Drawing, block_on, chain, coin, spend

from altyn.consensus.block import Block
from altyn.consensus.transaction import OutPoint, Transaction, TxIn, TxOut
from altyn.node.sync import compact
from altyn.node.sync.compact import (
    SEARCHED_AT_ONCE,
    Choice,
    CompactForm,
    ExtraTransactions,
    HighBandwidthPeers,
    PartialBlock,
    Reconstruction,
    Unusable,
    make_compact,
)
from altyn.p2p.messages import CompactBlock, Prefilled


@pytest.fixture(scope="module")
def block() -> Block:
    drawing: Drawing = chain("g a1..a110")
    payments = [spend(coin(drawing[f"a{number}"])) for number in range(1, 6)]
    return block_on(drawing["a110"].header, 111, payments, fees=5000)


def partial(block: Block, pool: list[Transaction]) -> PartialBlock:
    found = PartialBlock(make_compact(block, 7))
    found.search(pool)
    return found


def is_bogus(make: object) -> bool:
    with pytest.raises(Unusable) as refusal:
        make()  # type: ignore[operator]
    return refusal.value.bogus


def test_a_compact_block_is_read_as_it_was_written(block: Block) -> None:
    compact = make_compact(block, 2**64 - 1)
    assert CompactBlock.parse(compact.payload()) == compact
    assert len(compact.payload()) == 80 + 8 + 1 + 6 * 5 + 2 + len(block.transactions[0].raw)


def test_a_block_whose_transactions_are_all_here_is_whole_at_once(block: Block) -> None:
    found = partial(block, list(block.transactions[1:]))
    assert found.missing == ()
    assert found.fill((), segwit_active=True).raw == block.raw


def test_what_is_missing_is_named_by_position_and_filled_in(block: Block) -> None:
    found = partial(block, [block.transactions[2], block.transactions[5]])
    assert found.missing == (1, 3, 4)
    missing = [block.transactions[position] for position in found.missing]
    assert found.fill(missing, segwit_active=True).raw == block.raw


def test_what_the_receiver_may_lack_comes_along(block: Block) -> None:
    lacking = [block.transactions[position] for position in (4, 2)]
    message = CompactForm(block, 7).message([bytes(32), *(tx.txid for tx in lacking), lacking[0].txid])
    assert [position for position, _ in message.prefilled] == [0, 2, 4]
    assert len(message.short_ids) == 3
    found = PartialBlock(CompactBlock.parse(message.payload()))
    found.search([block.transactions[1], block.transactions[5]])
    assert found.missing == (3,)
    assert found.fill([block.transactions[3]], segwit_active=True).raw == block.raw


def test_no_more_comes_along_than_goes_out_at_once(block: Block, monkeypatch: pytest.MonkeyPatch) -> None:
    lacking = block.transactions[:0:-1]
    monkeypatch.setattr(compact, "MAX_PREFILLED_BYTES", sum(len(tx.raw) for tx in lacking[:3]) + 1)
    message = CompactForm(block, 7).message(tx.txid for tx in lacking)
    assert [position for position, _ in message.prefilled] == [0, 3, 4, 5]


@pytest.mark.parametrize("count", [0, 1, 3])
def test_too_few_or_too_many_transactions_are_bogus(block: Block, count: int) -> None:
    found = partial(block, list(block.transactions[3:]))
    assert is_bogus(lambda: found.fill(block.transactions[1 : 1 + count], segwit_active=True))


def test_wrong_transactions_may_be_a_collision_but_a_second_answer_is_bogus(block: Block) -> None:
    found = partial(block, list(block.transactions[2:]))
    assert not is_bogus(lambda: found.fill([block.transactions[2]], segwit_active=True))
    assert is_bogus(lambda: found.fill([block.transactions[1]], segwit_active=True))


def test_a_transaction_with_another_witness_does_not_fit(block: Block) -> None:
    tx = block.transactions[1]
    other = Transaction(
        tx.version, [TxIn(tx.inputs[0].prevout, b"", tx.inputs[0].sequence, (b"\1", b"\x51"))], tx.outputs
    )
    assert other.txid == tx.txid
    found = partial(block, list(block.transactions[2:]))
    assert not is_bogus(lambda: found.fill([other], segwit_active=True))


def test_two_transactions_with_one_short_id_are_both_left_out(block: Block, monkeypatch: pytest.MonkeyPatch) -> None:
    target, stranger = block.transactions[1], Transaction(2, [], [TxOut(1, b"")])
    message = make_compact(block, 7)
    monkeypatch.setattr("altyn.node.sync.compact.short_ids", lambda key, ids: [message.short_ids[0] for _ in ids])
    for calls in ([[target, stranger]], [[target], [stranger]], [[target], [stranger], [target]]):
        found = PartialBlock(message)
        for candidates in calls:
            found.search(candidates)
        assert 1 in found.missing
    found = PartialBlock(message)
    found.search([target, target])
    assert 1 not in found.missing


def test_equal_short_ids_in_a_block_are_a_collision(block: Block) -> None:
    message = make_compact(block, 7)
    doubled = CompactBlock(message.header, 7, (*message.short_ids, message.short_ids[0]), message.prefilled)
    assert not is_bogus(lambda: PartialBlock(doubled))


def test_a_compact_block_with_a_hole_or_without_anything_is_bogus(block: Block) -> None:
    message = make_compact(block, 7)
    coinbase = block.transactions[0]
    for ids, position in (((), 1), (message.short_ids, len(message.short_ids) + 1)):
        hole = CompactBlock(message.header, 7, ids, (Prefilled(position, coinbase),))
        assert is_bogus(lambda hole=hole: PartialBlock(hole))
    assert is_bogus(lambda: PartialBlock(CompactBlock(message.header, 7, (), ())))


def test_a_transaction_of_a_million_parts_is_let_go_without_counting_them(monkeypatch: pytest.MonkeyPatch) -> None:
    counted: list[Transaction] = []
    monkeypatch.setattr(compact, "memory_of", lambda tx: counted.append(tx) or 0)
    extra = ExtraTransactions(2)
    extra.keep(Transaction(2, [TxIn(OutPoint.make(bytes(32), 0), witness=(b"",) * 1_000_000)], [TxOut(1, b"")]))
    assert not counted
    assert len(extra) == 0


async def test_a_large_mempool_does_not_stop_the_loop_while_a_block_is_put_together(block: Block) -> None:
    """50,000 transactions take 60 ms, but no turn of the event loop more than some three."""
    strangers = [Transaction(2, [], [TxOut(amount, b"")]) for amount in range(50_000)]
    pool = [SimpleNamespace(tx=tx) for tx in (*strangers, *block.transactions[1:4])]
    extra = ExtraTransactions()
    for tx in block.transactions[4:]:
        extra.keep(tx)
    reconstruction = Reconstruction(pool, extra)  # type: ignore[arg-type]  # nothing but what is to be iterated over
    turns, beginning = [time.thread_time()], asyncio.create_task(reconstruction.begin(make_compact(block, 7)))
    while not beginning.done():
        await asyncio.sleep(0)
        turns.append(time.thread_time())  # of the processor, which others may want too
    assert (await beginning).missing == ()
    assert len(turns) > len(pool) // SEARCHED_AT_ONCE
    assert max(after - before for before, after in pairwise(turns)) < 0.05


def test_the_oldest_extra_transactions_make_room(block: Block) -> None:
    extra = ExtraTransactions(2)
    for tx in block.transactions[1:4]:
        extra.keep(tx)
    assert list(extra) == list(block.transactions[2:4])
    extra.keep(Transaction(2, [], [TxOut(1, bytes(60_000))]))
    assert len(extra) == 2
    none = ExtraTransactions(0)
    none.keep(block.transactions[1])
    assert len(none) == 0


def test_the_last_three_that_were_first_announce_by_compact_blocks() -> None:
    peers = HighBandwidthPeers()
    choices = [peers.served(peer, inbound=False) for peer in (1, 2, 3, 1, 4, 5)]
    assert choices == [Choice(1), Choice(2), Choice(3), Choice(), Choice(4, 2), Choice(5, 3)]
    assert [peer for peer in range(6) if peer in peers] == [1, 4, 5]


def test_the_last_outbound_one_stays_when_an_inbound_one_comes() -> None:
    peers = HighBandwidthPeers()
    for peer, inbound in ((1, False), (2, True), (3, True)):
        peers.served(peer, inbound=inbound)
    assert peers.served(4, inbound=True) == Choice(4, 2)
    assert peers.served(5, inbound=True) == Choice(5, 3)
    assert 1 in peers
    assert peers.served(6, inbound=False) == Choice(6, 1)


def test_a_peer_that_left_keeps_its_place_but_is_told_nothing() -> None:
    peers = HighBandwidthPeers()
    for peer in (1, 2, 3):
        peers.served(peer, inbound=False)
    peers.remove(1)
    assert peers.served(4, inbound=True) == Choice(4)
    assert 1 not in peers


def test_ids_differ_from_block_to_block(block: Block) -> None:
    ids = [make_compact(block, nonce).short_ids for nonce in range(4)]
    assert all(set(one).isdisjoint(other) for one, other in pairwise(ids))
