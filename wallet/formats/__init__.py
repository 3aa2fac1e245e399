"""Formats of keys and payments: pure values, without files, network or chance."""
