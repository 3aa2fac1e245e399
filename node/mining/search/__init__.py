"""The search for a nonce: backends behind one interface, chosen by name, others found as plugins."""

from collections.abc import Callable, Mapping
from importlib.metadata import entry_points
from types import MappingProxyType
from typing import Protocol

from altyn.node.mining.search.hashlib import HashlibSearch

PLUGIN_GROUP = "altyn.search"
"""The entry-point group in which another package offers a callable that returns a SearchBackend."""
NONCES = 1 << 32


class SearchBackend(Protocol):
    """Tries nonces. `search` blocks and may run on any thread, several at a time."""

    name: str
    pow_hash: str
    """The proof of work it computes, as in `Network.pow_hash`."""

    def search(self, header: bytes, target: int, first: int, count: int) -> int | None:
        """Return the first of `count` nonces from `first` with which the hash of `header` is at most `target`.

        `header` has 80 bytes, the last four of which are ignored; None if no nonce of the range will do.
        """
        ...


class UnknownBackend(ValueError):
    """No search backend has this name."""


BACKENDS: Mapping[str, Callable[[], SearchBackend]] = MappingProxyType({"hashlib": HashlibSearch})


def load_backend(name: str = "hashlib") -> SearchBackend:
    """Make the backend of that name, ours or a plugin's. Raises UnknownBackend."""
    if name in BACKENDS:
        return BACKENDS[name]()
    for plugin in entry_points(group=PLUGIN_GROUP, name=name):
        backend: SearchBackend = plugin.load()()
        return backend
    raise UnknownBackend(f"there is no search backend {name!r}; try one of: {', '.join(backend_names())}")


def backend_names() -> list[str]:
    """Return the names of all backends that are installed."""
    return sorted({*BACKENDS, *(plugin.name for plugin in entry_points(group=PLUGIN_GROUP))})
