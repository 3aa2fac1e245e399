"""Taking headers into the tree, with Core's reasons for refusing them."""

from altyn.consensus.block import Header
from altyn.consensus.checks.headers import check_header, check_header_in_context
from altyn.consensus.errors import Fault, ValidationError
from altyn.consensus.networks import Network
from altyn.node.chain.tree import Entry, HeaderTree


def accept_header(
    tree: HeaderTree, header: Header, network: Network, now: float, *, min_work_checked: bool = True
) -> Entry:
    """Check a header and put it into `tree`, or find it there (Core: AcceptBlockHeader). Raises ValidationError.

    `min_work_checked` says that its chain is known to have enough work to be worth keeping.
    """
    known = tree.get(header.hash)
    if known is not None:
        if known.is_failed:
            raise ValidationError("duplicate-invalid", fault=Fault.CACHED_INVALID)
        return known
    check_header(header, network)
    parent = tree.get(header.prev_hash)
    if parent is None:
        raise ValidationError("prev-blk-not-found", fault=Fault.MISSING_PREVIOUS)
    if parent.is_failed:
        raise ValidationError("bad-prevblk", fault=Fault.INVALID_PREVIOUS)
    check_header_in_context(header, parent, network, int(now))
    if not min_work_checked:
        raise ValidationError("too-little-chainwork", fault=Fault.LOW_WORK)
    return tree.add(header)
