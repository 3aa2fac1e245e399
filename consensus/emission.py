"""How many new coins a block may make."""

from altyn.consensus.networks import Network


def block_subsidy(height: int, network: Network) -> int:
    """Return the subsidy of a block at `height`, in satoshis; 0 after 64 halvings (BIP42, Core: GetBlockSubsidy)."""
    halvings = height // network.halving_interval
    return network.initial_subsidy >> halvings if halvings < 64 else 0
