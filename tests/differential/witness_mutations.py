"""Mutations of witnesses: segwit version 0, versions to come, taproot and tapscript."""

from random import Random

from builders import push
from differential.ground import Ground
from differential.locks import P2PK, P2PKH, P2WPKH, Lock, given, lock, signed, witness_signed
from differential.signing import Signer, Solution, Solve, TapTree
from script_spends import KEY, LONG_KEY

from altyn.consensus.hashes import sha256
from altyn.consensus.script.sighash import without_code_separators
from altyn.consensus.script.taproot import Leaf
from altyn.consensus.script.templates import p2sh_of, p2tr, p2wsh_of, witness_output
from altyn.consensus.script.text import from_asm
from altyn.consensus.transaction import serialize_witness

# Version 0


@lock("EVAL_FALSE")
def wrong_witness_signature(_: Ground, random: Random) -> Lock:
    right = witness_signed(P2PKH, KEY, hash_type=random.choice((1, 2, 3, 0x81, 0x82, 0x83, 0, 0x7F)))
    wrong = (witness_signed(P2PKH, KEY, amount=1), witness_signed(P2WPKH, KEY), given(b"", b"", KEY))
    return Lock(P2WPKH, right, random.choice(wrong))


@lock("WITNESS_PROGRAM_MISMATCH")
def truncated_witness(_: Ground, random: Random) -> Lock:
    wrong = (given(b"", KEY), given(b"", b""), witness_signed(P2PKH), witness_signed(P2PKH, KEY, KEY), given())
    return Lock(P2WPKH, witness_signed(P2PKH, KEY), random.choice(wrong))


@lock("WITNESS_PROGRAM_WITNESS_EMPTY")
def witness_left_out(_: Ground, random: Random) -> Lock:
    script = from_asm("1")
    tree = TapTree(Leaf(script))
    if random.random() < 0.5:
        return Lock(tree.script_pubkey, lambda _: tree.reveal(Leaf(script)), given())
    return Lock(p2wsh_of(script), given(b"", script), given())


@lock("WITNESS_MALLEATED")
def script_sig_beside_a_witness(_: Ground, random: Random) -> Lock:
    beside = random.choice((b"\x51", b"\0", push(P2WPKH)))
    return Lock(P2WPKH, witness_signed(P2PKH, KEY), lambda s: Solution(beside, (s.ecdsa(P2PKH, segwit=True), KEY)))


@lock("WITNESS_UNEXPECTED")
def witness_where_none_belongs(_: Ground, random: Random) -> Lock:
    if random.random() < 0.5:
        redeem = from_asm("1")
        return Lock(p2sh_of(redeem), given(push(redeem)), given(push(redeem), b""))
    witness = random.choice((b"", b"\x01", KEY))
    return Lock(P2PK, signed(P2PK), lambda s: Solution(push(s.ecdsa(P2PK)), (witness,)))


@lock("WITNESS_PROGRAM_WRONG_LENGTH")
def program_of_another_length(_: Ground, random: Random) -> Lock:
    script = from_asm("1")
    program = b"\x01" * random.choice((2, 19, 21, 31, 33, 40))
    return Lock(p2wsh_of(script), given(b"", script), given(b"", b"\x01"), witness_output(0, program))


@lock("WITNESS_PROGRAM_MISMATCH")
def witness_script_of_another_hash(_: Ground, random: Random) -> Lock:
    script = from_asm("2 EQUAL")
    return Lock(p2wsh_of(script), given(b"", b"\x02", script), given(b"", b"\x02", script + random.randbytes(1)))


def _either(random: Random, script: bytes, right: tuple[bytes, ...], wrong: tuple[bytes, ...]) -> Lock:
    """Return a lock by `script` in P2WSH or as a tapscript."""
    if random.random() < 0.5:
        leaf = Leaf(script)
        tree = TapTree(leaf)
        return Lock(tree.script_pubkey, lambda _: tree.reveal(leaf, *right), lambda _: tree.reveal(leaf, *wrong))
    return Lock(p2wsh_of(script), given(b"", *right, script), given(b"", *wrong, script))


@lock("CLEANSTACK")
def witness_leaves_too_much(_: Ground, random: Random) -> Lock:
    return _either(random, from_asm("2 EQUAL"), (b"\x02",), (b"\x01", b"\x02"))


