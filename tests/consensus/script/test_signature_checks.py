"""What scripts demand of signatures, keys and lock times, and how witnesses are opened."""

import pytest
from script_spends import (
    AMOUNT,
    KEY,
    LONG_KEY,
    SECP,
    SECRET,
    result,
    run,
    run_tapscript,
    spending,
    tapscript,
)

from altyn.consensus.hashes import hash160, sha256
from altyn.consensus.script import flags as flag
from altyn.consensus.script.opcodes import OP_CHECKSIG, push
from altyn.consensus.script.sighash import SighashCache, find_and_delete, without_code_separators
from altyn.consensus.script.taproot import leaf_hash, output_key, output_secret
from altyn.consensus.script.templates import multisig, p2pkh, p2sh_of, p2tr, p2wpkh, p2wsh_of
from altyn.consensus.script.text import from_asm
from altyn.consensus.secp256k1 import ORDER
from altyn.consensus.transaction import Transaction, TxOut, serialize_witness

HIGH_S_FLAGS = flag.LOW_S | flag.P2SH
SEGWIT = flag.P2SH | flag.WITNESS
P2PK = push(KEY) + bytes((OP_CHECKSIG,))


def sign(script_code: bytes, hash_type: int = 1, tx: Transaction | None = None, witness: bool = False) -> bytes:
    """Return a signature of SECRET with its hash type, for the first input."""
    cache = SighashCache(tx or spending(), ())
    if witness:
        digest = cache.witness_v0(0, script_code, AMOUNT, hash_type)
    else:
        digest = cache.legacy(0, script_code, hash_type)
    return SECP.sign_ecdsa(SECRET, digest) + bytes((hash_type,))


def with_high_s(signature: bytes) -> bytes:
    """Return the other signature that the same digest has."""
    head, s = signature[: 4 + signature[3]], signature[6 + signature[3] : -1]
    high = (ORDER - int.from_bytes(s, "big")).to_bytes(33, "big")
    return b"\x30" + bytes((len(head) - 2 + 35,)) + head[2:] + b"\x02\x21" + high + signature[-1:]


def spend_key(signature: bytes, flags: int, script: bytes = P2PK) -> str:
    return result(spending(push(signature)), script, flags)


def test_a_right_signature_spends_and_a_wrong_one_does_not() -> None:
    assert spend_key(sign(P2PK), flag.STANDARD) == "OK"
    assert spend_key(sign(P2PK + b"\x61"), flag.MANDATORY) == "EVAL_FALSE"
    assert spend_key(b"", flag.STANDARD) == "EVAL_FALSE"
    assert spend_key(sign(P2PK + b"\x61"), flag.NULLFAIL) == "NULLFAIL"
    verify = push(KEY) + from_asm("CHECKSIGVERIFY 1")
    assert spend_key(sign(verify), 0, verify) == "OK"
    assert spend_key(b"", 0, verify) == "CHECKSIGVERIFY"


def test_the_form_of_signatures_is_checked_by_flags() -> None:
    signature = sign(P2PK)
    high = with_high_s(signature)
    assert spend_key(high, flag.MANDATORY) == "OK"
    assert spend_key(high, HIGH_S_FLAGS) == "SIG_HIGH_S"
    padded = signature[:-1] + b"\0" + signature[-1:]
    assert spend_key(padded, 0) == "OK"
    for bit in (flag.DERSIG, flag.LOW_S, flag.STRICTENC):
        assert spend_key(padded, bit) == "SIG_DER"
        assert spend_key(b"\x01", bit) == "SIG_DER"
    odd = sign(P2PK, 0x41)
    assert spend_key(odd, flag.DERSIG) == "OK"
    assert spend_key(odd, flag.STRICTENC) == "SIG_HASHTYPE"


