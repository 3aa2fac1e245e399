"""Every operation and every way to fail, one script each."""

import pytest
from script_spends import result, run, run_tapscript, spending, tapscript

from altyn.consensus.hashes import sha256
from altyn.consensus.script import flags as flag
from altyn.consensus.script.errors import ScriptErrorCode
from altyn.consensus.script.opcodes import NAMES, OP_SUCCESSES
from altyn.consensus.script.text import from_asm

WORKS = """
    1 VERIFY 1
    5 TOALTSTACK FROMALTSTACK 5 EQUAL
    1 2 3 2DROP 1 EQUAL
    1 2 2DUP 2 EQUALVERIFY 1 EQUALVERIFY 2 EQUALVERIFY 1 EQUAL
    1 2 3 3DUP 3 EQUALVERIFY 2 EQUALVERIFY 1 EQUALVERIFY 3 EQUALVERIFY 2 EQUALVERIFY 1 EQUAL
    1 2 3 4 2OVER 2 EQUALVERIFY 1 EQUALVERIFY 4 EQUALVERIFY 3 EQUALVERIFY 2 EQUALVERIFY 1 EQUAL
    1 2 3 4 5 6 2ROT 2 EQUALVERIFY 1 EQUALVERIFY 6 EQUALVERIFY 5 EQUALVERIFY 4 EQUALVERIFY 3 EQUAL
    1 2 3 4 2SWAP 2 EQUALVERIFY 1 EQUALVERIFY 4 EQUALVERIFY 3 EQUAL
    1 IFDUP EQUAL
    0 IFDUP DEPTH 1 EQUAL
    7 7 DEPTH 2 EQUAL
    1 2 DROP
    1 DUP EQUAL
    1 2 NIP DEPTH 1 EQUALVERIFY 2 EQUAL
    1 2 OVER 1 EQUAL
    4 5 6 2 PICK 4 EQUALVERIFY 6 EQUALVERIFY 5 EQUALVERIFY 4 EQUAL
    4 5 6 2 ROLL 4 EQUALVERIFY 6 EQUALVERIFY 5 EQUAL
    4 5 6 ROT 4 EQUALVERIFY 6 EQUALVERIFY 5 EQUAL
    4 5 SWAP 4 EQUALVERIFY 5 EQUAL
    4 5 TUCK 5 EQUALVERIFY 4 EQUALVERIFY 5 EQUAL
    'abc' SIZE 3 EQUALVERIFY 'abc' EQUAL
    0 SIZE 0 EQUAL
    4 1ADD 5 EQUAL
    4 1SUB 3 EQUAL
    4 NEGATE -4 EQUAL
    -4 ABS 4 EQUAL
    0 NOT
    2 NOT 0 EQUAL
    2 0NOTEQUAL 1 EQUAL
    2147483647 2147483647 ADD 4294967294 EQUAL
    3 5 SUB -2 EQUAL
    3 0 BOOLAND NOT
    3 5 BOOLAND 1 EQUAL
    3 0 BOOLOR 1 EQUAL
    0 0 BOOLOR NOT
    0x01 0x80 0 NUMEQUAL
    3 3 NUMEQUALVERIFY 1
    3 5 NUMNOTEQUAL
    3 5 LESSTHAN
    5 3 GREATERTHAN
    5 5 LESSTHANOREQUAL
    5 5 GREATERTHANOREQUAL
    3 -5 MIN -5 EQUAL
    3 -5 MAX 3 EQUAL
    3 3 4 WITHIN
    4 3 4 WITHIN NOT
    '' RIPEMD160 0x14 0x9c1185a5c5e9fc54612808977ee8f548b2258d31 EQUAL
    '' SHA1 0x14 0xda39a3ee5e6b4b0d3255bfef95601890afd80709 EQUAL
    '' SHA256 0x20 0xe3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855 EQUAL
    '' HASH160 0x14 0xb472a266d0bd89c13706a4132ccfb16f7c3b9fcb EQUAL
    '' HASH256 0x20 0x5df6e0e2761359d30a8275058e299fcc0381534545f55cf43e41983f5d4c9456 EQUAL
    1 IF 2 ELSE 3 ENDIF 2 EQUAL
    0 IF 2 ELSE 3 ENDIF 3 EQUAL
    0 NOTIF 2 ELSE 3 ENDIF 2 EQUAL
    1 IF 2 ELSE 3 ELSE 4 ENDIF 4 EQUALVERIFY 2 EQUAL
    0 IF 1 IF 2 ELSE 3 ENDIF ELSE 4 ENDIF 4 EQUAL
    1 IF 0 IF 2 ELSE 3 ENDIF ELSE 4 ENDIF 3 EQUAL
    0 IF RETURN VER RESERVED 'x' ENDIF 1
    1 NOP NOP1 CHECKLOCKTIMEVERIFY CHECKSEQUENCEVERIFY NOP4 NOP10
    0 0 0 CHECKMULTISIG
    0 0 CHECKSIG NOT
    0 0 'key' 1 CHECKMULTISIGVERIFY 1
"""

