"""Bech32 and bech32m: strings and segwit addresses (BIP173, BIP350)."""

import pytest

from altyn.consensus.networks import MAINNET, TESTNET3, Network
from altyn.consensus.script import addresses
from altyn.consensus.script.addresses import AddressError, decode_address, encode_address
from tests.vectors.conftest import load

BIP173, BIP350 = load("crypto/bip173_bech32.json"), load("crypto/bip350_bech32m.json")


@pytest.mark.parametrize(
    ("text", "encoding"),
    [(text, addresses.BECH32) for text in BIP173["valid_strings"]]
    + [(text, addresses.BECH32M) for text in BIP350["valid_strings"]],
)
def test_a_valid_string_is_read_and_written_again(text: str, encoding: int) -> None:
    decoded = addresses.bech32_decode(text)
    assert decoded is not None
    hrp, values, found = decoded
    assert found == encoding
    assert addresses.bech32_encode(hrp, values, found) == text.lower()


@pytest.mark.parametrize(
    ("text", "encoding"),
    [(text, addresses.BECH32) for text, _ in BIP173["invalid_strings"]]
    + [(text, addresses.BECH32M) for text, _ in BIP350["invalid_strings"]],
)
def test_an_invalid_string_is_refused(text: str, encoding: int) -> None:
    decoded = addresses.bech32_decode(text)
    assert decoded is None or decoded[2] != encoding
    assert decoded is not None or addresses.locate_bech32_errors(text)[0]


def network_of(address: str) -> Network:
    return MAINNET if address.lower().startswith("bc1") else TESTNET3


@pytest.mark.parametrize(("address", "script"), BIP350["valid_addresses"])
def test_a_segwit_address_stands_for_its_script(address: str, script: str) -> None:
    network = network_of(address)
    assert decode_address(address, network).hex() == script
    assert encode_address(bytes.fromhex(script), network) == address.lower()


@pytest.mark.parametrize("address", [a for a, _ in BIP350["invalid_addresses"] + BIP173["invalid_addresses"]])
def test_an_invalid_segwit_address_is_refused(address: str) -> None:
    for network in (MAINNET, TESTNET3):
        with pytest.raises(AddressError):
            decode_address(address, network)
