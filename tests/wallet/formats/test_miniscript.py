"""Witness scripts read back as miniscript: what is no miniscript, or none that is safe, is left alone."""

import pytest

from altyn.consensus.hashes import hash160
from altyn.consensus.script.opcodes import push, push_number
from altyn.wallet.formats.miniscript import read_miniscript

A, B = (bytes((2,)) + bytes((number,)) * 32 for number in (1, 2))
NAMES = {A: "A", B: "B"}
SIGNED_A, SIGNED_B = push(A) + b"\xac", push(B) + b"\xac"
HASH = b"\x82\x01\x20\x88\xa9\x14" + bytes(20) + b"\x87"
SECRET = f"hash160({'00' * 20})"


def text(script: bytes) -> str | None:
    node = read_miniscript(script, {hash160(A): A}.get)
    return node and node.text(NAMES.__getitem__)


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        (SIGNED_A, "pk(A)"),
        (b"\x00", "0"),
        (b"\x76\xa9\x14" + hash160(A) + b"\x88\xac", "pkh(A)"),
        (HASH[:-1] + b"\x88" + SIGNED_A[:-1] + b"\xad\x51\xb2", f"and_v(and_v(v:{SECRET},v:pk(A)),older(1))"),
        (SIGNED_A + b"\x73\x64" + SIGNED_B[:-1] + b"\xad\x02\x90\x00\xb2\x68", "or_d(pk(A),and_v(v:pk(B),older(144)))"),
        (SIGNED_A + b"\x7c" + SIGNED_B + b"\x9b", "or_b(pk(A),s:pk(B))"),
        (SIGNED_A + b"\x6b" + HASH + b"\x6c\x9a", f"and_b(pk(A),a:{SECRET})"),
        (SIGNED_A + b"\x64\x00\x67\x51\xb2\x68", "and_n(pk(A),older(1))"),
        (b"\x63" + SIGNED_A + b"\x67" + SIGNED_B[:-1] + b"\xad\x51\x68", "or_i(pk(A),tv:pk(B))"),
        (
            SIGNED_A + b"\x7c" + SIGNED_B + b"\x93\x7c\x63\x00\x67\x51\xb2\x68\x92\x93\x52\x87",
            "thresh(2,pk(A),s:pk(B),snl:older(1))",
        ),
        (
            SIGNED_A + b"\x7c" + SIGNED_B + b"\x93\x7c\x63\x00\x67\x51\xb2\x92\x68\x93\x53\x87",
            "thresh(3,pk(A),s:pk(B),sln:older(1))",
        ),
        (SIGNED_A + b"\x7c" + SIGNED_B + b"\x93\x52\x87", "thresh(2,pk(A),s:pk(B))"),
        (b"\x51" + push(A) + push(B) + b"\x52\xae\x92", "n:multi(1,A,B)"),
    ],
)
def test_conditions_are_read(script: bytes, expected: str) -> None:
    assert text(script) == expected


@pytest.mark.parametrize(
    "script",
    [
        b"\x51",  # anybody can spend
        HASH,  # so can who knows the secret
        SIGNED_A + b"\x7c" + SIGNED_A + b"\x9b",  # a key that comes twice
        SIGNED_A[:-1] + b"\xad\x51\xb2\x69\x03\x05\x00\x40\xb2",  # locks by height and by time
        SIGNED_A + b"\x69\x51",  # CHECKSIG and VERIFY on their own
        b"\x4c\x21" + A + b"\xac",  # not the shortest push
        push(b"\x04" + A[1:]) + b"\xac",
        b"\x76\xa9\x14" + hash160(B) + b"\x88\xac",  # whose key is not known
        push_number(32) + b"\xb2\x69",  # verified, nothing left
        SIGNED_A + b"\x52\x87",  # more wanted than there are
        b"\x51" + push(A) + b"\x52\xae",
        b"\xac",
        b"\x4c",
        b"",
        b"\x92" * 4000,
        b"\x63" * 500 + b"\x51" + b"\x67\x51\x68" * 500,
    ],
)
def test_what_is_no_sane_miniscript_is_left_alone(script: bytes) -> None:
    assert text(script) is None


def test_limits_of_policy_hold() -> None:
    keys = [bytes((2, *number.to_bytes(2, "big"))) + bytes(30) for number in range(120)]

    def signed_by_all(count: int, each: int) -> bytes:
        groups = [keys[at : at + each] for at in range(0, count, each)]
        multis = [push_number(each) + b"".join(map(push, group)) + push_number(each) for group in groups]
        return b"\xaf".join(multis) + b"\xae"

    assert read_miniscript(signed_by_all(80, 16), {}.get) is not None
    assert read_miniscript(signed_by_all(100, 20), {}.get) is None  # a hundred signatures, and five items more
    assert read_miniscript(signed_by_all(112, 16), {}.get) is None  # 3,600 bytes are exceeded
