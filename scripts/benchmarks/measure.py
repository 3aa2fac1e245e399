"""What all benchmarks share: alternating runs, medians, bars, how a result is printed, and the exit status."""

import argparse
import gc
import json
import os
import platform
import re
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Job = Callable[[], object]
"""A slice of a contestant's work."""


@dataclass(frozen=True, slots=True)
class Case:
    """A figure, and a peer's for the same work in the same run. The bar tells whether more is better."""

    name: str
    value: float
    unit: str
    peer: str | None = None
    """What it is compared with; None for a figure that stands alone."""
    peer_value: float | None = None
    """None where the peer could not be measured."""
    bar: str | None = None
    """What the ratio must be, such as ">=0.65" or "<=1.5"; None for a figure that is only shown."""

    @property
    def ratio(self) -> float | None:
        return self.value / self.peer_value if self.peer_value else None

    @property
    def holds(self) -> bool | None:
        """None without a bar, and where it could not be measured."""
        if self.bar is None or self.ratio is None:
            return None
        limit = float(self.bar[2:])
        return self.ratio <= limit if self.bar.startswith("<=") else self.ratio >= limit

    @property
    def verdict(self) -> str:
        if self.bar is None:
            return ""
        return {True: "holds", False: "DOES NOT HOLD", None: "not measured"}[self.holds]

    def as_json(self) -> dict[str, Any]:
        shown = {
            "name": self.name,
            "value": _round(self.value),
            "unit": self.unit,
            "peer": self.peer,
            "peer_value": _round(self.peer_value),
            "ratio": _round(self.ratio),
            "bar": self.bar,
            "holds": self.holds,
        }
        return shown | ({"note": self.verdict} if self.verdict == "not measured" else {})


def rates(contestants: Mapping[str, Sequence[Job]], amount: float, rounds: int) -> dict[str, float]:
    """Return what each contestant gets done in a second: the median of `rounds` runs over all its jobs.

    All have the same number of jobs, and `amount` is the work in all of one's. They take turns after each job, so
    that what else the machine does meets all of them alike; who begins changes with each round.
    """
    order = list(contestants)
    seconds: dict[str, list[float]] = {name: [] for name in order}
    for number in range(rounds):
        spent = dict.fromkeys(order, 0.0)
        turn = order[number % len(order) :] + order[: number % len(order)]
        gc.collect()
        for jobs in zip(*(contestants[name] for name in turn), strict=True):
            for name, job in zip(turn, jobs, strict=True):
                start = time.perf_counter()
                job()
                spent[name] += time.perf_counter() - start
        for name in order:
            seconds[name].append(spent[name])
    return {name: amount / statistics.median(taken) for name, taken in seconds.items()}


def percentile(values: Sequence[float], percent: int) -> float:
    """Return the value below which so many of a hundred lie."""
    return sorted(values)[min(len(values) * percent // 100, len(values) - 1)]


def slices(work: Sequence[Any], count: int) -> list[Sequence[Any]]:
    """Cut `work` into `count` parts of almost equal length."""
    return [work[i * len(work) // count : (i + 1) * len(work) // count] for i in range(count)]


def parser(description: str | None) -> argparse.ArgumentParser:
    """Return the options that all benchmarks have; one may add its own."""
    options = argparse.ArgumentParser(description=description)
    options.add_argument("--json", action="store_true", help="print JSON for machines")
    options.add_argument(
        "--rounds", type=int, default=5, help="alternating runs of which the median counts (%(default)s)"
    )
    return options


def report(bench: str, cases: Sequence[Case], as_json: bool, remarks: Sequence[str] = ()) -> int:
    """Print the result and return the exit status: 1 when a bar does not hold, or under CI=true is not measured."""
    if as_json:
        print(json.dumps({"bench": bench, "machine": machine(), "cases": [case.as_json() for case in cases]}, indent=2))
    else:
        print(f"{bench} on {machine()}")
        width = max(len(case.name) for case in cases)
        for case in cases:
            line = f"  {case.name:{width}}  {case.value:>10,.1f} {case.unit}"
            if case.peer is not None:
                line += f"  {case.peer}: " + (f"{case.peer_value:,.1f}" if case.peer_value else "absent")
            if case.ratio is not None:
                line += f"  ratio {case.ratio:.2f}"
            if case.bar is not None:
                line += f"  bar {case.bar}: {case.verdict}"
            print(line)
        for remark in remarks:
            print(f"  {remark}")
    missing = os.environ.get("CI") == "true" and any(case.verdict == "not measured" for case in cases)
    return int(missing or any(case.holds is False for case in cases))


def progress(text: str) -> None:
    """Say on stderr what is being measured, where somebody watches."""
    if sys.stderr.isatty():
        print(f"\r\033[K{text} ...", end="", file=sys.stderr, flush=True)


def end_progress() -> None:
    if sys.stderr.isatty():
        print("\r\033[K", end="", file=sys.stderr, flush=True)


def machine() -> str:
    """Describe the machine: processor, cores, system, interpreter."""
    processor = platform.processor() or platform.machine()
    try:
        found = re.search(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    except OSError:
        found = None
    if found:
        processor = found[1]
    return f"{processor}, {cores()} cores, {platform.system()}, Python {platform.python_version()}"


def cores() -> int:
    """Return on how many processors this process may run."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _round(number: float | None) -> float | None:
    return None if number is None else float(f"{number:.4g}")
