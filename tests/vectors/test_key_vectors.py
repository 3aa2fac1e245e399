"""Extended keys (BIP32), recovery words (BIP39) and the accounts made of them (BIP49, BIP84, BIP86)."""

import re
from dataclasses import replace
from typing import Any

import pytest

from altyn.consensus.networks import MAINNET, TESTNET3, Network
from altyn.consensus.script.addresses import base58_decode, encode_address, encode_wif
from altyn.consensus.secp256k1 import Secp256k1
from altyn.consensus.secp256k1 import load as load_secp
from altyn.wallet import words
from altyn.wallet.formats.descriptors import parse
from altyn.wallet.formats.keys import HARDENED, ExtendedKey, KeyFormatError, parse_path
from tests.vectors.conftest import load, vectors_path

BIP32, HD = load("crypto/bip32.json"), load("crypto/hd_bcoin.json")


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


LANGUAGES = ("english", "japanese", "korean")


@pytest.mark.parametrize(
    ("language", "case"),
    [(language, case) for language in LANGUAGES for case in load(f"crypto/bip39/mnemonic-{language}.json")],
    ids=lambda value: value if isinstance(value, str) else value[0],
)
def test_bip39(language: str, case: list[str]) -> None:
    entropy, mnemonic, passphrase, seed, xprv = case
    assert words.normalize(words.from_entropy(bytes.fromhex(entropy), language)) == words.normalize(mnemonic)
    assert words.to_entropy(mnemonic).hex() == entropy
    assert words.to_seed(mnemonic, passphrase).hex() == seed
    assert ExtendedKey.from_seed(bytes.fromhex(seed), load_secp()).encode(MAINNET) == xprv


@pytest.mark.parametrize("language", words.LANGUAGES)
def test_every_language_of_bip39_is_there_and_is_read_back(language: str) -> None:
    listed = vectors_path(f"crypto/bip39/wordlists/{language}.txt").read_text().split()
    for number in range(0, 2048, 2):
        entropy = (number << 245 | (number + 1) << 234 | 7).to_bytes(32, "big")
        text = words.normalize(words.from_entropy(entropy, language)).split()
        assert text[:2] == words.normalize(f"{listed[number]} {listed[number + 1]}").split()
        if number % 128 == 0:
            assert words.to_entropy(" ".join(text), language) == entropy


# Accounts. The BIPs write their extended keys with prefixes of their own.


def seed_master(secp: Secp256k1, mnemonic: str) -> ExtendedKey:
    return ExtendedKey.from_seed(words.to_seed(mnemonic), secp)


def with_prefixes(network: Network, xprv: str, xpub: str) -> Network:
    return replace(network, ext_secret_prefix=base58_decode(xprv)[:4], ext_public_prefix=base58_decode(xpub)[:4])


def path_in(comment: str) -> tuple[int, ...]:
    found = re.search(r"m(/\d+'?)+", comment)
    assert found
    return parse_path(found[0])


@pytest.mark.parametrize(("name", "function"), [("bip84", "wpkh"), ("bip86", "tr")])
def test_accounts_of_bip84_and_bip86(name: str, function: str, secp: Secp256k1) -> None:
    root, account, *outputs = load(f"wallet/{name}.json")
    master = seed_master(secp, root["mnemonic"])
    network = with_prefixes(MAINNET, root["rootpriv"], root["rootpub"])
    assert master.encode(network) == root["rootpriv"]
    path = path_in(account["comment"])
    account_key = master.derive(path, secp)
    assert account_key.encode(network) == account.get("xpriv", account.get("xprv"))
    assert account_key.neutered().encode(network) == account["xpub"]
    assert outputs
    for output in outputs:
        *_, change, index = path_in(output["comment"])
        text = f"{function}({account_key.neutered().encode(MAINNET)}/{change}/*)"
        expansion = parse(text, MAINNET, secp).expand(index)
        assert encode_address(expansion.scripts[0], MAINNET) == output["address"]
        key = account_key.derive((change, index), secp)
        if "privkey" in output:
            assert key.secret is not None
            assert encode_wif(key.secret, MAINNET) == output["privkey"]
            assert key.public_key.hex() == output["pubkey"]
        else:
            assert key.encode(MAINNET) == output["xprv"]
            assert key.public_key[1:].hex() == output["internal_key"]
            assert expansion.scripts[0].hex() == output["scriptPubKey"]


def test_account_of_bip49(secp: Secp256k1) -> None:
    facts: dict[str, Any] = {}
    for section in load("wallet/bip49.json"):
        facts |= section
    master = seed_master(secp, facts["masterseedWords"])
    network = with_prefixes(TESTNET3, facts["masterseed"], facts["account0Xpub"])
    assert master.encode(network) == facts["masterseed"]
    account = master.derive(parse_path("m/49'/1'/0'"), secp)
    assert account.encode(network) == facts["account0Xpriv"]
    assert account.neutered().encode(network) == facts["account0Xpub"]
    key = account.derive((0, 0), secp)
    assert key.public_key.hex() == facts["account0recvPublicKeyHex"].removeprefix("0x")
    expansion = parse(f"sh(wpkh({account.neutered().encode(TESTNET3)}/0/*))", TESTNET3, secp).expand(0)
    assert expansion.inner[0].hex() == facts["scriptSig"].removeprefix("0x")
    assert encode_address(expansion.scripts[0], TESTNET3) == facts["address"]
