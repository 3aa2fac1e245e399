"""Outputs that are unlocked rightly in one way, and in another that a block may hold but no mempool takes."""

from typing import NamedTuple

from builders import push
from differential.locks import P2PK, Lock, given, signed, witness_signed
from differential.script_mutations import ONE, with_high_s
from differential.signing import OTHER_SECRET, Solution, TapTree
from script_spends import KEY, LONG_KEY

from altyn.consensus.script.errors import ScriptErrorCode
from altyn.consensus.script.taproot import Leaf
from altyn.consensus.script.templates import ANCHOR_PROGRAM, p2pk, p2wsh_of, witness_output
from altyn.consensus.script.text import from_asm


class PolicyLock(NamedTuple):
    """A lock whose wrong solution fails with an error under one flag, and under no other; all by Core's names."""

    flag: str
    error: str
    lock: Lock

    def __str__(self) -> str:
        return self.error.lower().replace("_", "-")

    @property
    def text(self) -> str:
        return ScriptErrorCode[self.error].text


def _plain(script: str, right: str, wrong: str) -> Lock:
    return Lock(from_asm(script), given(from_asm(right)), given(from_asm(wrong)))


def _leaves(right: bytes, wrong: Leaf, *arguments: bytes) -> Lock:
    """Return a lock by two leaves, which both take the arguments."""
    good = Leaf(right)
    tree = TapTree(good, wrong)
    return Lock(tree.script_pubkey, lambda _: tree.reveal(good, *arguments), lambda _: tree.reveal(wrong, *arguments))


_TRUE, _CHECKSIG, _NO_SIGNATURE = from_asm("1"), from_asm("CHECKSIG"), push(KEY) + from_asm("CHECKSIG NOT")
_EITHER = from_asm("IF 1 ELSE 1 ENDIF")
_LONG_P2PK = p2pk(LONG_KEY)
_HYBRID_KEY = bytes((6 + (LONG_KEY[64] & 1),)) + LONG_KEY[1:]
_FOUND = push(ONE) + from_asm("DROP") + P2PK
_ONE_OUTPUT = {"outputs": 1}  # for two inputs: it makes ONE right

LOCKS = [
    PolicyLock("STRICTENC", "SIG_HASHTYPE", Lock(P2PK, signed(P2PK), signed(P2PK, hash_type=4))),
    PolicyLock("STRICTENC", "PUBKEYTYPE", Lock(_CHECKSIG, signed(_CHECKSIG, LONG_KEY), signed(_CHECKSIG, _HYBRID_KEY))),
    PolicyLock("LOW_S", "SIG_HIGH_S", Lock(P2PK, signed(P2PK), lambda s: Solution(push(with_high_s(s.ecdsa(P2PK)))))),
    PolicyLock(
        "MINIMALDATA", "MINIMALDATA", Lock(P2PK, signed(P2PK), lambda s: Solution(b"\x4c" + push(s.ecdsa(P2PK))))
    ),
    PolicyLock("MINIMALDATA", "SCRIPTNUM", _plain("1ADD", "0x01 0x20", "0x02 0x2000")),
    PolicyLock("DISCOURAGE_UPGRADABLE_NOPS", "DISCOURAGE_UPGRADABLE_NOPS", _plain("IF NOP4 ENDIF 1", "0", "1")),
    PolicyLock("CLEANSTACK", "CLEANSTACK", Lock(P2PK, signed(P2PK), lambda s: Solution(b"\x51" + push(s.ecdsa(P2PK))))),
    PolicyLock(
        "DISCOURAGE_UPGRADABLE_WITNESS_PROGRAM",
        "DISCOURAGE_UPGRADABLE_WITNESS_PROGRAM",
        Lock(witness_output(1, ANCHOR_PROGRAM), given(), given(b"", b"\x01"), witness_output(2, KEY[1:])),
    ),
    PolicyLock(
        "MINIMALIF",
        "MINIMALIF",
        Lock(p2wsh_of(_EITHER), given(b"", b"\x01", _EITHER), given(b"", b"\x02", _EITHER)),
    ),
    PolicyLock("NULLFAIL", "NULLFAIL", Lock(_NO_SIGNATURE, given(b"\0"), signed(_NO_SIGNATURE, secret=OTHER_SECRET))),
    PolicyLock(
        "WITNESS_PUBKEYTYPE",
        "WITNESS_PUBKEYTYPE",
        Lock(p2wsh_of(P2PK), witness_signed(P2PK, P2PK), witness_signed(_LONG_P2PK, _LONG_P2PK), p2wsh_of(_LONG_P2PK)),
    ),
    PolicyLock(
        "CONST_SCRIPTCODE",
        "OP_CODESEPARATOR",
        Lock(_TRUE, given(), given(), from_asm("0 IF CODESEPARATOR ENDIF 1")),
    ),
    PolicyLock(
        "CONST_SCRIPTCODE",
        "SIG_FINDANDDELETE",
        Lock(
            _FOUND,
            signed(_FOUND),
            given(push(ONE)),
            right_options=_ONE_OUTPUT,
            wrong_options=_ONE_OUTPUT,
            needs_beside=True,
        ),
    ),
    PolicyLock(
        "DISCOURAGE_UPGRADABLE_TAPROOT_VERSION",
        "DISCOURAGE_UPGRADABLE_TAPROOT_VERSION",
        _leaves(_TRUE, Leaf(_TRUE, 0xC2)),
    ),
    PolicyLock("DISCOURAGE_OP_SUCCESS", "DISCOURAGE_OP_SUCCESS", _leaves(_TRUE, Leaf(b"\x50"))),
    PolicyLock(
        "DISCOURAGE_UPGRADABLE_PUBKEYTYPE",
        "DISCOURAGE_UPGRADABLE_PUBKEYTYPE",
        _leaves(from_asm("DROP 1"), Leaf(push(KEY) + _CHECKSIG), b"any"),
    ),
]
"""At least one for each flag that the mempool asks for and blocks do not."""
