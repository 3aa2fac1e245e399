"""Signing: what spends an output, put together from the keys, scripts and signatures known (Core: ProduceSignature).

P2PK, P2PKH, bare multisig, what of these P2SH and P2WSH wrap, P2WPKH, and P2TR by its key or by a leaf that is `pk` or
`multi_a`. Whoever has only some of the keys adds their signatures to an `InputData`; another one goes on from there.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from altyn.consensus.hashes import hash160, ripemd160
from altyn.consensus.script import flags, taproot, templates
from altyn.consensus.script.errors import ScriptError
from altyn.consensus.script.interpreter import BASE, WITNESS_V0, Version
from altyn.consensus.script.opcodes import (
    OP_1,
    OP_1NEGATE,
    OP_CHECKSIG,
    OP_CHECKSIGADD,
    OP_NUMEQUAL,
    push,
    script_operations,
)
from altyn.consensus.script.sighash import SIGHASH_ALL, SIGHASH_DEFAULT, SighashCache
from altyn.consensus.script.stack import decode_number
from altyn.consensus.script.taproot import Leaf
from altyn.consensus.script.verify import TransactionChecker, verify_script
from altyn.consensus.secp256k1 import Secp256k1
from altyn.consensus.transaction import Transaction, TxIn, TxOut, serialize_witness
from altyn.wallet.formats.descriptors import Descriptor

_COMPRESSED = 33


class SigningError(ValueError):
    """An input that cannot be signed, or whose signature does not hold."""


class KeyPath(NamedTuple):
    """The way to a key: the master's fingerprint, 4 bytes, and the numbers below it."""

    fingerprint: bytes
    path: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class TaprootOutput:
    """How a taproot output was made: the internal key, 32 bytes, and the tree of leaves."""

    internal_key: bytes
    tree: taproot.Tree | None = None

    @property
    def root(self) -> bytes:
        """The hash of the tree; empty if there is none."""
        return b"" if self.tree is None else taproot.tree_hash(self.tree)

    def leaves(self, secp: Secp256k1) -> Iterator[tuple[Leaf, bytes]]:
        """Yield each leaf with its control block."""
        if self.tree is not None:
            _, parity = taproot.output_key(secp, self.internal_key, self.root)
            for leaf, path in taproot.leaf_paths(self.tree):
                yield leaf, taproot.control_block(self.internal_key, parity, leaf, path)


@dataclass(slots=True)
class Keyring:
    """What one signer knows: secrets by public key, public keys and scripts by hash160, taproot outputs by key."""

    secrets: dict[bytes, bytes] = field(default_factory=dict)
    public_keys: dict[bytes, bytes] = field(default_factory=dict)
    scripts: dict[bytes, bytes] = field(default_factory=dict)
    taproot: dict[bytes, TaprootOutput] = field(default_factory=dict)
    origins: dict[bytes, KeyPath] = field(default_factory=dict)
    """By public key."""

    def __repr__(self) -> str:
        """Never show a secret."""
        return f"<Keyring of {len(self.secrets)} secrets>"

    def add_secret(self, secret: bytes, secp: Secp256k1, *, compressed: bool = True) -> None:
        """Let it sign with `secret`. Raises InvalidKey."""
        public_key = secp.public_key(secret, compressed=compressed)
        self.secrets[public_key] = secret
        self.public_keys[hash160(public_key)] = public_key

    def add_script(self, script: bytes) -> None:
        """Let it know a redeem or witness script."""
        self.scripts[hash160(script)] = script

    def add_descriptor(self, descriptor: Descriptor, index: int) -> None:
        """Let it know what a descriptor says of its outputs at `index`, secrets included. Raises DescriptorError."""
        expansion = descriptor.expand(index)
        for key in expansion.keys:
            self.public_keys[hash160(key.public_key)] = key.public_key
            self.origins[key.public_key] = KeyPath(key.fingerprint, key.path)
            if key.secret is not None:
                self.secrets[key.public_key] = key.secret
        for script in expansion.inner:
            self.add_script(script)
        if expansion.internal_key:
            self.taproot[expansion.scripts[0][2:]] = TaprootOutput(expansion.internal_key, expansion.leaves)

    def x_only_secret(self, key: bytes) -> bytes | None:
        """Return the secret of a 32-byte key."""
        return self.secrets.get(b"\x02" + key) or self.secrets.get(b"\x03" + key)

    def x_only_origin(self, key: bytes) -> KeyPath | None:
        """Return the way to a 32-byte key."""
        return self.origins.get(b"\x02" + key) or self.origins.get(b"\x03" + key)


