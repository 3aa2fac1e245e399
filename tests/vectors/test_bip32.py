"""Extended keys (BIP32)."""

import pytest

from altyn.consensus.networks import MAINNET
from altyn.consensus.secp256k1 import Secp256k1
from altyn.consensus.secp256k1 import load as load_secp
from altyn.wallet.formats.keys import ExtendedKey, KeyFormatError, parse_path
from tests.vectors.conftest import load

BIP32 = load("crypto/bip32.json")


@pytest.fixture(scope="module", params=["coincurve", "ecdsa"])
def secp(request: pytest.FixtureRequest) -> Secp256k1:
    return load_secp(request.param)


@pytest.mark.parametrize(("seed", "node"), [(case["seed"], node) for case in BIP32["valid"] for node in case["chain"]])
def test_bip32_chain(seed: str, node: dict[str, str], secp: Secp256k1) -> None:
    key = ExtendedKey.from_seed(bytes.fromhex(seed), secp).derive(parse_path(node["path"]), secp)
    assert key.encode(MAINNET) == node["xprv"]
    assert key.neutered().encode(MAINNET) == node["xpub"]
    assert ExtendedKey.parse(node["xprv"], MAINNET, secp) == key
    assert ExtendedKey.parse(node["xpub"], MAINNET, secp) == key.neutered()


@pytest.mark.parametrize("case", BIP32["invalid"], ids=lambda case: case["reason"])
def test_bip32_invalid_key(case: dict[str, str], secp: Secp256k1) -> None:
    with pytest.raises(KeyFormatError):
        ExtendedKey.parse(case["key"], MAINNET, secp)
