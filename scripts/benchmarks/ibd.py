"""A chain synchronised from nothing, every script checked: Altyn from a file and from an Altyn node, and its peers.

Each contestant is a process of its own, measured whole, from its start to its end, in turns; medians count. The chain
is made once and kept in the cache folder: see chains.py. Peers are libbitcoinkernel from the same file, on one thread
and on two, and with --bitcoind PATH bitcoind (-assumevalid=0 -par=2 -checkblockindex=0), from the same Altyn node.
One more run from the node is asked for large answers all the time: it shows how long they hold up the event loop.
"""

import functools
import statistics
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import contestants
import measure
from chains import Shape, cached_chain
from contestants import Cost
from measure import Case
from nodes import free_ports

from altyn.consensus.block import Block
from altyn.consensus.secp256k1 import load

KERNEL, BITCOIND = "libbitcoinkernel", "bitcoind"
KERNEL_PAIR = f"{KERNEL}, two threads"
MOST_MEMORY = 400.0
MOST_STALL = 50.0
GROWTH = 10
BITCOIND_OPTIONS = ("-regtest", "-assumevalid=0", "-par=2", "-checkblockindex=0", "-listen=0", "-server=0")

Contestant = Callable[[], Cost]


def count(path: Path) -> tuple[int, int]:
    """Return the height of a chain and how many inputs it has that spend something."""
    blocks = inputs = 0
    for raw in contestants.blocks_of(path):
        blocks += 1
        inputs += sum(len(tx.inputs) for tx in Block.parse(raw).transactions[1:])
    return blocks - 1, inputs


def bitcoind(program: str, port: int, height: int) -> Cost:
    """Have bitcoind fetch the chain, and measure it as the others."""
    with tempfile.TemporaryDirectory(prefix="altyn-ibd-") as folder:
        reach = (f"-datadir={folder}", f"-connect=127.0.0.1:{port}", f"-stopatheight={height}")
        return contestants.measured([program, *BITCOIND_OPTIONS, *reach])


def compete(runs: Mapping[str, Contestant], rounds: int) -> dict[str, list[Cost]]:
    """Let each run once a round; who begins changes."""
    names = list(runs)
    costs: dict[str, list[Cost]] = {name: [] for name in names}
    for number in range(rounds):
        for name in names[number % len(names) :] + names[: number % len(names)]:
            measure.progress(f"round {number + 1} of {rounds}: {name}")
            costs[name].append(runs[name]())
    return costs


def median(costs: Sequence[Cost], what: str) -> float:
    return float(statistics.median(getattr(cost, what) for cost in costs))


def cases_of(costs: Mapping[str, Sequence[Cost]]) -> list[Case]:
    wall = {name: median(all_costs, "wall") for name, all_costs in costs.items()}
    memory = max(cost.memory for name in ("file", "loopback") for cost in costs[name]) / 2**20
    stall = max(median(costs[name], "stall") for name in ("file", "loopback")) * 1e3
    asked = median(costs["asked"], "stall") * 1e3
    return [
        Case("wall-vs-kernel", wall["file"], "s", KERNEL, wall.get(KERNEL), "<=1.0"),
        Case("wall-vs-kernel-two-threads", wall["file"], "s", KERNEL_PAIR, wall.get(KERNEL_PAIR)),
        Case("wall-vs-bitcoind", wall["loopback"], "s", BITCOIND, wall.get(BITCOIND), "<=1.5"),
        Case("loopback-vs-file", wall["loopback"], "s", "from the file", wall["file"], "<=1.25"),
        Case("peak-memory", memory, "MiB", "limit", MOST_MEMORY, "<=1"),
        Case("event-loop-stall", stall, "ms", "limit", MOST_STALL, "<=1"),
        Case("event-loop-stall-asked", asked, "ms", "limit", MOST_STALL, "<=1"),
    ]


def growth(path: Path, rounds: int) -> Case:
    """Compare a chain ten times as long."""
    shape = Shape()
    longer = cached_chain(Shape(shape.blocks * GROWTH, shape.inputs * GROWTH), load("coincurve"), measure.progress)
    runs = {name: functools.partial(contestants.run, "file", str(file)) for name, file in [("1", path), ("10", longer)]}
    walls = {name: median(costs, "wall") for name, costs in compete(runs, rounds).items()}
    return Case("growth-10x", walls["10"], "s", "a tenth of it", walls["1"], "<=11")


def main() -> int:
    options = measure.parser(__doc__)
    options.set_defaults(rounds=3)
    options.add_argument("--chain", type=Path, help="a block file in Core's form, genesis of regtest first")
    options.add_argument("--blocks", type=int, default=Shape().blocks, help="of the chain that is made (%(default)s)")
    options.add_argument("--inputs", type=int, default=Shape().inputs, help="of the chain that is made (%(default)s)")
    options.add_argument("--bitcoind", metavar="PATH", help="measure bitcoind too")
    options.add_argument("--growth", action="store_true", help="also synchronise ten times as much: takes minutes")
    chosen = options.parse_args()
    path = chosen.chain or cached_chain(Shape(chosen.blocks, chosen.inputs), load("coincurve"), measure.progress)
    height, inputs = count(path)
    (port,) = free_ports(1)
    with tempfile.TemporaryDirectory(prefix="altyn-ibd-") as folder:
        served = Path(folder)
        measure.progress("preparing the node that serves the chain")
        contestants.run("keep", str(path), folder)
        runs: dict[str, Contestant] = {
            "file": functools.partial(contestants.run, "file", str(path)),
            "loopback": functools.partial(contestants.run, "peer", str(port), str(height)),
            "asked": functools.partial(contestants.run, "asked", str(port), str(height)),
        }
        if contestants.HAS_KERNEL:
            runs[KERNEL] = functools.partial(contestants.run, "kernel", str(path), "0")
            runs[KERNEL_PAIR] = functools.partial(contestants.run, "kernel", str(path), "1")
        if chosen.bitcoind:
            runs[BITCOIND] = functools.partial(bitcoind, chosen.bitcoind, port, height)
        with contestants.serving(served, port):
            costs = compete(runs, chosen.rounds)
    cases = cases_of(costs)
    if chosen.growth:
        cases.append(growth(path, chosen.rounds))
    measure.end_progress()
    remarks = [f"{height:,} blocks, {inputs:,} inputs; whole processes, their start and end included"]
    for name, all_costs in costs.items():
        wall, cpu, memory = (median(all_costs, what) for what in ("wall", "cpu", "memory"))
        rate = inputs / wall
        remarks.append(
            f"{name}: {wall:.1f} s wall, {cpu:.1f} s of processors, {memory / 2**20:.0f} MiB, {rate:,.0f} inputs/s"
        )
    return measure.report("ibd", cases, chosen.json, remarks)


if __name__ == "__main__":
    sys.exit(main())
