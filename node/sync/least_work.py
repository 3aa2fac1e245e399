"""How much work a chain must have to be worth keeping: cheap ones would fill the memory (Core: anti-DoS work)."""

from collections.abc import Sequence

from altyn.consensus.block import Header
from altyn.consensus.pow import work
from altyn.node.chain.tree import Entry
from altyn.node.sync.headers import HeaderView

NEAR_TIP_BLOCKS = 144
"""A header chain with less work than ours this many blocks ago is not worth keeping (Core: GetAntiDoSWorkThreshold)."""


def least_work(chain: HeaderView) -> int:
    """Return the work below which a chain is not worth keeping."""
    tip = chain.tip
    near_tip = tip.chain_work - min(NEAR_TIP_BLOCKS * work(tip.header.bits), tip.chain_work)
    return max(near_tip, chain.network.minimum_chain_work)


def has_enough_work(chain: HeaderView, parent: Entry, headers: Sequence[Header]) -> bool:
    """Whether `headers`, on top of `parent`, are worth keeping, or kept as part of a chain that is."""
    known = chain.tree.get(headers[-1].hash)
    if known is not None and (chain.is_active(known) or is_ancestor(known, chain.tree.best_header)):
        return True
    return parent.chain_work + sum(work(header.bits) for header in headers) >= least_work(chain)


def is_ancestor(entry: Entry, descendant: Entry) -> bool:
    """Whether `descendant` stands on `entry`, or is it."""
    return entry.height <= descendant.height and descendant.ancestor(entry.height) is entry
