"""Transactions accepted per second, alone and in chains of 25, by RPC and from a peer; and how soon a node answers.

Payments have one P2WPKH input and two outputs. They come in batches of `sendrawtransaction`, and as messages `tx` of a
peer, each batch followed by a ping that is answered when all before it is done. With --bitcoind PATH bitcoind gets the
same transactions, in turns, batch by batch. Then an Altyn node fetches a chain, and is asked meanwhile.
"""

import contextlib
import functools
import hashlib
import socket
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import contestants
import measure
from chains import Shape, cached_chain
from measure import Case, percentile
from nodes import ALTYND, PATIENCE, Node, free_ports, running

from altyn.consensus.hashes import hash160
from altyn.consensus.limits import COIN
from altyn.consensus.networks import REGTEST
from altyn.consensus.script.addresses import encode_address
from altyn.consensus.script.sighash import SIGHASH_ALL, SighashCache
from altyn.consensus.script.templates import p2pkh, p2wpkh
from altyn.consensus.secp256k1 import load
from altyn.consensus.transaction import OutPoint, Transaction, TxIn, TxOut
from altyn.node.rpc.client import RpcClient, RpcFailure
from altyn.p2p.framing.v1 import V1Framing
from altyn.p2p.messages import Message, Ping, Pong, Tx, Verack, Version

BAR = ">=0.4"
MOST_DELAY = 50.0
"""Milliseconds that 99 of 100 answers to getblockcount may take at most, while the node synchronises."""
CHAIN = 25
FAN_OUT = 2500
FEE = 2000
ALTYN_OPTIONS = ("-printtoconsole=0", "-connect=0")
BITCOIND_OPTIONS = (
    "-connect=0",
    "-listenonion=0",
    "-minrelaytxfee=0.00001",
    "-incrementalrelayfee=0.00001",
    "-checkmempool=0",
    "-checkblockindex=0",
)

Coin = tuple[OutPoint, TxOut]


class Key:
    """One key that owns all coins, and what it signs."""

    def __init__(self) -> None:
        self._secp = load("coincurve")
        self._secret = hashlib.sha256(b"bench mempool").digest()
        self._public = self._secp.public_key(self._secret)
        self._code = p2pkh(hash160(self._public))
        self.script = p2wpkh(hash160(self._public))

    def pay(self, coin: Coin, amounts: Sequence[int]) -> Transaction:
        """Spend a coin to outputs of the same key."""
        outpoint, spent = coin
        outputs = [TxOut(amount, self.script) for amount in amounts]
        bare = Transaction(2, [TxIn(outpoint)], outputs)
        digest = SighashCache(bare, [spent]).witness_v0(0, self._code, spent.value, SIGHASH_ALL)
        signature = self._secp.sign_ecdsa(self._secret, digest) + b"\1"
        return Transaction(2, [TxIn(outpoint, witness=(signature, self._public))], outputs)

    def payment(self, coin: Coin) -> Transaction:
        return self.pay(coin, [1000, coin[1].value - FEE - 1000])


def coins_of(tx: Transaction) -> list[Coin]:
    return [(tx.outpoint(index), output) for index, output in enumerate(tx.outputs)]


