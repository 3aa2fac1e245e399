"""Mutations of scripts as they were before segwit: signatures, single operations, lock times, P2SH."""

from random import Random

from builders import push, push_number
from differential.ground import Ground
from differential.locks import P2PK, P2PKH, P2WPKH, Lock, given, lock, signed
from differential.signing import OTHER_KEY, OTHER_SECRET, Signer, Solution, Solve
from script_spends import KEY, LONG_KEY, SECP, SECRET

from altyn.consensus.script.sighash import find_and_delete, without_code_separators
from altyn.consensus.script.templates import multisig, p2sh_of, p2wsh_of
from altyn.consensus.script.text import from_asm
from altyn.consensus.secp256k1 import ORDER

ONE = SECP.sign_ecdsa(SECRET, b"\x01" + bytes(31)) + b"\x03"
"""A signature of the number one, which SIGHASH_SINGLE signs where there is no output for the input."""

# Signatures and keys


def with_high_s(signature: bytes) -> bytes:
    """Return the other signature of the same digest."""
    head, s = signature[: 4 + signature[3]], signature[6 + signature[3] : -1]
    high = (ORDER - int.from_bytes(s, "big")).to_bytes(33, "big")
    return b"\x30" + bytes((len(head) - 2 + 35,)) + head[2:] + b"\x02\x21" + high + signature[-1:]


@lock("EVAL_FALSE")
def wrong_signature(_: Ground, random: Random) -> Lock:
    right = (
        signed(P2PK),
        signed(P2PK, hash_type=random.choice((2, 3, 0x81, 0x82, 0x83, 0, 4, 0x50, 0xFF))),
        lambda s: Solution(push(with_high_s(s.ecdsa(P2PK)))),
        lambda s: Solution(b"\x4c" + push(s.ecdsa(P2PK))),
        lambda s: Solution(b"\x51\x61" + push(s.ecdsa(P2PK))),  # not only pushes, and one element too many
    )
    wrong = (signed(P2PKH), signed(P2PK, secret=OTHER_SECRET), given(b"\x00"))
    return Lock(P2PK, random.choice(right), random.choice(wrong))


@lock("SIG_DER")
def signature_not_der(_: Ground, random: Random) -> Lock:
    def spoiled(signer: Signer) -> Solution:
        good = signer.ecdsa(P2PK)
        longer = good[:2] + b"\x02" + bytes((good[3] + 1,)) + b"\0" + good[4:]
        wrong = (good[:-1] + b"\0\1", good[:-1], b"\x31" + good[1:], b"\x30", b"\x01", longer)
        return Solution(push(random.choice(wrong)))

    return Lock(P2PK, signed(P2PK), spoiled)


@lock("EQUALVERIFY")
def key_of_another_hash(_: Ground, random: Random) -> Lock:
    return Lock(P2PKH, signed(P2PKH, KEY), signed(P2PKH, random.choice((OTHER_KEY, LONG_KEY, b""))))


@lock("EVAL_FALSE")
def key_with_a_wrong_first_byte(_: Ground, random: Random) -> Lock:
    """A hybrid key tells the parity of y as well."""
    script = from_asm("CHECKSIG")
    parity = LONG_KEY[64] & 1
    hybrid, other = (bytes((6 + bit,)) + LONG_KEY[1:] for bit in (parity, parity ^ 1))
    wrong = random.choice((other, b"\x05" + LONG_KEY[1:], b"\x04" + LONG_KEY[1:64] + b"\0", b"", KEY[:-1]))
    return Lock(script, signed(script, random.choice((hybrid, LONG_KEY, KEY))), signed(script, wrong))


@lock("CHECKSIGVERIFY")
def signature_left_out(_: Ground, __: Random) -> Lock:
    script = push(KEY) + from_asm("CHECKSIGVERIFY 1")
    return Lock(script, signed(script), given(b"\0"))


