"""Where a miner's work comes from and where its blocks go: this node, or another one behind the same interface."""

from collections.abc import Sequence
from typing import Protocol

from altyn.consensus.block import Block
from altyn.consensus.deployments import VersionBits
from altyn.consensus.networks import Network
from altyn.consensus.secp256k1 import Secp256k1
from altyn.consensus.signet import check_signet_solution
from altyn.consensus.transaction import Transaction
from altyn.node.chain.chain import Chain
from altyn.node.mempool.pool import Mempool
from altyn.node.mining.select import Room
from altyn.node.mining.template import BlockTemplate, build_template, template_of
from altyn.node.writer import Writer
from altyn.p2p.clock import Clock


class TemplateSource(Protocol):
    """Hands out templates and takes blocks."""

    @property
    def network(self) -> Network: ...

    async def template(self, script_pubkey: bytes) -> BlockTemplate:
        """Return a template of the next block, which pays `script_pubkey`."""
        ...

    def is_current(self, template: BlockTemplate) -> bool:
        """Tell whether a block made from the template would still extend the chain."""
        ...

    def check(self, block: Block) -> None:
        """Refuse a block, yet without proof of work, that no work could make valid. Raises ValidationError."""
        ...

    async def submit(self, block: Block) -> None:
        """Hand in a finished block. Raises ValidationError."""
        ...


class ChainTemplates:
    """Templates of this node's own chain and mempool."""

    def __init__(
        self, chain: Chain, mempool: Mempool, writer: Writer, clock: Clock, secp: Secp256k1, room: Room | None = None
    ) -> None:
        self._chain = chain
        self._mempool = mempool
        self._writer = writer
        self._clock = clock
        self._secp = secp
        self._room = room
        self._version_bits = VersionBits(chain.network)
        self.last: BlockTemplate | None = None
        """The template that was made last of what the mempool offers."""

    @property
    def network(self) -> Network:
        return self._chain.network

    async def template(self, script_pubkey: bytes) -> BlockTemplate:
        """Make a template of what the mempool offers now. In the writer, for there chain and mempool fit together."""

        async def build() -> BlockTemplate:
            self.last = build_template(
                self._chain.tip,
                self._mempool,
                self._chain.network,
                script_pubkey,
                int(self._clock.now()),
                version_bits=self._version_bits,
                room=self._room,
            )
            return self.last

        return await self._writer.do(build)

    async def template_of(self, script_pubkey: bytes, transactions: Sequence[Transaction]) -> BlockTemplate:
        """Make a template that holds exactly the given transactions, and check it. Raises ValidationError."""
        chain = self._chain
        now = int(self._clock.now())
        template = template_of(
            chain.tip, transactions, chain.network, script_pubkey, now, version_bits=self._version_bits
        )
        await chain.test_block(template.to_block(), check_pow=False)
        return template

    def is_current(self, template: BlockTemplate) -> bool:
        return self._chain.tip.hash == template.previous_hash

    def check(self, block: Block) -> None:
        """Refuse to search for a block of a signet whose challenge it does not solve. Raises ValidationError."""
        check_signet_solution(block, self._chain.network, self._secp)

    async def submit(self, block: Block) -> None:
        await self._chain.add_block(block)
