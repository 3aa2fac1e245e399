"""Our verdict on generated spends is that of libbitcoinkernel, for all flags that it knows."""

import random
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import pbk
import pbk.script
from hypothesis import settings
from script_spends import AMOUNT, KEY, LONG_KEY, SECP, SECRET, result

from altyn.consensus.hashes import hash160, ripemd160
from altyn.consensus.script import flags as flag
from altyn.consensus.script.opcodes import push, push_number
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

    def spend(self) -> Spend:
        draw = self.random.choice
        inputs = [
            TxIn(OutPoint.make(bytes((n + 1,)) * 32, n), b"", draw([0, 5, 1 << 22, 0xFFFFFFFE, 0xFFFFFFFF]))
            for n in range(draw([1, 1, 2, 3]))
        ]
        outputs = [TxOut(n, bytes((0x51,)) * n) for n in range(draw([1, 1, 2, 3]))]
        tx = Transaction(draw([1, 2, 2]), inputs, outputs, draw([0, 5, 500_000_000]))
        wrapping = self.random.randrange(7)
        script, arguments = self.template(tapscript=wrapping == 6)
        output, script_sig, witness = self.wrap(tx, wrapping, script, arguments)
        harm = self.random.random()
        if harm < 0.3:
            script_sig, witness = self.damage(script_sig), self.damage_stack(witness)
        elif harm < 0.45:
            output = self.damage(output)
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


def test_verdicts_are_those_of_libbitcoinkernel() -> None:
    seen: Counter[str] = Counter()
    for seed in range(CASES):
        generator = Generator(seed)
        spend, flags = generator.spend(), generator.flags()
        ours = result(spend.tx, spend.spent[0].script_pubkey, flags, spend.spent)
        seen[ours] += 1
        assert (ours == "OK") is kernel_accepts(spend, flags), f"seed {seed}: {ours} under {flag.flag_names(flags)}"
    print(dict(seen.most_common()))
    assert seen["OK"] > CASES * 0.3
    assert len(seen) > 20