@lock("EVAL_FALSE")
def multisig_in_the_wrong_order(_: Ground, random: Random) -> Lock:
    script = multisig(2, random.choice(([KEY, OTHER_KEY], [KEY, LONG_KEY, OTHER_KEY])))

    def both(signer: Signer, *secrets: bytes) -> Solution:
        return Solution(b"\0" + b"".join(push(signer.ecdsa(script, secret=secret)) for secret in secrets))

    return Lock(script, lambda s: both(s, SECRET, OTHER_SECRET), lambda s: both(s, OTHER_SECRET, SECRET))


@lock("SIG_NULLDUMMY")
def dummy_not_null(_: Ground, random: Random) -> Lock:
    """BIP147, also inside P2WSH."""
    script = multisig(1, [OTHER_KEY, KEY])
    dummy = random.choice((b"\x01", b"\0", b"\x80", b"anything"))
    if random.random() < 0.5:
        return Lock(
            script,
            lambda s: Solution(b"\0" + push(s.ecdsa(script))),
            lambda s: Solution(push(dummy) + push(s.ecdsa(script))),
        )
    return Lock(
        p2wsh_of(script),
        lambda s: Solution(b"", (b"", s.ecdsa(script, segwit=True), script)),
        lambda s: Solution(b"", (dummy, s.ecdsa(script, segwit=True), script)),
    )


@lock("EVAL_FALSE")
def code_separator_before_segwit(_: Ground, random: Random) -> Lock:
    """What is behind the last separator executed is signed, without the separators left in it."""
    tail = from_asm("0 IF CODESEPARATOR ENDIF") + P2PK
    script = from_asm("1 DROP CODESEPARATOR") + tail
    wrong = random.choice((without_code_separators(script), from_asm("CODESEPARATOR ENDIF") + P2PK))
    return Lock(script, signed(tail), signed(wrong))


@lock("EVAL_FALSE")
def find_and_delete_not_done(_: Ground, __: Random) -> Lock:
    """One of the two signatures stands in the script itself, and is no part of what the other one signs."""
    script = push(ONE) + b"\x75" + multisig(2, [KEY, OTHER_KEY])
    code = find_and_delete(script, ONE)
    assert code != script

    def both(signer: Signer, script_code: bytes) -> Solution:
        return Solution(b"\0" + push(ONE) + push(signer.ecdsa(script_code, secret=OTHER_SECRET)))

    one = {"outputs": 1}
    return Lock(
        script,
        lambda s: both(s, code),
        lambda s: both(s, script),
        right_options=one,
        wrong_options=one,
        needs_beside=True,
    )


@lock("EVAL_FALSE")
def single_with_an_output_of_its_own(_: Ground, __: Random) -> Lock:
    return Lock(
        P2PK,
        given(push(ONE)),
        given(push(ONE)),
        right_options={"outputs": 1},
        wrong_options={"outputs": 2},
        needs_beside=True,
    )


# Single operations

_PLAIN = {
    "op-return": ("OP_RETURN", "IF RETURN ENDIF 1", "0", "1"),
    "verify": ("VERIFY", "VERIFY 1", "1", "0"),
    "equalverify": ("EQUALVERIFY", "2 EQUALVERIFY 1", "2", "3"),
    "numequalverify": ("NUMEQUALVERIFY", "2 NUMEQUALVERIFY 1", "2", "3"),
    "checkmultisigverify": ("CHECKMULTISIGVERIFY", "CHECKMULTISIGVERIFY 1", "0 0 0", f"0 0 1 0x21 0x{KEY.hex()} 1"),
    "empty-stack": ("INVALID_STACK_OPERATION", "ADD", "1 1", "1"),
    "empty-alt-stack": ("INVALID_ALTSTACK_OPERATION", "IF 1 TOALTSTACK ENDIF FROMALTSTACK", "1", "0"),
    "reserved": ("BAD_OPCODE", "IF RESERVED ENDIF 1", "0", "1"),
    "false-at-the-end": ("EVAL_FALSE", "NOT", "0", "1"),
    "negative-zero": ("EVAL_FALSE", "NOP", "1", "0x01 0x80"),
    "number-too-long": ("SCRIPTNUM", "1ADD DROP 1", "0x04 0xffffff7f", "0x05 0xffffffff00"),
    "push-too-long": ("PUSH_SIZE", "DROP 1", f"0x4d 0x0802 0x{'00' * 520}", f"0x4d 0x0902 0x{'00' * 521}"),
    "too-many-operations": ("OP_COUNT", "1", f"1 {'NOP ' * 201}", f"1 {'NOP ' * 202}"),
    "stack-too-high": ("STACK_SIZE", "DEPTH", "1 " * 999, "1 " * 1000),
}
"""By name: the error, the script, and what unlocks it rightly and wrongly."""


