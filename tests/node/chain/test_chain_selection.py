"""Which branch becomes the active chain."""

import dataclasses
from typing import Any

import builders
import pytest
from builders import coin, spend
from node_chain_tools import Recorder, coins_of, replay

from altyn.consensus.block import Block
from altyn.consensus.errors import Fault, ValidationError
from altyn.consensus.merkle import merkle_root
from altyn.consensus.networks import REGTEST
from altyn.consensus.transaction import Transaction, TxIn, TxOut
from altyn.node.events import BestHeaderChanged, BlockFailed, TipChanged
from altyn.node.writer import WriterStopped


async def test_a_chain_grows_block_by_block(open_chain: Any) -> None:
    drawing = builders.chain("g a1..a10")
    async with open_chain() as chain:
        for block in drawing.line("a1..a10"):
            outcome = await chain.add_block(block)
            assert outcome.is_new
            assert outcome.is_active
        assert chain.tip.hash == drawing["a10"].hash
        assert chain.active(3).hash == drawing["a3"].hash
        assert chain.active(11) is None
        assert chain.active(-1) is None
        assert chain.next_active(chain.active(3)) is chain.active(4)
        assert chain.next_active(chain.tip) is None


async def test_a_spend_moves_coins(open_chain: Any, add_all: Any) -> None:
    drawing = builders.chain("g a1..a101")
    payment = spend(coin(drawing["a1"]))
    drawing.extend("a101 a102", [payment], fees=1000)
    async with open_chain() as chain:
        await add_all(chain, drawing.line("a1..a102"))
        assert chain.tip.height == 102
        assert chain.coins.get(coin(drawing["a1"]).outpoint) is None
        made = chain.coins.get(payment.outpoint(0))
        assert made.output == payment.outputs[0]
        assert (made.height, made.is_coinbase) == (102, False)
        assert chain.read_spent(chain.tip) == [[], [(coin(drawing["a1"]).output, 1, True)]]
        assert coins_of(chain) == replay(drawing.line("a1..a102"))


async def test_of_equal_work_the_first_seen_stays(open_chain: Any, add_all: Any) -> None:
    drawing = builders.chain("g a1..a3; a1 b2..b4")
    async with open_chain() as chain:
        await add_all(chain, drawing.line("a1..a3 b2..b3"))
        assert chain.tip.hash == drawing["a3"].hash
        await add_all(chain, drawing.line("b4"))
        assert chain.tip.hash == drawing["b4"].hash


async def test_a_branch_with_more_work_takes_over_and_coins_follow(open_chain: Any, add_all: Any) -> None:
    drawing = builders.chain("g a1..a104; a101 b102..b106")
    payment = spend(coin(drawing["a1"]))
    chained = spend(coin(payment))
    drawing.extend("a104 a105", [payment, chained], fees=2000)
    other = spend(coin(drawing["a1"]), fee=5000)
    drawing.extend("b106 b107", [other], fees=5000)
    async with open_chain() as chain:
        await add_all(chain, drawing.line("a1..a105"))
        recorder = Recorder(chain)
        await add_all(chain, drawing.line("b102..b107"))
        assert chain.tip.hash == drawing["b107"].hash
        assert recorder.steps == [
            *("-105", "-104", "-103", "-102"),
            *("+102", "+103", "+104", "+105", "+106", "settled", "+107", "settled"),
        ]
        changes = [event for event in recorder.events if isinstance(event, TipChanged)]
        assert [(change.old.height, change.new.height) for change in changes] == [(105, 106), (106, 107)]
        assert coins_of(chain) == replay(drawing.line("a1..a101 b102..b107"))


async def test_a_reorganisation_may_be_as_deep_as_the_chain(open_chain: Any, add_all: Any) -> None:
    drawing = builders.chain("g a1..a700; g b1..b701")
    async with open_chain(cache_size=50_000) as chain:
        await add_all(chain, drawing.line("a1..a700"))
        await add_all(chain, drawing.line("b1..b700"))
        assert chain.tip.hash == drawing["a700"].hash
        await add_all(chain, drawing.line("b701"))
        assert chain.tip.hash == drawing["b701"].hash
        assert coins_of(chain) == replay(drawing.line("b1..b701"))


async def test_blocks_may_come_before_their_parents(open_chain: Any, add_all: Any) -> None:
    drawing = builders.chain("g a1..a6")
    async with open_chain() as chain:
        entry = await chain.add_headers([block.header for block in drawing.line("a1..a6")])
        assert entry is chain.tree.best_header
        for name in ("a6", "a4", "a2", "a5", "a3"):
            outcome = await chain.add_block(drawing[name])
            assert outcome.is_new
            assert not outcome.is_active
        assert (await chain.add_block(drawing["a1"])).is_active
        assert chain.tip.hash == drawing["a6"].hash


