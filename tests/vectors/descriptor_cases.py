"""Which descriptors are read.

Miniscript and musig() are not yet: valid descriptors that have them are strict expected failures.
"""

import re
from typing import Any

import pytest

from altyn.consensus.secp256k1 import load
from altyn.wallet.formats.descriptors import Descriptor

SECP = load()
READ = {"pk", "pkh", "wpkh", "sh", "wsh", "combo", "multi", "sortedmulti", "multi_a", "sortedmulti_a"}
READ |= {"tr", "rawtr", "addr", "raw"}


def is_read(text: str) -> bool:
    """Whether all functions in the text are ours, wrappers of miniscript such as `v:` absent, and trees of pk only."""
    functions = re.findall(r"([a-z0-9_:]+)\(", text)
    in_tree = re.search(r"^tr\([^,]*,(.*)\)", text)
    return set(functions) <= READ and not (in_tree and "pkh(" in in_tree[1])


def cases(vectors: list[dict[str, Any]], *kinds: str) -> list[Any]:
    """Return the cases of these kinds as parameters; those with functions that are not read fail for now."""
    chosen = []
    for number, case in enumerate(vectors):
        if case["kind"] in kinds:
            text = case.get("descriptor") or case["pub"]
            marks = [] if is_read(text) else [pytest.mark.xfail(strict=True, reason="miniscript or musig()")]
            chosen.append(pytest.param(case, marks=marks, id=f"{number}-{text[:40]}"))
    return chosen


def scripts_of(descriptor: Descriptor, index: int) -> list[str]:
    return [script.hex() for script in descriptor.expand(index).scripts]
