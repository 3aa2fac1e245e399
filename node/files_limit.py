"""How many files and sockets this process may have open (Core: RaiseFileDescriptorLimit)."""

import resource

_OWN_FILES = 400
"""For databases (they keep some hundred), block files, RPC, and what the interpreter has open itself."""


def files_needed(connections: int) -> int:
    """Return how many files a node with so many peers may have open."""
    return connections + _OWN_FILES


def raise_files_limit(connections: int) -> int:
    """Raise this process's limit as far as needed and allowed; return how many peers it has room for."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = files_needed(connections)
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return connections
    possible = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (possible, hard))
    return min(connections, max(possible - _OWN_FILES, 0))