@dataclass(slots=True)
class InputData:
    """What is known about spending one output, in the terms of BIP174 and BIP371. Signatures end in their hash type."""

    signatures: dict[bytes, bytes] = field(default_factory=dict)
    """ECDSA, by public key."""
    origins: dict[bytes, KeyPath] = field(default_factory=dict)
    """By public key."""
    redeem_script: bytes = b""
    witness_script: bytes = b""
    taproot_signature: bytes = b""
    """By the output key."""
    leaf_signatures: dict[tuple[bytes, bytes], bytes] = field(default_factory=dict)
    """By x-only key and leaf hash."""
    leaves: dict[Leaf, set[bytes]] = field(default_factory=dict)
    """With their control blocks."""
    taproot_origins: dict[bytes, tuple[frozenset[bytes], KeyPath]] = field(default_factory=dict)
    """By x-only key: the hashes of the leaves that use it, and the way to it."""
    internal_key: bytes = b""
    merkle_root: bytes = b""


@dataclass(slots=True)
class Solution:
    """What goes into an input, as far as it could be made, and what was missing."""

    script_sig: bytes = b""
    witness: tuple[bytes, ...] = ()
    is_complete: bool = False
    missing_keys: list[bytes] = field(default_factory=list)
    """The hash160 of public keys that are unknown."""
    missing_signatures: list[bytes] = field(default_factory=list)
    """The hash160 of public keys that have not signed; Core names none of taproot's."""
    missing_redeem_script: bytes = b""
    """Its hash160."""
    missing_witness_script: bytes = b""
    """Its SHA-256."""


class InputSigner:
    """Makes signatures for one input of a transaction, and checks the input when it is whole."""

    def __init__(
        self,
        cache: SighashCache,
        index: int,
        output: TxOut,
        secp: Secp256k1,
        hash_type: int = SIGHASH_DEFAULT,
        aux: bytes = bytes(32),
    ) -> None:
        """`output` is what the input spends; `hash_type` SIGHASH_DEFAULT stands for ALL outside of taproot.

        `aux` is 32 bytes of chance for Schnorr signatures.
        """
        self._cache = cache
        self._index = index
        self._output = output
        self.secp = secp
        self._hash_type = hash_type
        self._aux = aux

    def ecdsa(self, secret: bytes, script_code: bytes, version: Version) -> bytes:
        """Return a DER signature with its hash type."""
        hash_type = self._hash_type or SIGHASH_ALL
        if version is WITNESS_V0:
            digest = self._cache.witness_v0(self._index, script_code, self._output.value, hash_type)
        else:
            digest = self._cache.legacy(self._index, script_code, hash_type)
        return self.secp.sign_ecdsa(secret, digest) + bytes((hash_type,))

    def schnorr(self, secret: bytes, leaf_hash: bytes | None = None, root: bytes | None = None) -> bytes:
        """Return a taproot signature; with `root` by the secret of the output key that it makes. Empty if impossible.

        It is impossible when not all spent outputs are known, or there is no output for SIGHASH_SINGLE.
        """
        if len(self._cache.spent_outputs) != len(self._cache.tx.inputs):
            return b""
        digest = self._cache.taproot(self._index, self._hash_type, leaf_hash=leaf_hash)
        if digest is None:
            return b""
        if root is not None:
            secret = taproot.output_secret(self.secp, secret, root)
        kind = bytes((self._hash_type,)) if self._hash_type else b""
        return self.secp.sign_schnorr(secret, digest, self._aux) + kind

    def error(self, script_sig: bytes, witness: Sequence[bytes]) -> str:
        """Return why the input is not valid under the rules of relay, nothing if it is."""
        checker = TransactionChecker(self._cache.tx, self._index, self._output.value, self._cache, self.secp)
        try:
            verify_script(script_sig, self._output.script_pubkey, tuple(witness), flags.STANDARD, checker)
        except (ScriptError, ValueError) as error:  # a taproot digest lacks the other spent outputs
            return str(error)
        return ""

    def checks(self, signature: bytes, public_key: bytes, script_code: bytes, version: Version) -> bool:
        """Tell whether an ECDSA signature holds."""
        checker = TransactionChecker(self._cache.tx, self._index, self._output.value, self._cache, self.secp)
        return checker.check_ecdsa(signature, public_key, script_code, version)


