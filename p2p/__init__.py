"""The wire and the peers on it. Nothing here knows a chain."""
