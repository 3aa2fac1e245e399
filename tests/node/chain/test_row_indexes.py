"""The indexes of addresses, of spenders and of coin statistics: on any branch they say what its blocks say."""

import contextlib
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import builders
import pytest
from builders import ANYONE, coin, spend
from node_chain_tools import caught_up, replay

from altyn.consensus.block import Block
from altyn.consensus.errors import ValidationError
from altyn.consensus.hashes import sha256d
from altyn.consensus.muhash import MuHash
from altyn.consensus.transaction import Coin, OutPoint, TxOut
from altyn.node.chain.chain import Chain
from altyn.node.chain.coin_statistics import CoinSetScan, coin_element
from altyn.node.chain.indexes import catch_up
from altyn.node.chain.tree import HAVE_BLOCK
from altyn.node.offload import Inline
from altyn.node.storage.errors import StoreError
from altyn.node.storage.layout import encode_coin

INDEXES = {"address_index": True, "spender_index": True, "coin_statistics_index": True, "transaction_index": True}
OTHER = b"\x52"
"""Another script that anyone can spend."""
BASE = builders.chain("g a1..a105")
STEPS = ("flush-begin", "flush-files", "flush-headers", "flush-coins", "flush-indexes")


class Death(Exception):
    """The process is killed here."""


def muhash_of(coins: dict[OutPoint, Coin]) -> bytes:
    muhash = MuHash()
    muhash.insert(coin_element(outpoint, encode_coin(each)) for outpoint, each in coins.items())
    return muhash.digest()


def history_of(blocks: Sequence[Block], script: bytes) -> list[tuple[int, bytes]]:
    """Work out in the plainest way at which heights which transactions touch a script."""
    found, owned = [], set()
    for height, block in enumerate(blocks, 1):
        for tx in block.transactions:
            made = {tx.outpoint(index) for index, output in enumerate(tx.outputs) if output.script_pubkey == script}
            spent = {txin.prevout for txin in tx.inputs} & owned
            owned = (owned | made) - spent
            if made or spent:
                found.append((height, tx.txid))
    return found


def check(chain: Chain, blocks: Sequence[Block]) -> None:
    """Hold all indexes against a plain replay of the active chain's blocks, from height 1 on."""
    addresses, spenders = chain.indexes.addresses, chain.indexes.spenders
    statistics = chain.indexes.coin_statistics
    assert addresses is not None
    assert spenders is not None
    assert statistics is not None
    tip = chain.tip
    assert tip.height == len(blocks)
    for index in chain.indexes:
        assert index.best is not None
        assert index.best.height >= tip.height
    coins = replay(blocks)
    for script in (ANYONE, OTHER):
        touches = list(addresses.history(script, addresses.view(tip)))
        assert [(touch.entry.height, touch.txid) for touch in touches] == history_of(blocks, script)
        assert all(touch.entry is tip.ancestor(touch.entry.height) for touch in touches)
        unspent = {
            each.outpoint: (each.value, each.entry.height, each.is_coinbase)
            for each in addresses.unspent(script, addresses.view(tip))
        }
        assert unspent == {
            outpoint: (each.output.value, each.height, each.is_coinbase)
            for outpoint, each in coins.items()
            if each.output.script_pubkey == script
        }
    for height, block in enumerate(blocks, 1):
        for tx in block.transactions[1:]:
            for txin in tx.inputs:
                assert spenders.spender(txin.prevout, spenders.view(tip)) == (tx.txid, tip.ancestor(height))
    for outpoint in coins:
        assert spenders.spender(outpoint, spenders.view(tip)) is None
    found = statistics.get(tip)
    assert found is not None
    totals = found.totals
    assert totals.outputs == len(coins)
    assert totals.amount == sum(each.output.value for each in coins.values())
    assert totals.bogo_size == sum(50 + len(each.output.script_pubkey) for each in coins.values())
    assert totals.amount + totals.unspendable == totals.subsidy
    assert MuHash.from_state(found.muhash).digest() == muhash_of(coins)


async def test_the_indexes_follow_the_chain_through_reorganisations(open_chain: Any, add_all: Any) -> None:
    drawing = builders.chain("g a1..a103; a101 b102..b103")
    payment = spend(coin(drawing["a1"]), to=OTHER)
    drawing.extend("a103 a104", [payment, spend(coin(payment))])
    drawing.extend("b103 b104", [spend(coin(drawing["a1"])), spend(coin(drawing["a2"]), to=OTHER)])
    drawing.extend("b104 b105")
    async with open_chain(**INDEXES) as chain:
        await add_all(chain, drawing.line("a1..a104"))
        check(chain, drawing.line("a1..a104"))
        await add_all(chain, drawing.line("b102..b105"))
        check(chain, drawing.line("a1..a101 b102..b105"))
        await chain.invalidate(chain.active(104))
        check(chain, drawing.line("a1..a104"))
        await chain.invalidate(chain.active(103))
        assert chain.tip.height == 103
        check(chain, drawing.line("a1..a101 b102..b103"))