def test_the_form_of_keys_is_checked_by_flags() -> None:
    hybrid = bytes((6 + (LONG_KEY[64] & 1),)) + LONG_KEY[1:]
    for key, strict in ((hybrid, "PUBKEYTYPE"), (LONG_KEY, "OK")):
        script = push(key) + bytes((OP_CHECKSIG,))
        assert spend_key(sign(script), 0, script) == "OK"
        assert spend_key(sign(script), flag.STRICTENC, script) == strict
        tx = spending(witness=[sign(script, witness=True), script])
        assert result(tx, p2wsh_of(script), SEGWIT) == "OK"
        assert result(tx, p2wsh_of(script), SEGWIT | flag.WITNESS_PUBKEYTYPE) == "WITNESS_PUBKEYTYPE"
        assert spend_key(sign(script), flag.WITNESS_PUBKEYTYPE, script) == "OK"
    for key in (b"", b"\x02", KEY + b"\0"):
        script = push(key) + bytes((OP_CHECKSIG,))
        assert spend_key(sign(P2PK), 0, script) == "EVAL_FALSE"
        assert spend_key(sign(P2PK), flag.STRICTENC, script) == "PUBKEYTYPE"


def test_multisig_takes_signatures_in_the_order_of_the_keys() -> None:
    other = bytes(31) + b"\x06"
    script = multisig(2, [KEY, SECP.public_key(bytes(31) + b"\x07"), SECP.public_key(other)])
    digest = SighashCache(spending(), ()).legacy(0, script, 1)
    first, last = (SECP.sign_ecdsa(secret, digest) + b"\x01" for secret in (SECRET, other))
    spend = {name: b"\0" + push(a) + push(b) for name, a, b in (("right", first, last), ("wrong", last, first))}
    assert result(spending(spend["right"]), script, flag.STANDARD) == "OK"
    assert result(spending(spend["wrong"]), script) == "EVAL_FALSE"
    assert result(spending(spend["wrong"]), script, flag.NULLFAIL) == "NULLFAIL"
    assert result(spending(b"\0\0\0"), script, flag.STANDARD) == "EVAL_FALSE"
    assert result(spending(b"\x51" + spend["right"][1:]), script, 0) == "OK"
    assert result(spending(b"\x51" + spend["right"][1:]), script, flag.NULLDUMMY) == "SIG_NULLDUMMY"
    assert result(spending(spend["right"][1:]), script, 0) == "INVALID_STACK_OPERATION"
    assert result(spending(b"\0" + push(first) + b"\x51"), script, flag.DERSIG) == "SIG_DER"


def test_a_signature_in_its_own_script_is_deleted_before_segwit() -> None:
    signature = sign(P2PK)
    script = push(signature) + b"\x75" + P2PK
    assert find_and_delete(script, signature) == b"\x75" + P2PK
    assert spend_key(sign(b"\x75" + P2PK), 0, script) == "EVAL_FALSE"  # not its own signature
    signature = sign(b"\x75" + P2PK)
    script = push(signature) + b"\x75" + P2PK
    assert spend_key(signature, 0, script) == "OK"
    assert spend_key(signature, flag.CONST_SCRIPTCODE, script) == "SIG_FINDANDDELETE"


def test_find_and_delete_looks_where_operations_begin() -> None:
    needle = push(b"\xaa\xbb")
    assert find_and_delete(needle + needle + b"\x51" + needle, b"\xaa\xbb") == b"\x51"
    assert find_and_delete(b"\x04" + needle + b"\x51" + needle, b"\xaa\xbb") == b"\x04" + needle + b"\x51"
    assert find_and_delete(b"\x51\x05" + needle, b"\xaa\xbb") == b"\x51\x05" + needle  # cut off: no operation in it
    assert find_and_delete(needle + b"\x05\x01", b"\xaa\xbb") == b"\x05\x01"
    assert find_and_delete(b"\x00\x51\x00", b"") == b"\x51"


def test_code_separators_are_no_part_of_what_is_signed_before_segwit() -> None:
    assert without_code_separators(from_asm("1 CODESEPARATOR 0x01 0xab CODESEPARATOR")) == from_asm("1 0x01 0xab")
    assert without_code_separators(from_asm("CODESEPARATOR 0x05 0xabab")) == from_asm("0x05 0xabab")
    separated = from_asm("1 DROP CODESEPARATOR") + P2PK
    assert spend_key(sign(P2PK), 0, separated) == "OK"
    assert spend_key(sign(separated), 0, separated) == "EVAL_FALSE"
    unexecuted = from_asm("0 IF CODESEPARATOR ENDIF") + P2PK
    assert spend_key(sign(from_asm("0 IF ENDIF") + P2PK), 0, unexecuted) == "OK"
    tx = spending(witness=[sign(unexecuted, witness=True), unexecuted])
    assert result(tx, p2wsh_of(unexecuted), SEGWIT) == "OK"


