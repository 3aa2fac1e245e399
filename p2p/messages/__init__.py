"""Every message of the protocol (Core 28), declared once; `MESSAGES` finds them by command."""

from altyn.p2p.messages.addresses import Addr, AddrV2, GetAddr
from altyn.p2p.messages.blocks import Block, MerkleBlock
from altyn.p2p.messages.codec import MESSAGES, Message
from altyn.p2p.messages.compact import BlockTransactions, CompactBlock, GetBlockTransactions, Prefilled
from altyn.p2p.messages.control import (
    FeeFilter,
    Ping,
    Pong,
    SendAddrV2,
    SendCompact,
    SendHeaders,
    SendTxReconciliation,
    Verack,
    Version,
    WtxidRelay,
)
from altyn.p2p.messages.filters import CFCheckpoint, CFHeaders, CFilter, GetCFCheckpoint, GetCFHeaders, GetCFilters
from altyn.p2p.messages.headers import GetBlocks, GetHeaders, Headers
from altyn.p2p.messages.inventory import GetData, Inv, Inventory, InventoryType, NotFound
from altyn.p2p.messages.transactions import FilterAdd, FilterClear, FilterLoad, Mempool, Tx

__all__ = [
    "MESSAGES",
    "Addr",
    "AddrV2",
    "Block",
    "BlockTransactions",
    "CFCheckpoint",
    "CFHeaders",
    "CFilter",
    "CompactBlock",
    "FeeFilter",
    "FilterAdd",
    "FilterClear",
    "FilterLoad",
    "GetAddr",
    "GetBlockTransactions",
    "GetBlocks",
    "GetCFCheckpoint",
    "GetCFHeaders",
    "GetCFilters",
    "GetData",
    "GetHeaders",
    "Headers",
    "Inv",
    "Inventory",
    "InventoryType",
    "Mempool",
    "MerkleBlock",
    "Message",
    "NotFound",
    "Ping",
    "Pong",
    "Prefilled",
    "SendAddrV2",
    "SendCompact",
    "SendHeaders",
    "SendTxReconciliation",
    "Tx",
    "Verack",
    "Version",
    "WtxidRelay",
]
