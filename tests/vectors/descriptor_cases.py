"""The cases of the descriptor vectors, and what is asked of every one of them."""

import json
from hashlib import sha256
from typing import Any

import pytest

from altyn.consensus.secp256k1 import load
from altyn.wallet.formats.descriptors import Descriptor

SECP = load()


def cases(vectors: list[dict[str, Any]], *kinds: str) -> list[Any]:
    """Return the cases of these kinds as parameters.

    Their ids depend on the case alone: `xfails.txt` knows it again wherever it stands in another set of vectors.
    """
    return [pytest.param(case, id=_name(case)) for case in vectors if case["kind"] in kinds]


def _name(case: dict[str, Any]) -> str:
    text = case.get("descriptor") or case["pub"]
    digest = sha256(json.dumps(case, sort_keys=True).encode()).hexdigest()
    return f"{text.partition('(')[0]}-{digest[:12]}"


def scripts_of(descriptor: Descriptor, index: int) -> list[str]:
    return [script.hex() for script in descriptor.expand(index).scripts]