def solve(
    script_pubkey: bytes, data: InputData, keyring: Keyring, signer: InputSigner, *, may_sign: bool = True
) -> Solution:
    """Put together what spends `script_pubkey`; signatures made on the way are added to `data`."""
    solution = _Solver(data, keyring, signer if may_sign else None, signer.secp).solve(script_pubkey)
    if solution.is_complete:
        solution.is_complete = not signer.error(solution.script_sig, solution.witness)
    return solution


def learn(script_pubkey: bytes, data: InputData, keyring: Keyring, secp: Secp256k1) -> Solution:
    """Add to `data` what the keyring knows of scripts and keys behind `script_pubkey`, and return what is missing."""
    return _Solver(data, keyring, None, secp).solve(script_pubkey)


class _Solver:
    def __init__(self, data: InputData, keyring: Keyring, signer: InputSigner | None, secp: Secp256k1) -> None:
        self._data = data
        self._keyring = keyring
        self._signer = signer
        self._secp = secp
        self._found = Solution()

    def solve(self, script_pubkey: bytes) -> Solution:
        found, data = self._found, self._data
        stack: list[bytes] | None
        script, template = script_pubkey, templates.classify(script_pubkey)
        redeem_script = b""
        if template.kind == "scripthash":
            redeem_script = self._script(template.data[0])
            if not redeem_script:
                found.missing_redeem_script = template.data[0]
                return found
            data.redeem_script = redeem_script
            script, template = redeem_script, templates.classify(redeem_script)
        match template.kind:
            case "witness_v0_keyhash":
                stack, is_solved = self._step(templates.p2pkh(template.data[0]), WITNESS_V0)
                found.witness = tuple(stack)
                stack = []
            case "witness_v0_scripthash":
                witness_script = self._script(ripemd160(template.data[0]))
                stack, is_solved = [], False
                if witness_script:
                    data.witness_script = witness_script
                    stack, is_solved = self._step(witness_script, WITNESS_V0)
                    found.witness = (*stack, witness_script)
                    stack = []
                else:
                    found.missing_witness_script = template.data[0]
            case "witness_v1_taproot" if not redeem_script:
                witness = self._taproot(template.data[0])
                is_solved, found.witness, stack = witness is not None, witness or (), []
            case "anchor":
                stack, is_solved = [], True
            case _:
                stack, is_solved = self._step(script, BASE)
        found.script_sig = push_all([*stack, redeem_script] if redeem_script else stack)
        found.is_complete = is_solved
        return found

    def _script(self, script_hash: bytes) -> bytes:
        """Return the script with this hash160."""
        for script in (self._data.redeem_script, self._data.witness_script):
            if script and hash160(script) == script_hash:
                return script
        return self._keyring.scripts.get(script_hash, b"")

    def _step(self, script: bytes, version: Version) -> tuple[list[bytes], bool]:
        """Return the stack that satisfies a script without hashes of scripts, and whether it is whole."""
        template = templates.classify(script)
        match template.kind:
            case "pubkey":
                signature = self._ecdsa(template.data[0], script, version)
                return ([signature], True) if signature else ([], False)
            case "pubkeyhash":
                public_key = self._public_key(template.data[0])
                if not public_key:
                    self._found.missing_keys.append(template.data[0])
                    return [], False
                signature = self._ecdsa(public_key, script, version)
                return ([signature, public_key], True) if signature else ([], False)
            case "multisig":
                required = template.required
                signatures = [self._ecdsa(key, script, version) for key in template.data]
                held = [signature for signature in signatures if signature][:required]
                return [b"", *held, *[b""] * (required - len(held))], len(held) == required
        return [], False

    def _public_key(self, key_hash: bytes) -> bytes:
        for public_key in (*self._data.signatures, *self._data.origins):
            if hash160(public_key) == key_hash:
                return public_key
        return self._keyring.public_keys.get(key_hash, b"")

    def _ecdsa(self, public_key: bytes, script_code: bytes, version: Version) -> bytes:
        """Return the signature by a key, one that is known or a new one; empty if there is none."""
        data = self._data
        signature = data.signatures.get(public_key, b"")
        if signature:
            return signature
        origin = self._keyring.origins.get(public_key)
        if origin is not None:
            data.origins.setdefault(public_key, origin)
        secret = self._keyring.secrets.get(public_key)
        usable = version is BASE or len(public_key) == _COMPRESSED
        if secret is not None and usable and self._signer is not None:
            signature = data.signatures[public_key] = self._signer.ecdsa(secret, script_code, version)
            return signature
        self._found.missing_signatures.append(hash160(public_key))
        return b""

    def _taproot(self, output_key: bytes) -> tuple[bytes, ...] | None:
        """Return the witness that spends by the key, or else by the leaf with the smallest one."""
        data = self._data
        made = self._keyring.taproot.get(output_key)
        if made is not None:
            data.internal_key = data.internal_key or made.internal_key
            data.merkle_root = data.merkle_root or made.root
            for leaf, control in made.leaves(self._secp):
                data.leaves.setdefault(leaf, set()).add(control)
        self._note_origin(data.internal_key, None)
        if not data.taproot_signature:
            data.taproot_signature = self._schnorr(data.internal_key, None, data.merkle_root) or self._schnorr(
                output_key, None, None
            )
        if data.taproot_signature:
            return (data.taproot_signature,)
        witnesses = []
        for leaf, controls in data.leaves.items():
            stack = self._leaf(leaf)
            if stack is not None and controls:
                control = min(controls, key=lambda each: (len(each), each))
                witnesses.append((*stack, leaf.script, control))
        return min(witnesses, key=lambda witness: len(serialize_witness(witness)), default=None)

    def _leaf(self, leaf: Leaf) -> list[bytes] | None:
        """Return the stack below a leaf's script, if it is a key or a `multi_a`."""
        parsed = read_multi_a(leaf.script)
        if parsed is None or leaf.version != taproot.LEAF_VERSION_TAPSCRIPT:
            return None
        required, keys = parsed
        signatures: list[bytes] = []
        held = 0
        for key in keys:
            signature = self._leaf_signature(key, leaf.hash)
            if held == required:
                signature = b""
            held += bool(signature)
            signatures.append(signature)
        return signatures[::-1] if held == required else None

    def _note_origin(self, key: bytes, leaf_hash: bytes | None) -> None:
        """Remember where a 32-byte key comes from, and that a leaf uses it."""
        origin = self._keyring.x_only_origin(key)
        if origin is not None:
            hashes, _ = self._data.taproot_origins.get(key, (frozenset(), origin))
            self._data.taproot_origins[key] = hashes | ({leaf_hash} if leaf_hash else frozenset()), origin

    def _leaf_signature(self, key: bytes, leaf_hash: bytes) -> bytes:
        self._note_origin(key, leaf_hash)
        signature = self._data.leaf_signatures.get((key, leaf_hash), b"") or self._schnorr(key, leaf_hash, None)
        if signature:
            self._data.leaf_signatures[key, leaf_hash] = signature
        return signature

    def _schnorr(self, key: bytes, leaf_hash: bytes | None, root: bytes | None) -> bytes:
        secret = self._keyring.x_only_secret(key)
        if secret is None or self._signer is None:
            return b""
        return self._signer.schnorr(secret, leaf_hash, root)