@lock("PUSH_SIZE")
def witness_element_too_long(_: Ground, random: Random) -> Lock:
    return _either(random, from_asm("DROP 1"), (bytes(520),), (bytes(521),))


@lock("EVAL_FALSE")
def witness_script_false(_: Ground, random: Random) -> Lock:
    return _either(random, from_asm("2 EQUAL"), (b"\x02",), (random.choice((b"\x03", b"", b"\x02\x00")),))


@lock("SCRIPT_SIZE")
def witness_script_too_long(_: Ground, __: Random) -> Lock:
    pushes = (b"\x4d\x08\x02" + bytes(520) + b"\x75") * 19
    good = pushes + b"\x61" * (10_000 - len(pushes) - 1) + b"\x51"
    return Lock(p2wsh_of(good), given(b"", good), given(b"", b"\x61" + good), p2wsh_of(b"\x61" + good))


@lock("EVAL_FALSE")
def code_separator_in_a_witness_script(_: Ground, random: Random) -> Lock:
    """BIP143: what is behind the last separator executed is signed, with those left in it."""
    tail = from_asm("0 IF CODESEPARATOR ENDIF") + P2PK
    script = from_asm("1 DROP CODESEPARATOR") + tail
    wrong = random.choice((script, without_code_separators(tail)))
    return Lock(p2wsh_of(script), witness_signed(tail, script), witness_signed(wrong, script))


# Versions to come


def _future(random: Random) -> bytes:
    """Return an output that anyone can spend until its version gets a meaning."""
    later = witness_output(random.randint(2, 16), random.randbytes(random.randint(2, 40)))
    return random.choice((later, witness_output(1, random.randbytes(random.choice((2, 20, 31, 33, 40))))))


def _anything(random: Random) -> list[bytes]:
    return [random.randbytes(random.choice((0, 1, 600))) for _ in range(random.randint(0, 3))]


@lock("WITNESS_MALLEATED")
def script_sig_beside_an_unknown_witness_version(_: Ground, random: Random) -> Lock:
    elements = _anything(random)
    return Lock(_future(random), given(b"", *elements), given(b"\x51", *elements))


@lock("WITNESS_MALLEATED_P2SH")
def unclean_p2sh_around_an_unknown_witness_version(_: Ground, random: Random) -> Lock:
    """Inside P2SH taproot's version is unknown too."""
    program = random.choice((_future(random), p2tr(KEY[1:])))
    elements = _anything(random)
    return Lock(p2sh_of(program), given(push(program), *elements), given(b"\x51" + push(program), *elements))


# Taproot

_TREE = TapTree(Leaf(from_asm("1")))


@lock("SCHNORR_SIG")
def wrong_key_path_signature(_: Ground, random: Random) -> Lock:
    hash_type = random.choice((0, 1, 2, 3, 0x81, 0x82, 0x83))
    other = random.choice((b"", sha256(b"other")))
    return Lock(
        _TREE.script_pubkey,
        lambda s: Solution(b"", (s.schnorr(hash_type, root=_TREE.root),)),
        lambda s: Solution(b"", (s.schnorr(hash_type, root=other),)),
    )


@lock("SCHNORR_SIG_SIZE")
def key_path_signature_of_wrong_size(_: Ground, random: Random) -> Lock:
    size = random.choice((0, 1, 63, 66, 71, 520))
    return Lock(
        _TREE.script_pubkey,
        lambda s: Solution(b"", (s.schnorr(1, root=_TREE.root),)),
        lambda s: Solution(b"", ((s.schnorr(root=_TREE.root) + bytes(520))[:size],)),
    )


@lock("SCHNORR_SIG_HASHTYPE")
def unknown_taproot_hash_type(_: Ground, random: Random) -> Lock:
    hash_type = random.choice((0, 4, 0x80, 0x84, 0xFF, 0x43))
    return Lock(
        _TREE.script_pubkey,
        lambda s: Solution(b"", (s.schnorr(root=_TREE.root),)),
        lambda s: Solution(b"", (s.schnorr(root=_TREE.root) + bytes((hash_type,)),)),
    )


