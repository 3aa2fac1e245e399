"""Several blocks on their way to the tip at once: what is seen of them, and what happens when one is invalid."""

import asyncio
import threading
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import builders
import pytest

from altyn.consensus.checks.scripts import ScriptCheck
from altyn.consensus.errors import ValidationError
from altyn.consensus.networks import REGTEST
from altyn.consensus.transaction import Transaction, TxIn, TxOut
from altyn.node.chain.assumed import is_assumed_valid
from altyn.node.chain.chain import Chain
from altyn.node.chain.connect import CoinChange
from altyn.node.chain.pipeline import PendingCoins
from altyn.node.chain.tree import HeaderTree
from altyn.node.events import BlockPassed
from altyn.node.offload import SMALL_BLOCK, Threads


def spending_line(count: int, broken: int | None = None) -> tuple[builders.Drawing, list[builders.Block]]:
    """Draw blocks each of which spends what the one before it made; the script of block `broken` fails."""
    drawing = builders.chain("g a1..a100")
    coin = builders.coin(drawing["a1"])
    for number in range(101, 101 + count):
        payment = builders.spend(coin)
        if number == broken:
            (txin,) = payment.inputs
            payment = Transaction(2, [TxIn(txin.prevout, b"", txin.sequence, (b"\x00",))], payment.outputs)
        drawing.extend(f"a{number - 1} a{number}", transactions=[payment])
        coin = builders.coin(payment)
    return drawing, drawing.line(f"a101..a{100 + count}")


async def add_at_once(chain: Chain, blocks: Sequence[builders.Block]) -> list[Any]:
    return await asyncio.gather(*(chain.add_block(block) for block in blocks), return_exceptions=True)


async def test_blocks_that_spend_from_each_other_connect_together(open_chain: Any, add_all: Any) -> None:
    drawing, blocks = spending_line(30)
    async with open_chain() as chain:
        await add_all(chain, drawing.line("a1..a100"))
        outcomes = await add_at_once(chain, blocks)
        assert all(outcome.is_new and outcome.is_active for outcome in outcomes)
        assert chain.tip.hash == blocks[-1].hash
        last, before = blocks[-1].transactions[1], blocks[-2].transactions[1]
        assert chain.coins.get(last.outpoint(0)) is not None
        assert chain.coins.get(before.outpoint(0)) is None


async def test_an_invalid_block_stops_those_behind_it_and_none_before(open_chain: Any, add_all: Any) -> None:
    drawing, blocks = spending_line(10, broken=105)
    async with open_chain() as chain:
        await add_all(chain, drawing.line("a1..a100"))
        outcomes = await add_at_once(chain, blocks)
        assert [outcome.is_active for outcome in outcomes[:4]] == [True] * 4
        assert isinstance(outcomes[4], ValidationError)
        assert not any(getattr(outcome, "is_active", False) for outcome in outcomes[5:])
        assert chain.tip.hash == drawing["a104"].hash
        assert chain.coins.get(drawing["a104"].transactions[1].outpoint(0)) is not None
        for name in ("a105", "a106"):
            assert chain.coins.get(drawing[name].transactions[1].outpoint(0)) is None


async def test_of_two_failures_the_lower_block_is_told(open_chain: Any, add_all: Any) -> None:
    drawing, blocks = spending_line(4, broken=102)
    twice = builders.spend(builders.coin(drawing["a2"]), to=[TxOut(REGTEST.initial_subsidy * 2, builders.ANYONE)])
    drawing.extend("a104 a105", transactions=[twice])
    async with open_chain() as chain:
        await add_all(chain, drawing.line("a1..a100"))
        outcomes = await add_at_once(chain, [*blocks, drawing["a105"]])
        assert isinstance(outcomes[1], ValidationError)
        assert "script-verify-flag" in outcomes[1].reason
        assert chain.tip.hash == drawing["a101"].hash
        entry = chain.tree.get(drawing["a105"].hash)
        assert entry is None or entry.is_failed