def _plain(name: str, error: str, script: str, right: str, wrong: str) -> None:
    @lock(error, name)
    def make(_: Ground, __: Random) -> Lock:
        return Lock(from_asm(script), given(from_asm(right)), given(from_asm(wrong)))


for _name, _parts in _PLAIN.items():
    _plain(_name, *_parts)


@lock("PUBKEY_COUNT")
def too_many_keys(_: Ground, random: Random) -> Lock:
    def keys(count: int) -> Solve:
        return given(b"\0\0" + push(KEY) * count + push_number(count))

    wrong = random.choice((keys(21), given(b"\0\0\x4f")))
    return Lock(from_asm("CHECKMULTISIG"), keys(20), wrong)


@lock("SIG_COUNT")
def more_signatures_than_keys(_: Ground, random: Random) -> Lock:
    def count(number: bytes) -> Solve:
        return given(b"\0\0" + number + push(KEY) + b"\x51")

    return Lock(from_asm("CHECKMULTISIG NOT"), count(b"\x51"), count(random.choice((b"\x52", b"\x4f"))))


@lock("DISABLED_OPCODE")
def disabled_operation(_: Ground, random: Random) -> Lock:
    """It fails where it is not executed, too."""
    disabled = random.choice((0x7E, 0x7F, 0x80, 0x81, 0x83, 0x84, 0x85, 0x86, 0x8D, 0x8E, 0x95, 0x96, 0x97, 0x98, 0x99))
    unknown = random.choice((0x50, 0x62, 0x89, 0x8A, 0xBA, 0xFF))
    good, bad = (b"\x00\x63" + bytes((opcode,)) + b"\x68\x51" for opcode in (unknown, disabled))
    return Lock(good, given(), given(), bad)


@lock("BAD_OPCODE")
def push_cut_off_or_unknown_operation(_: Ground, random: Random) -> Lock:
    end = random.choice(
        (b"\x4b", b"\x4c", b"\x4d\x01", b"\x4e\xff\xff\xff\xff", b"\xba", b"\xff", b"\x50", b"\x63\x65")
    )
    return Lock(b"\x51\xb9\xb0", given(), given(), b"\x51" + end)


@lock("UNBALANCED_CONDITIONAL")
def condition_without_its_end(_: Ground, random: Random) -> Lock:
    wrong = random.choice(("1 IF 1", "1 ENDIF", "1 ELSE", "1 0 IF 1 ELSE 1 ELSE"))
    return Lock(from_asm("1 IF 1 ELSE ELSE ENDIF"), given(), given(), from_asm(wrong))


# Lock times


@lock("UNSATISFIED_LOCKTIME")
def lock_time_by_height_unmet(ground: Ground, random: Random) -> Lock:
    height = ground.height - random.randrange(3)
    script = push_number(height) + from_asm("CHECKLOCKTIMEVERIFY")
    wrong = random.choice(
        (
            {"lock_time": height - 1},
            {"lock_time": 0},
            {"lock_time": height, "sequence": 0xFFFFFFFF},
            {"lock_time": ground.median_time - 1},
        )
    )
    return Lock(script, given(), given(), right_options={"lock_time": height}, wrong_options=wrong)


@lock("UNSATISFIED_LOCKTIME")
def lock_time_by_time_unmet(ground: Ground, random: Random) -> Lock:
    moment = ground.median_time - 1 - random.randrange(1000)
    script = push(moment.to_bytes(5, "little")) + from_asm("CHECKLOCKTIMEVERIFY")
    wrong = random.choice(({"lock_time": moment - 1}, {"lock_time": ground.height}, {"lock_time": 0}))
    return Lock(script, given(), given(), right_options={"lock_time": moment}, wrong_options=wrong)


