"""Addresses: what is wrong with one, and where, in Core's words."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from altyn.consensus.networks import MAINNET, REGTEST, TESTNET3
from altyn.consensus.script import templates
from altyn.consensus.script.addresses import (
    BECH32,
    BECH32M,
    AddressError,
    base58_decode,
    base58_encode,
    base58check_encode,
    bech32_decode,
    bech32_encode,
    decode_address,
    decode_wif,
    encode_address,
    encode_wif,
    regroup_to_base32,
)
from altyn.consensus.secp256k1 import ORDER

GOOD = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080"
SCRIPTS = st.one_of(
    st.binary(min_size=20, max_size=20).map(templates.p2pkh),
    st.binary(min_size=20, max_size=20).map(templates.p2sh),
    st.binary(min_size=20, max_size=20).map(templates.p2wpkh),
    st.binary(min_size=32, max_size=32).map(templates.p2wsh),
    st.builds(templates.witness_output, st.integers(1, 16), st.binary(min_size=2, max_size=40)),
)


@given(SCRIPTS, st.sampled_from([MAINNET, TESTNET3, REGTEST]))
def test_an_address_leads_back_to_its_script(script: bytes, network: object) -> None:
    for each in (MAINNET, TESTNET3, REGTEST):
        address = encode_address(script, each)
        assert address is not None
        assert decode_address(address, each) == script


@pytest.mark.parametrize(
    "script", [b"", b"\x6a", templates.p2pk(b"\x02" + bytes(32)), templates.multisig(1, [b"\x02" + bytes(32)])]
)
def test_other_scripts_have_no_address(script: bytes) -> None:
    assert encode_address(script, REGTEST) is None


def segwit(version: int, program: bytes, encoding: int, hrp: str = "bcrt") -> str:
    return bech32_encode(hrp, [version, *regroup_to_base32(program)], encoding)


@pytest.mark.parametrize(
    ("text", "message", "locations"),
    [
        ("", "Invalid checksum or length of Base58 address (P2PKH or P2SH)", ()),
        (
            "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4",
            "Invalid or unsupported Segwit (Bech32) or Base58 encoding.",
            (),
        ),
        ("1BgGZ9tcN4rm9KBzDn7KprQz87SZ26SAMI", "Invalid or unsupported Segwit (Bech32) or Base58 encoding.", ()),
        (
            "1BgGZ9tcN4rm9KBzDn7KprQz87SZ26SAMj",
            "Invalid checksum or length of Base58 address (P2PKH or P2SH)",
            (),
        ),
        ("1BgGZ9tcN4rm9KBzDn7KprQz87SZ26SAMH", "Invalid or unsupported Base58-encoded address.", ()),
        (base58check_encode(b"\x6f" + bytes(19)), "Invalid length for Base58 address (P2PKH or P2SH)", ()),
        (base58check_encode(b"\x6f" + bytes(21)), "Invalid checksum or length of Base58 address (P2PKH or P2SH)", ()),
        (GOOD[:-1] + "q", "Invalid Bech32 checksum", (43,)),
        (GOOD[:10] + "q" + GOOD[11:-1] + "q", "Invalid Bech32 checksum", (10, 43)),
        (GOOD + "1", "Invalid separator position", (44,)),
        (GOOD.replace("8", "B"), "Invalid character or mixed case", (9, 42)),
        (GOOD[:8] + "b" + GOOD[9:], "Invalid Base 32 character", (8,)),
        ("bcrtqqqqqqqqqqq", "Missing separator", ()),
        (GOOD + "q" * 50, "Bech32 string too long", (90, 91, 92, 93)),
        (segwit(0, bytes(20), BECH32M), "Version 0 witness address must use Bech32 checksum", ()),
        (segwit(1, bytes(32), BECH32), "Version 1+ witness address must use Bech32m checksum", ()),
        (segwit(0, bytes(21), BECH32), "Invalid Bech32 v0 address program size (21 bytes), per BIP141", ()),
        (segwit(0, bytes(1), BECH32), "Invalid Bech32 v0 address program size (1 byte), per BIP141", ()),
        (segwit(1, bytes(41), BECH32M), "Invalid Bech32 address program size (41 bytes)", ()),
        (segwit(17, bytes(32), BECH32M), "Invalid Bech32 address witness version", ()),
        (bech32_encode("bcrt", [1, 0, 0], BECH32M), "Invalid Bech32 address program size (1 byte)", ()),
        (bech32_encode("bcrt", [1, 0, 1], BECH32M), "Invalid padding in Bech32 data section", ()),
        (bech32_encode("bcrt", [], BECH32), "Empty Bech32 data section", ()),
        (
            segwit(0, bytes(20), BECH32, "bcrt2"),
            "Invalid or unsupported prefix for Segwit (Bech32) address (expected bcrt, got bcrt2).",
            (),
        ),
    ],
)
def test_what_is_wrong_is_said_in_cores_words(text: str, message: str, locations: tuple[int, ...]) -> None:
    with pytest.raises(AddressError) as refusal:
        decode_address(text, REGTEST)
    assert (str(refusal.value), refusal.value.locations) == (message, locations)


@given(st.sampled_from([BECH32, BECH32M]), st.data())
def test_up_to_two_wrong_characters_are_located(encoding: int, data: st.DataObject) -> None:
    values = data.draw(st.lists(st.integers(0, 31), min_size=1, max_size=70))
    text = bech32_encode("bcrt", values, encoding)
    places = data.draw(st.sets(st.integers(5, len(text) - 1), min_size=1, max_size=2))
    letters = list(text)
    for place in places:
        other = "qpzry9x8gf2tvdw0s3jn54khce6mua7l".replace(letters[place], "")
        letters[place] = data.draw(st.sampled_from(other))
    assert bech32_decode("".join(letters)) is None
    with pytest.raises(AddressError) as refusal:
        decode_address("".join(letters), REGTEST)
    assert set(refusal.value.locations) == places or len(refusal.value.locations) < len(places)


@given(st.binary(max_size=60))
def test_base58_leads_back(data: bytes) -> None:
    assert base58_decode(f" {base58_encode(data)}\n") == data


def test_base58_is_bounded() -> None:
    assert base58_decode("1" * 5, most=5) == bytes(5)
    for text in ("1" * 6, "z" * 8, "z" * 100_000):
        with pytest.raises(AddressError):
            base58_decode(text, most=5)


@pytest.mark.parametrize("compressed", [True, False])
def test_a_private_key_as_text(compressed: bool) -> None:
    text = encode_wif(b"\x07" * 32, REGTEST, compressed=compressed)
    assert decode_wif(text, REGTEST) == (b"\x07" * 32, compressed)
    with pytest.raises(AddressError):
        decode_wif(text, MAINNET)


@pytest.mark.parametrize("secret", [bytes(32), ORDER.to_bytes(32, "big")])
def test_a_private_key_out_of_range_is_refused(secret: bytes) -> None:
    with pytest.raises(AddressError):
        decode_wif(encode_wif(secret, REGTEST), REGTEST)