class Peer:
    """A peer that sends transactions nobody asked for, and waits until they are dealt with."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._framing = V1Framing(REGTEST.magic)
        self._frames: list[Any] = []
        self._send(Version(version=70016, services=9, time=int(time.time()), nonce=1, user_agent="/bench/"))
        self._until(Verack)
        self._send(Verack())

    def give(self, transactions: Sequence[Transaction]) -> None:
        self._send(*map(Tx, transactions), Ping(7))
        self._until(Pong)

    def _send(self, *messages: Message) -> None:
        self._socket.sendall(b"".join(self._framing.frame(each.command, each.payload()) for each in messages))

    def _until(self, kind: type[Message]) -> None:
        while True:
            while self._frames:
                frame = self._frames.pop(0)
                if frame.command == Ping.command:
                    self._send(Pong(Ping.parse(frame.payload).nonce))
                if frame.command == kind.command:
                    return
            data = self._socket.recv(1 << 16)
            if not data:
                raise RuntimeError("the node hung up")
            self._frames += self._framing.feed(data)


@dataclass
class Payee:
    """A running node, and two ways into its mempool."""

    node: Node

    def by_rpc(self, transactions: Sequence[Transaction]) -> None:
        for answer in self.node.client.batch([("sendrawtransaction", [tx.raw.hex()]) for tx in transactions]):
            if isinstance(answer, RpcFailure):
                raise RuntimeError(f"a payment was refused: {answer}")

    @functools.cached_property
    def peer(self) -> Peer:
        return Peer(self.node.endpoint.port)

    def by_peer(self, transactions: Sequence[Transaction]) -> None:
        self.peer.give(transactions)

    @property
    def size(self) -> int:
        return int(self.node.call("getmempoolinfo")["size"])


def funded(nodes: Sequence[Node], key: Key, count: int) -> list[Coin]:
    """Give all nodes a chain that holds so many coins of the key, and return these."""
    first, *others = nodes
    address = encode_address(key.script, REGTEST)
    fans = -(-count // FAN_OUT)
    first.call("generatetoaddress", 100 + fans, address)
    coins: list[Coin] = []
    for height in range(1, fans + 1):
        block = first.call("getblock", first.call("getblockhash", height), 2)
        reward = Transaction.parse(bytes.fromhex(block["tx"][0]["hex"]))
        fan = key.pay(coins_of(reward)[0], [(50 * COIN - 1_000_000) // FAN_OUT] * FAN_OUT)
        first.call("sendrawtransaction", fan.raw.hex(), 0)
        coins += coins_of(fan)
    first.call("generatetoaddress", 1, address)
    for height in range(1, 102 + fans):
        raw = first.call("getblock", first.call("getblockhash", height), 0)
        for other in others:
            other.call("submitblock", raw)
    return coins[:count]


def payments(key: Key, coins: list[Coin], count: int, *, chained: bool) -> list[Transaction]:
    """Make payments of coins that are taken off the list; chained, each spends the last, up to 25 of them."""
    made: list[Transaction] = []
    while len(made) < count:
        coin = coins.pop()
        for _ in range(CHAIN if chained else 1):
            made.append(key.payment(coin))
            coin = coins_of(made[-1])[1]
    return made[:count]


def accepted(nodes: dict[str, Payee], way: str, transactions: Sequence[Transaction], batch: int) -> dict[str, float]:
    """Give all nodes the same transactions, batch by batch in turns; return how many each took per second."""
    before = {name: node.size for name, node in nodes.items()}
    jobs = {
        name: [
            functools.partial(getattr(node, way), transactions[start : start + batch])
            for start in range(0, len(transactions), batch)
        ]
        for name, node in nodes.items()
    }
    rates = measure.rates(jobs, len(transactions), 1)
    for name, node in nodes.items():
        if node.size - before[name] != len(transactions):
            raise RuntimeError(f"{name} did not take all payments")
    return rates


def acceptance(bitcoind: str | None, rounds: int, count: int, batch: int) -> list[Case]:
    key = Key()
    with contextlib.ExitStack() as stack:
        started = {"altyn": stack.enter_context(running(ALTYND, *ALTYN_OPTIONS, "-listen=1"))}
        if bitcoind:
            started["bitcoind"] = stack.enter_context(running([bitcoind], *BITCOIND_OPTIONS, "-listen=1"))
        nodes = {name: Payee(node) for name, node in started.items()}
        measure.progress("making coins")
        coins = funded(list(started.values()), key, rounds * 2 * (count + -(-count // CHAIN)))
        found: dict[str, dict[str, list[float]]] = {}
        for number in range(rounds):
            for way, name in (("by_rpc", "rpc"), ("by_peer", "p2p")):
                for chained in (False, True):
                    what = f"accept-{name}{'-chains' * chained}"
                    measure.progress(f"round {number + 1} of {rounds}: {what}")
                    rates = accepted(nodes, way, payments(key, coins, count, chained=chained), batch)
                    for node, rate in rates.items():
                        found.setdefault(what, {}).setdefault(node, []).append(rate)
    cases = []
    for what, rates_of in found.items():
        medians = {node: statistics.median(rates) for node, rates in rates_of.items()}
        cases.append(Case(what, medians["altyn"], "tx/s", "bitcoind", medians.get("bitcoind"), BAR))
    return cases


class _Asker(threading.Thread):
    """Asks a node the same thing again and again, and notes how long each answer takes."""

    def __init__(self, rpc: RpcClient, method: str, pause: float) -> None:
        super().__init__(daemon=True)
        self._rpc, self._method, self._pause = rpc, method, pause
        self.delays: list[float] = []
        self.done = threading.Event()

    def run(self) -> None:
        with self._rpc as rpc:
            while not self.done.wait(self._pause):
                params: list[Any] = []
                if self._method == "getblock":
                    params = [rpc.call("getbestblockhash"), 2]
                start = time.perf_counter()
                rpc.call(self._method, params)
                self.delays.append((time.perf_counter() - start) * 1e3)


def delays_while_syncing(shape: Shape) -> list[Case]:
    """Ask a node while it fetches a chain from another."""
    path = cached_chain(shape, load("coincurve"), measure.progress)
    height = sum(1 for _ in contestants.blocks_of(path)) - 1
    (port,) = free_ports(1)
    with tempfile.TemporaryDirectory(prefix="altyn-mempool-") as folder:
        measure.progress("preparing the node that serves the chain")
        contestants.run("keep", str(path), folder)
        with contestants.serving(Path(folder), port), running(ALTYND, *ALTYN_OPTIONS) as node:
            pauses = {"getblockcount": 0.005, "getblock": 0.05}
            askers = [_Asker(node.another_client(), method, pause) for method, pause in pauses.items()]
            node.call("addnode", f"127.0.0.1:{port}", "onetry")
            for asker in askers:
                asker.start()
            measure.progress("synchronising, and asking meanwhile")
            while node.call("getblockcount") < height:
                time.sleep(0.2)
            for asker in askers:
                asker.done.set()
                asker.join(PATIENCE)
    counts, blocks = (asker.delays for asker in askers)
    return [
        Case("getblockcount-p50", percentile(counts, 50), "ms"),
        Case("getblockcount-p99", percentile(counts, 99), "ms", "limit", MOST_DELAY, "<=1"),
        Case("getblock-2-p50", percentile(blocks, 50), "ms"),
        Case("getblock-2-p99", percentile(blocks, 99), "ms"),
    ]


def main() -> int:
    options = measure.parser(__doc__)
    options.set_defaults(rounds=3)
    options.add_argument("--count", type=int, default=2000, help="payments a round and case (%(default)s)")
    options.add_argument("--batch", type=int, default=100, help="payments at a time (%(default)s)")
    options.add_argument("--bitcoind", metavar="PATH", help="measure bitcoind too")
    options.add_argument("--blocks", type=int, default=Shape().blocks, help="of the chain fetched (%(default)s)")
    options.add_argument("--inputs", type=int, default=Shape().inputs, help="of the chain fetched (%(default)s)")
    chosen = options.parse_args()
    cases = acceptance(chosen.bitcoind, chosen.rounds, chosen.count, chosen.batch)
    if chosen.blocks:
        cases += delays_while_syncing(Shape(chosen.blocks, chosen.inputs))
    measure.end_progress()
    return measure.report("mempool", cases, chosen.json)


if __name__ == "__main__":
    sys.exit(main())