@pytest.mark.parametrize("hash_type", [1, 2, 3, 0x81, 0x82, 0x83])
def test_hash_types_sign_what_they_say(hash_type: int) -> None:
    signature = sign(P2PK, hash_type)
    tx = spending(push(signature))
    more_inputs = Transaction(2, [*tx.inputs, tx.inputs[0]._replace(sequence=1)], tx.outputs)
    more_outputs = Transaction(2, tx.inputs, [*tx.outputs, TxOut(5, b"")])
    other_output = Transaction(2, tx.inputs, [TxOut(5, b"")])
    other_time = Transaction(2, tx.inputs, tx.outputs, 9)
    assert result(tx, P2PK) == "OK"
    assert (result(more_inputs, P2PK) == "OK") is bool(hash_type & 0x80)
    assert (result(more_outputs, P2PK) == "OK") is (hash_type & 3 != 1)
    assert (result(other_output, P2PK) == "OK") is (hash_type & 3 == 2)
    assert result(other_time, P2PK) == "EVAL_FALSE"


def test_key_hash_templates_spend() -> None:
    output = p2pkh(hash160(KEY))
    assert result(spending(push(sign(output)) + push(KEY)), output, flag.STANDARD) == "OK"
    assert result(spending(push(sign(output)) + push(LONG_KEY)), output) == "EQUALVERIFY"
    program = p2wpkh(hash160(KEY))
    witness = [sign(output, witness=True), KEY]
    assert result(spending(witness=witness), program, flag.STANDARD) == "OK"
    assert result(spending(push(program), witness), p2sh_of(program), flag.STANDARD) == "OK"
    assert result(spending(witness=witness[:1]), program) == "WITNESS_PROGRAM_MISMATCH"
    assert result(spending(b"\x51", witness), program) == "WITNESS_MALLEATED"
    assert result(spending(b"\x51" + push(program), witness), p2sh_of(program)) == "WITNESS_MALLEATED_P2SH"
    assert result(spending(b"\x4c" + push(program), witness), p2sh_of(program)) == "WITNESS_MALLEATED_P2SH"


def test_p2sh_runs_what_was_pushed_last() -> None:
    redeem = from_asm("2 EQUAL")
    output = p2sh_of(redeem)
    assert result(spending(from_asm("2") + push(redeem)), output, flag.P2SH) == "OK"
    assert result(spending(from_asm("3") + push(redeem)), output, flag.P2SH) == "EVAL_FALSE"
    assert result(spending(from_asm("3") + push(redeem)), output, 0) == "OK"
    assert result(spending(from_asm("2 NOP") + push(redeem)), output, flag.P2SH) == "SIG_PUSHONLY"
    assert result(spending(from_asm("2 NOP") + push(redeem)), output, 0) == "OK"
    assert result(spending(push(from_asm("DROP"))), p2sh_of(from_asm("DROP")), flag.P2SH) == "INVALID_STACK_OPERATION"
    assert result(spending(b"\x51" + push(b"\x75")), p2sh_of(b"\x75"), flag.P2SH) == "EVAL_FALSE"
    assert run("NOP 1", "1", flag.SIGPUSHONLY) == "SIG_PUSHONLY"
    assert run("1", "1", SEGWIT | flag.CLEANSTACK) == "CLEANSTACK"
    assert run("", "1", SEGWIT, [b""]) == "WITNESS_UNEXPECTED"
    assert run("", "1", 0, [b""]) == "OK"


