"""A chain as the rules see it, for tests: headers without work, one on the other."""

from altyn.consensus.block import Header
from altyn.consensus.pow import work


class Ancestor:
    """A ChainEntry. `height` and `block_hash` may be claimed, to stand where no test could build up to."""

    def __init__(
        self, header: Header, parent: "Ancestor | None" = None, *, height: int | None = None, block_hash: bytes = b""
    ) -> None:
        self.header = header
        self.parent = parent
        self.height = height if height is not None else 0 if parent is None else parent.height + 1
        self.hash = block_hash or header.hash
        self.chain_work: int = work(header.bits) + (parent.chain_work if parent else 0)

    def ancestor(self, height: int) -> "Ancestor":
        entry = self
        while entry.height > height:
            assert entry.parent is not None
            entry = entry.parent
        assert entry.height == height, "no such ancestor"
        return entry


def entry(
    parent: Ancestor | None = None,
    *,
    time: int | None = None,
    bits: int = 0x207FFFFF,
    version: int = 0x20000000,
    height: int | None = None,
    block_hash: bytes = b"",
) -> Ancestor:
    """Make one entry, a minute after its parent unless told."""
    if time is None:
        time = parent.header.time + 60 if parent else 1_600_000_000
    header = Header(version, parent.hash if parent else bytes(32), bytes(32), time, bits, 0)
    return Ancestor(header, parent, height=height, block_hash=block_hash)


def line(count: int, parent: Ancestor | None = None, *, version: int = 0x20000000, bits: int = 0x207FFFFF) -> Ancestor:
    """Make `count` entries, a minute apart, and return the last."""
    assert count > 0
    for _ in range(count):
        parent = entry(parent, version=version, bits=bits)
    assert parent is not None
    return parent