async def test_a_block_without_its_parent_is_refused(open_chain: Any) -> None:
    drawing = builders.chain("g a1..a2")
    async with open_chain() as chain:
        with pytest.raises(ValidationError, match="prev-blk-not-found"):
            await chain.add_block(drawing["a2"])


async def test_a_known_block_is_no_news(open_chain: Any) -> None:
    drawing = builders.chain("g a1")
    async with open_chain() as chain:
        await chain.add_block(drawing["a1"])
        outcome = await chain.add_block(drawing["a1"])
        assert not outcome.is_new
        assert outcome.is_active


async def test_an_invalid_branch_is_left_again_and_remembered(open_chain: Any, add_all: Any) -> None:
    drawing = builders.chain("g a1..a3; a1 b2")
    bad = builders.block_on(
        drawing["b2"].header, 3, coinbase_tx=builders.coinbase(3, value=51 * 10**8, extra=b"greedy")
    )
    child = builders.block_on(bad.header, 4)
    async with open_chain() as chain:
        await add_all(chain, drawing.line("a1..a3 b2"))
        recorder = Recorder(chain)
        await chain.add_block(bad)  # equal work: not looked at yet
        outcome = await chain.add_block(child)
        assert (outcome.is_new, outcome.is_active) == (True, False)
        assert chain.tip.hash == drawing["a3"].hash
        failures = [event for event in recorder.events if isinstance(event, BlockFailed)]
        assert [failure.entry.hash for failure in failures] == [bad.hash]
        assert recorder.steps == ["-3", "-2", "+2", "-2", "+2", "+3", "settled"]
        assert chain.tree.get(child.hash).is_failed
        assert chain.tree.best_header.hash == drawing["a3"].hash
        with pytest.raises(ValidationError, match="duplicate-invalid") as refused:
            await chain.add_block(bad)
        assert refused.value.fault is Fault.CACHED_INVALID
        with pytest.raises(ValidationError, match="bad-prevblk"):
            await chain.add_block(builders.block_on(child.header, 5))
        assert coins_of(chain) == replay(drawing.line("a1..a3"))


@pytest.mark.parametrize("twice", ["in two transactions", "in one transaction"])
async def test_a_double_spend_is_refused(open_chain: Any, add_all: Any, twice: str) -> None:
    drawing = builders.chain("g a1..a101")
    money = coin(drawing["a1"])
    if twice == "in two transactions":
        payments, reason = [spend(money), spend(money, fee=2000)], "bad-txns-inputs-missingorspent"
    else:
        payments, reason = [spend([money, money])], "bad-txns-inputs-duplicate"
    bad = builders.block_on(drawing["a101"].header, 102, payments)
    async with open_chain() as chain:
        await add_all(chain, drawing.line("a1..a101"))
        with pytest.raises(ValidationError) as refused:
            await chain.add_block(bad)
        assert refused.value.reason == reason
        assert chain.tip.height == 101
        assert coins_of(chain) == replay(drawing.line("a1..a101"))


async def test_the_first_failing_script_of_a_block_is_named(open_chain: Any, add_all: Any) -> None:
    drawing = builders.chain("g a1..a101")
    parts = spend(
        coin(drawing["a1"]),
        [TxOut(1000, builders.ANYONE)] * 300
        + [TxOut(1000, b"\x00")]
        + [TxOut(1000, b"\x6a\x51"[1:] + b"\x69\x00\x69")] * 3,
    )
    drawing.extend("a101 a102", [parts])
    good = [spend(coin(parts, index), fee=0) for index in range(300)]
    false = Transaction(2, [TxIn(parts.outpoint(300))], [TxOut(1, builders.ANYONE)])
    verify = [Transaction(2, [TxIn(parts.outpoint(301 + index))], [TxOut(1, builders.ANYONE)]) for index in range(3)]
    bad = builders.block_on(drawing["a102"].header, 103, [*good, verify[0], false, verify[1], verify[2]])
    async with open_chain() as chain:
        await add_all(chain, drawing.line("a1..a102"))
        with pytest.raises(ValidationError) as refused:
            await chain.add_block(bad)
        assert refused.value.reason == "mandatory-script-verify-flag-failed (Script failed an OP_VERIFY operation)"