def _locked(random: Random, right: bytes, wrong: bytes) -> Lock:
    """Return a lock by either kind of time, to which scriptSig adds the time."""
    operation = random.choice(("CHECKLOCKTIMEVERIFY", "CHECKSEQUENCEVERIFY"))
    options = {"lock_time": 5, "sequence": 0}
    return Lock(from_asm(f"{operation} 1"), given(right), given(wrong), right_options=options, wrong_options=options)


@lock("NEGATIVE_LOCKTIME")
def negative_lock_time(_: Ground, random: Random) -> Lock:
    return _locked(random, random.choice((b"\0", b"\x01\x80")), random.choice((b"\x4f", b"\x05\1\0\0\0\x80")))


@lock("INVALID_STACK_OPERATION")
def lock_time_of_an_empty_stack(_: Ground, random: Random) -> Lock:
    return _locked(random, b"\0", b"")


@lock("SCRIPTNUM")
def lock_time_of_six_bytes(_: Ground, random: Random) -> Lock:
    return _locked(random, push(bytes(5)), push(bytes(6)))


@lock("UNSATISFIED_LOCKTIME")
def sequence_unmet(_: Ground, random: Random) -> Lock:
    """BIP112. The transaction by itself is final: the two differ in what the script asks of it."""
    number, right, wrong = random.choice(
        (
            (0, {"sequence": 0}, {"sequence": 0, "version": 1}),
            (0, {"sequence": 0}, {"sequence": 1 << 31}),
            (0, {"sequence": 0}, {"sequence": 0xFFFFFFFF}),
            (0, {"sequence": 0}, {"sequence": 1 << 22}),
            (1 << 22, {"sequence": 1 << 22}, {"sequence": 0}),
            (1 << 16, {"sequence": 0}, {"sequence": 0, "version": 1}),
        )
    )
    script = push_number(number) + from_asm("CHECKSEQUENCEVERIFY 1")
    return Lock(script, given(), given(), right_options=right, wrong_options=wrong)


@lock("UNSATISFIED_LOCKTIME")
def sequence_that_the_script_asks_for_or_not(_: Ground, random: Random) -> Lock:
    """A number with the disable flag asks for nothing."""
    nothing = random.choice((1 << 31, 1 << 31 | 5, (1 << 39) - 1))
    asked = random.choice((1, 5, 0xFFFF))
    return Lock(
        from_asm("CHECKSEQUENCEVERIFY"),
        given(push_number(nothing)),
        given(push_number(asked)),
        right_options={"sequence": 0xFFFFFFFF, "version": 1},
        wrong_options={"sequence": 0},
    )


# P2SH


@lock("EVAL_FALSE")
def redeem_script_of_another_hash(_: Ground, random: Random) -> Lock:
    redeem = from_asm("2 EQUAL")
    return Lock(p2sh_of(redeem), given(b"\x52" + push(redeem)), given(b"\x52" + push(redeem + random.randbytes(1))))


@lock("EVAL_FALSE")
def redeem_script_false(_: Ground, __: Random) -> Lock:
    redeem = from_asm("2 EQUAL")
    return Lock(p2sh_of(redeem), given(b"\x51\x52" + push(redeem)), given(b"\x51\x53" + push(redeem)))


@lock("SIG_PUSHONLY")
def p2sh_with_more_than_pushes(_: Ground, random: Random) -> Lock:
    redeem = from_asm("2 EQUAL")
    wrong = random.choice((b"\x52\x61", b"\x52\x52\x75", b"\x51\x8b"))
    return Lock(p2sh_of(redeem), given(b"\x52" + push(redeem)), given(wrong + push(redeem)))


@lock("WITNESS_MALLEATED_P2SH")
def unclean_p2sh_around_a_witness(_: Ground, random: Random) -> Lock:
    def solved(script_sig: bytes) -> Solve:
        return lambda s: Solution(script_sig, (s.ecdsa(P2PKH, segwit=True), KEY))

    wrong = random.choice((b"\x4c" + push(P2WPKH), b"\x51" + push(P2WPKH), push(b"") + push(P2WPKH)))
    return Lock(p2sh_of(P2WPKH), solved(push(P2WPKH)), solved(wrong))
