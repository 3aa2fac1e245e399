"""The vectors of BIP340, on both backends."""

import pytest

from altyn.consensus.secp256k1 import load as load_secp
from tests.vectors.conftest import load


@pytest.mark.parametrize("row", load("crypto/bip340.csv"), ids=lambda row: row["index"])
@pytest.mark.parametrize("backend", ["coincurve", "ecdsa"])
def test_schnorr_signature(row: dict[str, str], backend: str) -> None:
    secp = load_secp(backend)
    public_key, message, signature = (bytes.fromhex(row[name]) for name in ("public key", "message", "signature"))
    if row["secret key"]:
        secret, aux = bytes.fromhex(row["secret key"]), bytes.fromhex(row["aux_rand"])
        assert secp.public_key(secret)[1:] == public_key
        assert secp.sign_schnorr(secret, message, aux) == signature
    assert secp.verify_schnorr(public_key, signature, message) is (row["verification result"] == "TRUE")
