"""Transactions whose inputs all spend the same kind of output, each by a key of its own: the work of `bench verify`."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from altyn.consensus.hashes import hash160
from altyn.consensus.script.opcodes import push
from altyn.consensus.script.sighash import SIGHASH_ALL, SighashCache
from altyn.consensus.script.taproot import Leaf, control_block, leaf_hash, output_key, output_secret, tree_hash
from altyn.consensus.script.templates import multisig, p2pkh, p2sh_of, p2tr, p2wpkh, p2wsh_of
from altyn.consensus.script.text import from_asm
from altyn.consensus.secp256k1 import Secp256k1
from altyn.consensus.transaction import OutPoint, Transaction, TxIn, TxOut

INPUTS_EACH = 2
"""Inputs of a transaction; as many outputs. The commonest payment has one or two of either."""

Signed = tuple[bytes, list[bytes]]
"""scriptSig and witness."""
Sign = Callable[[SighashCache, int], Signed]


class Spend(NamedTuple):
    """A transaction and the outputs it spends, in the order of its inputs."""

    tx: Transaction
    spent: Sequence[TxOut]


class Template:
    """Makes outputs of one kind, each with what signs for it."""

    def __init__(self, secp: Secp256k1, name: str) -> None:
        self.secp = secp
        self.name = name
        self._numbers = self._draw()

    def _draw(self) -> Iterator[bytes]:
        number = 0
        while True:
            yield hashlib.sha256(f"{self.name} {number}".encode()).digest()
            number += 1

    def make(self) -> tuple[bytes, Sign]:
        """Return a script_pubkey like no other, and what spends it."""
        made: tuple[bytes, Sign] = getattr(self, "_" + self.name.replace("-", "_"))(next(self._numbers))
        return made

    def _legacy(self, secret: bytes, cache: SighashCache, index: int, code: bytes) -> bytes:
        return self.secp.sign_ecdsa(secret, cache.legacy(index, code, SIGHASH_ALL)) + b"\x01"

    def _version_0(self, secret: bytes, cache: SighashCache, index: int, code: bytes) -> bytes:
        amount = cache.spent_outputs[index].value
        return self.secp.sign_ecdsa(secret, cache.witness_v0(index, code, amount, SIGHASH_ALL)) + b"\x01"

    def _p2pkh(self, secret: bytes) -> tuple[bytes, Sign]:
        key = self.secp.public_key(secret)
        output = p2pkh(hash160(key))
        return output, lambda cache, i: (push(self._legacy(secret, cache, i, output)) + push(key), [])

    def _p2wpkh(self, secret: bytes) -> tuple[bytes, Sign]:
        key = self.secp.public_key(secret)
        code = p2pkh(hash160(key))
        return p2wpkh(hash160(key)), lambda cache, i: (b"", [self._version_0(secret, cache, i, code), key])

    def _p2sh_p2wpkh(self, secret: bytes) -> tuple[bytes, Sign]:
        inner, sign = self._p2wpkh(secret)
        return p2sh_of(inner), lambda cache, i: (push(inner), sign(cache, i)[1])

    def _p2wsh_2of3(self, secret: bytes) -> tuple[bytes, Sign]:
        secrets = [secret, next(self._numbers), next(self._numbers)]
        script = multisig(2, [self.secp.public_key(each) for each in secrets])

        def sign(cache: SighashCache, i: int) -> Signed:
            # A different pair each time: which keys sign decides how many are tried.
            pair = [each for number, each in enumerate(secrets) if number != i % 3]
            return b"", [b"", *(self._version_0(each, cache, i, script) for each in pair), script]

        return p2wsh_of(script), sign

    def _p2tr_key(self, secret: bytes) -> tuple[bytes, Sign]:
        output = p2tr(output_key(self.secp, self.secp.public_key(secret)[1:])[0])
        tweaked = output_secret(self.secp, secret)
        return output, lambda cache, i: (b"", [self.secp.sign_schnorr(tweaked, cache.taproot(i, 0) or b"")])

    def _p2tr_script(self, secret: bytes) -> tuple[bytes, Sign]:
        # Two leaves, as a wallet with a fallback has them; the one with a signature spends.
        key = self.secp.public_key(secret)[1:]
        internal = self.secp.public_key(next(self._numbers))[1:]
        leaf, other = Leaf(push(key) + b"\xac"), Leaf(b"\x51" + push(internal))
        tweaked, parity = output_key(self.secp, internal, tree_hash((leaf, other)))
        control = control_block(internal, parity, leaf, leaf_hash(other.script))

        def sign(cache: SighashCache, i: int) -> Signed:
            digest = cache.taproot(i, 0, leaf_hash=leaf.hash) or b""
            return b"", [self.secp.sign_schnorr(secret, digest), leaf.script, control]

        return p2tr(tweaked), sign

    def _interpreter(self, secret: bytes) -> tuple[bytes, Sign]:
        """No signature: two hundred operations, near the limit for one script."""
        loop = "3DUP ADD ADD DROP ROT SWAP 1ADD 1000 MIN OVER SIZE NIP DROP"
        script = push(secret) + from_asm(" ".join(["DROP 7 8 9", *[loop] * 16, "2DROP DROP 1"]))
        return script, lambda _cache, _i: (b"", [])


def make_spends(secp: Secp256k1, template: str, inputs: int) -> list[Spend]:
    """Return transactions with `inputs` inputs in all, no two alike; the same ones on every call."""
    maker = Template(secp, template)
    spends = []
    for number in range(-(-inputs // INPUTS_EACH)):
        made = [maker.make() for _ in range(INPUTS_EACH)]
        spent = [TxOut(100_000 + number, script) for script, _ in made]
        txid = hashlib.sha256(f"{template} output {number}".encode()).digest()
        blank = [TxIn(OutPoint.make(txid, vout), b"", 0xFFFFFFFD) for vout in range(INPUTS_EACH)]
        outputs = [TxOut(90_000 + vout, p2wpkh(txid[vout : vout + 20])) for vout in range(INPUTS_EACH)]
        unsigned = SighashCache(Transaction(2, blank, outputs), spent)
        signed = [sign(unsigned, index) for index, (_, sign) in enumerate(made)]
        inputs_signed = [
            txin._replace(script_sig=script_sig, witness=tuple(witness))
            for txin, (script_sig, witness) in zip(blank, signed, strict=True)
        ]
        spends.append(Spend(Transaction.parse(Transaction(2, inputs_signed, outputs).raw), spent))
    return spends
