"""A node's work on blocks, without a node: every rule is asked, in order, and the coins are a dict."""

import io
from collections.abc import Iterator

from altyn.consensus.ancestry import ChainEntry
from altyn.consensus.block import Block
from altyn.consensus.checks.blocks import BlockChecks, block_script_checks, check_block, check_block_in_context
from altyn.consensus.checks.headers import check_header_in_context
from altyn.consensus.networks import REGTEST, Network
from altyn.consensus.pow import work
from altyn.consensus.secp256k1 import load
from altyn.consensus.transaction import Coin, OutPoint

FAR_FUTURE = 4_000_000_000


class Linked:
    """A ChainEntry of a block that was connected."""

    def __init__(self, block: Block, parent: "Linked | None") -> None:
        self.header = block.header
        self.hash = block.hash
        self.parent = parent
        self.height: int = parent.height + 1 if parent else 0
        self.chain_work: int = work(block.header.bits) + (parent.chain_work if parent else 0)
        self._line: list[Linked] = [*parent._line, self] if parent else [self]

    def ancestor(self, height: int) -> "Linked":
        return self._line[height]


class Ledger:
    """The chain so far and its coins."""

    def __init__(self, network: Network = REGTEST) -> None:
        self.network = network
        self.tip = Linked(network.genesis, None)
        self.coins: dict[OutPoint, Coin] = {}
        self.secp = load()

    def check(self, block: Block, *, now: int = FAR_FUTURE) -> BlockChecks:
        """Ask every rule of a block on the tip, scripts included. Raises ValidationError or ScriptError."""
        parent: ChainEntry = self.tip
        check_block(block, self.network)
        check_header_in_context(block.header, parent, self.network, now)
        check_block_in_context(block, parent, self.network)
        found = block_script_checks(block, self.coins, parent, self.network)
        for check in found.checks:
            check.run(self.secp)
        return found

    def connect(self, *blocks: Block) -> BlockChecks:
        """Check blocks and add them; return the effects of the last."""
        for block in blocks:
            found = self.check(block)
            for outpoint in found.removed:
                del self.coins[outpoint]
            self.coins |= found.created
            self.tip = Linked(block, self.tip)
        return found


def records(data: bytes, magic: bytes) -> Iterator[bytes]:
    """Yield the records of a block file: magic, u32 size, block."""
    file = io.BytesIO(data)
    while head := file.read(8):
        assert head[:4] == magic
        yield file.read(int.from_bytes(head[4:], "little"))