async def test_a_mutated_block_is_not_remembered(open_chain: Any, add_all: Any) -> None:
    drawing = builders.chain("g a1..a101")
    payment = spend(coin(drawing["a1"]))
    block = drawing.extend("a101 a102", [payment, spend(coin(payment))])[0]
    duplicated = Block(block.header, [*block.transactions, block.transactions[-1]])
    bare = Transaction(2, [TxIn(payment.inputs[0].prevout, b"", payment.inputs[0].sequence)], payment.outputs)
    stripped = Block(block.header, [block.transactions[0], bare, block.transactions[2]])
    async with open_chain() as chain:
        await add_all(chain, drawing.line("a1..a101"))
        for mutated, reason in (
            (duplicated, "bad-txns-duplicate"),
            (stripped, "bad-witness-merkle-match"),
        ):
            with pytest.raises(ValidationError) as refused:
                await chain.add_block(mutated)
            assert refused.value.reason == reason
            assert refused.value.fault is Fault.MUTATED
        assert (await chain.add_block(block)).is_active


async def test_headers_are_taken_in_and_refused_with_cores_reasons(open_chain: Any, clock: Any) -> None:
    drawing = builders.chain("g a1..a3; a3 b4..b6")
    headers = [block.header for block in drawing.line("a1..a3")]
    late = builders.block_on(drawing["a3"].header, 4, time=int(clock.now()) + 7201).header
    async with open_chain() as chain:
        events: list[Any] = []
        chain.events.subscribe(events.append)
        entry = await chain.add_headers(headers)
        assert entry.hash == drawing["a3"].hash
        assert [event.entry.height for event in events if isinstance(event, BestHeaderChanged)] == [3]
        with pytest.raises(ValidationError, match="prev-blk-not-found"):
            await chain.add_headers([drawing["b5"].header])
        with pytest.raises(ValidationError, match="time-too-new"):
            await chain.add_headers([late])
        with pytest.raises(ValidationError, match="too-little-chainwork") as refused:
            await chain.add_headers([drawing["b4"].header], min_work_checked=False)
        assert refused.value.fault is Fault.LOW_WORK
        assert drawing["b4"].hash not in chain.tree
        assert (await chain.add_headers(headers, min_work_checked=False)).height == 3


async def test_blocks_nobody_asked_for_are_kept_only_if_they_may_matter(open_chain: Any, add_all: Any) -> None:
    drawing = builders.chain("g a1..a5; g b1..b5; g c1..c290")
    async with open_chain() as chain:
        await add_all(chain, drawing.line("a1..a3"))
        await chain.add_headers([block.header for block in drawing.line("b1..b5 c1..c290")])
        for name, kept in (("b2", False), ("b3", True), ("b5", True), ("c289", True), ("c290", True), ("a4", True)):
            outcome = await chain.add_block(drawing[name], requested=False)
            assert outcome.is_new == (kept and drawing.height(name) <= 3 + 288), name
            assert chain.tree.get(drawing[name].hash).has_block == outcome.is_new
    # 291 = 3 + 288 is the last height that is not too far ahead
    far = builders.chain("g c1..c293")
    async with open_chain() as chain:
        await add_all(chain, drawing.line("a1..a3"))
        await chain.add_headers([block.header for block in far.line("c1..c293")])
        assert (await chain.add_block(far["c291"], requested=False)).is_new
        assert not (await chain.add_block(far["c292"], requested=False)).is_new
        assert (await chain.add_block(far["c292"])).is_new


async def test_a_network_with_a_minimum_of_work_is_behind_until_it_has_it(open_chain: Any, add_all: Any) -> None:
    drawing = builders.chain("g a1..a4")
    network = dataclasses.replace(REGTEST, minimum_chain_work=5 * 2)  # every block of regtest is worth two
    async with open_chain(network=network, max_tip_age=10**9) as chain:
        assert not (await chain.add_block(drawing["a1"], requested=False)).is_new
        await add_all(chain, drawing.line("a1..a3"))
        assert chain.is_initial_block_download
        assert (await chain.add_block(drawing["a4"], requested=False)).is_new
        assert not chain.is_initial_block_download


async def test_invalidate_and_reconsider(open_chain: Any, add_all: Any) -> None:
    drawing = builders.chain("g a1..a5; a2 b3..b4; a4 c5")
    async with open_chain() as chain:
        await add_all(chain, drawing.line("a1..a5 b3..b4"))
        await chain.add_headers([drawing["c5"].header])
        recorder = Recorder(chain)
        await chain.invalidate(chain.active(3))
        assert chain.tip.hash == drawing["b4"].hash
        assert recorder.steps == ["-5", "-4", "-3", "+3", "+4", "settled"]
        assert chain.tree.get(drawing["a5"].hash).is_failed
        assert chain.tree.get(drawing["c5"].hash).is_failed
        assert chain.tree.best_header.hash == drawing["b4"].hash
        assert coins_of(chain) == replay(drawing.line("a1..a2 b3..b4"))
        with pytest.raises(ValidationError, match="bad-prevblk"):
            await chain.add_block(builders.block_on(drawing["a5"].header, 6))
        await chain.reconsider(chain.tree.get(drawing["a5"].hash))
        assert chain.tip.hash == drawing["a5"].hash
        assert not any(entry.is_failed for entry in chain.tree)
        assert coins_of(chain) == replay(drawing.line("a1..a5"))