@lock("SCHNORR_SIG_HASHTYPE")
def taproot_single_without_its_output(_: Ground, random: Random) -> Lock:
    hash_type = random.choice((3, 0x83))
    return Lock(
        _TREE.script_pubkey,
        lambda s: Solution(b"", (s.schnorr(hash_type, root=_TREE.root),)),
        given(b"", bytes(64) + bytes((hash_type,))),
        right_options={"outputs": 2},
        wrong_options={"outputs": 1},
        needs_beside=True,
    )


@lock("SCHNORR_SIG")
def annex_not_signed(_: Ground, random: Random) -> Lock:
    annex = b"\x50" + random.randbytes(random.choice((0, 1, 100, 300, 600)))
    leaf = Leaf(push(KEY[1:]) + from_asm("CHECKSIG"))
    tree = TapTree(leaf)

    def by_key(what: bytes | None) -> Solve:
        return lambda s: Solution(b"", (s.schnorr(root=tree.root, annex=what), annex))

    def by_leaf(what: bytes | None) -> Solve:
        return lambda s: Solution(b"", (*tree.reveal(leaf, s.schnorr(leaf=leaf, annex=what)).witness, annex))

    way = random.choice((by_key, by_leaf))
    return Lock(tree.script_pubkey, way(annex), way(random.choice((None, annex + b"\0"))))


@lock("WITNESS_PROGRAM_MISMATCH")
def leaf_of_another_tree(_: Ground, random: Random) -> Lock:
    leaf = Leaf(from_asm("1"))
    tree = TapTree(leaf, Leaf(from_asm("3")))
    control = tree.control(leaf)
    damaged = bytearray(control)
    damaged[random.choice((1, 20, 33, 64))] ^= 1
    wrong = (
        (from_asm("2"), control),
        (leaf.script, bytes((control[0] ^ 1,)) + control[1:]),
        (leaf.script, control + bytes(32)),
        (leaf.script, control[:-32]),
        (leaf.script, bytes(damaged)),
    )
    return Lock(tree.script_pubkey, lambda _: tree.reveal(leaf), given(b"", *random.choice(wrong)))


@lock("TAPROOT_WRONG_CONTROL_SIZE")
def control_block_of_wrong_size(_: Ground, random: Random) -> Lock:
    leaf = Leaf(from_asm("1"))
    tree = TapTree(leaf)
    control = tree.control(leaf)
    wrong = random.choice((control[:-1], control + b"\0", control + bytes(31), control + bytes(32 * 129), b"\xc0", b""))
    return Lock(tree.script_pubkey, lambda _: tree.reveal(leaf), given(b"", leaf.script, wrong))


def _two_leaves(right: Leaf, wrong: Leaf) -> Lock:
    tree = TapTree(right, wrong)
    return Lock(tree.script_pubkey, lambda _: tree.reveal(right), lambda _: tree.reveal(wrong))


@lock("EVAL_FALSE")
def script_that_an_unknown_leaf_version_does_not_run(_: Ground, random: Random) -> Lock:
    script = from_asm("0")
    return _two_leaves(Leaf(script, random.choice((0xC2, 0xC4, 0xFE, 0x66, 0x7E, 0x80, 0x96, 0xBA))), Leaf(script))


@lock("BAD_OPCODE")
def op_success_and_what_is_none(_: Ground, random: Random) -> Lock:
    """OP_SUCCESSx makes anything valid, what is before it and behind it too."""
    success = random.choice((80, 98, 126, 129, 131, 134, 137, 138, 141, 142, 149, 153, 187, 200, 254))
    start = random.choice((b"", b"\x6a", b"\x00", b"\x00\x63", b"\xff"))
    end = random.choice((b"", b"\x6a", b"\xff", b"\x4c", b"\x4b\x01"))
    return _two_leaves(Leaf(start + bytes((success,)) + end), Leaf(b"\x51\xff"))


@lock("BAD_OPCODE")
def op_success_in_a_push_that_is_cut_off(_: Ground, __: Random) -> Lock:
    return _two_leaves(Leaf(b"\x50\x4c"), Leaf(b"\x51\x03\x50\x50"))


@lock("TAPSCRIPT_CHECKMULTISIG")
def multisig_in_tapscript(_: Ground, random: Random) -> Lock:
    wrong = random.choice(("0 0 0 CHECKMULTISIG", "0 0 0 CHECKMULTISIGVERIFY 1"))
    return _two_leaves(Leaf(from_asm("0 IF CHECKMULTISIG ENDIF 1")), Leaf(from_asm(wrong)))