def test_witness_programs_open_as_their_version_says() -> None:
    script = from_asm("2 EQUAL")
    output = p2wsh_of(script)
    assert result(spending(witness=[b"\x02", script]), output, SEGWIT) == "OK"
    assert result(spending(witness=[b"\x03", script]), output, SEGWIT) == "EVAL_FALSE"
    assert result(spending(witness=[b"\x01", b"\x02", script]), output, SEGWIT) == "CLEANSTACK"
    assert result(spending(witness=[bytes(521), script]), output, SEGWIT) == "PUSH_SIZE"
    assert result(spending(witness=[b"\x02", script + b"\x61"]), output, SEGWIT) == "WITNESS_PROGRAM_MISMATCH"
    assert result(spending(), output, SEGWIT) == "WITNESS_PROGRAM_WITNESS_EMPTY"
    assert result(spending(), output, flag.P2SH) == "OK"
    assert run("", "0 0x03 0x010101", SEGWIT) == "WITNESS_PROGRAM_WRONG_LENGTH"
    upgradable = SEGWIT | flag.DISCOURAGE_UPGRADABLE_WITNESS_PROGRAM
    for future in (f"2 0x20 0x{'01' * 32}", "1 0x02 0x0101", f"1 0x21 0x{'01' * 33}", "16 0x02 0x0101"):
        assert run("", future, SEGWIT) == "OK"
        assert run("", future, upgradable) == "DISCOURAGE_UPGRADABLE_WITNESS_PROGRAM"
        nested = from_asm(future)
        assert result(spending(push(nested)), p2sh_of(nested), SEGWIT) == "OK"
    assert run("", "1 0x02 0x4e73", flag.STANDARD) == "OK"
    for program in (from_asm("1 0x02 0x4e73"), b"\x51\x20" + KEY[1:]):
        assert result(spending(push(program)), p2sh_of(program), flag.MANDATORY) == "OK"
        assert result(spending(push(program)), p2sh_of(program), upgradable) == "DISCOURAGE_UPGRADABLE_WITNESS_PROGRAM"


@pytest.mark.parametrize("program", [bytes(20), bytes(32), bytes(19) + b"\x80", bytes(31) + b"\x80"])
def test_a_program_that_counts_as_false_cannot_be_spent(program: bytes) -> None:
    output = b"\0" + push(program)
    assert result(spending(witness=[b"", b""]), output, SEGWIT) == "EVAL_FALSE"
    assert result(spending(), output, 0) == "EVAL_FALSE"


def taproot_signature(output: bytes, secret: bytes, hash_type: int = 0, tx: Transaction | None = None) -> bytes:
    tx = tx or spending()
    digest = SighashCache(tx, [TxOut(AMOUNT, output)] * len(tx.inputs)).taproot(0, hash_type)
    assert digest is not None
    return SECP.sign_schnorr(secret, digest) + (bytes((hash_type,)) if hash_type else b"")


def test_taproot_spends_by_key() -> None:
    output = p2tr(output_key(SECP, KEY[1:])[0])
    secret = output_secret(SECP, SECRET)
    for hash_type in (0, 1, 2, 3, 0x81, 0x82, 0x83):
        signature = taproot_signature(output, secret, hash_type)
        assert result(spending(witness=[signature]), output, flag.STANDARD) == "OK"
    signature = taproot_signature(output, secret)
    assert result(spending(), output) == "WITNESS_PROGRAM_WITNESS_EMPTY"
    assert result(spending(witness=[signature[:63]]), output) == "SCHNORR_SIG_SIZE"
    assert result(spending(witness=[signature + b"\0\0"]), output) == "SCHNORR_SIG_SIZE"
    assert result(spending(witness=[signature + b"\0"]), output) == "SCHNORR_SIG_HASHTYPE"
    assert result(spending(witness=[signature + b"\x04"]), output) == "SCHNORR_SIG_HASHTYPE"
    assert result(spending(witness=[signature + b"\x01"]), output) == "SCHNORR_SIG"
    assert result(spending(witness=[signature, b"\x50"]), output) == "SCHNORR_SIG"  # the annex is signed too
    assert result(spending(witness=[signature + b"\x01"]), output, SEGWIT) == "OK"
    single = spending(witness=[bytes(64) + b"\x03"])
    assert result(Transaction(2, single.inputs, []), output) == "SCHNORR_SIG_HASHTYPE"


def test_taproot_signs_the_annex() -> None:
    output = p2tr(output_key(SECP, KEY[1:])[0])
    annex = b"\x50note"
    cache = SighashCache(spending(), [TxOut(AMOUNT, output)])
    digest = cache.taproot(0, 0, sha256(bytes((len(annex),)) + annex))
    assert digest is not None
    signature = SECP.sign_schnorr(output_secret(SECP, SECRET), digest)
    assert result(spending(witness=[signature, annex]), output) == "OK"
    assert result(spending(witness=[signature, b"\x50nota"]), output) == "SCHNORR_SIG"
    assert result(spending(witness=[signature]), output) == "SCHNORR_SIG"