async def test_nothing_is_seen_before_its_checks_are_in(
    open_chain: Any, add_all: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawing, blocks = spending_line(3)
    held, reached = threading.Event(), threading.Event()
    run = ScriptCheck.run

    def hold(check: ScriptCheck, secp: Any) -> None:
        reached.set()
        assert held.wait(20)
        run(check, secp)

    async with open_chain() as chain:
        await add_all(chain, drawing.line("a1..a100"))
        monkeypatch.setattr(ScriptCheck, "run", hold)
        adding = asyncio.create_task(add_at_once(chain, blocks))
        await asyncio.to_thread(reached.wait, 20)
        assert chain.tip.hash == drawing["a100"].hash
        assert chain.coins.get(blocks[0].transactions[1].outpoint(0)) is None
        held.set()
        await adding
        assert chain.tip.hash == blocks[-1].hash


async def test_only_a_small_block_that_comes_alone_is_worked_on_without_threads(
    open_chain: Any, add_all: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawing, blocks = spending_line(3)
    large = builders.spend(builders.coin(drawing["a2"]), to=[TxOut(0, b"\x6a" + bytes(SMALL_BLOCK))])
    drawing.extend("a103 a104", transactions=[large])
    costly = builders.spend(builders.coin(drawing["a3"]), to=[TxOut(0, b"\xac" * 101)])
    drawing.extend("a104 a105", transactions=[costly])
    on_threads: set[str] = set()
    run = Threads.__call__

    async def watch(threads: Threads, function: Any, *args: Any) -> Any:
        on_threads.add(function.__name__)
        return await run(threads, function, *args)

    async with open_chain() as chain:
        await add_all(chain, drawing.line("a1..a100"))
        monkeypatch.setattr(Threads, "__call__", watch)
        await chain.add_block(blocks[0])
        assert not on_threads
        await add_at_once(chain, blocks[1:])
        assert {"_check", "_check_in_context", "_write"} < on_threads
        on_threads.clear()
        await chain.add_block(drawing["a104"])
        assert on_threads == {"_check", "_check_in_context", "_write", "_connect", "run"}
        on_threads.clear()
        await chain.add_block(drawing["a105"])
        assert on_threads == {"run"}  # of the script


async def test_scripts_whose_cost_a_small_block_does_not_count_are_run_on_threads(
    open_chain: Any, add_all: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thousand inputs of 41 bytes can each run 200 signature checks that were counted where they were made."""
    bare = b"\x00" + b"\x76\x76\xac\x75" * 50 + b"\x51"
    leaf = b"\x51\x20" + bytes(31) + b"\x01"
    drawing = builders.chain("g a1..a102")
    made = [builders.spend(builders.coin(drawing[name]), to=script) for name, script in (("a1", bare), ("a2", leaf))]
    drawing.extend("a102 a103", transactions=made)
    for number, payment in enumerate(made, start=103):
        spent = builders.spend(builders.coin(payment))
        drawing.extend(f"a{number} a{number + 1}", transactions=[spent])
    on_threads: set[str] = set()
    run = Threads.__call__

    async def watch(threads: Threads, function: Any, *args: Any) -> Any:
        on_threads.add(function.__name__)
        return await run(threads, function, *args)

    async with open_chain() as chain:
        await add_all(chain, drawing.line("a1..a103"))
        monkeypatch.setattr(Threads, "__call__", watch)
        await chain.add_block(drawing["a104"])
        assert on_threads == {"run"}
        on_threads.clear()
        with pytest.raises(ValidationError, match="mandatory-script-verify-flag-failed"):
            await chain.add_block(drawing["a105"])  # its program needs a witness
        assert on_threads == {"run"}


async def test_a_small_block_whose_script_fails_is_refused_alone(open_chain: Any, add_all: Any) -> None:
    drawing, blocks = spending_line(2, broken=102)
    async with open_chain() as chain:
        await add_all(chain, drawing.line("a1..a101"))
        with pytest.raises(ValidationError, match="mandatory-script-verify-flag-failed"):
            await chain.add_block(blocks[1])
        assert chain.tip.hash == blocks[0].hash


async def test_a_block_is_told_of_before_it_is_stored(open_chain: Any, add_all: Any) -> None:
    drawing = builders.chain("g a1..a3")
    broken = builders.block_on(drawing["a2"].header, 4, [])  # at height 3
    told: list[tuple[bytes, bool]] = []
    async with open_chain() as chain:
        await add_all(chain, drawing.line("a1..a2"))

        def hear(event: object) -> None:
            if isinstance(event, BlockPassed):
                told.append((event.block.hash, event.entry.has_block))

        chain.events.subscribe(hear)
        with pytest.raises(ValidationError, match="bad-cb-height"):
            await chain.add_block(broken)
        await chain.add_block(drawing["a3"])
    assert told == [(drawing["a3"].hash, False)]


def test_pending_coins_hide_what_is_below_until_they_are_dropped() -> None:
    class Below(dict[Any, Any]):
        def many(self, outpoints: Any) -> dict[Any, Any]:
            return {outpoint: self[outpoint] for outpoint in outpoints if outpoint in self}

    drawing = builders.chain("g a1 a2")
    first, second = (builders.coin(drawing[name]).outpoint for name in ("a1", "a2"))
    below = Below({first: "coin below"})
    coins = PendingCoins(below)  # type: ignore[arg-type]
    made = CoinChange({second: bytes(12) + b"script"}, [first], 0)
    coins.add(1, made)
    assert first not in coins
    found = coins.get(second)
    assert found is not None
    assert found.output.script_pubkey == b"script"
    coins.add(2, CoinChange({}, [second], 0))
    coins.drop(1, made)
    assert first in coins  # nothing hides it any more
    assert second not in coins  # the later block spent it


def headers_of(drawing: builders.Drawing, text: str) -> HeaderTree:
    tree = HeaderTree(REGTEST.genesis.header)
    for block in drawing.line(text):
        tree.add(block.header)
    return tree


def test_scripts_are_assumed_valid_two_weeks_of_work_below_the_best_header() -> None:
    drawing = builders.chain("g a1..a2100; a10 b11..b12")
    tree = headers_of(drawing, "a1..a2100")
    for block in drawing.line("b11..b12"):
        tree.add(block.header)
    network = replace(REGTEST, assume_valid=drawing["a2090"].hash)
    entry = {name: tree.get(drawing[name].hash) for name in ("a1", "a83", "a84", "a2091", "b11")}
    assumed = {name: is_assumed_valid(one, tree, network) for name, one in entry.items() if one is not None}
    # 2,016 blocks of ten minutes are two weeks; there must be more
    assert assumed == {"a1": True, "a83": True, "a84": False, "a2091": False, "b11": False}
    assert not is_assumed_valid(tree.best_header.ancestor(1), tree, REGTEST)
    unknown = replace(REGTEST, assume_valid=bytes(32))
    assert not is_assumed_valid(tree.best_header.ancestor(1), tree, unknown)
    too_little = replace(network, minimum_chain_work=tree.best_header.chain_work + 1)
    assert not is_assumed_valid(tree.best_header.ancestor(1), tree, too_little)


@pytest.mark.parametrize("assumes", [True, False])
async def test_assumed_blocks_connect_without_script_checks(open_chain: Any, add_all: Any, *, assumes: bool) -> None:
    drawing, _ = spending_line(2, broken=101)
    drawing.extend("a102 a103..a2200")
    network = replace(REGTEST, assume_valid=drawing["a2190"].hash if assumes else None)
    async with open_chain(network=network) as chain:
        await chain.add_headers([block.header for block in drawing.line("a1..a2200")])
        await add_all(chain, drawing.line("a1..a100"))
        if assumes:
            assert (await chain.add_block(drawing["a101"])).is_active
        else:
            with pytest.raises(ValidationError, match="script-verify-flag"):
                await chain.add_block(drawing["a101"])
