"""One program made of parts: full and light node, and what serves them to the street."""