def test_taproot_opens_control_blocks() -> None:
    output, witness = tapscript(from_asm("1"), [])
    script, control = witness
    assert result(spending(witness=witness), output, flag.STANDARD) == "OK"
    assert result(spending(witness=[*witness, b"\x50"]), output) == "OK"
    for size in (32, 34, 33 + 32 * 129):
        assert (
            result(spending(witness=[script, control.ljust(size, b"\0")[:size]]), output)
            == "TAPROOT_WRONG_CONTROL_SIZE"
        )
    flipped = bytes((control[0] ^ 1,)) + control[1:]
    for wrong in (flipped, control + bytes(32), control[:-1] + b"\0", control + bytes(32 * 128)):
        assert result(spending(witness=[script, wrong]), output) == "WITNESS_PROGRAM_MISMATCH"
    assert result(spending(witness=[script + b"\x61", control]), output) == "WITNESS_PROGRAM_MISMATCH"
    output, witness = tapscript(from_asm("RETURN"), [], version=0xC2)
    assert result(spending(witness=witness), output) == "OK"
    assert result(spending(witness=witness), output, flag.STANDARD) == "DISCOURAGE_UPGRADABLE_TAPROOT_VERSION"


def sign_tapscript(script: bytes, code_separator: int = 0xFFFFFFFF) -> tuple[bytes, list[bytes], bytes]:
    """Return output, witness without arguments, and a signature by SECRET for a tapscript."""
    output, witness = tapscript(script, [])
    digest = SighashCache(spending(), [TxOut(AMOUNT, output)]).taproot(0, 0, None, leaf_hash(script), code_separator)
    assert digest is not None
    secret = SECRET if KEY[0] == 2 else (ORDER - 5).to_bytes(32, "big")
    return output, witness, SECP.sign_schnorr(secret, digest)


def test_tapscript_signatures() -> None:
    key = push(KEY[1:])
    script = key + from_asm("CHECKSIG")
    output, witness, signature = sign_tapscript(script)
    assert result(spending(witness=[signature, *witness]), output, flag.STANDARD) == "OK"
    assert result(spending(witness=[b"", *witness]), output) == "EVAL_FALSE"
    assert result(spending(witness=[bytes(64), *witness]), output) == "SCHNORR_SIG"
    assert result(spending(witness=[bytes(5), *witness]), output) == "SCHNORR_SIG_SIZE"
    script = key + from_asm("CHECKSIGVERIFY 1")
    output, witness, signature = sign_tapscript(script)
    assert result(spending(witness=[signature, *witness]), output) == "OK"
    assert result(spending(witness=[b"", *witness]), output) == "CHECKSIGVERIFY"
    assert run_tapscript("0 CHECKSIG", [b"\x01"]) == "TAPSCRIPT_EMPTY_PUBKEY"
    assert run_tapscript("0 0 CHECKSIG") == "TAPSCRIPT_EMPTY_PUBKEY"
    unknown = f"0x21 0x{KEY.hex()} CHECKSIG"
    assert run_tapscript(unknown, [b"\x01"]) == "OK"
    assert run_tapscript(unknown, [b""]) == "EVAL_FALSE"
    assert run_tapscript(unknown, [b"\x01"], flag.STANDARD) == "DISCOURAGE_UPGRADABLE_PUBKEYTYPE"


def test_tapscript_adds_signatures_up() -> None:
    script = from_asm("7") + push(KEY[1:]) + from_asm("CHECKSIGADD 8 NUMEQUAL")
    output, witness, signature = sign_tapscript(script)
    assert result(spending(witness=[signature, *witness]), output, flag.STANDARD) == "OK"
    assert result(spending(witness=[b"", *witness]), output) == "EVAL_FALSE"
    assert run_tapscript("0 0 CHECKSIGADD") == "INVALID_STACK_OPERATION"
    assert run_tapscript("0 2147483648 1 CHECKSIGADD") == "SCRIPTNUM"


def test_tapscript_signs_the_position_of_the_last_code_separator() -> None:
    script = from_asm("'push' DROP CODESEPARATOR") + push(KEY[1:]) + from_asm("CHECKSIG")
    output, witness, signature = sign_tapscript(script, 2)
    assert result(spending(witness=[signature, *witness]), output) == "OK"
    for wrong in (0, 1, 3, 0xFFFFFFFF):
        assert result(spending(witness=[sign_tapscript(script, wrong)[2], *witness]), output) == "SCHNORR_SIG"


