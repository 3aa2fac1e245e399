"""The header-only node: headers, filter headers that several peers agree on, filters, blocks on demand."""
