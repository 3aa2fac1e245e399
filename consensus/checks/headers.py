"""The rules of a block header, alone and on its parent."""

from altyn.consensus.ancestry import ChainEntry, median_time_past
from altyn.consensus.block import Header
from altyn.consensus.difficulty import required_bits
from altyn.consensus.errors import Fault, ValidationError
from altyn.consensus.limits import MAX_FUTURE_BLOCK_TIME, MAX_TIMEWARP
from altyn.consensus.networks import Network
from altyn.consensus.pow import check_proof_of_work


def check_header(header: Header, network: Network) -> None:
    """Check what needs no other header: the work (Core: CheckBlockHeader). Raises ValidationError."""
    check_proof_of_work(header, network)


def check_header_in_context(header: Header, parent: ChainEntry, network: Network, now: int) -> None:
    """Check bits, time and version of a header on `parent`; `now` is the node's time in seconds.

    Core: ContextualCheckBlockHeader. Raises ValidationError.
    """
    height = parent.height + 1
    if header.bits != required_bits(parent, header.time, network):
        raise ValidationError("bad-diffbits", "incorrect proof of work", fault=Fault.INVALID_HEADER)
    if header.time <= median_time_past(parent):
        raise ValidationError("time-too-old", "block's timestamp is too early", fault=Fault.INVALID_HEADER)
    if (
        network.enforce_bip94
        and height % network.retarget_interval == 0
        and header.time < parent.header.time - MAX_TIMEWARP
    ):
        detail = "block's timestamp is too early on diff adjustment block"
        raise ValidationError("time-timewarp-attack", detail, fault=Fault.INVALID_HEADER)
    if header.time > now + MAX_FUTURE_BLOCK_TIME:
        raise ValidationError("time-too-new", "block timestamp too far in the future", fault=Fault.TIME_FUTURE)
    version = header.version
    if (
        (version < 2 and height >= network.bip34_height)
        or (version < 3 and height >= network.bip66_height)
        or (version < 4 and height >= network.bip65_height)
    ):
        number = f"0x{version & 0xFFFFFFFF:08x}"
        raise ValidationError(f"bad-version({number})", f"rejected nVersion={number} block", fault=Fault.INVALID_HEADER)
