"""What is remembered as valid, and how much of it."""

from collections.abc import Callable

import pytest
from script_spends import KEY, SECP, SECRET

from altyn.node.chain.caches import ENTRY_BYTES, CachedSecp256k1, Remembered, ScriptCache

SALT = bytes(range(32))
DIGEST = b"\x07" * 32


class Counting:
    """A curve that counts what it verifies."""

    def __init__(self) -> None:
        self.verified = 0

    def __getattr__(self, name: str) -> Callable[..., object]:
        called: Callable[..., object] = getattr(SECP, name)
        if not name.startswith("verify_"):
            return called

        def counted(*values: bytes) -> object:
            self.verified += 1
            return called(*values)

        return counted

    name = "counting"


def cached(max_bytes: int = 1 << 20) -> tuple[Counting, CachedSecp256k1]:
    counting = Counting()
    return counting, CachedSecp256k1(counting, SALT, max_bytes)  # type: ignore[arg-type]


def test_a_valid_signature_is_verified_once() -> None:
    counting, secp = cached()
    ecdsa, schnorr = SECP.sign_ecdsa(SECRET, DIGEST), SECP.sign_schnorr(SECRET, DIGEST)
    assert all(secp.verify_ecdsa(KEY, ecdsa, DIGEST) for _ in range(3))
    assert counting.verified == 1
    assert all(secp.verify_schnorr(KEY[1:], schnorr, DIGEST) for _ in range(3))
    assert counting.verified == 2


def test_an_invalid_signature_is_never_remembered() -> None:
    counting, secp = cached()
    signature = SECP.sign_ecdsa(SECRET, DIGEST)
    assert not any(secp.verify_ecdsa(KEY, signature, bytes(32)) for _ in range(3))
    assert not any(secp.verify_schnorr(KEY[1:], bytes(64), DIGEST) for _ in range(3))
    assert counting.verified == 6


@pytest.mark.parametrize("kind", ["ecdsa", "schnorr"])
def test_a_signature_is_remembered_with_its_key_and_digest(kind: str) -> None:
    _, secp = cached()
    key = KEY if kind == "ecdsa" else KEY[1:]
    signature = getattr(SECP, f"sign_{kind}")(SECRET, DIGEST)
    verify = getattr(secp, f"verify_{kind}")
    assert verify(key, signature, DIGEST)
    assert not verify(key, signature, bytes(32))
    assert not verify(SECP.public_key(b"\x09" * 32)[-len(key) :], signature, DIGEST)
    assert not verify(key, signature[:-1] + bytes((signature[-1] ^ 1,)), DIGEST)


def test_bytes_do_not_move_between_key_and_signature() -> None:
    counting, secp = cached()
    signature = SECP.sign_ecdsa(SECRET, DIGEST)
    assert secp.verify_ecdsa(KEY, signature, DIGEST)
    assert not secp.verify_ecdsa(KEY + signature[:1], signature[1:], DIGEST)
    assert counting.verified == 2


def test_the_rest_of_the_curve_is_passed_on() -> None:
    _, secp = cached()
    assert secp.name == "counting"
    assert secp.public_key(SECRET) == KEY
    assert secp.is_public_key(KEY)


def test_scripts_are_remembered_under_their_flags() -> None:
    cache = ScriptCache(SALT, 1 << 20)
    cache.add(b"\x01" * 32, 5)
    assert cache.has_passed(b"\x01" * 32, 5)
    assert not cache.has_passed(b"\x01" * 32, 7)
    assert not cache.has_passed(b"\x02" * 32, 5)


def test_a_full_memory_forgets_the_oldest_and_keeps_the_newest() -> None:
    most = 100
    memory = Remembered(SALT, most * ENTRY_BYTES)
    keys = [memory.key(bytes((number,))) for number in range(250)]
    for added, key in enumerate(keys, 1):
        memory.add(key)
        assert len(memory) <= most
        assert all(each in memory for each in keys[max(added - most // 2, 0) : added])
    assert keys[0] not in memory


def test_another_salt_gives_other_keys() -> None:
    assert Remembered(SALT, 1000).key(b"data") != Remembered(bytes(32), 1000).key(b"data")