def read_multi_a(script: bytes) -> tuple[int, list[bytes]] | None:
    """Return how many signatures a leaf wants and of which 32-byte keys: of `pk` and `multi_a`; None for others."""
    try:
        operations = [(opcode, data) for opcode, data, _ in script_operations(script)]
    except ScriptError:
        return None
    keys = [data or b"" for _, data in operations[::2]]
    if len(operations) == 2 and len(keys[0]) == 32 and operations[1][0] == OP_CHECKSIG:
        return 1, keys
    if len(operations) < 4 or len(operations) % 2 or operations[-1][0] != OP_NUMEQUAL:
        return None
    checks = [opcode for opcode, _ in operations[1:-2:2]]
    number, pushed = operations[-2]
    if checks != [OP_CHECKSIG, *[OP_CHECKSIGADD] * (len(checks) - 1)] or any(len(key) != 32 for key in keys[:-1]):
        return None
    required = decode_number(pushed, minimal=False) if pushed else number - OP_1 + 1
    return (required, keys[:-1]) if 1 <= required < len(keys) else None


def push_all(stack: Sequence[bytes]) -> bytes:
    """Return the script that pushes the elements, bottom first, each in the shortest way (Core: PushAll)."""
    return b"".join(map(_push_shortest, stack))


def _push_shortest(element: bytes) -> bytes:
    if len(element) == 1 and 1 <= element[0] <= 16:
        return bytes((OP_1 + element[0] - 1,))
    return bytes((OP_1NEGATE,)) if element == b"\x81" else push(element)


