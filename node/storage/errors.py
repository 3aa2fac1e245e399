"""What goes wrong with storage."""

REINDEX = "start again with --reindex to rebuild all from the block files"
"""What mends a damaged block file, or the index into them: what is lost in the files comes from peers again."""
REINDEX_CHAINSTATE = "start again with --reindex-chainstate to rebuild the coins from the blocks"
"""What mends damaged coins."""

UNPRUNE = (
    "You need to rebuild the database using -reindex to go back to unpruned mode.  This will redownload the entire "
    "blockchain"
)
"""What Core says too."""

FATAL = "A fatal internal error occurred, see debug.log for details: "
"""How Core begins the line about what stops a running node."""

DISK_FULL = "the disk is full: make room and start again, nothing that was accepted is lost"
"""What to do when there is no space left."""


class StoreError(Exception):
    """The disk, or what lies on it, is not as it must be: the node stops. The message says what to do."""


class RebuildNeeded(StoreError):
    """What is there serves no more, in Core's words; a reindex would make it anew."""


class FolderRefused(StoreError):
    """The data directory is not ours to use: taken, of another network, of a newer schema, or of other software."""


class BlockNotStored(Exception):
    """Asked for a block, or for what it spent, that this node does not have."""
