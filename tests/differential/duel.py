"""Two chains that are given the same blocks and must agree on each."""

from collections.abc import Iterator
from contextlib import contextmanager

from differential.contestants import KERNEL_NETWORK, AltynChain, KernelChain, Verdict, altyn_chain, kernel_chain
from differential.ground import Ground, base
from differential.mutations import Case, Mutation

from altyn.consensus.block import Block, Header
from altyn.consensus.errors import Fault


class Duel:
    """The kernel's chain and ours. Every method asserts that both say the same and stand at the same tip."""

    def __init__(self, kernel: KernelChain, altyn: AltynChain) -> None:
        self.kernel = kernel
        self.altyn = altyn
        self.ground: Ground = base(KERNEL_NETWORK)
        """Where the next block is to be built, for those who build in a line."""
        self.judged = 0
        self.add_all(self.ground.line())

    def add(self, block: Block | bytes) -> Verdict:
        """Give both the block and return their verdict."""
        raw = block if isinstance(block, bytes) else block.raw
        theirs, ours = self.kernel.add(raw), self.altyn.add(raw)
        assert ours == theirs
        assert self.altyn.tip == self.kernel.tip
        self.judged += 1
        return ours

    def add_all(self, blocks: list[Block]) -> None:
        """Give both blocks that are valid and extend the tip."""
        for block in blocks:
            assert self.add(block) == Verdict(is_new=True)
            assert self.altyn.tip == block.hash

    def add_header(self, header: Header) -> bool:
        """Give both the header and tell whether they take it."""
        theirs, ours = self.kernel.add_header(header), self.altyn.add_header(header)
        assert ours == theirs
        assert self.altyn.best_header == self.kernel.best_header
        return ours

    def compare_spent(self, above: int) -> None:
        """See that both remember the same spent coins for each block of the active chain above a height."""
        entry = self.altyn.chain.tip
        while entry.height > above:
            assert self.altyn.spent(entry.hash) == self.kernel.spent(entry.hash)
            assert entry.parent is not None
            entry = entry.parent

    @property
    def agrees(self) -> bool:
        """Whether both stand where the next block is built; after a failed test they may not."""
        return self.altyn.tip == self.kernel.tip == self.ground.hash

    def try_case(self, mutation: Mutation, case: Case) -> None:
        """See the mutation refused, also when it comes again or others build on it, and its twin accepted."""
        for block in case.before:
            self.add_all([block])
            self.ground = self.ground.after(block)
        tip = self.altyn.tip
        verdict = self.add(case.raw)
        assert (verdict.reason, verdict.fault) == (mutation.reason, mutation.fault), verdict
        assert self.altyn.tip == tip
        again = self.add(case.raw)
        assert again.reason in {mutation.reason, "duplicate-invalid"}
        child = None
        if isinstance(case.broken, Block) and case.broken.header.prev_hash == tip:
            child = self.ground.again().after(case.broken).build()
            if self.add(child) == Verdict(is_new=True):  # the header under the damage may be right
                assert case.broken.hash == case.twin.hash or verdict.fault is Fault.MUTATED
            else:
                child = None
            assert self.altyn.tip == tip
        assert self.add(case.twin) == Verdict(is_new=True)
        assert self.altyn.spent(case.twin.hash) == self.kernel.spent(case.twin.hash)
        self.ground = self.ground.after(case.twin)
        if child is not None and case.broken.hash == case.twin.hash:  # type: ignore[union-attr]
            self.ground = self.ground.after(child)
        assert self.altyn.tip == self.ground.hash


@contextmanager
def duel() -> Iterator[Duel]:
    """Open two new chains and give them the base that grounds begin with."""
    with kernel_chain() as kernel, altyn_chain() as altyn:
        yield Duel(kernel, altyn)
