"""Altyn: a Bitcoin-protocol full node, light node, miner and wallet."""

__version__ = "0.1.0"
