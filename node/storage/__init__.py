"""What the node keeps on disk: databases, block files, and the folder they lie in."""
