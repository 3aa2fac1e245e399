"""The wallet: keys, payments, and following the chain through a node's RPC."""
