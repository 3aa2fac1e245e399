"""Base58, bech32 and bech32m (BIP173, BIP350), and Core's addresses and private keys of all networks."""

import contextlib
from typing import Any

import pytest

from altyn.consensus.networks import MAINNET, NETWORKS, REGTEST, TESTNET3, Network
from altyn.consensus.script import addresses, templates
from altyn.consensus.script.addresses import AddressError, decode_address, decode_wif, encode_address, encode_wif
from tests.vectors.conftest import load

BIP173, BIP350 = load("crypto/bip173_bech32.json"), load("crypto/bip350_bech32m.json")
ALL_NETWORKS = sorted({network.name: network for network in NETWORKS.values()}.values(), key=str)


@pytest.mark.parametrize(("data", "text"), load("crypto/base58_encode_decode.json"))
def test_base58_is_written_and_read(data: str, text: str) -> None:
    assert addresses.base58_encode(bytes.fromhex(data)) == text
    assert addresses.base58_decode(text) == bytes.fromhex(data)


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


def read(text: str, network: Network) -> bytes | tuple[bytes, bool] | None:
    for reader in (decode_address, decode_wif):
        with contextlib.suppress(AddressError):
            return reader(text, network)
    return None


@pytest.mark.parametrize(("text", "payload", "facts"), load("crypto/key_io_valid.json"))
def test_what_core_reads_is_read(text: str, payload: str, facts: dict[str, Any]) -> None:
    network = NETWORKS[facts["chain"]]
    if facts["isPrivkey"]:
        expected: Any = (bytes.fromhex(payload), facts["isCompressed"])
        assert encode_wif(*expected[:1], network, compressed=expected[1]) == text
        with pytest.raises(AddressError):
            decode_address(text, network)
    else:
        expected = bytes.fromhex(payload)
        assert encode_address(expected, network) == text
        with pytest.raises(AddressError):
            decode_wif(text, network)
    assert read(text, network) == expected
    if facts.get("tryCaseFlip"):
        assert read(text.swapcase(), network) == expected


@pytest.mark.parametrize("text", [row[0] for row in load("crypto/key_io_invalid.json")])
def test_what_core_refuses_is_refused_on_every_network(text: str) -> None:
    assert len(ALL_NETWORKS) == 5
    assert [read(text, network) for network in ALL_NETWORKS] == [None] * 5


@pytest.mark.parametrize("case", load("wallet/bip67.json"))
def test_sorted_multisig(case: dict[str, Any]) -> None:
    keys = sorted(bytes.fromhex(key) for key in case["keys"])
    assert [key.hex() for key in keys] == case["sorted_keys"]
    script = templates.multisig(2, keys)
    assert script.hex() == case["script"]
    assert templates.classify(script) == templates.Template("multisig", tuple(keys), required=2)
    assert encode_address(templates.p2sh_of(script), REGTEST) == case["address"]
