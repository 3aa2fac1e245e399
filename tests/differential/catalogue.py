"""All mutations: importing the modules that hold them registers them."""

from differential import (
    block_mutations,
    script_mutations,
    sigop_mutations,
    transaction_mutations,
    witness_mutations,
)
from differential.mutations import MUTATIONS

MODULES = (block_mutations, script_mutations, sigop_mutations, transaction_mutations, witness_mutations)
ALL = tuple(MUTATIONS.values())
