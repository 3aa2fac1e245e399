"""Numbers, operations, text, signature counts, trees: the parts of scripts outside of the interpreter."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from script_spends import KEY, SECP, result, spending

from altyn.consensus.checks.scripts import script_checks
from altyn.consensus.hashes import hash160, sha256
from altyn.consensus.script.errors import ScriptError, ScriptErrorCode
from altyn.consensus.script.flags import ALL, FLAGS, MANDATORY, NONE, P2SH, STANDARD, WITNESS, flag_names, parse_flags
from altyn.consensus.script.interpreter import evaluate
from altyn.consensus.script.opcodes import push, push_number, script_operations
from altyn.consensus.script.sighash import SighashCache
from altyn.consensus.script.stack import decode_number, encode_number, is_true
from altyn.consensus.script.taproot import (
    UNSPENDABLE_KEY,
    Leaf,
    Tree,
    branch_hash,
    check_commitment,
    control_block,
    leaf_paths,
    output_key,
    tree_hash,
)
from altyn.consensus.script.templates import p2sh_of, p2wpkh, p2wsh_of
from altyn.consensus.script.text import ScriptTextError, from_asm, to_asm
from altyn.consensus.script.verify import count_witness_sigops, last_push, legacy_sigops, p2sh_sigops
from altyn.consensus.transaction import TxOut

SIGNATURE = bytes.fromhex("3006020101020101")


@given(st.integers(-(2**31), 2**31))
def test_numbers_survive_their_encoding(number: int) -> None:
    assert decode_number(encode_number(number), minimal=True, limit=5) == number


@given(st.binary(max_size=5))
def test_only_one_form_of_a_number_is_minimal(element: bytes) -> None:
    number = decode_number(element, minimal=False, limit=5)
    assert is_true(element) is (number != 0)
    if encode_number(number) == element:
        assert decode_number(element, minimal=True, limit=5) == number
    else:
        with pytest.raises(ScriptError):
            decode_number(element, minimal=True, limit=5)


@pytest.mark.parametrize("size", [0, 1, 75, 76, 255, 256, 65535, 65536])
def test_pushes_are_read_back(size: int) -> None:
    script = push(bytes(size)) + push_number(-1)
    (_, data, end), (opcode, nothing, last) = script_operations(script)
    assert (data, end, opcode, nothing, last) == (bytes(size), len(script) - 1, 0x4F, None, len(script))
    cut = script_operations(script[: -2 if size else 0] or b"\x01")
    with pytest.raises(ScriptError) as caught:
        list(cut)
    assert caught.value.code is ScriptErrorCode.BAD_OPCODE
    assert str(caught.value) == "Opcode missing or not understood"


@pytest.mark.parametrize("cut", ["4c", "4d", "4d01", "4e", "4e010000", "4c0200", "4d020000", "4e0200000000", "0200"])
def test_a_push_that_the_script_ends_in_is_no_operation(cut: str) -> None:
    operations = script_operations(b"\x51\x01\x07" + bytes.fromhex(cut))
    assert [next(operations), next(operations)] == [(0x51, None, 1), (1, b"\x07", 3)]
    with pytest.raises(ScriptError) as caught:
        next(operations)
    assert caught.value.code is ScriptErrorCode.BAD_OPCODE


@pytest.mark.parametrize(
    ("hex_script", "text"),
    [
        ("", ""),
        ("00", "0"),
        ("4f", "-1"),
        ("5160", "1 16"),
        ("0181", "-1"),
        ("04ffffffff", "-2147483647"),
        ("050000000001", "0000000001"),
        ("76a914" + "01" * 20 + "88ac", "OP_DUP OP_HASH160 " + "01" * 20 + " OP_EQUALVERIFY OP_CHECKSIG"),
        ("b1b2ba", "OP_CHECKLOCKTIMEVERIFY OP_CHECKSEQUENCEVERIFY OP_CHECKSIGADD"),
        ("50bbff", "OP_RESERVED OP_UNKNOWN OP_INVALIDOPCODE"),
        ("5102aa", "1 [error]"),
    ],
)  # fmt: skip
def test_asm_is_core_s(hex_script: str, text: str) -> None:
    assert to_asm(bytes.fromhex(hex_script)) == text


def test_asm_names_hash_types_on_request() -> None:
    script = push(SIGNATURE + b"\x83") + push(SIGNATURE + b"\x41") + push(SIGNATURE + b"\x02")
    plain = SIGNATURE.hex()
    assert to_asm(script) == f"{plain}83 {plain}41 {plain}02"
    assert to_asm(script, sighash_names=True) == f"{plain}[SINGLE|ANYONECANPAY] {plain}41 {plain}[NONE]"
    assert to_asm(b"\x6a" + script, sighash_names=True) == f"OP_RETURN {plain}83 {plain}41 {plain}02"


def test_asm_is_read_in_every_spelling() -> None:
    assert from_asm("OP_DUP DUP 0 -1 16 17 128 0x01ff 'ab' RESERVED") == bytes.fromhex(
        "76 76 00 4f 60 0111 028000 01ff 026162 50"
    )
    assert from_asm("  \n ") == b""
    assert from_asm("4294967295 -4294967295") == bytes.fromhex("05ffffffff0005ffffffff80")
    for wrong in ("4294967296", "-4294967296"):
        with pytest.raises(ScriptTextError, match=r"^script parse error: decimal numeric value only allowed in"):
            from_asm(wrong)
    for wrong in ("OP_NOPE", "0x", "0xabc", "'open", "OP_1", "--1", "1.5"):
        with pytest.raises(ScriptTextError, match=r"^script parse error: unknown opcode$"):
            from_asm(wrong)


@given(st.binary(max_size=80))
def test_any_script_can_be_shown(script: bytes) -> None:
    assert isinstance(to_asm(script, sighash_names=True), str)


def test_signature_operations_are_counted() -> None:
    script = from_asm("CHECKSIG CHECKSIGVERIFY 2 CHECKMULTISIG 'x' CHECKMULTISIGVERIFY 0x02 0xacac CHECKSIGADD")
    assert legacy_sigops(script) == 42
    assert legacy_sigops(script, accurate=True) == 24
    assert legacy_sigops(from_asm("CHECKSIG 0x05 0xacac")) == 1
    assert legacy_sigops(from_asm("CHECKMULTISIG"), accurate=True) == 20
    assert legacy_sigops(from_asm("16 CHECKMULTISIG 0 CHECKMULTISIG"), accurate=True) == 36


def test_signature_operations_of_redeem_scripts_are_counted() -> None:
    redeem = from_asm("2 CHECKMULTISIG CHECKSIG")
    output = p2sh_of(redeem)
    assert p2sh_sigops(from_asm("0") + push(redeem), output) == 3
    assert p2sh_sigops(from_asm("0 NOP") + push(redeem), output) == 0
    assert p2sh_sigops(push(redeem) + b"\x05", output) == 0
    assert p2sh_sigops(push(redeem) + b"\x51", output) == 0
    assert p2sh_sigops(b"", output) == 0
    assert p2sh_sigops(push(redeem), redeem) == 0
    assert (last_push(b""), last_push(b"\x51"), last_push(b"\x61"), last_push(b"\x02\x01")) == (b"", b"", None, None)


def test_signature_operations_of_witnesses_are_counted() -> None:
    script = from_asm("2 CHECKMULTISIG CHECKSIG")
    flags = P2SH | WITNESS
    for output, witness, count in (
        (p2wpkh(bytes(20)), [], 1),
        (p2wsh_of(script), [b"", script], 3),
        (p2wsh_of(script), [], 0),
        (b"\x51\x20" + bytes(32), [script], 0),
        (b"\0\x10" + bytes(16), [script], 0),
        (script, [script], 0),
    ):
        assert count_witness_sigops(b"", output, witness, flags) == count
        assert count_witness_sigops(push(output), p2sh_of(output), witness, flags) == count
        assert count_witness_sigops(b"", output, witness, P2SH) == 0
    assert count_witness_sigops(b"\x61" + push(p2wpkh(bytes(20))), p2sh_of(p2wpkh(bytes(20))), [], flags) == 0


TREES: st.SearchStrategy[Tree] = st.recursive(
    st.builds(Leaf, st.binary(max_size=8), st.sampled_from([0xC0, 0xC2, 0x66])),
    lambda trees: st.tuples(trees, trees),
    max_leaves=8,
)


@given(TREES)
def test_every_leaf_of_a_tree_proves_itself(tree: Tree) -> None:
    root = tree_hash(tree)
    key, parity = output_key(SECP, UNSPENDABLE_KEY, root)
    for leaf, path in leaf_paths(tree):
        control = control_block(UNSPENDABLE_KEY, parity, leaf, path)
        assert check_commitment(SECP, control, key, leaf.hash)
        assert not check_commitment(SECP, control, key, sha256(leaf.hash))
    if not isinstance(tree, Leaf):
        assert branch_hash(tree_hash(tree[1]), tree_hash(tree[0])) == root


def test_flags_have_core_s_names_and_values() -> None:
    assert parse_flags("") == parse_flags("NONE") == NONE
    assert parse_flags("P2SH,TAPROOT") == 1 | 1 << 17
    assert list(FLAGS.values()) == [1 << bit for bit in range(21)]
    assert parse_flags(",".join(FLAGS)) == ALL
    assert flag_names(MANDATORY & ~STANDARD) == []
    assert list(flag_names(ALL & ~STANDARD)) == ["SIGPUSHONLY"]
    assert list(flag_names(MANDATORY)) == [
        "P2SH", "DERSIG", "NULLDUMMY", "CHECKLOCKTIMEVERIFY", "CHECKSEQUENCEVERIFY", "WITNESS", "TAPROOT",
    ]  # fmt: skip
    with pytest.raises(KeyError):
        parse_flags("P2SH,NOPE")


def test_checks_are_values_one_for_each_input() -> None:
    tx = spending(witness=[b"\x01"])
    output = TxOut(5, b"\x51")
    (check,) = script_checks(SighashCache(tx, [output]), P2SH)
    check.run(SECP)
    (check,) = script_checks(SighashCache(tx, [output]), MANDATORY)
    with pytest.raises(ScriptError, match=r"^Witness provided for non-witness script$"):
        check.run(SECP)
    assert tx.txid[::-1].hex() in repr(check)


def test_taproot_needs_all_spent_outputs() -> None:
    with pytest.raises(ValueError, match="all outputs"):
        SighashCache(spending(), []).taproot(0, 0)


@given(st.sampled_from([0, *range(0x51, 0x61)]), st.binary(min_size=2, max_size=40), st.sampled_from([ALL, MANDATORY]))
def test_native_witness_outputs_need_no_interpreter(opcode: int, program: bytes, flags: int) -> None:
    """The two pushes of such an output are not run: what they would leave is known."""
    output = bytes((opcode,)) + push(program)
    stack: list[bytes] = []
    evaluate(stack, output, flags, None)  # type: ignore[arg-type]
    assert stack[1:] == [program]
    assert (result(spending(), output, flags) == "EVAL_FALSE") is not is_true(program)


def test_a_key_hash_is_that_of_the_key() -> None:
    assert result(spending(witness=[b"", KEY]), p2wpkh(hash160(KEY))) == "EVAL_FALSE"
    assert result(spending(witness=[b"", KEY]), p2wpkh(hash160(KEY + b"\0"))) == "EQUALVERIFY"
