"""Templates: what they take, in which order, and that a block made from one is valid."""

from dataclasses import replace
from typing import Any

import pytest
from builders import ANYONE, coin, spend

from altyn.consensus.block import Header
from altyn.consensus.checks.transactions import legacy_sigop_count
from altyn.consensus.errors import ValidationError
from altyn.consensus.limits import COIN, MAX_BLOCK_WEIGHT
from altyn.consensus.merkle import witness_commitment
from altyn.consensus.networks import REGTEST, TESTNET4
from altyn.consensus.transaction import Transaction, TxOut
from altyn.node.chain.tree import Entry, HeaderTree
from altyn.node.mining.select import Room
from altyn.node.mining.template import build_template, min_block_time

PAYEE = b"\x00\x14" + bytes(20)


def build(setup: Any, **options: Any) -> Any:
    now = int(setup.clock.now())
    return build_template(setup.chain.tip, setup.mempool, setup.chain.network, PAYEE, now, **options)


def chosen(template: Any) -> list[bytes]:
    return [each.tx.txid for each in template.transactions]


def txids(*transactions: Transaction) -> list[bytes]:
    return [tx.txid for tx in transactions]


async def test_an_empty_mempool_gives_a_valid_empty_block(setup: Any) -> None:
    template = build(setup)
    assert template.transactions == ()
    assert (template.height, template.previous_hash) == (21, setup.chain.tip.hash)
    assert template.coinbase_value == 50 * COIN
    assert template.time == setup.clock.now()
    coinbase = template.coinbase()
    assert coinbase.inputs[0].script_sig == b"\x01\x15\x00"
    assert coinbase.outputs[0] == TxOut(50 * COIN, PAYEE)
    setup.chain.check(template.to_block(), check_pow=False)


async def test_fees_go_to_the_coinbase_and_witnesses_are_committed_to(setup: Any) -> None:
    tx = spend(setup.coin(1), fee=5000)
    await setup.accept(tx)
    template = build(setup)
    (listed,) = template.transactions
    assert (listed.fee, listed.weight, listed.sigop_cost, listed.depends) == (5000, tx.weight, 0, ())
    assert template.coinbase_value == 50 * COIN + 5000
    block = template.to_block()
    assert witness_commitment(block) is not None
    setup.chain.check(block, check_pow=False)


async def test_high_feerates_come_first(setup: Any) -> None:
    transactions = [spend(setup.coin(n), fee=fee) for n, fee in enumerate((2000, 4000, 1000, 3000), start=1)]
    await setup.accept(*transactions)
    a, b, c, d = transactions
    assert chosen(build(setup)) == txids(b, d, a, c)


async def test_a_child_pays_for_its_parent(setup: Any) -> None:
    poor, middling = spend(setup.coin(1), fee=150), spend(setup.coin(2), fee=2000)
    child = spend(coin(poor), fee=9000)
    await setup.accept(poor, middling, child)
    template = build(setup)
    assert chosen(template) == txids(poor, child, middling)
    assert [each.depends for each in template.transactions] == [(), (1,), ()]
    setup.chain.check(template.to_block(), check_pow=False)


async def test_what_is_in_already_no_longer_weighs_on_the_rest(setup: Any) -> None:
    parent = spend(setup.coin(1), [TxOut(20 * COIN, ANYONE), TxOut(30 * COIN - 100, ANYONE)])
    rich, modest = spend(coin(parent), fee=9000), spend(coin(parent, 1), fee=2000)
    other = spend(setup.coin(2), fee=1500)
    await setup.accept(parent, rich, modest, other)
    assert chosen(build(setup)) == txids(parent, rich, modest, other)


async def test_what_pays_too_little_stays_out(setup: Any) -> None:
    free, paying = spend(setup.coin(1), fee=0), spend(setup.coin(2), fee=500)
    child = spend(coin(free), fee=100)
    await setup.accept(free, paying, child)
    assert chosen(build(setup)) == txids(paying)
    assert chosen(build(setup, room=Room(min_feerate=0))) == txids(paying, free, child)


async def test_a_rich_parent_does_not_pay_for_its_child(setup: Any) -> None:
    parent = spend(setup.coin(1), fee=9000)
    child = spend(coin(parent), fee=50)
    await setup.accept(parent, child)
    assert chosen(build(setup)) == txids(parent)


async def test_the_least_feerate_is_enough(setup: Any) -> None:
    vsize = spend(setup.coin(1)).vsize
    enough, less = spend(setup.coin(1), fee=vsize), spend(setup.coin(2), fee=vsize - 1)
    await setup.accept(enough, less)
    assert chosen(build(setup)) == txids(enough)


