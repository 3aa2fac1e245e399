"""The numbers of the wire, as in Core 28. Sizes in bytes, times in seconds."""

PROTOCOL_VERSION = 70016
MIN_PEER_PROTOCOL_VERSION = 31800
PING_NONCE_VERSION = 60001
"""From here on pings carry a nonce and are answered (BIP31)."""
WTXID_RELAY_VERSION = 70016

MAX_PROTOCOL_MESSAGE_LENGTH = 4_000_000
MAX_USER_AGENT_LENGTH = 256
MAX_HEADERS_RESULTS = 2000
MAX_INV_SIZE = 50_000
MAX_ADDR_TO_SEND = 1000
MAX_ADDRESS_SIZE = 512
"""The longest address of an unknown network (BIP155)."""
MAX_LOCATOR_SIZE = 101
MAX_FILTER_ADD_SIZE = 520
MAX_CFILTER_HEADERS = 2000

PING_INTERVAL = 120.0
SILENCE_LIMIT = 1200.0
"""How long a peer may neither send, nor read, nor answer a ping (Core: TIMEOUT_INTERVAL)."""

SEND_BUFFER = 1_000_000
"""Bytes waiting for a peer above which nothing more of it is handled (Core: -maxsendbuffer)."""
MAX_QUEUED = 8_000_000
"""Bytes waiting for a peer above which it is given up: a send buffer, a large block, and announcements."""
READ_AHEAD = 5_000_000
"""Bytes read from a peer before they are handled (Core: -maxreceivebuffer)."""
MESSAGES_AT_ONCE = 32
"""Messages of one peer handled before others get a turn, however many it sent."""
READ_AT_ONCE = 32_000
"""Bytes of messages parsed before others get a turn: milliseconds at worst. A larger message goes to a thread."""
MAX_UNSETTLED = 64
"""Messages of one peer being worked on behind its back (`Settlement`)."""
MAX_UNSETTLED_BYTES = 8_000_000
MAX_UNSETTLED_BYTES_OF_ALL = 16_000_000
"""The same for all peers together: a block in memory can take forty times its bytes, so the rest wait as they came."""
