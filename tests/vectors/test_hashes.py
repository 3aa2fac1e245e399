"""Vectors of the hash functions that the protocol uses."""

from typing import Any

import pytest

from altyn.consensus.hashes import ripemd160, sha256, siphash24
from altyn.consensus.ripemd160 import ripemd160 as portable_ripemd160
from tests.vectors.conftest import load

VECTORS = load("crypto/hash_vectors.json")


def message(case: dict[str, Any]) -> bytes:
    return case["in_ascii"].encode() if "in_ascii" in case else bytes.fromhex(case["in"])


@pytest.mark.parametrize("case", VECTORS.get("ripemd160", []), ids=lambda case: case["out"][:8])
def test_ripemd160(case: dict[str, Any]) -> None:
    assert ripemd160(message(case)).hex() == case["out"]
    assert portable_ripemd160(message(case)).hex() == case["out"]


@pytest.mark.parametrize("case", VECTORS.get("sha256", []), ids=lambda case: case["out"][:8])
def test_sha256(case: dict[str, Any]) -> None:
    assert sha256(message(case)).hex() == case["out"]


def siphash_cases() -> list[tuple[int, str]]:
    return list(enumerate(VECTORS.get("siphash_2_4", {}).get("out", [])))


@pytest.mark.parametrize(("size", "expected"), siphash_cases())
def test_siphash(size: int, expected: str) -> None:
    k0, k1 = (int(VECTORS["siphash_2_4"][name], 16) for name in ("k0", "k1"))
    assert siphash24(k0, k1, bytes(range(size))) == int(expected, 16)
