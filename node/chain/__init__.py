"""The chain: the header tree, the coins, and the one branch with the most work."""
