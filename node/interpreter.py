"""Setting up Python itself for the work of a node."""

import gc
import sys

_COLLECTOR_THRESHOLDS = 50_000, 20, 100
"""New objects, and sweeps of a generation, before the collector looks: a sweep of the young takes some milliseconds."""
_SWITCH_INTERVAL = 0.0005
"""Seconds for which a thread keeps the interpreter while others want it; a signature takes a tenth of that."""


def tune_interpreter() -> None:
    """Set the interpreter up for a process that is a node: long work on threads, and an event loop beside them.

    Blocks are many small objects without cycles: at Python's own pace, looking for some takes a quarter of the time
    that connecting a chain does. And the event loop, and threads that come back from checking a signature, wait for
    whoever has the interpreter: at Python's own pace, often long enough to be noticed by people.
    """
    gc.set_threshold(*_COLLECTOR_THRESHOLDS)
    sys.setswitchinterval(_SWITCH_INTERVAL)
