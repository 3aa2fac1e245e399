"""What goes wrong with storage."""


class StoreError(Exception):
    """The disk, or what lies on it, is not as it must be: the node stops. The message says what to do."""


class FolderRefused(StoreError):
    """The data directory is not ours to use: taken, of another network, of a newer schema, or of other software."""


class BlockNotStored(Exception):
    """Asked for a block, or for what it spent, that this node does not have."""
