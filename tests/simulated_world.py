"""A simulated network with scripted peers of its nodes, and the chain that they have."""

from contextlib import AsyncExitStack

from builders import Drawing
from scripted_node import ScriptedNode

from altyn.consensus.block import Block
from altyn.node.testnet.simulation import SimulatedLight, SimulatedNetwork, SimulatedNode
from altyn.p2p.kinds import PeerKind
from altyn.p2p.messages import Message

NOW = 1_700_000_000


class World:
    """A simulated network, and scripted peers of its nodes."""

    def __init__(self, network: SimulatedNetwork, stack: AsyncExitStack) -> None:
        self.network = network
        self._stack = stack
        self._hosts = 0

    async def call(self, node: SimulatedNode, script: ScriptedNode) -> None:
        """Have a scripted peer call a node."""
        self._hosts += 1
        surroundings = self.network.surroundings(f"10.9.0.{self._hosts}")
        await self._stack.enter_async_context(script.serve(surroundings, call=node.host))
        await self.until(lambda: bool(script.peers))

    async def be_called(self, node: SimulatedNode | SimulatedLight, script: ScriptedNode) -> None:
        """Have a node open an automatic outbound connection to a scripted peer."""
        self._hosts += 1
        host = f"10.9.0.{self._hosts}"
        await self._stack.enter_async_context(script.serve(self.network.surroundings(host)))
        await node.node.connections.connect(host, self.network.network.port, PeerKind.OUTBOUND_FULL_RELAY)
        await self.until(lambda: bool(script.peers))

    async def until(self, condition: object, within: float = 60) -> None:
        await self.network.until(condition, within=within)  # type: ignore[arg-type]

    async def heard(self, script: ScriptedNode, kind: type[Message]) -> Message:
        """Wait for a message of one kind and return the last of them."""
        await self.until(lambda: bool(script.requests(kind)))
        return script.requests(kind)[-1]


def first_blocks(drawing: Drawing, count: int) -> list[Block]:
    return [drawing["g"], *drawing.line(f"a1..a{count}")]


async def feed(node: SimulatedNode, blocks: list[Block]) -> None:
    for block in blocks[1:]:
        await node.node.chain.add_block(block)
