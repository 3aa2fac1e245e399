"""The mempool: unconfirmed transactions that the next blocks may take, and who is let in."""
