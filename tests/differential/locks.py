"""Mutations of what unlocks an output: the output under test is made in the same block or one before, then spent."""

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from builders import coin, push
from differential.ground import Ground
from differential.mutations import Case, fund, mutation, payments
from differential.signing import Solution, Solve, unlock
from script_spends import KEY, SECRET

from altyn.consensus.hashes import hash160
from altyn.consensus.script.errors import ScriptErrorCode
from altyn.consensus.script.templates import p2pk, p2pkh, p2wpkh

P2PK = p2pk(KEY)
P2PKH = p2pkh(hash160(KEY))
P2WPKH = p2wpkh(hash160(KEY))


@dataclass(frozen=True)
class Lock:
    """An output, and how to unlock it rightly and wrongly. What no mempool takes may yet be right in a block."""

    script_pubkey: bytes
    right: Solve
    wrong: Solve
    other_script_pubkey: bytes | None = None
    """The output that is unlocked wrongly, where it is another."""
    right_options: dict[str, int] = field(default_factory=dict)
    """Of `unlock`: sequence, lock_time, version, outputs."""
    wrong_options: dict[str, int] = field(default_factory=dict)
    needs_beside: bool = False
    """Whether an input must come before it."""


def lock(error: str, name: str = "") -> Callable[[Callable[[Ground, Random], Lock]], None]:
    """Register a function that makes a Lock, whose wrong solution fails with this error."""

    def register(make: Callable[[Ground, Random], Lock]) -> None:
        reason = f"mandatory-script-verify-flag-failed ({ScriptErrorCode[error].text})"

        @mutation(reason, name=name or make.__name__.replace("_", "-"))
        def build(ground: Ground, random: Random) -> Case:
            made = make(ground, random)
            beside = ground.take() if made.needs_beside or random.random() < 0.3 else None
            funding = fund(ground.take(), made.script_pubkey, made.other_script_pubkey or made.script_pubkey)
            others = payments(ground, random, 0, 1)
            right = unlock(coin(funding), made.right, beside=beside, **made.right_options)
            wrong = unlock(coin(funding, 1), made.wrong, beside=beside, **made.wrong_options)
            if random.random() < 0.3:
                before = ground.build(funding)
                after = ground.after(before)
                return Case(after.build(*others, right), after.build(*others, wrong), (before,))
            return Case(ground.build(funding, *others, right), ground.build(funding, *others, wrong))

    return register


def given(script_sig: bytes = b"", *witness: bytes) -> Solve:
    """Return a solution that signs nothing."""
    return lambda _: Solution(script_sig, witness)


def signed(script_code: bytes, *rest: bytes, hash_type: int = 1, secret: bytes = SECRET) -> Solve:
    """Return a scriptSig of a signature and the pushes `rest`."""
    return lambda s: Solution(b"".join(map(push, (s.ecdsa(script_code, hash_type, secret=secret), *rest))))


def witness_signed(script_code: bytes, *rest: bytes, hash_type: int = 1, amount: int = 0) -> Solve:
    """Return a witness of a signature and `rest`."""
    return lambda s: Solution(b"", (s.ecdsa(script_code, hash_type, segwit=True, amount=amount), *rest))
