"""The numbers of consensus that no network changes. Sizes in bytes, amounts in satoshis, times in seconds."""

COIN = 100_000_000
MAX_MONEY = 21_000_000 * COIN

MAX_BLOCK_WEIGHT = 4_000_000
"""Weight units: four for a byte outside the witness, one for a byte inside (BIP141)."""
WITNESS_SCALE_FACTOR = 4
MAX_BLOCK_SIGOPS_COST = 80_000
MIN_TRANSACTION_WEIGHT = WITNESS_SCALE_FACTOR * 60
MAX_BLOCK_SERIALIZED_SIZE = 4_000_000

COINBASE_MATURITY = 100
"""Blocks until the outputs of a coinbase may be spent."""

LOCKTIME_THRESHOLD = 500_000_000
"""A lock time below is a height, from here on a time in seconds since 1970."""
SEQUENCE_FINAL = 0xFFFFFFFF
SEQUENCE_LOCKTIME_DISABLE_FLAG = 1 << 31
SEQUENCE_LOCKTIME_TYPE_FLAG = 1 << 22
SEQUENCE_LOCKTIME_MASK = 0xFFFF
SEQUENCE_LOCKTIME_GRANULARITY = 9
"""Relative times count in units of 2**9 = 512 seconds (BIP68)."""

MAX_FUTURE_BLOCK_TIME = 2 * 60 * 60
MEDIAN_TIME_SPAN = 11
MAX_TIMEWARP = 600
"""How far a retarget block may lie before its parent (BIP94)."""
