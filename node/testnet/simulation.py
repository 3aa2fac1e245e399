"""Whole nodes in one process, in simulated time, on links that can be slow and can be cut."""

import asyncio
import dataclasses
import random
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Self

from altyn.consensus.hashes import sha256
from altyn.consensus.networks import REGTEST, Network
from altyn.node.events import TipChanged
from altyn.node.full import FullNode
from altyn.node.lifetime import Surroundings
from altyn.node.light.node import LightNode
from altyn.node.offload import Inline
from altyn.node.settings import Settings
from altyn.node.testnet.clock import SimulatedClock
from altyn.node.testnet.links import Link, Links

ANYONE = b"\x00\x20" + sha256(b"\x51")
"""P2WSH of OP_TRUE: what simulated miners are paid to, so that anyone can spend it."""
_POLL = 0.05


@dataclasses.dataclass(slots=True, eq=False)
class SimulatedNode:
    """A full node on a host of its own."""

    host: str
    node: FullNode

    @property
    def tip(self) -> bytes:
        """The hash of its best block."""
        return self.node.chain.tip.hash

    async def mine(self, count: int = 1, script_pubkey: bytes = ANYONE) -> bytes:
        """Mine blocks and return the hash of the last."""
        hashes = await self.node.miner.generate(count, script_pubkey)
        return hashes[-1]


@dataclasses.dataclass(slots=True, eq=False)
class SimulatedLight:
    """A light node on a host of its own."""

    host: str
    node: LightNode

    @property
    def tip(self) -> bytes:
        """The hash of its best header."""
        return self.node.chain.tip.hash


class SimulatedNetwork:
    """Nodes, links and chance, all from one seed: two runs of the same steps are the same. Needs a SimulatedLoop.

    Use `async with SimulatedNetwork.open(seed=1) as network`; leaving it stops all nodes.
    """

    def __init__(self, network: Network, links: Links, rng: random.Random, nodes: AsyncExitStack) -> None:
        """Use `open` instead."""
        self.network = network
        self.clock = SimulatedClock()
        self.links = links
        self.random = rng
        self.trace: list[tuple[float, str, bytes]] = []
        """Which host had which block as its tip, and when, in seconds of the loop: equal seeds, equal traces."""
        self.hosts: list[str] = []
        self._nodes = nodes

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        *,
        network: Network = REGTEST,
        seed: int = 1,
        latency: float = 0.05,
        bandwidth: float | None = None,
        loss: float = 0.0,
    ) -> AsyncIterator[Self]:
        """Make an empty network with links of this `latency`, `bandwidth` and `loss`: see `Link`."""
        rng = random.Random(seed)
        links = Links(latency=latency, bandwidth=bandwidth, loss=loss, random=random.Random(rng.getrandbits(64)))
        async with AsyncExitStack() as nodes:
            yield cls(network, links, rng, nodes)

    async def add_node(self, **settings: object) -> SimulatedNode:
        """Start a full node that listens; `settings` are fields of Settings."""
        host = self._next_host()
        served = {"blockfilterindex": True, "peerblockfilters": True, "bind": (host,)}
        chosen = self._settings(**served | settings)
        node = await self._nodes.enter_async_context(
            FullNode.open(chosen, surroundings=self.surroundings(host), beat=0.25)
        )
        node.events.subscribe(partial(self._note, host))
        return SimulatedNode(host, node)

    def _note(self, host: str, event: object) -> None:
        if isinstance(event, TipChanged):
            self.trace.append((asyncio.get_running_loop().time(), host, event.new.hash))

    async def add_light(self, *peers: "SimulatedNode | str", **settings: object) -> SimulatedLight:
        """Start a light node that keeps connections to `peers`, nodes or hosts."""
        host = self._next_host()
        hosts = tuple(peer if isinstance(peer, str) else peer.host for peer in peers)
        chosen = self._settings(addnode=hosts, **settings)
        node = await self._nodes.enter_async_context(
            LightNode.open(chosen, surroundings=self.surroundings(host), beat=0.25)
        )
        return SimulatedLight(host, node)

    def link(self, one: SimulatedNode, other: SimulatedNode, latency: float | None = None) -> Link:
        """Have `one` keep a connection to `other`; return the link between them, which can be cut and restored."""
        link = self.links.between(one.host, other.host)
        if latency is not None:
            link.latency = latency
        one.node.connections.add_node(other.host, self.network.port)
        return link

    def link_at_random(self, nodes: Sequence[SimulatedNode], *, each: int) -> None:
        """Have every node keep connections to up to `each` of those before it, over links of different latency."""
        for index, node in enumerate(nodes):
            for other in self.random.sample(nodes[:index], min(each, index)):
                self.link(node, other, latency=self.random.uniform(0.02, 0.15))

    def spread(self, block_hash: bytes) -> list[float]:
        """Return after how many seconds each further host had the block as its tip, counted from the first."""
        times = [time for time, _, tip in self.trace if tip == block_hash]
        return [time - times[0] for time in times]

    async def until(self, condition: Callable[[], bool], *, within: float) -> None:
        """Let time pass until `condition` holds. Raises TimeoutError after `within` simulated seconds."""
        async with asyncio.timeout(within):
            while not condition():  # noqa: ASYNC110 - simulated time passes at once
                await asyncio.sleep(_POLL)

    async def agree(self, *nodes: "SimulatedNode | SimulatedLight", within: float) -> bytes:
        """Let time pass until all nodes have the same tip; return it. Raises TimeoutError."""
        await self.until(lambda: len({node.tip for node in nodes}) == 1, within=within)
        return nodes[0].tip

    def surroundings(self, host: str) -> Surroundings:
        """Return what a node on `host` takes from outside."""
        return Surroundings(
            self.clock,
            Inline(),
            random.Random(self.random.getrandbits(64)),
            self.links.dialer(host),
            self.links.listener(host),
            in_memory=True,
        )

    def _next_host(self) -> str:
        self.hosts.append(f"10.0.{len(self.hosts) >> 8}.{(len(self.hosts) & 255) + 1}")
        return self.hosts[-1]

    def _settings(self, **fields: object) -> Settings:
        network = self.network
        defaults = {"chain": network.chain, "network": network, "port": network.port, "v2transport": False}
        return dataclasses.replace(Settings(), **defaults | fields)  # type: ignore[arg-type]  # whatever a test sets
