"""Compact block filters and their header chain (BIP157). `filter_type` 0 is the basic filter of BIP158."""

from typing import Annotated

from altyn.p2p.limits import MAX_CFILTER_HEADERS
from altyn.p2p.messages.codec import HASH, U8, U32, ListOf, Message, VarBytes, message


@message("getcfilters")
class GetCFilters(Message):
    """Ask for the filters from `start_height` to the block `stop_hash`, at most 1,000."""

    filter_type: Annotated[int, U8]
    start_height: Annotated[int, U32]
    stop_hash: Annotated[bytes, HASH]


@message("cfilter")
class CFilter(Message):
    """The filter of one block."""

    filter_type: Annotated[int, U8]
    block_hash: Annotated[bytes, HASH]
    filter: Annotated[bytes, VarBytes()]


@message("getcfheaders")
class GetCFHeaders(Message):
    """Ask for the filter hashes from `start_height` to the block `stop_hash`, at most 2,000."""

    filter_type: Annotated[int, U8]
    start_height: Annotated[int, U32]
    stop_hash: Annotated[bytes, HASH]


@message("cfheaders")
class CFHeaders(Message):
    """The filter header before the first, and the filter hashes that follow it, at most 2,000."""

    filter_type: Annotated[int, U8]
    stop_hash: Annotated[bytes, HASH]
    previous_filter_header: Annotated[bytes, HASH]
    filter_hashes: Annotated[
        tuple[bytes, ...], ListOf(HASH, most=MAX_CFILTER_HEADERS, reason="cfheaders message size = {count}")
    ]


@message("getcfcheckpt")
class GetCFCheckpoint(Message):
    """Ask for the filter headers at every 1,000th height up to the block `stop_hash`."""

    filter_type: Annotated[int, U8]
    stop_hash: Annotated[bytes, HASH]


@message("cfcheckpt")
class CFCheckpoint(Message):
    """The filter headers at heights 1,000, 2,000, and so on."""

    filter_type: Annotated[int, U8]
    stop_hash: Annotated[bytes, HASH]
    filter_headers: Annotated[tuple[bytes, ...], ListOf(HASH)]