def draw(chance: random.Random, line: list[Block], number: int) -> list[Block]:
    """Return `line` with a block more, which spends some of the same coins as others do."""
    spent = {txin.prevout for block in line[105:] for tx in block.transactions for txin in tx.inputs}
    coins = [coin(each) for each in BASE.line("a1..a5") if chance.random() < 0.3]
    coins = [each for each in coins if each.outpoint not in spent or chance.random() < 0.1]
    transactions = [spend(each, to=chance.choice([ANYONE, OTHER, b"\x6a"])) for each in coins]
    transactions += [spend(coin(tx), to=OTHER) for tx in transactions if tx.outputs[0].script_pubkey == ANYONE]
    return [*line, builders.block_on(line[-1].header, len(line) + 1, transactions, extra=f"{number}".encode())]


async def check_against_fresh(chain: Chain, open_chain: Any, add_all: Any) -> None:
    """Hold the indexes against those of a chain that has seen the active blocks and no others."""
    await chain.add_headers([BASE["a105"].header])  # waits until the chain is where the last block makes it go
    active = [chain.read_block(chain.tip.ancestor(height)) for height in range(1, chain.tip.height + 1)]
    check(chain, active)
    async with open_chain(**INDEXES) as fresh:
        await add_all(fresh, active)
        check(fresh, active)
        one, other = chain.indexes.coin_statistics, fresh.indexes.coin_statistics
        for height in range(chain.tip.height + 1):
            assert one.get(chain.active(height)) == other.get(fresh.active(height))


@pytest.mark.parametrize("seed", range(6))
async def test_after_random_reorganisations_the_indexes_are_those_built_afresh(
    open_chain: Any, add_all: Any, seed: int, tmp_path: Path
) -> None:
    chance = random.Random(seed)
    lines = [BASE.line("a1..a105")]
    cache_size = chance.choice([20_000, 1 << 22])
    async with open_chain(tmp_path, cache_size=cache_size, **INDEXES) as chain:
        await add_all(chain, lines[0])
        for number in range(40):
            line = draw(chance, chance.choice(lines[-5:]), number)
            try:
                await chain.add_block(line[-1])
            except ValidationError:
                continue
            lines.append(line)
            if chance.random() < 0.2:
                await chain.flush()
        await check_against_fresh(chain, open_chain, add_all)
    async with open_chain(tmp_path, **INDEXES) as again:
        await check_against_fresh(again, open_chain, add_all)


@pytest.mark.parametrize("seed", range(4))
async def test_after_random_deaths_the_indexes_are_those_built_afresh(
    open_chain: Any, add_all: Any, seed: int, tmp_path: Path
) -> None:
    """Blocks of competing branches come, and the process dies at steps of its flushes, again and again."""
    chance = random.Random(seed)
    lines = [BASE.line("a1..a105")]
    number = 0
    for _ in range(6):
        deadly: list[str] = []

        def die(name: str, deadly: list[str] = deadly) -> None:
            if name in deadly:
                raise Death

        has_indexes = chance.random() < 0.8
        async with open_chain(tmp_path, checkpoint=die, background=False, **INDEXES if has_indexes else {}) as chain:
            await add_all(chain, lines[0])
            for _ in range(6):
                number += 1
                line = draw(chance, chance.choice(lines[-5:]), number)
                try:
                    await add_all(chain, line[105:])
                except ValidationError:
                    continue
                lines.append(line)
                if chance.random() < 0.2:
                    await chain.flush()
            deadly.append(chance.choice(STEPS))
            with contextlib.suppress(Death):  # where nothing has come since the last flush, there is nothing to write
                await chain.flush()
            deadly.clear()
    async with open_chain(tmp_path, **INDEXES) as chain:
        for index in chain.indexes:
            await caught_up(chain, index)
        await check_against_fresh(chain, open_chain, add_all)


async def test_indexes_switched_on_later_catch_up_within_the_cache(
    open_chain: Any, add_all: Any, tmp_path: Path
) -> None:
    drawing = builders.chain("g a1..a104")
    drawing.extend("a104 a105", [spend(coin(drawing["a2"]), to=OTHER)])
    async with open_chain(tmp_path) as chain:
        await add_all(chain, drawing.line("a1..a105"))
        assert list(chain.indexes) == []
    written = []
    async with open_chain(tmp_path, cache_size=20_000, checkpoint=written.append, **INDEXES) as chain:
        for index in chain.indexes:
            await caught_up(chain, index)
        assert written.count("flush-end") >= 5
        check(chain, drawing.line("a1..a105"))
        await add_all(chain, drawing.extend("a105 a106"))
        check(chain, drawing.line("a1..a106"))


