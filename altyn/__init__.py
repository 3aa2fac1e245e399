"""Altyn: a Bitcoin-protocol full node, light node, miner and wallet. This is its public face.

`import altyn` alone costs nothing: what stands behind a name is imported when the name is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING

__all__ = ["LightNode", "Network", "Wallet", "__version__"]
__version__ = "0.1.0"

_HOMES = {
    "LightNode": "altyn.node.light.node",
    "Network": "altyn.consensus.networks",
    "Wallet": "altyn.wallet.wallet",
}

if TYPE_CHECKING:
    from altyn.consensus.networks import Network
    from altyn.node.light.node import LightNode
    from altyn.wallet.wallet import Wallet
else:  # hidden from type checkers, to whom a module with `__getattr__` has every name

    def __getattr__(name: str) -> object:
        """Import a public name from the room that it lives in."""
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = globals()[name] = getattr(import_module(_HOMES[name]), name)
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
