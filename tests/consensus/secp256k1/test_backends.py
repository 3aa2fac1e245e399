"""The two backends of the curve answer alike, and what they sign verifies."""

import builtins
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from altyn.consensus.secp256k1 import ORDER, Ellswift, InvalidKey, load

FAST, PLAIN = load("coincurve"), load("ecdsa")
BACKENDS = pytest.mark.parametrize("secp", [FAST, PLAIN], ids=["coincurve", "ecdsa"])
FEW = settings(max_examples=settings.default.max_examples // 4)  # the slow backend signs or verifies in each

EDGES = st.sampled_from([0, 1, 2, ORDER // 2, ORDER // 2 + 1, ORDER - 1, ORDER, ORDER + 1, 2**256 - 1])
NUMBERS = (EDGES | st.integers(1, ORDER - 1)).map(lambda number: number.to_bytes(32, "big"))
SECRETS = st.integers(1, ORDER - 1).map(lambda number: number.to_bytes(32, "big"))
DIGESTS = st.integers(0, ORDER - 1).map(lambda number: number.to_bytes(32, "big"))


def outcome(function: Any, *arguments: Any) -> Any:
    """Return what the function does: its result, or that the key is invalid."""
    try:
        return function(*arguments)
    except InvalidKey:
        return InvalidKey


def der(*numbers: int, pad: int = 0, tail: bytes = b"", long_form: bool = False) -> bytes:
    """Return a signature of R and S, made in one of the ways that old blocks have."""
    body = b""
    for number in numbers:
        digits = bytes(pad) + number.to_bytes(max(1, (number.bit_length() + 7) // 8), "big")
        body += b"\x02" + (b"\x82\x00" if long_form else b"") + bytes((len(digits),)) + digits
    return b"\x30" + bytes((len(body) & 0x7F,)) + body + tail


@given(secret=NUMBERS, tweak=NUMBERS)
@FEW
def test_keys_and_sums_are_alike(secret: bytes, tweak: bytes) -> None:
    key = outcome(FAST.public_key, secret)
    assert outcome(PLAIN.public_key, secret) == key
    assert outcome(FAST.add_to_secret, secret, tweak) == outcome(PLAIN.add_to_secret, secret, tweak)
    if key is not InvalidKey:
        uncompressed = FAST.public_key(secret, compressed=False)
        assert PLAIN.public_key(secret, compressed=False) == uncompressed
        total = outcome(FAST.add_to_public_key, uncompressed, tweak)
        assert outcome(PLAIN.add_to_public_key, key, tweak) == total
        summed = outcome(FAST.add_to_secret, secret, tweak)
        assert total == (InvalidKey if summed is InvalidKey else FAST.public_key(summed))


@given(key=NUMBERS, tweak=NUMBERS, parity=st.integers(0, 1))
@FEW
def test_x_only_sums_are_alike(key: bytes, tweak: bytes, parity: int) -> None:
    total = outcome(FAST.tweak_x_only, key, tweak)
    assert outcome(PLAIN.tweak_x_only, key, tweak) == total
    if total is not InvalidKey:
        expected = parity == total[1]
        assert FAST.check_tweak(total[0], parity, key, tweak) is expected
        assert PLAIN.check_tweak(total[0], parity, key, tweak) is expected
    assert not FAST.check_tweak(bytes(32), parity, key, tweak)
    assert not PLAIN.check_tweak(bytes(32), parity, key, tweak)


@given(secret=SECRETS, digest=DIGESTS, aux=st.binary(min_size=32, max_size=32))
@FEW
def test_signatures_are_alike_and_verify(secret: bytes, digest: bytes, aux: bytes) -> None:
    signature = FAST.sign_ecdsa(secret, digest)
    assert PLAIN.sign_ecdsa(secret, digest) == signature
    assert len(signature) <= 70
    schnorr = FAST.sign_schnorr(secret, digest, aux)
    assert PLAIN.sign_schnorr(secret, digest, aux) == schnorr
    key = FAST.public_key(secret)
    wrong = bytes((digest[0] ^ 1,)) + digest[1:]
    for secp in (FAST, PLAIN):
        assert secp.verify_ecdsa(key, signature, digest)
        assert not secp.verify_ecdsa(key, signature, wrong)
        assert secp.verify_schnorr(key[1:], schnorr, digest)
        assert not secp.verify_schnorr(key[1:], schnorr, wrong)


@given(
    secret=SECRETS,
    digest=DIGESTS,
    form=st.fixed_dictionaries(
        {}, optional={"pad": st.integers(0, 3), "tail": st.binary(max_size=2), "long_form": st.booleans()}
    ),
    negate=st.booleans(),
    shift=st.sampled_from([0, 0, 0, 1, ORDER]),
)
@FEW
def test_odd_forms_of_signatures_are_read_alike(
    secret: bytes, digest: bytes, form: dict[str, Any], negate: bool, shift: int
) -> None:
    """Padded, unpadded although negative, with bytes behind, with long lengths, high S, numbers above the order."""
    strict = FAST.sign_ecdsa(secret, digest)
    r = int.from_bytes(strict[4 : 4 + strict[3]], "big")
    s = int.from_bytes(strict[6 + strict[3] :], "big")
    signature = der(r, (ORDER - s if negate else s) + shift, **form)
    key = FAST.public_key(secret, compressed=False)
    verified = FAST.verify_ecdsa(key, signature, digest)
    assert PLAIN.verify_ecdsa(key, signature, digest) is verified
    assert verified is (shift == 0)


@given(data=st.data())
def test_damaged_signatures_are_judged_alike(data: st.DataObject) -> None:
    digest = bytes(31) + b"\x07"
    signature = bytearray(FAST.sign_ecdsa(bytes(31) + b"\x05", digest))
    for _ in range(data.draw(st.integers(1, 2))):
        # The head most of all: the numbers themselves are the slow backend's to refuse.
        signature[data.draw(st.sampled_from([0, 1, 2, 3, 3, 4, 36, 37, 37, 38, 68, 69]))] = data.draw(
            st.integers(0, 255)
        )
    cut = bytes(signature[: data.draw(st.sampled_from([None, None, -1, 3, 36, 1]))])
    key = FAST.public_key(bytes(31) + b"\x05")
    assert FAST.verify_ecdsa(key, cut, digest) is PLAIN.verify_ecdsa(key, cut, digest)


@given(key=st.binary(max_size=70) | st.tuples(st.integers(0, 8), NUMBERS, NUMBERS).map(lambda p: bytes((p[0],)) + p[1]))
@example(b"\x02" + (2**256 - 2**32 - 977).to_bytes(32, "big"))
def test_public_keys_are_recognised_alike(key: bytes) -> None:
    assert FAST.is_public_key(key) is PLAIN.is_public_key(key)


@pytest.mark.parametrize("head", range(9))
@pytest.mark.parametrize("secret", [5, 6])  # one with an even y, one with an odd
@BACKENDS
def test_long_public_keys_need_the_right_head(secp: Any, secret: int, head: int) -> None:
    key = secp.public_key(secret.to_bytes(32, "big"), compressed=False)
    odd = key[64] & 1
    assert secp.is_public_key(bytes((head,)) + key[1:]) is (head in {4, 6 + odd})
    assert not secp.is_public_key(bytes((head,)) + key[1:64] + bytes((key[64] ^ 1,)))


@BACKENDS
def test_malformed_arguments_do_not_verify(secp: Any) -> None:
    secret, digest = bytes(31) + b"\x05", bytes(32)
    key, signature, schnorr = (
        secp.public_key(secret),
        secp.sign_ecdsa(secret, digest),
        secp.sign_schnorr(secret, digest),
    )
    assert secp.verify_schnorr(key[1:], schnorr, digest)
    assert not secp.verify_ecdsa(b"", signature, digest)
    assert not secp.verify_ecdsa(key, b"", digest)
    assert not secp.verify_ecdsa(key[:-1], signature, digest)
    assert not secp.verify_schnorr(key[1:], schnorr[:-1], digest)
    assert not secp.verify_schnorr(key[1:], schnorr + b"\0", digest)
    assert not secp.verify_schnorr(key, schnorr, digest)
    assert not secp.check_tweak(key[1:], 0, key, bytes(32))
    assert not secp.check_tweak(key[1:], 0, key[1:], b"")


@BACKENDS
def test_what_is_no_key_raises(secp: Any) -> None:
    zero, one = bytes(32), bytes(31) + b"\x01"
    for call in (
        lambda: secp.public_key(zero),
        lambda: secp.public_key(one[1:]),
        lambda: secp.sign_ecdsa(zero, one),
        lambda: secp.sign_schnorr(ORDER.to_bytes(32, "big"), one),
        lambda: secp.add_to_secret(one, (ORDER - 1).to_bytes(32, "big")),
        lambda: secp.add_to_secret(one[1:], one),
        lambda: secp.add_to_public_key(b"\x02" + zero, one),
        lambda: secp.tweak_x_only(zero, one),
        lambda: secp.tweak_x_only(one[1:], one),
    ):
        with pytest.raises(InvalidKey):
            call()


@BACKENDS
def test_arguments_of_the_wrong_size_raise(secp: Any) -> None:
    one = bytes(31) + b"\x01"
    for call in (
        lambda: secp.sign_ecdsa(one, b"short"),
        lambda: secp.sign_schnorr(one, one, b"short"),
        lambda: secp.add_to_secret(one, b"short"),
    ):
        with pytest.raises(ValueError, match="32 bytes"):
            call()


@pytest.fixture
def without_coincurve(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let the import of coincurve's library fail."""
    real = builtins.__import__

    def fail(name: str, namespace: Any = None, local: Any = None, names: Sequence[str] = (), level: int = 0) -> Any:
        if name.startswith("coincurve"):
            raise ImportError("no coincurve here")
        return real(name, namespace, local, names, level)

    monkeypatch.delitem(sys.modules, "altyn.consensus.secp256k1.libsecp")
    monkeypatch.setattr(builtins, "__import__", fail)
    yield
    monkeypatch.undo()


@given(ours=SECRETS, theirs=SECRETS, randomness=st.binary(min_size=64, max_size=64))
def test_both_ends_agree_on_a_secret_by_keys_that_look_random(ours: bytes, theirs: bytes, randomness: bytes) -> None:
    assert isinstance(FAST, Ellswift)
    a, b = FAST.ellswift_create(ours, randomness[:32]), FAST.ellswift_create(theirs, randomness[32:])
    assert FAST.ellswift_decode(a)[1:] == FAST.public_key(ours)[1:]
    shared = FAST.ellswift_agree(ours, a, b, initiating=True)
    assert len(shared) == 32
    assert FAST.ellswift_agree(theirs, b, a, initiating=False) == shared
    assert (FAST.ellswift_agree(ours, a, b, initiating=False) == shared) is (a == b)


def test_only_libsecp256k1_agrees_on_secrets_and_only_by_keys() -> None:
    assert not isinstance(PLAIN, Ellswift)
    assert isinstance(FAST, Ellswift)
    for secret in (bytes(32), b"\xff" * 32, b"short"):
        with pytest.raises(InvalidKey):
            FAST.ellswift_create(secret, bytes(32))
        with pytest.raises(InvalidKey):
            FAST.ellswift_agree(secret, bytes(64), bytes(64), initiating=True)
    with pytest.raises(ValueError, match="randomness"):
        FAST.ellswift_create(b"\1" * 32, b"")
    for decode in (FAST.ellswift_decode, lambda key: FAST.ellswift_agree(b"\1" * 32, key, bytes(64), initiating=False)):
        with pytest.raises(ValueError, match="64 bytes, not 63"):
            decode(bytes(63))


@pytest.mark.usefixtures("without_coincurve")
def test_without_coincurve_the_plain_backend_serves_with_a_warning() -> None:
    with pytest.warns(RuntimeWarning, match="no coincurve here"):
        assert load("auto").name == "ecdsa"
    with pytest.raises(ImportError):
        load("coincurve")


def test_a_missing_symbol_of_coincurve_shows_itself_at_import(monkeypatch: pytest.MonkeyPatch) -> None:
    from coincurve import _libsecp256k1  # noqa: PLC0415

    class Incomplete:
        def __getattr__(self, name: str) -> Any:
            if name == "secp256k1_schnorrsig_verify":
                raise AttributeError(name)
            return getattr(real, name)

    real = _libsecp256k1.lib
    monkeypatch.delitem(sys.modules, "altyn.consensus.secp256k1.libsecp")
    monkeypatch.setattr(_libsecp256k1, "lib", Incomplete())
    with pytest.warns(RuntimeWarning, match="secp256k1_schnorrsig_verify"):
        assert load("auto").name == "ecdsa"


def test_backends_are_chosen_by_name() -> None:
    assert load("auto").name == load("coincurve").name == "coincurve"
    assert load("ecdsa").name == "ecdsa"
    with pytest.raises(ValueError, match="openssl"):
        load("openssl")
