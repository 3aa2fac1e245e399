"""Shortcuts round the interpreter beside the interpreter: the same verdict and the same error, whatever is spent."""

from collections import Counter
from collections.abc import Callable
from unittest.mock import patch

from hypothesis import given, settings
from hypothesis import strategies as st
from script_spends import AMOUNT, KEY, LONG_KEY, SECP, SECRET, result, spending

from altyn.consensus.hashes import hash160
from altyn.consensus.script import flags as flag
from altyn.consensus.script.opcodes import push
from altyn.consensus.script.sighash import SighashCache
from altyn.consensus.script.templates import p2pkh, p2sh_of, p2wpkh
from altyn.consensus.secp256k1 import ORDER
from altyn.consensus.secp256k1.der import parse_lax
from altyn.consensus.transaction import Transaction, TxOut

SEGWIT = flag.P2SH | flag.WITNESS
BITS = list(flag.FLAGS.values())

Change = Callable[[bytes], bytes]
Spend = tuple[Transaction, bytes]


def high_s(signature: bytes) -> bytes:
    """Return the other signature of the same digest, which a policy refuses."""
    compact = parse_lax(signature[:-1])
    assert compact is not None
    numbers = compact[:32], (ORDER - int.from_bytes(compact[32:])).to_bytes(32)
    parts = b"".join(b"\x02" + push(number.lstrip(b"\0") if number[0] < 0x80 else b"\0" + number) for number in numbers)
    return b"\x30" + push(parts) + signature[-1:]


CHANGES: dict[str, Change] = {
    "as it is": lambda data: data,
    "a bit flipped": lambda data: data[:20] + bytes((data[20] ^ 1,)) + data[21:],
    "another end": lambda data: data[:-1] + bytes((data[-1] ^ 0x40,)),
    "cut short": lambda data: data[:-1],
    "too long": lambda data: data + b"\x01",
    "much too long": lambda data: data + bytes(520),
    "empty": lambda _: b"",
    "one byte": lambda _: b"\x01",
}


@st.composite
def spends(draw: st.DrawFn) -> Spend:
    """Draw a transaction that spends a key hash, most often rightly, and what it spends."""
    kind = draw(st.sampled_from(["p2pkh", "p2wpkh", "nested"]))
    key = draw(st.sampled_from([KEY, KEY, KEY, LONG_KEY, b"\x05" + KEY[1:]]))
    hash_type = draw(st.sampled_from([1, 1, 2, 3, 0x81, 0x83, 0, 0x42]))
    key_hash = hash160(key)
    program = p2wpkh(key_hash)
    script_pubkey = {"p2pkh": p2pkh(key_hash), "p2wpkh": program, "nested": p2sh_of(program)}[kind]
    cache = SighashCache(spending(), [TxOut(AMOUNT, script_pubkey)])
    if kind == "p2pkh":
        digest = cache.legacy(0, script_pubkey, hash_type)
    else:
        digest = cache.witness_v0(0, p2pkh(key_hash), AMOUNT, hash_type)
    signature = SECP.sign_ecdsa(SECRET, digest) + bytes((hash_type,))
    if draw(st.integers(0, 5)) == 0:
        signature = high_s(signature)
    if draw(st.booleans()):
        signature = CHANGES[draw(st.sampled_from(sorted(CHANGES)))](signature)
        key = CHANGES[draw(st.sampled_from(["as it is", "a bit flipped", "cut short", "empty"]))](key)
    pushes = push(signature) + draw(
        st.sampled_from([push(key), b"\x4c" + bytes((len(key),)) + key, push(key) + b"\x61"])
    )
    script_sig = {"p2pkh": pushes, "p2wpkh": b"", "nested": push(program)}[kind]
    witness = [] if kind == "p2pkh" else [signature, key]
    odd = draw(st.integers(0, 9))
    if odd == 0:
        witness.append(b"more")
    elif odd == 1:
        script_sig = draw(st.sampled_from([b"", b"\x51", script_sig + b"\x51", b"\x4c" + script_sig]))
    return spending(script_sig, witness), script_pubkey


def flags_of(bits: list[int]) -> int:
    """Return the flags of some bits, with what they need of others."""
    flags = sum(set(bits))
    return flags | (SEGWIT if flags & (flag.WITNESS | flag.CLEANSTACK) else 0)


seen: Counter[str] = Counter()


FLAG_SETS = st.one_of(st.sampled_from([flag.MANDATORY, flag.STANDARD]), st.lists(st.sampled_from(BITS)).map(flags_of))


@settings(max_examples=3 * settings.default.max_examples)
@given(spends(), FLAG_SETS)
def test_a_shortcut_says_what_the_interpreter_says(spend: Spend, flags: int) -> None:
    tx, script_pubkey = spend
    with patch("altyn.consensus.script.verify.spends_key_hash", lambda *_: False):
        interpreted = result(tx, script_pubkey, flags)
    assert result(tx, script_pubkey, flags) == interpreted
    seen[interpreted] += 1


def test_many_kinds_of_verdicts_were_among_them() -> None:
    assert not seen or {"OK", "EQUALVERIFY", "EVAL_FALSE"} <= seen.keys()


def test_the_commonest_spends_take_the_shortcut() -> None:
    key_hash = hash160(KEY)
    script_code, program = p2pkh(key_hash), p2wpkh(key_hash)
    cache = SighashCache(spending(), [TxOut(AMOUNT, program)])
    signature = SECP.sign_ecdsa(SECRET, cache.witness_v0(0, script_code, AMOUNT, 1)) + b"\x01"
    legacy = SECP.sign_ecdsa(SECRET, cache.legacy(0, script_code, 1)) + b"\x01"
    with patch("altyn.consensus.script.verify.evaluate", side_effect=AssertionError("interpreted")):
        assert result(spending(b"", [signature, KEY]), program) == "OK"
        assert result(spending(push(program), [signature, KEY]), p2sh_of(program)) == "OK"
        assert result(spending(push(legacy) + push(KEY)), script_code) == "OK"
