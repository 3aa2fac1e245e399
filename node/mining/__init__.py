"""Mining: block templates, the search for proofs of work, and who puts the two together."""
