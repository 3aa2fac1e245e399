"""Every key and value form of the databases. Numbers in keys are big-endian, so that order of keys is order of numbers.

`blocks/index`
    h + height (4) + hash (32)  ->  header (80), status, transactions, file, offset, size, undo offset (4 each)
    p + file (4)                ->  nothing: a block file that was pruned
`chainstate`
    B                           ->  hash of the block the coins stand at (32)
    C + outpoint (36)           ->  height * 2 + is_coinbase (4), value (8), script
`chainstate/snapshot`, while the coins of a snapshot are not proved, or not yet in the place of those from genesis
    as in `chainstate`, and
    S                           ->  hash of the block the snapshot was made at (32), 1 if it is proved;
                                    without it the snapshot is not loaded as a whole, and worth nothing
`indexes/filters`
    f + height (4) + hash (32)  ->  filter header (32), filter (BIP158)
    B                           ->  hash of the last block whose ancestors all have filters (32)
`indexes/transactions`
    t + txid (32)               ->  file, offset of the block, offset of the transaction behind it (4 each)
    B                           ->  hash of the last block whose ancestors' transactions are all indexed (32)
`indexes/addresses`
    a + SHA-256 of script (32) + height (4) + start of block hash (8) + number of transaction (4)
                                ->  txid (32), count (4) and as many outputs made: index (4), value (8);
                                    outputs spent: outpoint (36), value (8)
    B                           ->  as above
`indexes/spenders`
    s + outpoint (36)           ->  height (4), start of block hash (8), txid of the transaction that spends it (32)
    B                           ->  as above
`indexes/coinstatistics`
    u + height (4) + hash (32)  ->  11 totals (16 each), state of the MuHash (384)
    B                           ->  as above

Indexes keep what blocks left behind that a reorganisation took away; the block's hash tells it from the active chain's.
"""

import struct

from altyn.consensus.transaction import Coin, TxOut

BEST_BLOCK = b"B"

HEADER = b"h"
HEADER_KEY = struct.Struct(">cI32s")
HEADER_VALUE = struct.Struct("<80sIIiIIi")
"""`file` and `undo offset` are -1 where there is none; the undo lies in the file of the same number."""

PRUNED = b"p"
PRUNED_KEY = struct.Struct(">cI")

SNAPSHOT = b"S"

COIN = b"C"
_COIN_HEAD = struct.Struct("<Iq")
_tuple = tuple.__new__
"""Makes a named tuple in half the time that its own constructor takes."""
_read_coin_head, _write_coin_head = _COIN_HEAD.unpack_from, _COIN_HEAD.pack
_new = tuple.__new__
"""Half the price of calling a NamedTuple: see altyn.consensus.transaction."""

FILTER = b"f"
FILTER_KEY = struct.Struct(">cI32s")

TRANSACTION = b"t"
TRANSACTION_VALUE = struct.Struct("<III")

ADDRESS = b"a"
SPENDER = b"s"
ROW_BLOCK = struct.Struct(">I8s")
ROW_TRANSACTION = struct.Struct(">I8sI")
"""Where a spender is, and a transaction: big-endian, for the second is the end of a key."""
MADE_COUNT = struct.Struct("<I")
MADE = struct.Struct("<Iq")
SPENT = struct.Struct("<36sq")

COIN_STATISTICS = b"u"
COIN_STATISTICS_KEY = struct.Struct(">cI32s")
TOTAL_SIZE = 16
"""Little-endian: sums over the whole chain outgrow 64 bits."""

SCHEMA = 1
"""Goes up when any of this changes."""


def encode_coin(coin: Coin) -> bytes:
    """Return the value form of a coin, which the cache keeps too: one bytes object is light on the collector."""
    (value, script_pubkey), height, is_coinbase = coin
    return _write_coin_head(height << 1 | is_coinbase, value) + script_pubkey


def decode_coin(data: bytes) -> Coin:
    """Read what `encode_coin` made. Raises struct.error."""
    code, value = _read_coin_head(data)
    return _new(Coin, (_new(TxOut, (value, data[12:])), code >> 1, code & 1 == 1))
