"""Wycheproof's ECDSA signatures under Bitcoin's rules: strict DER and low S, on the fast backend."""

from hashlib import sha256
from typing import Any

import pytest

from altyn.consensus.script.signatures import is_strict_der
from altyn.consensus.secp256k1 import load as load_secp
from altyn.consensus.secp256k1.der import is_low_s
from tests.vectors.conftest import load

SECP = load_secp("coincurve")
PORTABLE = load_secp("ecdsa")
SOME = 20
"""Every so many cases go through the slow backend too; property tests compare the two further."""


def cases() -> list[Any]:
    return [
        pytest.param(group["publicKey"]["uncompressed"], test, id=f"{test['tcId']}-{test['comment'][:60]}")
        for group in load("crypto/wycheproof_ecdsa_secp256k1_bitcoin.json")["testGroups"]
        for test in group["tests"]
    ]


@pytest.mark.parametrize(("public_key", "case"), cases())
def test_signature(public_key: str, case: dict[str, Any]) -> None:
    key, signature = bytes.fromhex(public_key), bytes.fromhex(case["sig"])
    digest = sha256(bytes.fromhex(case["msg"])).digest()
    verified = SECP.verify_ecdsa(key, signature, digest)
    if case["tcId"] % SOME == 0:
        assert PORTABLE.verify_ecdsa(key, signature, digest) is verified
    accepted = is_strict_der(signature + b"\x01") and is_low_s(signature) and verified
    assert accepted is (case["result"] == "valid")
