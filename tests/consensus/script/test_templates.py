"""The standard forms of output scripts."""

import pytest

from altyn.consensus.script import templates
from altyn.consensus.script.templates import Template, classify

KEY, KEY2, LONG_KEY = b"\x02" + bytes(32), b"\x03" + bytes(32), b"\x04" + bytes(64)
H20, H32 = bytes(range(20)), bytes(range(32))


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        (templates.p2pk(KEY), Template("pubkey", (KEY,))),
        (templates.p2pk(LONG_KEY), Template("pubkey", (LONG_KEY,))),
        (templates.p2pkh(H20), Template("pubkeyhash", (H20,))),
        (templates.p2sh(H20), Template("scripthash", (H20,))),
        (templates.p2wpkh(H20), Template("witness_v0_keyhash", (H20,), version=0)),
        (templates.p2wsh(H32), Template("witness_v0_scripthash", (H32,), version=0)),
        (templates.p2tr(H32), Template("witness_v1_taproot", (H32,), version=1)),
        (bytes.fromhex("51024e73"), Template("anchor", (b"\x4e\x73",), version=1)),
        (bytes.fromhex("51024e74"), Template("witness_unknown", (b"\x4e\x74",), version=1)),
        (templates.witness_output(16, b"ab"), Template("witness_unknown", (b"ab",), version=16)),
        (templates.witness_output(1, H20), Template("witness_unknown", (H20,), version=1)),
        (templates.witness_output(0, b"abcd"), templates.NONSTANDARD),
        (templates.null_data(b"hello"), Template("nulldata")),
        (b"\x6a", Template("nulldata")),
        (b"\x6a\x50\x60\x4f", Template("nulldata")),  # OP_RESERVED counts as a push
        (b"\x6a\x61", templates.NONSTANDARD),
        (b"\x6a\x05ab", templates.NONSTANDARD),
        (templates.multisig(1, [KEY, LONG_KEY]), Template("multisig", (KEY, LONG_KEY), required=1)),
        (templates.multisig(20, [KEY] * 20), Template("multisig", (KEY,) * 20, required=20)),
        (templates.multisig(2, [KEY]), templates.NONSTANDARD),
        (templates.multisig(1, []), templates.NONSTANDARD),
        (templates.multisig(1, [KEY] * 21), templates.NONSTANDARD),
        (templates.multisig(1, [b"\x05" + bytes(32)]), templates.NONSTANDARD),
        (b"\x01\x01" + templates.multisig(1, [KEY])[1:], templates.NONSTANDARD),  # 1 is not pushed as bytes
        (templates.multisig(1, [KEY]) + b"\x61", templates.NONSTANDARD),
        (b"\x51\x21" + KEY + b"\x52\xae", templates.NONSTANDARD),
        (b"\x4c\xae", templates.NONSTANDARD),
        (b"\x21" + b"\x05" + bytes(32) + b"\xac", templates.NONSTANDARD),
        (b"\x41" + LONG_KEY + b"\xad", templates.NONSTANDARD),
        (b"", templates.NONSTANDARD),
        (b"\x51", templates.NONSTANDARD),
    ],
)
def test_a_script_is_recognised(script: bytes, expected: Template) -> None:
    assert classify(script) == expected


def test_hashed_forms_hash_their_script() -> None:
    assert templates.p2sh_of(b"\x51").hex() == "a914da1745e9b549bd0bfa1a569971c77eba30cd5a4b87"
    assert templates.p2wsh_of(b"\x51").hex() == "00204ae81572f06e1b88fd5ced7a1a000945432e83e1551e6f721ee9c00b8cc33260"


@pytest.mark.parametrize("size", [0, 1, 41, 42])
def test_a_witness_program_has_2_to_40_bytes(size: int) -> None:
    assert templates.witness_program(bytes((0x51, size)) + bytes(size)) is None


def test_a_witness_program_is_pushed_by_its_size() -> None:
    assert templates.witness_program(b"\x51\x02ab") == (1, b"ab")
    assert templates.witness_program(b"\x51\x02abc") is None
    assert templates.witness_program(b"\x4f\x02ab") is None
    assert templates.witness_program(b"\x61\x02ab") is None


def test_only_pushes() -> None:
    assert templates.is_push_only(b"\x00\x60\x4f\x02ab\x4c\x01a")
    assert not templates.is_push_only(b"\x61")
    assert not templates.is_push_only(b"\x02a")


def test_what_can_never_be_spent() -> None:
    assert templates.is_unspendable(b"\x6a")
    assert templates.is_unspendable(bytes(10_001))
    assert not templates.is_unspendable(bytes(10_000))
    assert not templates.is_unspendable(b"")


def test_the_size_of_a_key_fits_its_first_byte() -> None:
    assert templates.has_public_key_size(KEY)
    assert templates.has_public_key_size(b"\x07" + bytes(64))
    assert not templates.has_public_key_size(b"\x02" + bytes(64))
    assert not templates.has_public_key_size(b"")
