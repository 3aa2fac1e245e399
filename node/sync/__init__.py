"""The full node's conversation with its peers: headers first, blocks in a window, relay, answers."""
