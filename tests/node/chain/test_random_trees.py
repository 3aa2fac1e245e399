"""Whatever tree of blocks arrives in whatever order, the most valid work wins and the coins are those of its blocks."""

import random
from typing import Any

import builders
import pytest
from builders import coin, spend
from node_chain_tools import coins_of, replay

from altyn.consensus.block import Block
from altyn.consensus.errors import ValidationError

BASE = builders.chain("g a1..a105")


class Node:
    """A drawn block: its parent, its height, whether its branch is valid, and what it spends of the base."""

    def __init__(self, block: Block, parent: "Node | None", height: int, valid: bool, spent: frozenset[int]) -> None:
        self.block, self.parent, self.height, self.valid, self.spent = block, parent, height, valid, spent

    def line(self) -> list[Block]:
        return [] if self.parent is None else [*self.parent.line(), self.block]


def draw(chance: random.Random) -> list[Node]:
    root = Node(BASE["a105"], None, 105, True, frozenset())
    nodes = [root]
    for number in range(25):
        parent = chance.choice(nodes[-6:])
        height, greedy = parent.height + 1, chance.random() < 0.1
        money = chance.choice([1, 2, 3, 4, 5])
        transactions = [spend(coin(BASE[f"a{money}"]))] if chance.random() < 0.5 else []
        double = bool(transactions) and money in parent.spent
        block = builders.block_on(
            parent.block.header, height, transactions, fees=1001 * greedy, extra=f"{number}".encode()
        )
        spent = parent.spent | ({money} if transactions else set())
        nodes.append(Node(block, parent, height, parent.valid and not greedy and not double, spent))
    return nodes


@pytest.mark.parametrize("seed", range(12))
async def test_the_most_valid_work_wins(open_chain: Any, add_all: Any, seed: int) -> None:
    chance = random.Random(seed)
    nodes = draw(chance)
    arrivals = nodes[1:]
    chance.shuffle(arrivals)
    async with open_chain(cache_size=chance.choice([20_000, 1 << 20]), filter_index=True) as chain:
        await add_all(chain, BASE.line("a1..a105"))
        await chain.add_headers([node.block.header for node in nodes[1:]])
        refused = []
        for node in arrivals:
            try:
                await chain.add_block(node.block)
            except ValidationError:
                refused.append(node)
        assert not any(node.valid for node in refused)
        best = max(node.height for node in nodes if node.valid)
        assert chain.tip.height == best
        ended_at = next(node for node in nodes if node.block.hash == chain.tip.hash)
        assert ended_at.valid
        assert coins_of(chain) == replay(BASE.line("a1..a105") + ended_at.line())
        assert chain.filters.best is chain.tip
        victim = chain.active(chance.randint(106, best)) if best > 105 else None
        if victim is not None:
            await chain.invalidate(victim)
            assert not chain.is_active(victim)
            await chain.reconsider(victim)
            assert chain.tip.hash == ended_at.block.hash or chain.tip.height == best
