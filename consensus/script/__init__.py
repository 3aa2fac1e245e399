"""Bitcoin script: operations, interpreter, signature hashes, standard forms, addresses."""