def data_from_input(txin: TxIn, script_pubkey: bytes, signer: InputSigner) -> tuple[InputData, Solution]:
    """Read what an input holds already: scripts, and the signatures that are right (Core: DataFromTransaction).

    The solution is complete when the input is valid as it stands.
    """
    data = InputData()
    if not signer.error(txin.script_sig, txin.witness):
        return data, Solution(txin.script_sig, txin.witness, is_complete=True)
    stack, script, version = _pushed(txin.script_sig), script_pubkey, BASE
    if templates.is_p2sh(script) and stack and hash160(stack[-1]) == script[2:22]:
        script = data.redeem_script = stack.pop()
    template = templates.classify(script)
    if template.kind.startswith("witness_v0"):
        stack, version = list(txin.witness), WITNESS_V0
        if template.kind == "witness_v0_keyhash":
            script = templates.p2pkh(template.data[0])
        elif stack and templates.p2wsh_of(stack[-1]) == script:
            script = data.witness_script = stack.pop()
        template = templates.classify(script)
    keys = (
        [key for key in stack if hash160(key) == template.data[0]] if template.kind == "pubkeyhash" else template.data
    )
    if template.kind in {"pubkey", "pubkeyhash", "multisig"}:
        for key in keys:
            for signature in stack:
                if len(signature) > 8 and signer.checks(signature, key, script, version):
                    data.signatures[key] = signature
    return data, Solution(txin.script_sig, txin.witness)


def _pushed(script: bytes) -> list[bytes]:
    """Return the elements that a script of pushes leaves; nothing for another script."""
    if not templates.is_push_only(script):
        return []
    return [data if data is not None else b"" for _, data, _ in script_operations(script)]


def sign(
    tx: Transaction,
    spent_outputs: Sequence[TxOut],
    secrets: Mapping[bytes, bytes],
    secp: Secp256k1,
    aux: bytes = bytes(32),
) -> Transaction:
    """Return `tx` with every input signed; `secrets` maps output scripts to the secrets of their public keys.

    The secret of a P2TR output is the internal one (BIP86). `aux` is 32 bytes of chance for Schnorr signatures.
    Raises SigningError for an input without secret, or of another kind.
    """
    cache = SighashCache(tx, spent_outputs)
    inputs = []
    for index, (txin, output) in enumerate(zip(tx.inputs, spent_outputs, strict=True)):
        secret = secrets.get(output.script_pubkey)
        if secret is None:
            raise SigningError(f"there is no key for input {index}")
        keyring = Keyring()
        keyring.add_secret(secret, secp)
        internal_key = secp.public_key(secret)[1:]
        keyring.taproot[taproot.output_key(secp, internal_key)[0]] = TaprootOutput(internal_key)
        solution = solve(output.script_pubkey, InputData(), keyring, InputSigner(cache, index, output, secp, aux=aux))
        if not solution.is_complete:
            kind = templates.classify(output.script_pubkey).kind
            raise SigningError(f"input {index} spends a {kind} output, which cannot be signed here")
        inputs.append(txin._replace(script_sig=solution.script_sig, witness=solution.witness))
    return Transaction(tx.version, inputs, tx.outputs, tx.lock_time)


def check_signatures(tx: Transaction, spent_outputs: Sequence[TxOut], secp: Secp256k1) -> None:
    """Run the scripts of all inputs under the rules of relay. Raises SigningError."""
    for index, error in input_errors(tx, spent_outputs, secp):
        raise SigningError(f"the signature of input {index} does not hold: {error}")


def input_errors(tx: Transaction, spent_outputs: Sequence[TxOut], secp: Secp256k1) -> Iterator[tuple[int, str]]:
    """Yield each input that is not valid, and why, under the rules of relay."""
    cache = SighashCache(tx, spent_outputs)
    for index, (txin, output) in enumerate(zip(tx.inputs, spent_outputs, strict=True)):
        error = InputSigner(cache, index, output, secp).error(txin.script_sig, txin.witness)
        if error:
            yield index, error
