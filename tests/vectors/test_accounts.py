"""Accounts of recovery words (BIP49, BIP84, BIP86)."""

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
from altyn.wallet.formats.keys import ExtendedKey, parse_path
from tests.vectors.conftest import load


@pytest.fixture(scope="module", params=["coincurve", "ecdsa"])
def secp(request: pytest.FixtureRequest) -> Secp256k1:
    return load_secp(request.param)


def seed_master(secp: Secp256k1, mnemonic: str) -> ExtendedKey:
    return ExtendedKey.from_seed(words.to_seed(mnemonic), secp)


def with_prefixes(network: Network, xprv: str, xpub: str) -> Network:
    """Return the network with the prefixes of these keys: the BIPs have some of their own."""
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
