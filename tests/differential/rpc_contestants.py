"""The two that answer the same calls: a bitcoind, and Altyn's RPC methods without a server."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from differential.contestants import AltynChain, altyn_chain
from node_processes import NodeProcess, bitcoind_process

from altyn.consensus.block import Block
from altyn.consensus.networks import Network
from altyn.consensus.secp256k1 import load
from altyn.consensus.transaction import Transaction
from altyn.node.events import Events
from altyn.node.mempool.accept import Acceptance
from altyn.node.mempool.follow import ChainFollower
from altyn.node.mempool.packages import PackageAcceptance
from altyn.node.mempool.policy import PolicyLimits
from altyn.node.mempool.pool import Mempool
from altyn.node.offload import Inline
from altyn.node.rpc.client import RpcFailure
from altyn.node.rpc.errors import RpcError
from altyn.node.rpc.mining import MiningMethods
from altyn.node.rpc.submission import PackageMethods
from altyn.p2p.clock import SystemClock


class Answers(Protocol):
    """Someone to ask. What a call fails with is an answer too."""

    @property
    def tip(self) -> bytes:
        """Return the hash of the best block."""
        ...

    def submit(self, block: Block | bytes) -> str | None:
        """Return submitblock's answer."""
        ...

    def propose(self, block: Block | bytes) -> str | None:
        """Return getblocktemplate's answer to a proposal."""
        ...

    def refusal(self, tx: Transaction | bytes) -> str | None:
        """Return why testmempoolaccept would refuse a transaction, None if it would not."""
        ...


def _hex(value: Block | Transaction | bytes) -> str:
    return (value if isinstance(value, bytes) else value.raw).hex()


class Bitcoind:
    """A running bitcoind."""

    def __init__(self, node: NodeProcess) -> None:
        self.node = node

    def _call(self, method: str, *params: Any) -> Any:
        try:
            return self.node.call(method, *params)
        except RpcFailure as failure:
            return f"error {failure.code}: {failure.message}"

    @property
    def tip(self) -> bytes:
        return bytes.fromhex(self.node.call("getbestblockhash"))[::-1]

    def submit(self, block: Block | bytes) -> str | None:
        answer: str | None = self._call("submitblock", _hex(block))
        return answer

    def propose(self, block: Block | bytes) -> str | None:
        request = {"mode": "proposal", "rules": ["segwit"], "data": _hex(block)}
        answer: str | None = self._call("getblocktemplate", request)
        return answer

    def refusal(self, tx: Transaction | bytes) -> str | None:
        answer = self._call("testmempoolaccept", [_hex(tx)], "0")
        return answer if isinstance(answer, str) else answer[0].get("reject-reason")


class Altyn:
    """Altyn's methods, on a chain in memory."""

    def __init__(self, chain: AltynChain, limits: PolicyLimits) -> None:
        self._chain = chain
        self._run = chain.runner.run
        clock, offload, secp = SystemClock(), Inline(), load()
        mempool = Mempool(limits, clock, Events())
        acceptance = Acceptance(chain.chain, mempool, chain.writer, offload, secp)
        chain.chain.add_listener(ChainFollower(mempool, acceptance))
        # No templates are asked for here.
        self._mining = MiningMethods(chain.chain, mempool, None, lambda: 0)  # type: ignore[arg-type]
        self._mempool = PackageMethods(PackageAcceptance(acceptance), mempool, offer=lambda _: None)

    def _call(self, made: Any) -> Any:
        try:
            return self._run(made)
        except RpcError as error:
            return f"error {error.code}: {error.message}"

    @property
    def tip(self) -> bytes:
        return self._chain.tip

    def submit(self, block: Block | bytes) -> str | None:
        answer: str | None = self._call(self._mining.submitblock(_hex(block)))
        return answer

    def propose(self, block: Block | bytes) -> str | None:
        answer: str | None = self._call(self._mining.getblocktemplate({"mode": "proposal", "data": _hex(block)}))
        return answer

    def refusal(self, tx: Transaction | bytes) -> str | None:
        answer = self._call(self._mempool.testmempoolaccept([_hex(tx)], 0))
        return answer if isinstance(answer, str) else answer[0].get("reject-reason")


CORE_28_OPTIONS = ("-minrelaytxfee=0.00001", "-incrementalrelayfee=0.00001", "-blockmintxfee=0.00001")
"""Defaults of Core 28.1 that later versions lowered."""


@contextmanager
def pair(folder: Path, network: Network, *options: str, **limits: Any) -> Iterator[tuple[Answers, Answers]]:
    """Run a bitcoind, whose `options` say what `network` and the mempool's `limits` say, and open Altyn beside it."""
    with bitcoind_process(folder, *CORE_28_OPTIONS, *options) as node, altyn_chain(network) as chain:
        yield Bitcoind(node), Altyn(chain, PolicyLimits(**limits))
