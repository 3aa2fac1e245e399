"""From bytes to messages and back, without I/O: one module a transport."""