FAILS = """
    OP_RETURN: RETURN
    VERIFY: 0 VERIFY
    EQUALVERIFY: 1 2 EQUALVERIFY
    NUMEQUALVERIFY: 1 2 NUMEQUALVERIFY
    CHECKSIGVERIFY: 0 0 CHECKSIGVERIFY
    CHECKMULTISIGVERIFY: 0 0 1 'key' 1 CHECKMULTISIGVERIFY
    PUBKEY_COUNT: 0 0 -1 CHECKMULTISIG
    PUBKEY_COUNT: 0 0 21 CHECKMULTISIG
    SIG_COUNT: 0 -1 0 CHECKMULTISIG
    SIG_COUNT: 0 1 0 CHECKMULTISIG
    INVALID_STACK_OPERATION: CHECKMULTISIG
    INVALID_STACK_OPERATION: 1 CHECKMULTISIG
    INVALID_STACK_OPERATION: 1 1 1 CHECKMULTISIG
    INVALID_STACK_OPERATION: 0 0 CHECKMULTISIG
    INVALID_ALTSTACK_OPERATION: FROMALTSTACK
    INVALID_STACK_OPERATION: 0 -1 PICK
    INVALID_STACK_OPERATION: 0 1 PICK
    INVALID_STACK_OPERATION: 0 1 ROLL
    EMPTY_CONDITIONAL: IF 1 ENDIF
    SCRIPTNUM: 2147483648 1ADD
    SCRIPTNUM: 1 2147483648 ADD
    SCRIPTNUM: 2147483648 1 ADD
    BAD_OPCODE: RESERVED
    BAD_OPCODE: VER
    BAD_OPCODE: 0 IF VERIF ENDIF 1
    BAD_OPCODE: 0 IF VERNOTIF ENDIF 1
    BAD_OPCODE: RESERVED1
    BAD_OPCODE: 0 0 0 CHECKSIGADD
    BAD_OPCODE: 0xbb
    BAD_OPCODE: 0xff
    BAD_OPCODE: 0x02 0x00
    BAD_OPCODE: 0x4c
    BAD_OPCODE: 0x4d 0x01
    BAD_OPCODE: 0x4d 0x0902
    BAD_OPCODE: 0x4e 0x010000
    BAD_OPCODE: 0x4e 0x01000000
    UNBALANCED_CONDITIONAL: ELSE
    UNBALANCED_CONDITIONAL: ENDIF
    UNBALANCED_CONDITIONAL: 1 IF
    UNBALANCED_CONDITIONAL: 1 ENDIF 1 IF
    UNBALANCED_CONDITIONAL: 0 IF IF ENDIF
    EVAL_FALSE: 0
    EVAL_FALSE: 0x01 0x80
    EVAL_FALSE: 0x02 0x0080
    EVAL_FALSE: 0x03 0x000000
"""

NEEDS = {
    1: "VERIFY TOALTSTACK IFDUP DROP DUP SIZE 1ADD 1SUB NEGATE ABS NOT 0NOTEQUAL RIPEMD160 SHA1 SHA256 HASH160 HASH256",
    2: "2DROP 2DUP NIP OVER PICK ROLL SWAP TUCK EQUAL EQUALVERIFY ADD SUB BOOLAND BOOLOR NUMEQUAL NUMEQUALVERIFY "
    "NUMNOTEQUAL LESSTHAN GREATERTHAN LESSTHANOREQUAL GREATERTHANOREQUAL MIN MAX CHECKSIG CHECKSIGVERIFY",
    3: "3DUP ROT WITHIN",
    4: "2OVER 2SWAP",
    6: "2ROT",
}
DISABLED = (*range(0x7E, 0x82), *range(0x83, 0x87), *range(0x8D, 0x8F), *range(0x95, 0x9A))  # CAT, INVERT, 2MUL, MUL...


def lines(text: str) -> list[str]:
    return [line.strip() for line in text.strip().splitlines()]


@pytest.mark.parametrize("script", lines(WORKS))
def test_script_succeeds(script: str) -> None:
    assert run("", script) == "OK"


@pytest.mark.parametrize("line", lines(FAILS))
def test_script_fails(line: str) -> None:
    error, script = line.split(": ")
    assert run("", script) == error


