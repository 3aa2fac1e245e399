"""The rules of money: bytes in, verdict out. No file, socket, clock, log or await."""
