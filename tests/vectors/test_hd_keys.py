"""An older set of extended keys, bcoin's."""

import pytest

from altyn.consensus.networks import MAINNET
from altyn.consensus.secp256k1 import Secp256k1
from altyn.consensus.secp256k1 import load as load_secp
from altyn.wallet.formats.keys import HARDENED, ExtendedKey, parse_path
from tests.vectors.conftest import load

HD = load("crypto/hd_bcoin.json")


@pytest.fixture(scope="module", params=["coincurve", "ecdsa"])
def secp(request: pytest.FixtureRequest) -> Secp256k1:
    return load_secp(request.param)


@pytest.mark.parametrize("name", [name for name in ("vector1", "vector2") if name in HD])
def test_older_bip32_chain(name: str, secp: Secp256k1) -> None:
    master = ExtendedKey.from_seed(bytes.fromhex(HD[name]["seed"]), secp)
    for path, node in HD[name].items():
        if path != "seed":
            key = master.derive(parse_path(path), secp)
            assert (key.neutered().encode(MAINNET), key.encode(MAINNET)) == (node["pub"], node["prv"])


def test_older_bip32_children(secp: Secp256k1) -> None:
    master = ExtendedKey.from_seed(bytes.fromhex(HD["seed"]), secp)
    assert master.encode(MAINNET) == HD["master_priv"]
    assert master.neutered().encode(MAINNET) == HD["master_pub"]
    paths = {"child1": (0,), "child2": (1,), "child3": (1,), "child4": (2,), "child5": (2, 0), "child6": (2, 1)}
    for name, path in paths.items():
        assert master.neutered().derive(path, secp).encode(MAINNET) == HD[f"{name}_pub"]
        if f"{name}_priv" in HD:
            assert master.derive(path, secp).encode(MAINNET) == HD[f"{name}_priv"]


def test_a_secret_that_begins_with_zeros_keeps_them(secp: Secp256k1) -> None:
    key = ExtendedKey.parse(HD["zero_priv"], MAINNET, secp)
    assert key.secret is not None
    assert key.secret[0] == 0
    assert key.encode(MAINNET) == HD["zero_priv"]
    assert key.child(44 + HARDENED, secp).secret is not None
