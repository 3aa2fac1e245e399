"""Our verdict on generated spends is that of libbitcoinkernel, for all flags that it knows.

The other flags only ever refuse more: with some of them too, what passes must pass without. That is how the errors of
policy come into the table of what was reached, which is printed.
"""

import random
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import pbk
import pbk.script
import pytest
from hypothesis import settings
from script_spends import AMOUNT, KEY, LONG_KEY, SECP, SECRET, result

from altyn.consensus.hashes import hash160, ripemd160
from altyn.consensus.script import flags as flag
from altyn.consensus.script import interpreter, verify
from altyn.consensus.script.errors import ScriptError, ScriptErrorCode
from altyn.consensus.script.opcodes import NAMES, push, push_number, script_operations
from altyn.consensus.script.sighash import SighashCache
from altyn.consensus.script.taproot import Leaf, control_block, leaf_hash, output_key, output_secret
from altyn.consensus.script.templates import multisig, p2pkh, p2sh_of, p2tr, p2wpkh, p2wsh_of
from altyn.consensus.script.text import from_asm
from altyn.consensus.secp256k1 import ORDER
from altyn.consensus.transaction import OutPoint, Transaction, TxIn, TxOut

CASES = 20 * settings.default.max_examples
"""2,000 by default, 20,000 and 200,000 with ALTYN_EFFORT=slow and exhaustive."""
KERNEL_FLAGS = [
    flag.P2SH, flag.DERSIG, flag.NULLDUMMY, flag.CHECKLOCKTIMEVERIFY, flag.CHECKSEQUENCEVERIFY, flag.WITNESS,
    flag.TAPROOT,
]  # fmt: skip
OTHER = bytes(31) + b"\x06"
LEAF_SECRET = SECRET if KEY[0] == 2 else (ORDER - 5).to_bytes(32, "big")
NUMBERS = [-1, 0, 1, 2, 3, 16, 17, 127, 128, -255, 2**31 - 1, 2**31]
ELEMENTS = [b"", b"\x01", b"\x02", b"\x80", b"\0", b"\x81", b"\x50", KEY, KEY[1:], b"secret", bytes(520), bytes(521)]
KNOWN = [*range(0x51, 0x62), 0x63, 0x67, 0x68, *range(0x6B, 0x7E), 0x82, 0x87, *range(0x8F, 0x95), *range(0x9A, 0xB0)]
HASH_TYPES = [1, 1, 1, 1, 2, 3, 0x81, 0x82, 0x83, 0, 4, 0x41]

OTHER_FLAGS = [bit for bit in flag.FLAGS.values() if bit and bit not in KERNEL_FLAGS]
PROVOCATIONS = [
    from_asm("1 RETURN"),
    b"\x61" * 202 + b"\x51",
    b"\x51" * 1001,
    b"\x00" + push(bytes(520)) * 20 + b"\x51",
    from_asm("0 VERIFY 1"),
    from_asm("-1 CHECKLOCKTIMEVERIFY"),
    from_asm("-1 CHECKSEQUENCEVERIFY"),
    from_asm("0 2 1 1 CHECKMULTISIG"),
    from_asm("0 0 21 CHECKMULTISIG"),
    from_asm("0 -1 0 CHECKMULTISIG"),
    from_asm("0 0 1 1 CHECKMULTISIG"),
    from_asm("1 0 0 CHECKMULTISIG"),
    from_asm("0 0 0 CHECKMULTISIGVERIFY 1"),
    from_asm("0 0 1 1 1 CHECKMULTISIGVERIFY 1"),
    from_asm("0 0 CHECKSIG NOT"),
    from_asm("0 0 0 CHECKSIGADD"),
    push(b"\x30\x06\x02\x01\x01\x02\x01\x01\x01") + push(KEY) + b"\xac\x91",
    push(b"\x30\x06\x02\x01\x01\x02\x01\x01\x05") + push(KEY) + b"\xac\x91",
    push(b"\x30\x25\x02\x01\x01\x02\x20" + b"\x7f" + b"\xff" * 31 + b"\x01") + push(KEY) + b"\xac\x91",
    b"\x00" + push(b"\x06" + LONG_KEY[1:]) + b"\xac\x91",
    b"\x00" + push(b"\x05" + KEY[1:]) + b"\xac\x91",
    b"\x00" + push(LONG_KEY) + b"\xac\x91",
    b"\x4c\x01\x51",
    b"\x4d\x01\x00\x51",
    b"\x4e\x01\x00\x00\x00\x51",
    from_asm("2 IF 1 ELSE 1 ENDIF"),
    from_asm("0 NOTIF CODESEPARATOR 1 ENDIF"),
    b"\x01\x00\x63\x51\x67\x51\x68",
    b"\xac",
    *[b"\x00" + push(key) + b"\xac" for key in (b"", b"\x02", KEY, KEY[1:])],
    *[b"\x01\x01" + push(key) + b"\xac" for key in (b"", b"\x02", KEY, KEY[1:])],
    *[bytes((0x51, opcode)) for opcode in range(0x4F, 0x100)],
    *[bytes((0x00, 0x63, opcode, 0x68, 0x51)) for opcode in range(0x4F, 0x100)],
    *[from_asm("1 2 3 4 5 6") + bytes((opcode,)) for opcode in range(0x6B, 0xBB)],
    push(b"\x30\x06\x02\x01\x01\x02\x01\x01\x01") * 2 + push(KEY) + b"\xac\x91",
]
"""Scripts that reach what random ones hardly do: limits, forms, and every opcode."""
AS_IT_IS = -1
"""A wrapping: the script is the output."""
OUTPUTS = [
    (b"\x00\x02ab", b""),
    (b"\x52\x02ab", b""),
    (b"\x60\x28" + b"x" * 40, b""),
    (b"\x51\x02\x4e\x73", b""),
    (b"\x00\x20" + bytes(31) + b"\x01", b""),
    (b"\x00\x14" + bytes(19) + b"\x01", b"\x51"),
    (p2sh_of(p2wsh_of(b"\x51")), b"\x51" + push(p2wsh_of(b"\x51"))),
    (p2sh_of(b"\x51"), b"\x61" + push(b"\x51")),
    (b"\x51", b"\x51\x61"),
]
"""Outputs with the scriptSig that spends them, for what is wrong outside of scripts."""
SHOWN = [0, 1, *range(76, 256)]
"""Opcodes of the table: those between push other sizes."""

