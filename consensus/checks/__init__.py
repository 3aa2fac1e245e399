"""The rules of transactions, headers and blocks, in Core's order and with Core's reject reasons."""