async def test_every_transaction_takes_its_weight(setup: Any) -> None:
    rich = [spend(setup.coin(n), fee=9000 - n) for n in range(1, 5)]
    await setup.accept(*rich)
    size = rich[0].vsize * 4
    assert chosen(build(setup, room=Room(weight=4000 + 2 * rich[0].weight + size))) == txids(*rich[:2])
    assert chosen(build(setup, room=Room(weight=4000 + 2 * rich[0].weight + size + 1))) == txids(*rich[:3])


async def test_weight_is_bounded_and_smaller_ones_fill_up(setup: Any) -> None:
    large = spend(setup.coin(1), [TxOut(10**6, ANYONE)] * 100 + [TxOut(COIN, ANYONE)])
    small = [spend(setup.coin(n), fee=2000) for n in (2, 3)]
    await setup.accept(large, *small)
    room = Room(weight=4000 + small[0].weight + large.weight // 2)
    assert sorted(chosen(build(setup, room=room))) == sorted(txids(*small))
    block = build(setup).to_block()
    assert len(block.transactions) == 4
    assert block.weight < MAX_BLOCK_WEIGHT


async def test_a_large_coinbase_is_given_its_room(setup: Any) -> None:
    script, small = b"\x6a" + bytes(3000), spend(setup.coin(2), fee=2000)
    await setup.accept(small)
    now = int(setup.clock.now())
    template = build_template(
        setup.chain.tip, setup.mempool, setup.chain.network, script, now, room=Room(weight=12_000 + small.weight)
    )
    assert template.transactions == ()


async def test_signature_checks_are_bounded(setup: Any) -> None:
    object.__setattr__(setup.mempool, "limits", replace(setup.mempool.limits, require_standard=False))
    transactions = [spend(setup.coin(n), [TxOut(COIN, b"\xac" * 3900)]) for n in range(1, 7)]
    await setup.accept(*transactions)
    template = build(setup)
    assert len(template.transactions) == 5
    assert sum(legacy_sigop_count(each.tx) for each in template.transactions) * 4 <= 80_000
    setup.chain.check(template.to_block(), check_pow=False)


async def test_given_transactions_make_a_block_of_their_own(setup: Any) -> None:
    pending, given = spend(setup.coin(1)), spend(setup.coin(2))
    await setup.accept(pending)
    template = await setup.templates.template_of(PAYEE, [given])
    assert chosen(template) == txids(given)
    assert template.coinbase_value == 50 * COIN
    with pytest.raises(ValidationError, match="bad-txns-inputs-missingorspent"):
        await setup.templates.template_of(PAYEE, [spend(coin(pending))])


def test_extra_nonces_change_the_coinbase_and_heights_are_pushed_as_numbers() -> None:
    tree = HeaderTree(REGTEST.genesis.header)

    class Empty(list[Any]):
        changes = 1

    template = build_template(tree.genesis, Empty(), REGTEST, PAYEE, 1_700_000_000)  # type: ignore[arg-type]
    assert [replace(template, height=h).coinbase().inputs[0].script_sig for h in (1, 16, 17, 128, 500_000)] == [
        b"\x51\x00",
        b"\x60\x00",
        b"\x01\x11\x00",
        b"\x02\x80\x00\x00",
        b"\x03\x20\xa1\x07\x00",
    ]
    assert len({template.coinbase(extra).txid for extra in range(300)}) == 300
    assert template.to_block(3).header.merkle_root != template.to_block(4).header.merkle_root


def test_before_segwit_nothing_is_committed_to() -> None:
    network = replace(REGTEST, segwit_height=50)

    class Empty(list[Any]):
        changes = 1

    template = build_template(HeaderTree(network.genesis.header).genesis, Empty(), network, PAYEE, 0)  # type: ignore[arg-type]
    assert template.witness_commitment is None
    assert not template.coinbase().has_witness
    assert len(template.coinbase().outputs) == 1


def test_time_is_past_the_median_and_not_far_before_the_parent_of_a_period() -> None:
    entry: Entry | None = None
    genesis = TESTNET4.genesis.header
    network = replace(TESTNET4, target_timespan=12 * 600)
    for height in range(12):
        previous = entry.hash if entry else bytes(32)
        time = genesis.time + height * 10_000
        entry = Entry(Header(4, previous, bytes(32), time, genesis.bits, 0), entry)
    assert entry is not None
    assert min_block_time(entry, replace(network, enforce_bip94=False)) == genesis.time + 60_001
    assert min_block_time(entry, network) == genesis.time + 110_000 - 600
    assert entry.parent is not None
    assert min_block_time(entry.parent, network) == genesis.time + 50_001
