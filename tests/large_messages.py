"""Messages as large as allowed, of as many tiny parts as they can hold: each takes long to read."""

from altyn.consensus.encoding import compact_size

MOST = 4_000_000
IN_FRONT = bytes(36) + b"\0" + b"\xff" * 4
"""An input with an empty script."""
ONE_OUTPUT = b"\1" + bytes(9)
TINY = b"\2\0\0\0\1" + IN_FRONT + ONE_OUTPUT + bytes(4)


def counted(part: bytes, room: int) -> bytes:
    count = room // len(part)
    return compact_size(count) + part * count


ATTACKS = {
    "witness items": ("tx", b"\2\0\0\0\0\1\1" + IN_FRONT + ONE_OUTPUT + counted(b"\0", MOST - 200) + bytes(4)),
    "outputs": ("tx", b"\2\0\0\0\1" + IN_FRONT + counted(bytes(9), MOST - 200) + bytes(4)),
    "transactions of a block": ("block", bytes(80) + counted(TINY, MOST - 200)),
    "transactions of a compact block": ("blocktxn", bytes(32) + counted(TINY, MOST - 200)),
    "short ids": ("cmpctblock", bytes(88) + counted(bytes(6), MOST - 200) + b"\0"),
    "a part missing": ("tx", b"\2\0\0\0\1" + IN_FRONT + counted(bytes(9), MOST - 200)),
}