@pytest.mark.parametrize(("count", "name"), [(count, name) for count, names in NEEDS.items() for name in names.split()])
def test_operation_needs_its_arguments(count: int, name: str) -> None:
    assert run("", "0 " * (count - 1) + name) == "INVALID_STACK_OPERATION"


@pytest.mark.parametrize("opcode", DISABLED)
def test_disabled_operations_fail_even_where_they_do_not_run(opcode: int) -> None:
    assert run("", f"1 1 0x{opcode:02x}") == "DISABLED_OPCODE"
    assert run("", f"0 IF 0x{opcode:02x} ENDIF 1") == "DISABLED_OPCODE"


@pytest.mark.parametrize("opcode", sorted(set(range(256)) - set(NAMES) - set(range(76))))
def test_opcodes_without_meaning_fail_where_they_run(opcode: int) -> None:
    assert run("", f"1 0x{opcode:02x}") == "BAD_OPCODE"
    assert run("", f"0 IF 0x{opcode:02x} ENDIF 1") == "OK"


def test_limits_are_reached_and_not_passed() -> None:
    assert run("", "1 " + "NOP " * 201) == "OK"
    assert run("", "1 " + "NOP " * 202) == "OP_COUNT"
    assert run("", "0 IF " + "NOP " * 201 + "ENDIF 1") == "OP_COUNT"
    multisig = "0 0 " + "0 " * 20 + "20 CHECKMULTISIG DROP "
    assert run("", multisig * 9 + "1 " + "NOP " * 3) == "OK"
    assert run("", multisig * 9 + "1 " + "NOP " * 4) == "OP_COUNT"
    assert run("", multisig * 9 + multisig.removesuffix("DROP ")) == "OP_COUNT"
    assert run("", "1 " * 1000) == "OK"
    assert run("", "1 " * 1001) == "STACK_SIZE"
    assert run("", "1 " * 999 + "TOALTSTACK 1") == "OK"
    assert run("", "1 " * 999 + "TOALTSTACK 1 1") == "STACK_SIZE"
    assert run("", "'a' " * 999 + "TOALTSTACK 'a' 'a'") == "STACK_SIZE"
    assert run("", "1 " * 999 + "TOALTSTACK FROMALTSTACK 1") == "OK"
    assert run("", f"0x4d 0x0802 0x{'01' * 520}") == "OK"
    assert run("", f"0x4d 0x0902 0x{'01' * 521}") == "PUSH_SIZE"
    assert run("", f"0 IF 0x4d 0x0902 0x{'01' * 521} ENDIF 1") == "PUSH_SIZE"
    assert run("", f"0x4d 0x0802 0x{'01' * 520} DROP " * 19 + f"0x{'51' * 44}") == "OK"
    assert run("", f"0x4d 0x0802 0x{'01' * 520} DROP " * 19 + f"0x{'51' * 45}") == "SCRIPT_SIZE"


def test_numbers_and_pushes_must_be_shortest_under_minimaldata() -> None:
    for script in (
        "0x4c 0x00",
        "0x01 0x01",
        "0x01 0x10",
        "0x01 0x81",
        "0x4c 0x02 0x0101",
        f"0x4d 0x4c00 0x{'01' * 76}",
    ):
        assert run("", f"{script} DROP 1") == "OK"
        assert run("", f"{script} DROP 1", flag.MINIMALDATA) == "MINIMALDATA"
        assert run("", f"0 IF {script} ENDIF 1", flag.MINIMALDATA) == "OK"
    assert run("", f"0x4e 0x00010000 0x{'01' * 256}", flag.MINIMALDATA) == "MINIMALDATA"
    for script in (f"0x4b 0x{'01' * 75}", f"0x4c 0x4c 0x{'01' * 76}", f"0x4d 0x0001 0x{'01' * 256}", "0x01 0x11"):
        assert run("", script, flag.MINIMALDATA) == "OK"
    for number in (
        "0x01 0x00",
        "0x01 0x80",
        "0x02 0x0100",
        "0x02 0x0180",
        "0x02 0x8000 1ADD 0x02 0x8100 EQUALVERIFY 0x01 0x00",
    ):
        assert run("", f"{number} 0 ADD DROP 1") == "OK"
        assert run("", f"{number} 0 ADD DROP 1", flag.MINIMALDATA) == "SCRIPTNUM"
    assert run("", "0x02 0x8000 1ADD 0x02 0x8100 EQUAL", flag.MINIMALDATA) == "OK"


