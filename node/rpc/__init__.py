"""JSON-RPC as bitcoind serves it: declared methods, an HTTP server, JSON forms of what the node knows."""