async def test_an_index_that_fell_behind_on_a_branch_catches_up_on_another(
    open_chain: Any, add_all: Any, tmp_path: Path
) -> None:
    """As after a crash between the write of the coins and that of the indexes, in a reorganisation."""
    drawing = builders.chain("g a1..a103; a101 b102..b104")
    drawing.extend("a103 a104", [spend(coin(drawing["a1"]), to=OTHER)])
    drawing.extend("b104 b105", [spend(coin(drawing["a1"]))])
    async with open_chain(tmp_path, **INDEXES) as chain:
        await add_all(chain, drawing.line("a1..a104"))
    async with open_chain(tmp_path) as chain:
        await add_all(chain, drawing.line("b102..b105"))
    async with open_chain(tmp_path, background=False, **INDEXES) as chain:
        for index in chain.indexes:
            assert index.best.hash == drawing["a104"].hash
        assert chain.indexes.addresses.view(chain.tip).height == 101
        await add_all(chain, drawing.extend("b105 b106"))
        assert chain.indexes.addresses.best.hash == drawing["a104"].hash
    async with open_chain(tmp_path, **INDEXES) as chain:
        for index in chain.indexes:
            await caught_up(chain, index)
        check(chain, drawing.line("a1..a101 b102..b106"))


@pytest.mark.parametrize("step", STEPS)
async def test_an_index_never_stands_before_its_rows(open_chain: Any, add_all: Any, tmp_path: Path, step: str) -> None:
    """The process dies at a step of a flush: what was not written is made again."""
    drawing = builders.chain("g a1..a104")
    drawing.extend("a104 a105", [spend(coin(drawing["a2"]), to=OTHER)])
    armed: list[bool] = []

    def die(name: str) -> None:
        if name == step and armed:
            raise Death

    async with open_chain(tmp_path, checkpoint=die, background=False, **INDEXES) as chain:
        await add_all(chain, drawing.line("a1..a60"))
        await chain.flush()
        await add_all(chain, drawing.line("a61..a105"))
        armed.append(True)
        with pytest.raises(Death):
            await chain.flush()
        armed.clear()
    async with open_chain(tmp_path, background=False, **INDEXES) as chain:
        for index in chain.indexes:
            assert index.best.height == (60 if step == "flush-indexes" else 105)  # else the blocks were connected anew
    async with open_chain(tmp_path, **INDEXES) as chain:
        for index in chain.indexes:
            await caught_up(chain, index)
        assert chain.tip.hash == drawing["a105"].hash
        check(chain, drawing.line("a1..a105"))


async def test_blocks_without_rows_are_not_looked_at_again(open_chain: Any, add_all: Any, tmp_path: Path) -> None:
    async with open_chain(tmp_path, spender_index=True) as chain:
        await add_all(chain, BASE.line("a1..a3"))
    async with open_chain(tmp_path, spender_index=True, background=False) as chain:
        assert chain.indexes.spenders.best is chain.tip
        assert not chain.indexes.are_dirty


async def test_an_index_without_the_blocks_it_needs_says_what_to_do(
    open_chain: Any, add_all: Any, tmp_path: Path
) -> None:
    async def make_room() -> None:
        raise AssertionError("no block can be indexed")

    async with open_chain(tmp_path) as chain:
        await add_all(chain, BASE.line("a1..a3"))
    async with open_chain(tmp_path, address_index=True, background=False) as chain:
        chain.active(1).status &= ~HAVE_BLOCK
        with pytest.raises(StoreError, match="addressindex best block of the index goes beyond pruned data"):
            await catch_up(chain.indexes.addresses, chain, Inline(), make_room)
        chain.active(1).status |= HAVE_BLOCK


async def test_an_index_of_another_chain_is_refused(open_chain: Any, add_all: Any, tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    async with open_chain(one, address_index=True) as chain:
        await add_all(chain, BASE.line("a1..a2"))
    async with open_chain(other):
        pass
    (one / "regtest" / "indexes").rename(other / "regtest" / "indexes")
    with pytest.raises(StoreError, match="delete indexes/addresses"):
        async with open_chain(other, address_index=True):
            pass


async def test_rows_are_found_while_they_are_written(open_chain: Any, add_all: Any) -> None:
    async with open_chain(**INDEXES) as chain:
        await add_all(chain, BASE.line("a1..a50"))
        index = chain.indexes.addresses
        index.freeze()
        await add_all(chain, BASE.line("a51..a60"))
        check(chain, BASE.line("a1..a60"))
        index.write()
        check(chain, BASE.line("a1..a60"))
        index.thaw()
        check(chain, BASE.line("a1..a60"))
        assert index.is_dirty


def test_the_serialized_hash_orders_indexes_by_number() -> None:
    coins = {
        OutPoint.make(b"\x05" * 32, index): Coin(TxOut(index, b"\x51"), 7, True) for index in (0, 1, 255, 256, 600)
    }
    data = {outpoint: encode_coin(each) for outpoint, each in coins.items()}
    for step in (1, 2, 100):
        scan = CoinSetScan(iter(sorted(data.items())), "hash_serialized_3")
        while scan.step(step):
            pass
        assert scan.digest() == sha256d(b"".join(coin_element(*item) for item in data.items()))
        assert (scan.outputs, scan.transactions, scan.amount) == (5, 1, 1112)
        assert scan.bogo_size == 5 * 51
