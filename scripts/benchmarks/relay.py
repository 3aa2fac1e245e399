"""Payments and blocks among eight nodes: how long they take to reach all, and what the nodes hold in memory meanwhile.

Real processes on this machine, connected as a ring with chords, with the delays that hide where a payment comes from.
An observer beside each node, whom it tells everything at once, notes when it knows of what. Payments are signed
beforehand and handed to the nodes by turns, at a steady rate; every few seconds one of the nodes mines. At the end each
payment must be in a block or in all mempools. With --bitcoind PATH the same is done with eight bitcoinds.
"""

import asyncio
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

import measure
import swarm
from measure import Case, percentile
from nodes import ALTYND, Node
from spends import Sign, Template

from altyn.consensus.block import Block
from altyn.consensus.script.sighash import SighashCache
from altyn.consensus.secp256k1 import load
from altyn.consensus.transaction import OutPoint, Transaction, TxIn, TxOut

FAN_OUT = 400
"""Outputs that each matured coinbase is split into, one for each payment."""
MATURITY = 100
BLOCK_INTERVAL = 5.0
WARM_UP = 0.25
"""Part of the run after which memory should not grow any more."""
SETTLE = 20.0
"""Seconds that the last payments have to reach everybody."""
FEE = 1_000
MOST_GROWTH = "<=1.1"
BAR = "<=2"
NOBODY = "raw(51)"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What was seen of one kind of node; times in seconds, memory in bytes."""

    payments: Sequence[float]
    """How long each took to each node but the one it was handed to."""
    blocks: Sequence[float]
    """The same, since the first node told of it."""
    warm: int
    """Memory of all nodes together after the warm-up, and at the end."""
    end: int
    lost: int


def fund(nodes: Sequence[Node], count: int) -> list[Transaction]:
    """Mine money on the first node, split it, and return `count` signed payments of it."""
    first = nodes[0]
    maker = Template(load("coincurve"), "p2wpkh")
    reward_script, sign_reward = maker.make()
    coinbases = -(-count // FAN_OUT)
    first.call("generatetodescriptor", coinbases, f"raw({reward_script.hex()})")
    first.call("generatetodescriptor", MATURITY, NOBODY)
    payments: list[Transaction] = []
    for height in range(1, coinbases + 1):
        raw = first.call("getblock", first.call("getblockhash", height), 0)
        coinbase = Block.parse(bytes.fromhex(raw)).transactions[0]
        made = [maker.make() for _ in range(FAN_OUT)]
        share = (coinbase.outputs[0].value - 100 * FEE) // FAN_OUT
        split = pay(coinbase.outpoint(0), coinbase.outputs[0], sign_reward, [TxOut(share, each) for each, _ in made])
        first.call("sendrawtransaction", split.raw.hex())
        for index, (_, sign) in enumerate(made):
            half = (share - FEE) // 2
            outputs = [TxOut(half, maker.make()[0]), TxOut(share - FEE - half, reward_script)]
            payments.append(pay(split.outpoint(index), split.outputs[index], sign, outputs))
    first.call("generatetodescriptor", 1, NOBODY)
    wait_for_tip(nodes)
    return payments[:count]


def pay(outpoint: OutPoint, spent: TxOut, sign: Sign, outputs: Sequence[TxOut]) -> Transaction:
    """Return a signed transaction that spends one output."""
    unsigned = Transaction(2, [TxIn(outpoint, b"", 0xFFFFFFFD)], outputs)
    script_sig, witness = sign(SighashCache(unsigned, [spent]), 0)
    return Transaction(2, [TxIn(outpoint, script_sig, 0xFFFFFFFD, tuple(witness))], outputs)


def wait_for_tip(nodes: Sequence[Node]) -> None:
    deadline = time.monotonic() + 120.0
    while len({node.call("getbestblockhash") for node in nodes}) > 1:
        if time.monotonic() > deadline:
            raise TimeoutError("the nodes do not agree on a chain")
        time.sleep(0.2)


async def run(program: Sequence[str], count: int, seconds: float, rate: float) -> Outcome:
    """Do all of it with nodes of one kind."""
    with swarm.running(program, count) as nodes:
        payments = await asyncio.to_thread(fund, nodes, int(seconds * rate))
        async with swarm.observing(nodes) as sightings:
            handed, warm = await drive(nodes, payments, seconds, rate)
            await asyncio.sleep(SETTLE)
        lost = await asyncio.to_thread(count_lost, nodes, payments)
        end = sum(node.memory for node in nodes)
    taken = [
        seen - start
        for tx, (start, by) in zip(payments, handed, strict=True)
        for node, seen in sightings.transactions.get(tx.wtxid, {}).items()
        if node != by
    ]
    blocks = [
        seen - min(told.values())
        for told in sightings.blocks.values()
        for seen in told.values()
        if seen != min(told.values())
    ]
    return Outcome(taken, blocks, warm, end, lost)


async def drive(
    nodes: Sequence[Node], payments: Sequence[Transaction], seconds: float, rate: float
) -> tuple[list[tuple[float, int]], int]:
    """Hand out the payments and mine; return when each was handed to which node, and the memory after the warm-up."""
    handed: list[tuple[float, int]] = []
    warm = 0
    start = time.monotonic()
    next_block = start + BLOCK_INTERVAL
    for number, tx in enumerate(payments):
        await asyncio.sleep(max(start + number / rate - time.monotonic(), 0.0))
        by = number % len(nodes)
        handed.append((time.monotonic(), by))
        await asyncio.to_thread(nodes[by].call, "sendrawtransaction", tx.raw.hex())
        if time.monotonic() >= next_block:
            next_block += BLOCK_INTERVAL
            await asyncio.to_thread(nodes[-1 - by].call, "generatetodescriptor", 1, NOBODY)
            measure.progress(f"{number + 1} of {len(payments)} payments")
        if not warm and time.monotonic() - start > WARM_UP * seconds:
            warm = sum(node.memory for node in nodes)
    return handed, warm


def count_lost(nodes: Sequence[Node], payments: Sequence[Transaction]) -> int:
    """Return how many payments are neither in the chain nor in every mempool."""
    wait_for_tip(nodes)
    first = nodes[0]
    confirmed: set[str] = set()
    for height in range(MATURITY, first.call("getblockcount") + 1):
        confirmed |= set(first.call("getblock", first.call("getblockhash", height), 1)["tx"])
    everywhere = set.intersection(*(set(node.call("getrawmempool")) for node in nodes))
    return sum(tx.txid[::-1].hex() not in confirmed | everywhere for tx in payments)


def cases_of(ours: Outcome, theirs: Outcome | None) -> list[Case]:
    def case(name: str, part: int, bar: str | None = None) -> Case:
        what = "payments" if name.startswith("payment") else "blocks"
        peer = percentile(getattr(theirs, what), part) * 1e3 if theirs else None
        return Case(name, percentile(getattr(ours, what), part) * 1e3, "ms", "bitcoind", peer, bar)

    return [
        case("payment-p50", 50),
        case("payment-p95", 95),
        case("block-p50", 50),
        case("block-p95", 95, BAR),
        Case("memory-growth", ours.end / 2**20, "MiB", "after the warm-up", ours.warm / 2**20, MOST_GROWTH),
        Case("lost-payments", ours.lost, "payments"),
    ]


def main() -> int:
    options = measure.parser(__doc__)
    options.add_argument("--nodes", type=int, default=8, help="how many (%(default)s)")
    options.add_argument("--seconds", type=float, default=60.0, help="of payments (%(default)s)")
    options.add_argument("--rate", type=float, default=20.0, help="payments a second (%(default)s)")
    options.add_argument("--bitcoind", metavar="PATH", help="do the same with bitcoind")
    chosen = options.parse_args()
    measure.progress("Altyn")
    ours = asyncio.run(run(ALTYND, chosen.nodes, chosen.seconds, chosen.rate))
    theirs = None
    if chosen.bitcoind:
        measure.progress("bitcoind")
        theirs = asyncio.run(run([chosen.bitcoind], chosen.nodes, chosen.seconds, chosen.rate))
    measure.end_progress()
    remarks = [
        f"{kind}: {len(each.payments)} arrivals of payments, median {statistics.median(each.payments) * 1e3:.0f} ms; "
        f"{len(each.blocks)} of blocks; {each.lost} payments lost; {each.end / 2**20:.0f} MiB at the end"
        for kind, each in (("Altyn", ours), ("bitcoind", theirs))
        if each is not None
    ]
    status = measure.report("relay", cases_of(ours, theirs), chosen.json, remarks)
    return status or int(ours.lost > 0)


if __name__ == "__main__":
    sys.exit(main())
