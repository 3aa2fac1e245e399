"""An example of each message, with the values that are most easily read wrong."""

from altyn.consensus.block import Block as ConsensusBlock
from altyn.consensus.block import Header
from altyn.consensus.transaction import OutPoint, Transaction, TxIn, TxOut
from altyn.p2p import messages
from altyn.p2p.addresses import Endpoint, NetworkAddress, NetworkId, TimedAddress
from altyn.p2p.messages import Inventory, InventoryType, Message, Prefilled

HASH, OTHER_HASH = bytes(range(32)), bytes(range(32, 64))
HEADER = Header(0x20000000, HASH, OTHER_HASH, 1_700_000_000, 0x207FFFFF, 5)
PLAIN = Transaction(2, [TxIn(OutPoint.make(HASH, 0), b"\x51")], [TxOut(5000, b"\x51")])
WITNESS = Transaction(2, [TxIn(OutPoint.make(HASH, 1), witness=(b"a", b""))], [TxOut(5000, b"\x51")], 7)
BLOCK = ConsensusBlock(HEADER, [PLAIN, WITNESS])
IPV4 = NetworkAddress.from_endpoint(Endpoint("1.2.3.4", 8333))
IPV6 = NetworkAddress.from_endpoint(Endpoint("2001:db8::1", 8333))
ONION = NetworkAddress(NetworkId.TORV3, HASH, 9051)
STRANGE = NetworkAddress(200, b"abc", 1)

EXAMPLES: list[Message] = [
    messages.Version(70016, 9, 1_700_000_000, (9, IPV4), (1, IPV6), 99, "/Altyn:0.1/", -1, False),
    messages.Verack(),
    messages.WtxidRelay(),
    messages.SendAddrV2(),
    messages.SendTxReconciliation(1, 2**64 - 1),
    messages.SendHeaders(),
    messages.SendCompact(True, 2),
    messages.FeeFilter(1000),
    messages.Ping(2**64 - 1),
    messages.Pong(5),
    messages.Pong(None),
    messages.GetAddr(),
    messages.Addr((TimedAddress(1, 9, IPV4), TimedAddress(2**32 - 1, 2**64 - 1, IPV6))),
    messages.AddrV2((TimedAddress(1, 2**64 - 1, ONION), TimedAddress(3, 0x3000000, STRANGE), TimedAddress(0, 0, IPV4))),
    messages.Inv((Inventory(InventoryType.WTX, HASH), Inventory(77, OTHER_HASH))),
    messages.GetData((Inventory(InventoryType.WITNESS_BLOCK, HASH),)),
    messages.NotFound((Inventory(InventoryType.TX, HASH),)),
    messages.GetHeaders(70016, (HASH, OTHER_HASH), OTHER_HASH),
    messages.GetBlocks(70016, (HASH,)),
    messages.Headers((HEADER, HEADER)),
    messages.Block(BLOCK),
    messages.MerkleBlock(HEADER, 5, (HASH, OTHER_HASH), b"\x1d"),
    messages.Tx(PLAIN),
    messages.Tx(WITNESS),
    messages.Mempool(),
    messages.FilterLoad(b"\xff" * 36_000, 50, 2**32 - 1, 255),
    messages.FilterAdd(b"x" * 520),
    messages.FilterClear(),
    messages.CompactBlock(HEADER, 2**64 - 1, (b"abcdef",), (Prefilled(0, PLAIN), Prefilled(65535, WITNESS))),
    messages.GetBlockTransactions(HASH, (0, 1, 5, 65535)),
    messages.BlockTransactions(HASH, (PLAIN, WITNESS)),
    messages.GetCFilters(0, 7, HASH),
    messages.CFilter(0, HASH, b"\x01\x7f"),
    messages.GetCFHeaders(0, 7, HASH),
    messages.CFHeaders(0, HASH, OTHER_HASH, (HASH, OTHER_HASH)),
    messages.GetCFCheckpoint(0, HASH),
    messages.CFCheckpoint(0, HASH, (OTHER_HASH,)),
]