@pytest.mark.parametrize("name", ["NOP1", *(f"NOP{n}" for n in range(4, 11))])
def test_free_nops_are_discouraged_where_they_run(name: str) -> None:
    assert run("", f"1 {name}", flag.DISCOURAGE_UPGRADABLE_NOPS) == "DISCOURAGE_UPGRADABLE_NOPS"
    assert run("", f"0 IF {name} ENDIF 1", flag.DISCOURAGE_UPGRADABLE_NOPS) == "OK"
    assert run("", "1 NOP", flag.DISCOURAGE_UPGRADABLE_NOPS) == "OK"


def test_code_separators_are_refused_before_segwit_under_const_scriptcode() -> None:
    for script in ("CODESEPARATOR 1", "0 IF CODESEPARATOR ENDIF 1"):
        assert run("", script) == "OK"
        assert run("", script, flag.CONST_SCRIPTCODE) == "OP_CODESEPARATOR"
        witness_script = from_asm(script)
        output = f"0 0x20 0x{sha256(witness_script).hex()}"
        flags = flag.P2SH | flag.WITNESS | flag.CONST_SCRIPTCODE
        assert run("", output, flags, [witness_script]) == "OK"


@pytest.mark.parametrize("opcode", sorted(OP_SUCCESSES))
def test_op_success_succeeds_before_everything_else(opcode: int) -> None:
    script = f"0x{opcode:02x} RETURN 0x{'51' * 10}"
    assert run_tapscript(script) == "OK"
    assert run_tapscript(f"RETURN VERIF {script}", [bytes(521)] * 1001) == "OK"
    assert run_tapscript(script, flags=flag.STANDARD) == "DISCOURAGE_OP_SUCCESS"
    assert run_tapscript(f"1 0x4c {script} 0x4c") == "BAD_OPCODE"  # cut off behind
    assert run_tapscript(f"0x01 {script} DROP 1 0x05") == "BAD_OPCODE"


@pytest.mark.parametrize("opcode", sorted(set(range(79, 256)) - OP_SUCCESSES - {0x50}))
def test_other_opcodes_do_not_succeed_at_once(opcode: int) -> None:
    assert run_tapscript(f"0x{opcode:02x} RETURN") != "OK"


def test_limits_of_tapscript() -> None:
    assert run_tapscript("1 " + "NOP " * 5000 + "0 IF " + "DUP " * 6000 + "ENDIF") == "OK"
    assert run_tapscript("DROP " * 999, [b"\x01"] * 1000) == "OK"
    assert run_tapscript("DROP " * 1000, [b"\x01"] * 1001) == "STACK_SIZE"
    assert run_tapscript("DROP 1", [bytes(521)]) == "PUSH_SIZE"
    assert run_tapscript("DROP 1", [bytes(520)]) == "OK"
    assert run_tapscript("0 0 0 CHECKMULTISIG") == "TAPSCRIPT_CHECKMULTISIG"
    assert run_tapscript("0 0 0 CHECKMULTISIGVERIFY 1") == "TAPSCRIPT_CHECKMULTISIG"
    assert run_tapscript("1 1") == "CLEANSTACK"
    assert run_tapscript("0") == "EVAL_FALSE"


def test_conditions_need_exact_truth_in_witnesses() -> None:
    for truth in (b"\x02", b"\x01\x00", b"\x00"):
        assert run_tapscript("IF 1 ELSE 1 ENDIF", [truth]) == "TAPSCRIPT_MINIMALIF"
        script = from_asm("IF 1 ELSE 1 ENDIF")
        output = f"0 0x20 0x{sha256(script).hex()}"
        assert run("", output, flag.MANDATORY, [truth, script]) == "OK"
        assert run("", output, flag.MANDATORY | flag.MINIMALIF, [truth, script]) == "MINIMALIF"
        assert run(f"0x{len(truth):02x} 0x{truth.hex()}", "IF 1 ELSE 1 ENDIF", flag.MINIMALIF) == "OK"
    for truth in (b"", b"\x01"):
        assert run_tapscript("NOTIF 1 ELSE 1 ENDIF", [truth], flag.STANDARD) == "OK"


def test_deep_conditions_take_time_in_proportion() -> None:
    """A tapscript may open hundreds of thousands of conditions that do not run; the nesting is a number, not a list."""
    depth = 200_000
    script = from_asm("0 IF") + b"\x63\x67" * depth + b"\x68" * depth + from_asm("ENDIF 1")
    output, witness = tapscript(script, [])
    assert result(spending(witness=witness), output) == "OK"


def test_every_error_has_a_text() -> None:
    assert all(code.text for code in ScriptErrorCode)
    assert len({code.name for code in ScriptErrorCode}) == len(ScriptErrorCode)
    assert ScriptErrorCode.EVAL_FALSE.text.startswith("Script evaluated without error but")