@lock("TAPSCRIPT_MINIMALIF")
def condition_not_minimal_in_tapscript(_: Ground, random: Random) -> Lock:
    leaf = Leaf(from_asm(random.choice(("IF 1 ELSE 1 ENDIF", "NOTIF 1 ELSE 1 ENDIF"))))
    tree = TapTree(leaf)
    right, wrong = random.choice((b"", b"\x01")), random.choice((b"\x02", b"\0", b"\x01\0", b"\x80"))
    return Lock(tree.script_pubkey, lambda _: tree.reveal(leaf, right), lambda _: tree.reveal(leaf, wrong))


@lock("TAPSCRIPT_EMPTY_PUBKEY")
def empty_key_in_tapscript(_: Ground, random: Random) -> Lock:
    """With a key of an unknown length any signature is right."""
    leaf = Leaf(from_asm("CHECKSIG"))
    tree = TapTree(leaf)
    key = random.choice((b"\x01", KEY, LONG_KEY, bytes(31)))
    return Lock(tree.script_pubkey, lambda _: tree.reveal(leaf, b"any", key), lambda _: tree.reveal(leaf, b"any", b""))


@lock("SCHNORR_SIG")
def wrong_signature_in_tapscript(_: Ground, random: Random) -> Lock:
    """An empty signature is false, a wrong one fails at once."""
    leaf = Leaf(push(KEY[1:]) + from_asm("CHECKSIG NOT"))
    tree = TapTree(leaf)
    kind = random.randrange(3)

    def wrong(signer: Signer) -> Solution:
        by_key, by_separator = signer.schnorr(root=tree.root), signer.schnorr(leaf=leaf, separator=0)
        return tree.reveal(leaf, (bytes(64), by_key, by_separator)[kind])

    return Lock(tree.script_pubkey, lambda _: tree.reveal(leaf, b""), wrong)


@lock("EVAL_FALSE")
def too_few_signatures_added_up(_: Ground, __: Random) -> Lock:
    leaf = Leaf(from_asm("0") + (push(KEY[1:]) + from_asm("CHECKSIGADD")) * 2 + from_asm("2 NUMEQUAL"))
    tree = TapTree(leaf)

    def solved(*which: bool) -> Solve:
        return lambda s: tree.reveal(leaf, *(s.schnorr(leaf=leaf) if each else b"" for each in which))

    return Lock(tree.script_pubkey, solved(True, True), solved(True, False))


@lock("SCHNORR_SIG")
def code_separator_in_tapscript(_: Ground, random: Random) -> Lock:
    """The place of the last one executed is signed, counted in operations."""
    leaf = Leaf(from_asm("0 IF CODESEPARATOR ENDIF 1 DROP CODESEPARATOR") + push(KEY[1:]) + from_asm("CHECKSIG"))
    tree = TapTree(leaf)
    wrong = random.choice((5, 7, 2, 0xFFFFFFFF))
    return Lock(
        tree.script_pubkey,
        lambda s: tree.reveal(leaf, s.schnorr(leaf=leaf, separator=6)),
        lambda s: tree.reveal(leaf, s.schnorr(leaf=leaf, separator=wrong)),
    )


@lock("TAPSCRIPT_VALIDATION_WEIGHT")
def tapscript_with_too_many_signatures(_: Ground, random: Random) -> Lock:
    """Each check costs fifty, out of fifty and the size of the witness: it takes the last byte of padding."""
    count = random.randint(5, 12)
    leaf = Leaf(from_asm("DROP") + from_asm("2DUP CHECKSIGVERIFY") * (count - 1) + from_asm("CHECKSIG"))
    tree = TapTree(leaf)

    def padded(signer: Signer, missing: int) -> Solution:
        signature = signer.schnorr(leaf=leaf)
        size = 0
        while True:
            solution = tree.reveal(leaf, signature, KEY[1:], bytes(size))
            if len(serialize_witness(solution.witness)) + 50 >= 50 * count:
                assert size
                return tree.reveal(leaf, signature, KEY[1:], bytes(size - missing))
            size += 1

    return Lock(tree.script_pubkey, lambda s: padded(s, 0), lambda s: padded(s, 1))