def test_tapscript_pays_for_signature_checks_with_witness_weight() -> None:
    """Fifty each; a witness is worth its size plus fifty."""
    seen = set()
    for checks in range(1, 20):
        script = from_asm("1 'k' " + "2DUP CHECKSIGVERIFY " * checks + "DROP")
        output, witness = tapscript(script, [])
        size = len(serialize_witness(witness))
        expected = "OK" if size + 50 >= 50 * checks else "TAPSCRIPT_VALIDATION_WEIGHT"
        assert result(spending(witness=witness), output) == expected
        seen.add(expected)
    assert len(seen) == 2
    exact = from_asm("1 'k' 2DUP CHECKSIGVERIFY 2DUP CHECKSIGVERIFY 2DUP CHECKSIGVERIFY DROP " + "NOP " * 100)
    output, witness = tapscript(exact, [])
    spare = len(serialize_witness(witness)) + 50 - 150
    output, witness = tapscript(exact[:-spare], [])
    assert result(spending(witness=witness), output) == "OK"
    output, witness = tapscript(exact[: -spare - 1], [])
    assert result(spending(witness=witness), output) == "TAPSCRIPT_VALIDATION_WEIGHT"


@pytest.mark.parametrize(
    ("wanted", "lock_time", "sequence", "expected"),
    [
        (100, 100, 0, "OK"),
        (100, 99, 0, "UNSATISFIED_LOCKTIME"),
        (100, 500_000_000, 0, "UNSATISFIED_LOCKTIME"),
        (500_000_000, 500_000_000, 0, "OK"),
        (499_999_999, 500_000_000, 0, "UNSATISFIED_LOCKTIME"),
        (500_000_000, 499_999_999, 0, "UNSATISFIED_LOCKTIME"),
        (100, 100, 0xFFFFFFFF, "UNSATISFIED_LOCKTIME"),
        (100, 100, 0xFFFFFFFE, "OK"),
        (0xFFFFFFFF, 0xFFFFFFFF, 0, "OK"),
        (-1, 100, 0, "NEGATIVE_LOCKTIME"),
    ],
)
def test_check_lock_time_verify(wanted: int, lock_time: int, sequence: int, expected: str) -> None:
    script = from_asm(f"{wanted} CHECKLOCKTIMEVERIFY DROP 1")
    tx = spending(lock_time=lock_time, sequence=sequence)
    assert result(tx, script, flag.CHECKLOCKTIMEVERIFY) == expected
    assert result(tx, script, flag.CHECKSEQUENCEVERIFY) == "OK"


@pytest.mark.parametrize(
    ("wanted", "sequence", "version", "expected"),
    [
        (10, 10, 2, "OK"),
        (11, 10, 2, "UNSATISFIED_LOCKTIME"),
        (10, 10, 1, "UNSATISFIED_LOCKTIME"),
        (10, 10 | 1 << 22, 2, "UNSATISFIED_LOCKTIME"),
        (10 | 1 << 22, 10, 2, "UNSATISFIED_LOCKTIME"),
        (10 | 1 << 22, 10 | 1 << 22, 2, "OK"),
        (10, 10 | 1 << 31, 2, "UNSATISFIED_LOCKTIME"),
        (10 | 1 << 31, 0, 1, "OK"),
        (10 | 1 << 16, 10, 2, "OK"),
        (-1, 10, 2, "NEGATIVE_LOCKTIME"),
        (10, 10, 0xFFFFFFFF, "OK"),
    ],
)
def test_check_sequence_verify(wanted: int, sequence: int, version: int, expected: str) -> None:
    script = from_asm(f"{wanted} CHECKSEQUENCEVERIFY DROP 1")
    tx = spending(sequence=sequence, version=version)
    assert result(tx, script, flag.CHECKSEQUENCEVERIFY) == expected
    assert result(tx, script, flag.CHECKLOCKTIMEVERIFY) == "OK"


@pytest.mark.parametrize("name", ["CHECKLOCKTIMEVERIFY", "CHECKSEQUENCEVERIFY"])
def test_lock_times_are_numbers_of_up_to_five_bytes(name: str) -> None:
    flags = flag.FLAGS[name]
    assert run("", name, flags) == "INVALID_STACK_OPERATION"
    assert run("", f"0x06 0x000000000000 {name}", flags) == "SCRIPTNUM"
    assert run("", f"0x05 0x0000000000 {name}", flags | flag.MINIMALDATA) == "SCRIPTNUM"
