"""The mempool and the chain move together: blocks, reorganisations, what returns and what does not."""

from typing import Any

from builders import ANYONE, coin, spend

from altyn.consensus.limits import COIN
from altyn.consensus.script.templates import p2wsh_of
from altyn.consensus.transaction import Transaction, TxIn, TxOut
from altyn.node.mempool import follow
from altyn.node.mempool.entry import RemovalReason, TransactionRemoved, memory_of


def removals(setup: Any) -> dict[bytes, RemovalReason]:
    return {event.entry.txid: event.reason for event in setup.seen if isinstance(event, TransactionRemoved)}


async def test_a_block_takes_its_transactions_out(setup: Any) -> None:
    tx = spend(setup.coin(1))
    child = spend(coin(tx))
    for each in (tx, child):
        await setup.accept(each)
    await setup.chain.add_block(setup.block("a130 a131", tx, fees=1000))
    assert [entry.txid for entry in setup.mempool] == [child.txid]
    assert removals(setup) == {tx.txid: RemovalReason.BLOCK}


async def test_what_a_block_makes_impossible_goes_with_its_descendants(setup: Any) -> None:
    tx = spend(setup.coin(1))
    child = spend(coin(tx))
    for each in (tx, child):
        await setup.accept(each)
    await setup.chain.add_block(setup.block("a130 a131", spend(setup.coin(1), fee=9000), fees=9000))
    assert len(setup.mempool) == 0
    assert set(removals(setup).values()) == {RemovalReason.CONFLICT}


async def test_transactions_return_in_order_after_a_reorganisation(setup: Any) -> None:
    first = spend(setup.coin(1))
    second = spend(coin(first))
    third = spend(coin(second))
    await setup.chain.add_block(setup.block("a130 a131", first, second, fees=2000))
    await setup.accept(third)
    setup.chain.disconnect()
    setup.chain.connect(setup.block("a130 b131"))
    await setup.chain.add_block(setup.block("b131 b132"))
    assert {entry.txid for entry in setup.mempool} == {first.txid, second.txid, third.txid}
    entry = setup.mempool.get(third.txid)
    assert entry.ancestor_count == 3
    assert setup.mempool.get(first.txid).descendant_count == 3
    assert setup.mempool.get(first.txid).sequence == 0


async def test_what_the_new_branch_holds_does_not_return(setup: Any) -> None:
    tx, rival = spend(setup.coin(1)), spend(setup.coin(2), fee=3000)
    lost = spend(setup.coin(2))
    await setup.chain.add_block(setup.block("a130 a131", tx, lost, fees=2000))
    setup.chain.disconnect()
    setup.chain.connect(setup.block("a130 b131", tx, rival, fees=4000))
    assert setup.follower._waiting_bytes == sum(map(memory_of, setup.follower._waiting.values()))
    await setup.chain.settle()
    assert len(setup.mempool) == 0


async def test_what_spends_a_lost_coinbase_goes(setup: Any) -> None:
    for height in range(131, 231):
        setup.chain.connect(setup.block(f"a{height - 1} a{height}"))
    await setup.chain.settle()
    tx = spend(setup.coin(131))
    child = spend(coin(tx))
    young = spend(setup.coin(130))
    for each in (tx, child, young):
        await setup.accept(each)
    setup.chain.disconnect()
    setup.chain.connect(setup.block("a229 b230"))
    await setup.chain.settle()
    assert {entry.txid for entry in setup.mempool} == {each.txid for each in (tx, child, young)}
    setup.chain.disconnect()
    await setup.chain.settle()
    assert [entry.txid for entry in setup.mempool] == [young.txid], "at 229 only 130 is mature for the next block"
    assert removals(setup) == {tx.txid: RemovalReason.REORG, child.txid: RemovalReason.REORG}


async def test_what_is_premature_after_a_reorganisation_goes(setup: Any) -> None:
    await setup.chain.add_block(setup.block("a130 a131"))
    late = spend(setup.coin(1), lock_time=131)
    relative = spend(setup.coin(30), sequence=102)
    fine = spend(setup.coin(2), lock_time=130)
    for each in (late, relative, fine):
        await setup.accept(each)
    setup.chain.disconnect()
    await setup.chain.settle()
    assert [entry.txid for entry in setup.mempool] == [fine.txid]


async def test_what_is_not_standard_does_not_return_and_takes_its_descendants(setup: Any) -> None:
    odd = spend(setup.coin(1), version=9)
    await setup.chain.add_block(setup.block("a130 a131", odd, fees=1000))
    child = spend(coin(odd))
    await setup.accept(child)
    setup.chain.disconnect()
    await setup.chain.settle()
    assert len(setup.mempool) == 0
    assert removals(setup) == {child.txid: RemovalReason.REORG}


async def test_scripts_are_held_against_the_rules_of_relay_again(setup: Any) -> None:
    witness_script = b"\x51\xb3"  # valid in a block, but with a NOP that is kept for later
    funding = spend(setup.coin(1), p2wsh_of(witness_script))
    odd = Transaction(2, [TxIn(funding.outpoint(0), witness=(witness_script,))], [TxOut(COIN, ANYONE)])
    await setup.chain.add_block(setup.block("a130 a131", funding, odd))
    setup.chain.disconnect()
    await setup.chain.settle()
    assert [entry.txid for entry in setup.mempool] == [funding.txid]


async def test_a_low_fee_is_no_reason_not_to_return(setup: Any) -> None:
    free = spend(setup.coin(1), fee=0)
    await setup.chain.add_block(setup.block("a130 a131", free))
    setup.chain.disconnect()
    await setup.chain.settle()
    assert free.txid in setup.mempool


async def test_families_that_grew_too_long_are_cut(setup: Any) -> None:
    parent = spend(setup.coin(1))
    await setup.chain.add_block(setup.block("a130 a131", parent, fees=1000))
    tx = parent
    for _ in range(25):
        tx = spend(coin(tx))
        await setup.accept(tx)
    setup.chain.disconnect()
    await setup.chain.settle()
    assert len(setup.mempool) == 25
    assert removals(setup) == {tx.txid: RemovalReason.SIZE_LIMIT}


async def test_what_waits_for_the_new_chain_is_bounded(setup: Any, monkeypatch: Any) -> None:
    txs = [spend(setup.coin(height), [TxOut(10**9, ANYONE)]) for height in range(1, 11)]
    for number, tx in enumerate(txs, start=131):
        await setup.chain.add_block(setup.block(f"a{number - 1} a{number}", tx))
    child = spend(coin(txs[-1]))
    await setup.accept(child)
    monkeypatch.setattr(follow, "MAX_DISCONNECTED_BYTES", 5 * 2 * 1100)
    for _ in txs:
        setup.chain.disconnect()
        assert setup.follower._waiting_bytes <= follow.MAX_DISCONNECTED_BYTES
    await setup.chain.settle()
    returned = {entry.txid for entry in setup.mempool}
    assert 0 < len(returned) < len(txs)
    assert txs[0].txid in returned
    assert child.txid not in returned
