"""Whatever happens to it, the mempool holds only what the next blocks can, and counts families right."""

import asyncio
from contextlib import suppress
from dataclasses import replace

from builders import ANYONE, Spendable, chain, solve, spend
from hypothesis import given
from hypothesis import strategies as st
from toy_chain import ToyChain, ToyClock

from altyn.consensus.errors import ValidationError
from altyn.consensus.networks import REGTEST
from altyn.consensus.transaction import TxOut
from altyn.node.events import Events
from altyn.node.mempool.accept import Acceptance
from altyn.node.mempool.entry import LINK_MEMORY, TransactionAdded, TransactionRemoved
from altyn.node.mempool.follow import ChainFollower
from altyn.node.mempool.policy import PolicyLimits
from altyn.node.mempool.pool import Mempool
from altyn.node.mining.template import build_template, template_of
from altyn.node.offload import Inline
from altyn.node.writer import Writer

NETWORK = replace(REGTEST, coinbase_maturity=4)
FIRST = chain("g a1..a10", NETWORK, start=1_699_990_000)


class World:
    """A chain, its mempool, and the moves a test may make with them."""

    def __init__(self, limits: PolicyLimits) -> None:
        self.chain = ToyChain(NETWORK)
        self.clock, events = ToyClock(), Events()
        self.mempool = Mempool(limits, self.clock, events)
        self.writer = Writer()
        self.acceptance = Acceptance(self.chain, self.mempool, self.writer, Inline(), self.chain.secp)  # type: ignore[arg-type]
        self.chain.add_listener(ChainFollower(self.mempool, self.acceptance))
        self.present: set[bytes] = set()
        events.subscribe(self._follow_events)
        self.blocks = 0
        for block in FIRST.line("a1..a10"):
            self.chain.connect(block)

    def _follow_events(self, event: object) -> None:
        if isinstance(event, TransactionAdded):
            self.present.add(event.entry.txid)
        elif isinstance(event, TransactionRemoved):
            self.present.remove(event.entry.txid)

    def spendable(self, *, spent_too: bool) -> list[Spendable]:
        """Outputs of chain and mempool; with `spent_too` also those that the mempool spends."""
        confirmed = [Spendable(outpoint, coin.output) for outpoint, coin in self.chain.coins.items()]
        pending = [
            Spendable(entry.tx.outpoint(index), output)
            for entry in self.mempool
            for index, output in enumerate(entry.tx.outputs)
        ]
        every = [one for one in confirmed + pending if one.output.script_pubkey == ANYONE and one.output.value > 10_000]
        return [one for one in every if spent_too or self.mempool.spender(one.outpoint) is None]

    async def pay(self, a: int, b: int, c: int) -> None:
        coins = self.spendable(spent_too=c % 7 == 0)
        if not coins:
            return
        spent = list({one.outpoint: one for one in (coins[a % len(coins)], coins[b % len(coins)])}.values())[
            : 1 + c % 2
        ]
        outputs, fee = 1 + b % 3, 150 + c % 5000
        value = (sum(one.output.value for one in spent) - fee) // outputs
        sequence = (0xFFFFFFFE, 1, 3)[a % 3] if c % 5 == 0 else 0xFFFFFFFE
        with suppress(ValidationError):
            await self.acceptance.accept(spend(spent, [TxOut(value, ANYONE)] * outputs, sequence=sequence))

    async def mine(self, a: int, b: int, c: int) -> None:
        template = build_template(self.chain.tip, self.mempool, NETWORK, ANYONE, int(self.clock.now()))
        self.blocks += 1
        self.clock.time += 1
        block = solve(template.to_block(extra_nonce=self.blocks))
        await self.chain.add_block(block)

    async def mine_rivals(self, a: int, b: int, c: int) -> None:
        """A block from elsewhere: its transactions spend confirmed coins, whatever the mempool does with them."""
        coins = [one for one in self.spendable(spent_too=True) if one.outpoint in self.chain.coins]
        height = self.chain.tip.height + 1
        ripe = [
            one
            for one in coins
            if not (made := self.chain.coins[one.outpoint]).is_coinbase or height - made.height >= 4
        ]
        spent = list({one.outpoint: one for one in (ripe[n % len(ripe)] for n in (a, b, c))}.values()) if ripe else []
        self.blocks += 1
        now = int(self.clock.now())
        template = template_of(self.chain.tip, [spend(one, fee=777) for one in spent], NETWORK, ANYONE, now)
        await self.chain.add_block(solve(template.to_block(extra_nonce=self.blocks)))

    async def reorganise(self, a: int, b: int, c: int) -> None:
        for _ in range(min(1 + a % 3, self.chain.tip.height - 6)):
            self.chain.disconnect()
        await self.chain.settle()
        if b % 2:
            await self.mine_rivals(a, b, c)

    async def wait(self, a: int, b: int, c: int) -> None:
        self.clock.time += a % 4000
        self.mempool.enforce_bounds()

    def check(self) -> None:
        pool = self.mempool
        entries = {entry.txid: entry for entry in pool}
        assert self.present == set(entries)
        spent = [txin.prevout for entry in pool for txin in entry.tx.inputs]
        assert len(spent) == len(set(spent)), "two transactions spend one output"
        for entry in pool:
            for txin in entry.tx.inputs:
                assert pool.coin(txin.prevout) or txin.prevout in self.chain.coins, "an input is not there"
                assert pool.spender(txin.prevout) is entry
            assert pool.get_wtxid(entry.wtxid) is entry
            parents = {txin.prevout.txid for txin in entry.tx.inputs} & entries.keys()
            assert entry.parents == parents
            assert entry.children == {each.txid for each in pool if entry.txid in each.parents}
            above, below = (
                {entries[txid] for txid in walk(entry.txid)} | {entry} for walk in (pool.ancestors, pool.descendants)
            )
            assert (entry.ancestor_count, entry.descendant_count) == (len(above), len(below))
            assert entry.ancestor_size == sum(each.vsize for each in above)
            assert entry.ancestor_fees == sum(each.fee for each in above)
            assert entry.ancestor_sigop_cost == sum(each.sigop_cost for each in above)
            assert entry.descendant_size == sum(each.vsize for each in below)
            assert entry.descendant_fees == sum(each.fee for each in below)
            assert entry.ancestor_count <= pool.limits.ancestor_count
        assert pool.total_vsize == sum(entry.vsize for entry in pool)
        assert pool.total_fee == sum(entry.fee for entry in pool)
        links = sum(len(entry.parents) for entry in pool)
        assert pool.usage == sum(entry.memory for entry in pool) + LINK_MEMORY * links <= pool.limits.max_bytes
        assert len(pool._spenders) == len(spent)
        template = build_template(self.chain.tip, pool, NETWORK, ANYONE, int(self.clock.now()))
        self.chain.check(template.to_block(), check_pow=False)


MOVES = (World.pay, World.pay, World.pay, World.pay, World.mine, World.mine_rivals, World.reorganise, World.wait)
NUMBERS = st.integers(0, 10_000)
STEPS = st.lists(st.tuples(st.sampled_from(MOVES), NUMBERS, NUMBERS, NUMBERS), min_size=20, max_size=60)
LIMITS = st.sampled_from(
    [PolicyLimits(), PolicyLimits(ancestor_count=4, descendant_count=4), PolicyLimits(max_bytes=20_000, expiry=3000)]
)


@given(STEPS, LIMITS)
def test_the_mempool_keeps_its_invariants(steps: list[tuple[object, int, int, int]], limits: PolicyLimits) -> None:
    async def play() -> None:
        world = World(limits)
        writer = asyncio.create_task(world.writer.run())
        for move, a, b, c in steps:
            await move(world, a, b, c)  # type: ignore[operator]
            world.check()
        writer.cancel()
        with suppress(asyncio.CancelledError):
            await writer

    asyncio.run(play())