Signer = Callable[[bytes], bytes]
"""From a secret to a signature with its hash type."""


class Spend(NamedTuple):
    """An input under test: the first of the transaction."""

    tx: Transaction
    spent: list[TxOut]


class Generator:
    """Draws spends: a script, a wrapping, the right arguments, and now and then some damage."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def flags(self) -> int:
        chosen = sum(bit for bit in KERNEL_FLAGS if self.random.random() < 0.8)
        if chosen & flag.TAPROOT:
            chosen |= flag.WITNESS
        return chosen | flag.P2SH if chosen & flag.WITNESS else chosen

    def more_flags(self, chosen: int) -> int:
        """Return `chosen` with some of the flags that the kernel does not know."""
        chosen |= sum(bit for bit in OTHER_FLAGS if self.random.random() < 0.3)
        return chosen | flag.P2SH | flag.WITNESS if chosen & flag.CLEANSTACK else chosen

    def template(self, tapscript: bool) -> tuple[bytes, Callable[[Signer], list[bytes]]]:
        """Return a script and what makes its arguments."""
        draw = self.random.choice
        key = KEY[1:] if tapscript else draw([KEY, KEY, LONG_KEY])
        secret = LEAF_SECRET if tapscript else SECRET
        separator = draw([b"", b"", b"\xab", b"\x00\x63\xab\x68"])
        kind = self.random.randrange(7)
        if kind == 0:
            return separator + push(key) + b"\xac", lambda sign: [sign(secret)]
        if kind == 1:
            script = separator + b"\x76\xa9" + push(hash160(key)) + b"\x88\xac"
            return script, lambda sign: [sign(secret), key]
        if kind == 2 and tapscript:
            script = b"\x00" + (push(key) + b"\xba") * 2 + from_asm("2 NUMEQUAL")
            return script, lambda sign: [sign(secret), sign(secret)]
        if kind == 2:
            other = SECP.public_key(OTHER)
            return separator + multisig(2, [KEY, LONG_KEY, other]), lambda sign: [b"", sign(SECRET), sign(OTHER)]
        if kind == 3:
            name = draw(["CHECKLOCKTIMEVERIFY", "CHECKSEQUENCEVERIFY"])
            number = draw([0, 5, 1 << 22, 500_000_000, 1 << 31])
            return from_asm(f"{number} {name} DROP") + push(key) + b"\xac", lambda sign: [sign(secret)]
        if kind == 4:
            script = from_asm("IF RIPEMD160") + push(ripemd160(b"secret")) + from_asm("EQUAL ELSE 0 ENDIF")
            return script, lambda _: [b"secret", b"\x01"]
        if kind == 5:
            count = self.random.randrange(1, 6)
            script = from_asm("2DUP CHECKSIGVERIFY " * (count - 1) + "CHECKSIG")
            return script, lambda sign: [sign(secret), key]
        return self.operations(), lambda _: [self.element() for _ in range(self.random.randrange(5))]

    def operations(self) -> bytes:
        """Return random operations, most of them real ones."""
        parts = []
        for _ in range(self.random.randrange(1, 14)):
            roll = self.random.random()
            if roll < 0.35:
                parts.append(push_number(self.random.choice(NUMBERS)))
            elif roll < 0.45:
                parts.append(push(self.element()))
            else:
                known = self.random.random() < 0.97
                parts.append(bytes((self.random.choice(KNOWN) if known else self.random.randrange(0x4F, 0xBC),)))
        return b"".join(parts) + self.random.choice([b"", b"\x51"])

    def element(self) -> bytes:
        return self.random.choice(ELEMENTS)

    def spend(self, script: bytes | None = None, wrapping: int | None = None, script_sig: bytes = b"") -> Spend:
        """Draw a spend; of `script` in `wrapping` if these are given, unharmed."""
        draw = self.random.choice
        inputs = [
            TxIn(OutPoint.make(bytes((n + 1,)) * 32, n), b"", draw([0, 5, 1 << 22, 0xFFFFFFFE, 0xFFFFFFFF]))
            for n in range(draw([1, 1, 2, 3]))
        ]
        outputs = [TxOut(n, bytes((0x51,)) * n) for n in range(draw([1, 1, 2, 3]))]
        tx = Transaction(draw([1, 2, 2]), inputs, outputs, draw([0, 5, 500_000_000]))
        if script is None or wrapping is None:
            wrapping = self.random.randrange(7)
            script, arguments = self.template(tapscript=wrapping == 6)
            output, script_sig, witness = self.wrap(tx, wrapping, script, arguments)
            output, script_sig, witness = self.harm(output, script_sig, witness)
        elif wrapping == AS_IT_IS:
            output, witness = script, []
        else:
            output, script_sig, witness = self.wrap(tx, wrapping, script, lambda _: [])
        inputs[0] = inputs[0]._replace(script_sig=script_sig, witness=tuple(witness))
        others = [TxOut(7, b"\x51")] * (len(inputs) - 1)
        return Spend(Transaction(tx.version, inputs, outputs, tx.lock_time), [TxOut(AMOUNT, output), *others])

    def wrap(
        self, tx: Transaction, wrapping: int, script: bytes, arguments: Callable[[Signer], list[bytes]]
    ) -> tuple[bytes, bytes, list[bytes]]:
        """Return the output, and scriptSig and witness that spend it."""
        hash_type = self.random.choice(HASH_TYPES)
        end = bytes((hash_type,))

        def legacy(secret: bytes) -> bytes:
            code = script[script.rfind(b"\xab\x21") + 1 :]
            return SECP.sign_ecdsa(secret, SighashCache(tx, ()).legacy(0, code, hash_type)) + end

        def version_0(secret: bytes) -> bytes:
            code = script[1:] if script[:1] == b"\xab" else script
            return SECP.sign_ecdsa(secret, SighashCache(tx, ()).witness_v0(0, code, AMOUNT, hash_type)) + end

        def taproot(output: bytes, leaf: bytes | None) -> Signer:
            spent = [TxOut(AMOUNT, output)] + [TxOut(7, b"\x51")] * (len(tx.inputs) - 1)
            digest = SighashCache(tx, spent).taproot(0, hash_type, None, leaf) or bytes(32)
            return lambda secret: SECP.sign_schnorr(secret, digest) + (end if hash_type else b"")

        if wrapping == 0:
            return script, b"".join(map(push, arguments(legacy))), []
        if wrapping == 1:
            return p2sh_of(script), b"".join(map(push, [*arguments(legacy), script])), []
        if wrapping == 2:
            return p2wsh_of(script), b"", [*arguments(version_0), script]
        if wrapping == 3:
            return p2sh_of(p2wsh_of(script)), push(p2wsh_of(script)), [*arguments(version_0), script]
        if wrapping == 4:
            script = p2pkh(hash160(KEY))
            return p2wpkh(hash160(KEY)), b"", [version_0(SECRET), KEY]
        if wrapping == 5:
            output = p2tr(output_key(SECP, KEY[1:])[0])
            return output, b"", [taproot(output, None)(output_secret(SECP, SECRET))]
        leaf = Leaf(script, self.random.choice([0xC0] * 9 + [0xC2]))
        key, parity = output_key(SECP, KEY[1:], leaf.hash)
        signer = taproot(p2tr(key), leaf_hash(script, leaf.version))
        return p2tr(key), b"", [*arguments(signer), script, control_block(KEY[1:], parity, leaf, b"")]

    def harm(self, output: bytes, script_sig: bytes, witness: list[bytes]) -> tuple[bytes, bytes, list[bytes]]:
        """Leave as it is, or damage one side."""
        roll = self.random.random()
        if roll < 0.3:
            return output, self.damage(script_sig), self.damage_stack(witness)
        return (self.damage(output) if roll < 0.45 else output), script_sig, witness

    def damage(self, data: bytes) -> bytes:
        if not data:
            return data
        place = self.random.randrange(len(data))
        byte = bytes((self.random.choice([0, 1, 0x50, 0x51, 0x80, 0xAB, 0xAC, 0xFF]),))
        kept = self.random.choice([data[place + 1 :], data[place:]])
        return self.random.choice([data[:place] + byte + kept, data[:place] + byte + kept, data[:place]])

    def damage_stack(self, stack: Sequence[bytes]) -> list[bytes]:
        changed = list(stack)
        if not changed:
            return self.random.choice([changed, [b""]])
        place = self.random.randrange(len(changed))
        roll = self.random.randrange(5)
        if roll == 0:
            del changed[place]
        elif roll == 1:
            changed.insert(place, self.element())
        elif roll == 2:
            changed.append(b"\x50note")
        else:
            changed[place] = self.damage(changed[place])
        return changed


def kernel_accepts(spend: Spend, flags: int) -> bool:
    tx = pbk.Transaction(spend.tx.raw)
    outputs: list[Any] = [pbk.TransactionOutput(pbk.ScriptPubkey(script), value) for value, script in spend.spent]
    shared = pbk.script.PrecomputedTransactionData(tx, outputs)
    script = pbk.ScriptPubkey(spend.spent[0].script_pubkey)
    return bool(script.verify(AMOUNT, tx, shared, 0, pbk.ScriptVerificationFlags(flags)))


class Table:
    """What was reached: opcodes of the scripts that ran, by whether the spend passed, and results."""

    def __init__(self) -> None:
        self.passed: Counter[int] = Counter()
        self.refused: Counter[int] = Counter()
        self.results: Counter[str] = Counter()
        self.policy: Counter[str] = Counter()

    def note(self, scripts: Sequence[bytes], ours: str) -> None:
        self.results[ours] += 1
        for script in scripts:
            try:
                for opcode, _, _ in script_operations(script):
                    (self.passed if ours == "OK" else self.refused)[opcode] += 1
            except ScriptError:
                pass

    def __str__(self) -> str:
        lines = ["result: consensus flags, with policy flags"]
        for code in ScriptErrorCode:
            lines.append(f"  {code.name}: {self.results[code.name]}, {self.policy[code.name]}")
        lines.append("opcode: in spends accepted, refused")
        for opcode in SHOWN:
            name = NAMES.get(opcode, f"0x{opcode:02x}")
            lines.append(f"  {name}: {self.passed[opcode]}, {self.refused[opcode]}")
        return "\n".join(lines)


def test_verdicts_are_those_of_libbitcoinkernel(monkeypatch: pytest.MonkeyPatch) -> None:
    table = Table()
    ran: list[bytes] = []
    evaluate = interpreter.evaluate

    def noting(stack: list[bytes], script: bytes, *rest: Any) -> None:
        ran.append(script)
        evaluate(stack, script, *rest)

    monkeypatch.setattr(verify, "evaluate", noting)

    def compare(spend: Spend, flags: int, more: int, name: str) -> None:
        script = spend.spent[0].script_pubkey
        ran.clear()
        ours = result(spend.tx, script, flags, spend.spent)
        table.note(ran, ours)
        assert (ours == "OK") is kernel_accepts(spend, flags), f"{name}: {ours} under {flag.flag_names(flags)}"
        strict = result(spend.tx, script, more, spend.spent)
        table.policy[strict] += 1
        if strict == "OK":
            fewer = more & sum(KERNEL_FLAGS)
            assert result(spend.tx, script, fewer, spend.spent) == "OK", f"{name} under {flag.flag_names(more)}"

    for seed in range(CASES):
        generator = Generator(seed)
        spend, flags = generator.spend(), generator.flags()
        compare(spend, flags, generator.more_flags(flags), f"seed {seed}")
    assert table.results["OK"] > CASES * 0.3

    generator = Generator(0)
    everything = sum(KERNEL_FLAGS)
    for script in PROVOCATIONS:
        for wrapping in (0, 1, 2, 6):
            spend = generator.spend(script, wrapping)
            for more in (flag.STANDARD, generator.more_flags(everything)):
                compare(spend, everything, more, f"{script.hex()} in wrapping {wrapping}")
    for script, script_sig in OUTPUTS:
        compare(generator.spend(script, AS_IT_IS, script_sig), everything, flag.STANDARD, script.hex())

    print(table)
    missed = {code.name for code in ScriptErrorCode if not table.results[code.name] and not table.policy[code.name]}
    assert not missed
    unseen = [opcode for opcode in SHOWN if not table.passed[opcode] + table.refused[opcode]]
    assert not unseen
