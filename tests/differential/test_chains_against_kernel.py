"""Whole blocks and chains, valid and broken, judged by libbitcoinkernel and by Altyn: the verdicts are the same.

The kernel's reasons are read from its log, so that more than the yes or no is compared.
"""

import re
from collections import Counter
from pathlib import Path
from random import Random

import pytest
from differential.arena import Arena
from differential.catalogue import ALL
from differential.conftest import ROUNDS
from differential.contestants import KERNEL_NETWORK, Verdict
from differential.duel import Duel, duel
from differential.ground import BASE_HEIGHT, Ground, base, grow
from differential.mutations import Mutation, payments

from altyn.consensus.block import Block, Header

_COSTLY_EVERY = 10
"""Mutations as large as can be are tried once where the others are tried so often."""
ROOT = Path(__file__).parents[2]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("mutation", ALL, ids=str)
def test_a_mutation_is_refused_and_its_twin_accepted(mutation: Mutation, arena: Arena[Duel]) -> None:
    rounds = -(-ROUNDS // _COSTLY_EVERY) if mutation.is_costly else ROUNDS
    for number in range(rounds):
        seed = f"{mutation}-{number}"
        duel = arena.judges()
        print(f"seed {seed!r} at height {duel.ground.height}")
        duel.try_case(mutation, mutation.build(duel.ground, Random(seed)))


_GROWING = [each for each in ALL if not each.is_costly and each.reason != "time-too-new"]
"""Mutations for trees: they come often, and a tree's blocks must be the same whatever the hour."""


class Tree:
    """Branches that grow at random, some of them over invalid blocks, and their blocks on the way to the judges."""

    _PATIENCE = 3
    """How often a block comes again whose parent was not there."""

    def __init__(self, seed: str) -> None:
        self.random = Random(seed)
        self.pending: list[Block | bytes] = []
        self._grounds = [base(KERNEL_NETWORK)]
        self._tries: Counter[bytes] = Counter()

    def grow(self, judges: Duel) -> None:
        """Make one of the latest branches longer, mostly one of those that are not known to be invalid."""
        random = self.random
        entries = judges.altyn.chain.tree
        open_ = [each for each in self._grounds if (entry := entries.get(each.hash)) and not entry.is_failed]
        ground = random.choice((open_ if random.random() < 0.9 else self._grounds)[-4:]).again()
        if len(self._grounds) == 1 or random.random() < 0.6:  # the first block is right, that there is a tip
            self._add(ground, ground.build(*payments(ground, random, 0, 3)))
            return
        case = random.choice(_GROWING).build(ground, random)
        for block in case.before:
            ground = self._add(ground, block)
        if (
            isinstance(case.broken, bytes)
            or case.broken.header.prev_hash != ground.hash
            or not case.broken.transactions
            or random.random() < 0.5
        ):
            self.pending.append(case.broken)
        else:
            self._add(ground, case.broken)
        if random.random() < 0.5:
            self._add(ground, case.twin)

    def _add(self, ground: Ground, block: Block) -> Ground:
        """Let a block be judged, and others be built on it."""
        self.pending.append(block)
        after = ground.after(block)
        self._grounds.append(after)
        return after

    def give_one(self, judges: Duel) -> None:
        """Have one of the blocks judged, mostly the one that is next."""
        index = 0 if self.random.random() < 0.8 else self.random.randrange(len(self.pending))
        block = self.pending.pop(index)
        verdict = judges.add(block)
        if verdict.reason == "prev-blk-not-found" and isinstance(block, Block):
            self._tries[block.hash] += 1
            if self._tries[block.hash] < self._PATIENCE:
                self.pending.append(block)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("number", range(ROUNDS * 2))
def test_branches_over_invalid_blocks_lead_to_the_same_tip(number: int) -> None:
    """Blocks of a tree come in an order that is mostly theirs: reorganisations meet what is invalid on the way."""
    seed = f"tree-{number}"
    print(f"seed {seed!r}")
    tree = Tree(seed)
    with duel() as judges:
        for _ in range(60):
            tree.grow(judges)
            while tree.pending and tree.random.random() < 0.6:
                tree.give_one(judges)
        while tree.pending:
            tree.give_one(judges)
        assert judges.altyn.chain.tip.height > BASE_HEIGHT
        judges.compare_spent(BASE_HEIGHT)


@pytest.mark.parametrize("number", range(ROUNDS))
def test_headers_and_then_blocks_come_in_any_order(number: int) -> None:
    """A header is taken when its parent's is there, a block when its header is; blocks wait for their parents."""
    random = Random(f"headers-{number}")
    left = grow(base(KERNEL_NETWORK), random.randint(1, 12))
    trunk = left.ancestor(random.randint(BASE_HEIGHT, left.height)).again()
    right = trunk.after(trunk.build(*payments(trunk, random, 1, 2)))
    right = grow(right, random.randint(1, 12))
    blocks = {block.hash: block for ground in (left, right) for block in ground.line()[BASE_HEIGHT:]}
    with duel() as judges:
        missing = list(blocks.values())
        while missing:
            random.shuffle(missing)
            missing = [block for block in missing if not judges.add_header(block.header)]
        assert not judges.add_header(Header(4, random.randbytes(32), bytes(32), 0, 0x207FFFFF, 0))
        tips = set()
        for block in random.sample(list(blocks.values()), len(blocks)):
            assert judges.add(block).reason == ""
            tips.add(judges.altyn.tip)
        assert judges.altyn.chain.tip.height == max(left.height, right.height)
        for block in blocks.values():
            assert judges.add(block) == Verdict(is_new=False)


# What every rule needs

_ELSEWHERE = {
    "bad-txns-oversize": "the block is too long before; a transaction alone is tried against bitcoind",
    "bad-txns-BIP30": "BIP34 forbids it from height 1 on; tried against bitcoind, with BIP34 later",
    "time-timewarp-attack": "the kernel's regtest is without BIP94; tried against bitcoind with it",
    "bad-txns-inputvalues-outofrange": "nobody on regtest has so much",
    "bad-txns-fee-outofrange": "nobody on regtest has so much",
    "bad-txns-accumulated-fee-outofrange": "nobody on regtest has so much",
    "too-little-chainwork": "judged by where a header comes from, not by blocks",
    "duplicate-invalid": "what a refused block is when it comes again: every mutation tries it",
    "bad-prevblk": "what a child of a refused block is: every mutation tries it",
}
"""Reasons without a mutation here, and why."""


def test_every_reason_of_the_rules_has_a_mutation() -> None:
    sources = [*(ROOT / "consensus" / "checks").glob("*.py"), ROOT / "consensus/pow.py", ROOT / "node/chain/accept.py"]
    raised = {
        reason for path in sources for reason in re.findall(r'ValidationError\(\s*f?"([a-zA-Z0-9-]+)', path.read_text())
    }
    assert len(raised) > 35
    reached = {re.match(r"[a-zA-Z0-9-]+", mutation.reason)[0] for mutation in ALL}  # type: ignore[index]
    assert raised - reached == _ELSEWHERE.keys()