async def test_genesis_cannot_be_invalidated(open_chain: Any) -> None:
    async with open_chain() as chain:
        with pytest.raises(ValueError, match="genesis"):
            await chain.invalidate(chain.tree.genesis)


async def test_a_proposal_is_checked_and_changes_nothing(open_chain: Any, add_all: Any) -> None:
    drawing = builders.chain("g a1..a101")
    payment = spend(coin(drawing["a1"]))
    good = builders.block_on(drawing["a101"].header, 102, [payment], fees=1000)
    greedy = builders.block_on(drawing["a101"].header, 102, [payment], fees=1001)
    stale = builders.block_on(drawing["a100"].header, 101)
    async with open_chain() as chain:
        await add_all(chain, drawing.line("a1..a101"))
        await chain.test_block(good)
        with pytest.raises(ValidationError, match="bad-cb-amount"):
            await chain.test_block(greedy)
        with pytest.raises(ValidationError, match="inconclusive-not-best-prevblk"):
            await chain.test_block(stale)
        unsolved = Block(
            builders.Header(
                good.header.version,
                good.header.prev_hash,
                merkle_root([tx.txid for tx in good.transactions]),
                good.header.time,
                good.header.bits,
                0,
            ),
            good.transactions,
        )
        await chain.test_block(unsolved, check_pow=False)
        assert chain.tip.height == 101
        assert good.hash not in chain.tree


async def test_initial_download_ends_once_and_for_all(open_chain: Any, clock: Any) -> None:
    drawing = builders.chain("g a1..a2")
    async with open_chain() as chain:
        assert chain.is_initial_block_download
        clock.time = drawing["a1"].header.time + 24 * 3600 + 1
        await chain.add_block(drawing["a1"])
        assert chain.is_initial_block_download
        clock.time -= 1
        assert not chain.is_initial_block_download
        clock.time += 10**8
        assert not chain.is_initial_block_download


async def test_the_fork_with_a_locator_is_found(open_chain: Any, add_all: Any) -> None:
    drawing = builders.chain("g a1..a30; a20 b21..b25")
    async with open_chain() as chain:
        await add_all(chain, drawing.line("a1..a30 b21..b25"))
        branch = chain.tree.get(drawing["b25"].hash)
        locator = chain.tree.locator(branch)
        assert locator[0] == branch.hash
        assert locator[-1] == chain.tree.genesis.hash
        assert chain.find_fork(locator).height == 20 - 0
        assert chain.find_fork([bytes(32)]) is chain.tree.genesis
        ahead = builders.block_on(drawing["a30"].header, 31).header
        await chain.add_headers([ahead])
        assert chain.find_fork([ahead.hash]) is chain.tip


async def test_a_chain_that_is_closed_takes_nothing(open_chain: Any) -> None:
    drawing = builders.chain("g a1..a2")
    async with open_chain() as chain:
        await chain.add_block(drawing["a1"])
    with pytest.raises(WriterStopped):
        await chain.add_block(drawing["a2"])


async def test_a_preferred_block_wins_against_others_of_its_work_only(open_chain: Any, add_all: Any) -> None:
    drawing = builders.chain("g a1..a3; a1 b2..b3; a1 c2..c3; c3 c4")
    async with open_chain() as chain:
        await add_all(chain, drawing.line("a1..a3 b2..b3 c2..c3"))
        assert chain.tip.hash == drawing["a3"].hash
        a, b, c = (chain.tree.get(drawing[name].hash) for name in ("a3", "b3", "c3"))
        for entry in (b, c, a, c):  # each later wish overrides the earlier
            await chain.prefer(entry)
            assert chain.tip is entry
        await chain.prefer(chain.tree.get(drawing["b2"].hash))  # has less work: nothing happens
        assert chain.tip is c
        assert coins_of(chain) == replay(drawing.line("a1 c2..c3"))
        await chain.prefer(b)
        await add_all(chain, drawing.line("c4"))  # work goes before any wish
        await chain.prefer(b)
        assert chain.tip.hash == drawing["c4"].hash
        await chain.invalidate(chain.tip)
        await chain.invalidate(b)
        await chain.prefer(b)
        assert chain.tip is c
