"""Blocks whose scripts need no check, because they lie below one that is known to be valid."""

from altyn.consensus.networks import Network
from altyn.consensus.pow import work
from altyn.node.chain.tree import Entry, HeaderTree

_ENOUGH = 60 * 60 * 24 * 7 * 2
"""Seconds of work that must lie above a block: a false chain that uses the gap costs two weeks of the network's."""


def is_assumed_valid(entry: Entry, tree: HeaderTree, network: Network) -> bool:
    """Tell whether the scripts of a block need no check (Core: ConnectBlock, -assumevalid).

    The block lies below the one that is assumed valid, and in the best chain of headers, which has at least the least
    work of the network and two weeks' worth of it above the block.
    """
    if network.assume_valid is None:
        return False
    assumed, best = tree.get(network.assume_valid), tree.best_header
    return (
        assumed is not None
        and entry.height <= assumed.height
        and assumed.ancestor(entry.height) is entry
        and best.height >= entry.height
        and best.ancestor(entry.height) is entry
        and best.chain_work >= network.minimum_chain_work
        and _seconds_of_work(entry, best, network) > _ENOUGH
    )


def _seconds_of_work(entry: Entry, best: Entry, network: Network) -> int:
    """Return how long the best chain's hash power takes from `entry` to its end (Core: GetBlockProofEquivalentTime)."""
    return (best.chain_work - entry.chain_work) * network.target_spacing // work(best.header.bits)
