"""Messages signed by an address, the address being the message."""

from typing import Any

import pytest

from altyn.consensus.networks import MAINNET
from altyn.consensus.script.addresses import decode_address, decode_wif
from altyn.consensus.secp256k1 import load as load_secp
from altyn.wallet.formats.messages import sign_message, signer_of_message
from tests.vectors.conftest import load

CASES = load("wallet/signmessage.json")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["address"])
def test_a_message_is_signed_by_its_address(case: dict[str, Any]) -> None:
    secp = load_secp("coincurve")
    secret, compressed = decode_wif(case["wif"], MAINNET)
    key_hash = decode_address(case["address"], MAINNET)[3:23]
    own = sign_message(case["address"], secret, secp, compressed=compressed)
    for signature in (own, case["signature"]):  # made with another nonce
        assert signer_of_message(case["address"], signature, secp) == key_hash
    assert signer_of_message(case["address"] + " ", case["signature"], secp) != key_hash


@pytest.mark.parametrize("case", CASES[:10], ids=lambda case: case["address"])
def test_the_portable_curve_signs_and_recovers_alike(case: dict[str, Any]) -> None:
    fast, portable = load_secp("coincurve"), load_secp("ecdsa")
    secret, compressed = decode_wif(case["wif"], MAINNET)
    for message in (case["address"], "another", ""):
        signature = sign_message(message, secret, fast, compressed=compressed)
        assert sign_message(message, secret, portable, compressed=compressed) == signature
        key_hash = signer_of_message(message, signature, fast)
        assert signer_of_message(message, signature, portable) == key_hash is not None


def test_what_is_no_signature_has_no_signer() -> None:
    for secp in (load_secp("coincurve"), load_secp("ecdsa")):
        assert signer_of_message("m", "", secp) is None
        assert signer_of_message("m", "AAAA", secp) is None
        for signature in (b"\x1f" + bytes(64), b"\x1f" + b"\xff" * 64, b"\x22" + b"\x11" * 64, b"\x22" + b"\xff" * 64):
            assert secp.recover(signature[1:], (signature[0] - 27) & 3, bytes(32)) is None
        with pytest.raises(ValueError, match="base64"):
            signer_of_message("m", "?", secp)
