"""Output descriptors (BIP380 to 386, 389): text that stands for output scripts and the keys behind them."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import chain, zip_longest
from operator import xor
from typing import TypeAlias

from altyn.consensus.hashes import hash160
from altyn.consensus.networks import Network
from altyn.consensus.script import taproot, templates
from altyn.consensus.script.addresses import AddressError, decode_address, encode_address
from altyn.consensus.script.opcodes import OP_CHECKSIG, OP_CHECKSIGADD, OP_NUMEQUAL, push, push_number
from altyn.consensus.secp256k1 import Secp256k1
from altyn.wallet.formats.key_expressions import DerivedKey, DescriptorError, KeyExpression, is_hex, parse_key

__all__ = ["Descriptor", "DescriptorError", "Expansion", "add_checksum", "checksum", "parse", "parse_all"]

_MAX_MULTI_A_KEYS = 999
_MAX_P2SH_SCRIPT = 520
_MAX_TREE_DEPTH = 128
_MAX_LENGTH = 300_000
"""Characters of all descriptors that one text stands for: a thousand extended keys with origins take half."""

# The checksum (BIP380)

_INPUT = "0123456789()[],'/*abcdefgh@:$%{}IJKLMNOPQRSTUVWXYZ&+-.;<=>?!^_|~ijklmnopqrstuvwxyzABCDEFGH`#\"\\ "
_OUTPUT = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_GENERATORS = (0xF5DEE51989, 0xA9FDCA3312, 0x1BAB10E32D, 0x3706B1677A, 0x644D626FFD)
_REDUCTIONS = [
    reduce(xor, (generator for bit, generator in enumerate(_GENERATORS) if top >> bit & 1), 0) for top in range(32)
]
"""What the five bits that leave the residue at the top change in it."""


def checksum(text: str) -> str:
    """Return the eight characters that belong behind `text`. Raises DescriptorError for characters it cannot have."""
    values = []
    group = 0
    for place, character in enumerate(text, 1):
        position = _INPUT.find(character)
        if position == -1:
            raise DescriptorError("Invalid characters in payload")
        values.append(position & 31)
        group = group * 3 + (position >> 5)
        if place % 3 == 0:
            values.append(group)
            group = 0
    if len(text) % 3:
        values.append(group)
    residue = 1
    for value in (*values, *bytes(8)):
        residue = (residue & 0x7FFFFFFFF) << 5 ^ value ^ _REDUCTIONS[residue >> 35]
    residue ^= 1
    return "".join(_OUTPUT[residue >> 5 * (7 - place) & 31] for place in range(8))


def add_checksum(text: str) -> str:
    """Return `text` with its checksum behind it."""
    return f"{text}#{checksum(text)}"


def _without_checksum(text: str, demanded: bool) -> str:
    payload, *sums = text.split("#")
    if len(sums) > 1:
        raise DescriptorError("Multiple '#' symbols")
    if not sums and demanded:
        raise DescriptorError("Missing checksum")
    if sums and len(sums[0]) != 8:
        raise DescriptorError(f"Expected 8 character checksum, not {len(sums[0])} characters")
    computed = checksum(payload)
    if sums and sums[0] != computed:
        raise DescriptorError(f"Provided checksum '{sums[0]}' does not match computed checksum '{computed}'")
    return payload


# The values


@dataclass(frozen=True, slots=True)
class Expansion:
    """What a descriptor stands for at one index.

    `scripts` are output scripts, several for `combo`; `inner` the redeem and witness scripts, outermost first; `keys`
    the keys. Of `tr` there are also the 32-byte internal key and the tree of leaves.
    """

    scripts: tuple[bytes, ...]
    inner: tuple[bytes, ...] = ()
    keys: tuple[DerivedKey, ...] = ()
    internal_key: bytes = b""
    leaves: taproot.Tree | None = None


Tree: TypeAlias = "Descriptor | tuple[Tree, Tree]"
"""A taproot tree: a leaf, or two branches."""


@dataclass(frozen=True, slots=True)
class Descriptor:
    """A parsed descriptor, without multipath. `name` is its function; what else is set depends on it."""

    name: str
    network: Network
    secp: Secp256k1
    keys: tuple[KeyExpression, ...] = ()
    threshold: int = 0
    inner: "Descriptor | None" = None
    tree: "Tree | None" = None
    script: bytes = b""
    """Of `raw` and `addr`."""
    x_only: bool = False
    """Inside a taproot tree, where keys are pushed without their first byte."""

    def __repr__(self) -> str:
        return f"<Descriptor {self}>"

    def __str__(self) -> str:
        """The public form, with checksum."""
        return add_checksum(self._text(lambda key: key.text()))

    @property
    def is_range(self) -> bool:
        return any(key.is_range for key in self.all_keys())

    @property
    def is_solvable(self) -> bool:
        """Whether it says how to spend, keys aside (Core: IsSolvable)."""
        return self.name not in {"raw", "addr"} and (self.inner is None or self.inner.is_solvable)

    @property
    def has_private_keys(self) -> bool:
        """Whether any key came with its secret."""
        return any(key.has_secret for key in self.all_keys())

    @property
    def output_type(self) -> str | None:
        """Core's address type, "legacy", "p2sh-segwit", "bech32" or "bech32m"; None if it has no single one."""
        match self.name:
            case "pkh":
                return "legacy"
            case "sh":
                return "p2sh-segwit" if self.inner and self.inner.name in {"wpkh", "wsh"} else "legacy"
            case "wpkh" | "wsh":
                return "bech32"
            case "tr" | "rawtr":
                return "bech32m"
            case "addr":
                kind = templates.classify(self.script).kind
                segwit = "bech32" if kind.startswith("witness_v0") else "bech32m"
                return "legacy" if kind in {"pubkeyhash", "scripthash"} else segwit
        return None

    def all_keys(self) -> Iterator[KeyExpression]:
        """Every key expression, in the order of the text."""
        yield from self.keys
        if self.inner:
            yield from self.inner.all_keys()
        for leaf in _leaves(self.tree):
            yield from leaf.all_keys()

    def private_text(self) -> str:
        """The form with secrets, with checksum. Raises DescriptorError unless every secret is known."""
        return add_checksum(self._text(lambda key: key.private_text()))

    def normal_text(self) -> str:
        """The public form with hardened steps moved into origins, with checksum. Raises DescriptorError."""
        return add_checksum(self._text(lambda key: key.normal_text(self.secp)))

    def _text(self, write: Callable[[KeyExpression], str]) -> str:
        parts = [write(key) for key in self.keys]
        if "multi" in self.name:
            parts.insert(0, str(self.threshold))
        if self.inner:
            parts.append(self.inner._text(write))
        if self.tree is not None:
            parts.append(_tree_text(self.tree, write))
        if self.name == "raw":
            parts.append(self.script.hex())
        if self.name == "addr":
            parts.append(encode_address(self.script, self.network) or "")
        return f"{self.name}({','.join(parts)})"

    def expand(self, index: int = 0) -> Expansion:
        """Return scripts and keys at `index`, which matters to ranged descriptors only.

        Raises DescriptorError if a hardened step lacks its private key.
        """
        keys = tuple(key.derive(index, self.secp) for key in self.keys)
        raw_keys = [key.public_key for key in keys]
        match self.name:
            case "pk":
                key = raw_keys[0][-32:] if self.x_only else raw_keys[0]
                return Expansion((templates.p2pk(key),), (), keys)
            case "pkh":
                return Expansion((templates.p2pkh(hash160(raw_keys[0])),), (), keys)
            case "wpkh":
                return Expansion((templates.p2wpkh(hash160(raw_keys[0])),), (), keys)
            case "combo":
                return _expand_combo(keys)
            case "multi":
                return Expansion((templates.multisig(self.threshold, raw_keys),), (), keys)
            case "sortedmulti":
                return Expansion((templates.multisig(self.threshold, sorted(raw_keys)),), (), keys)
            case "multi_a":
                return Expansion((_multi_a(self.threshold, [key[-32:] for key in raw_keys]),), (), keys)
            case "sortedmulti_a":
                return Expansion((_multi_a(self.threshold, sorted(key[-32:] for key in raw_keys)),), (), keys)
            case "rawtr":
                return Expansion((templates.p2tr(raw_keys[0][-32:]),), (), keys)
            case "tr":
                return self._expand_taproot(keys[0], index)
            case "sh" | "wsh":
                return self._expand_wrapper(index)
        return Expansion((self.script,))

    def _expand_wrapper(self, index: int) -> Expansion:
        assert self.inner is not None  # set by the parser for these two
        inner = self.inner.expand(index)
        wrap = templates.p2sh_of if self.name == "sh" else templates.p2wsh_of
        scripts = tuple(map(wrap, inner.scripts))
        return Expansion(scripts, inner.scripts + inner.inner, inner.keys)

    def _expand_taproot(self, internal: DerivedKey, index: int) -> Expansion:
        leaves = [leaf.expand(index) for leaf in _leaves(self.tree)]
        tree = None if self.tree is None else _tree_at(self.tree, index)
        key = internal.public_key[-32:]
        output_key, _ = taproot.output_key(self.secp, key, b"" if tree is None else taproot.tree_hash(tree))
        keys = (internal, *(key for leaf in leaves for key in leaf.keys))
        inner = tuple(leaf.scripts[0] for leaf in leaves)
        return Expansion((templates.p2tr(output_key),), inner, keys, key, tree)


def _expand_combo(keys: tuple[DerivedKey, ...]) -> Expansion:
    key = keys[0].public_key
    scripts = [templates.p2pk(key), templates.p2pkh(hash160(key))]
    if len(key) == 65:
        return Expansion(tuple(scripts), (), keys)
    witness = templates.p2wpkh(hash160(key))
    return Expansion((*scripts, witness, templates.p2sh_of(witness)), (witness,), keys)


def _multi_a(threshold: int, keys: list[bytes]) -> bytes:
    first, *others = keys
    script = push(first) + bytes((OP_CHECKSIG,))
    script += b"".join(push(key) + bytes((OP_CHECKSIGADD,)) for key in others)
    return script + push_number(threshold) + bytes((OP_NUMEQUAL,))


def _leaves(tree: "Tree | None") -> Iterator[Descriptor]:
    if isinstance(tree, Descriptor):
        yield tree
    elif tree is not None:
        for branch in tree:
            yield from _leaves(branch)


def _tree_at(tree: "Tree", index: int) -> taproot.Tree:
    if isinstance(tree, Descriptor):
        return taproot.Leaf(tree.expand(index).scripts[0])
    left, right = tree
    return _tree_at(left, index), _tree_at(right, index)


def _tree_text(tree: "Tree", write: Callable[[KeyExpression], str]) -> str:
    if isinstance(tree, Descriptor):
        return tree._text(write)
    return "{" + ",".join(_tree_text(branch, write) for branch in tree) + "}"


# The parser


def parse(text: str, network: Network, secp: Secp256k1, *, demand_checksum: bool = False) -> Descriptor:
    """Read a descriptor that has no multipath. Raises DescriptorError."""
    descriptors = parse_all(text, network, secp, demand_checksum=demand_checksum)
    if len(descriptors) > 1:
        raise DescriptorError("Multipath descriptors stand for several: use them one by one")
    return descriptors[0]


def parse_all(text: str, network: Network, secp: Secp256k1, *, demand_checksum: bool = False) -> tuple[Descriptor, ...]:
    """Read a descriptor; one with multipath (BIP389) gives several. Raises DescriptorError."""
    if len(text) > _MAX_LENGTH:
        raise DescriptorError(f"Descriptor is longer than {_MAX_LENGTH} characters")
    payload = _without_checksum(text, demand_checksum)
    parser = _Parser(network, secp)
    return tuple(parser.script(single, "top") for single in _split_multipath(payload))


_MULTIPATH = re.compile(r"<([^<>]*)>")


def _split_multipath(text: str) -> list[str]:
    choices = [found[1].split(";") for found in _MULTIPATH.finditer(text)]
    if not choices:
        return [text]
    for key in re.split(r"[,(){}]", text):
        if len(_MULTIPATH.findall(key)) > 1:
            raise DescriptorError("Multiple multipath key path specifiers found")
        if _MULTIPATH.search(key.rpartition("]")[0]):
            step = _MULTIPATH.search(key)
            raise DescriptorError(
                f"Key path value '{step and step[0]}' specifies multipath in a section where multipath is not allowed"
            )
    for numbers in choices:
        if len(numbers) < 2:
            raise DescriptorError("Multipath key path specifiers must have at least two items")
        seen: set[str] = set()
        for number in numbers:
            if number in seen:
                raise DescriptorError(f"Duplicated key path value {number} in multipath specifier")
            seen.add(number)
    if len({len(numbers) for numbers in choices}) > 1:
        raise DescriptorError("Multipath derivation paths have mismatched lengths")

    around = _MULTIPATH.split(text)[::2]
    if len(choices[0]) * sum(map(len, around)) > _MAX_LENGTH:
        raise DescriptorError("Multipath descriptor stands for too many")

    def expanded(numbers: Sequence[str]) -> str:
        return "".join(chain.from_iterable(zip_longest(around, numbers, fillvalue="")))

    return [expanded(numbers) for numbers in zip(*choices, strict=True)]


class _Parser:
    """Reads script expressions; `context` is "top", "sh", "wsh" or "tr" (Core: ParseScript)."""

    def __init__(self, network: Network, secp: Secp256k1) -> None:
        self.network = network
        self.secp = secp

    def script(self, text: str, context: str) -> Descriptor:
        name, opened, rest = text.partition("(")
        reader = getattr(self, f"_read_{name}", None) if opened and name.isidentifier() else None
        if reader is None or not rest.endswith(")"):
            if context in {"sh", "wsh"} and not opened:
                raise DescriptorError(f"A function is needed within P2{context.upper()}")
            raise DescriptorError(f"'{text}' is not a valid descriptor function")
        descriptor: Descriptor = reader(name, rest[:-1], context)
        return descriptor

    def _make(self, name: str, **parts: object) -> Descriptor:
        return Descriptor(name, self.network, self.secp, **parts)  # type: ignore[arg-type]  # optional fields

    def _key(self, name: str, text: str, context: str, *, uncompressed: bool) -> KeyExpression:
        try:
            return parse_key(
                text, self.network, self.secp, uncompressed=uncompressed, x_only=context == "tr" or "tr" in name
            )
        except DescriptorError as error:
            label = "Multi" if "multi" in name else f"{name}()"
            raise DescriptorError(f"{label}: {error}") from None

    def _single(self, name: str, text: str, context: str, *, uncompressed: bool) -> Descriptor:
        key = self._key(name, text, context, uncompressed=uncompressed)
        return self._make(name, keys=(key,), x_only=context == "tr")

    def _read_pk(self, name: str, text: str, context: str) -> Descriptor:
        return self._single(name, text, context, uncompressed=context in {"top", "sh"})

    def _read_pkh(self, name: str, text: str, context: str) -> Descriptor:
        if context == "tr":
            raise DescriptorError("pkh() inside tr() is not supported")
        return self._single(name, text, context, uncompressed=context in {"top", "sh"})

    def _read_combo(self, name: str, text: str, context: str) -> Descriptor:
        if context != "top":
            raise DescriptorError("Can only have combo() at top level")
        return self._single(name, text, context, uncompressed=True)

    def _read_wpkh(self, name: str, text: str, context: str) -> Descriptor:
        if context not in {"top", "sh"}:
            raise DescriptorError("Can only have wpkh() at top level or inside sh()")
        return self._single(name, text, context, uncompressed=False)

    def _read_sh(self, name: str, text: str, context: str) -> Descriptor:
        if context != "top":
            raise DescriptorError("Can only have sh() at top level")
        return self._make(name, inner=self.script(text, "sh"))

    def _read_wsh(self, name: str, text: str, context: str) -> Descriptor:
        if context not in {"top", "sh"}:
            raise DescriptorError("Can only have wsh() at top level or inside sh()")
        return self._make(name, inner=self.script(text, "wsh"))

    def _read_multi(self, name: str, text: str, context: str) -> Descriptor:
        if name.endswith("_a") and context != "tr":
            raise DescriptorError("Can only have multi_a/sortedmulti_a inside tr()")
        if not name.endswith("_a") and context == "tr":
            raise DescriptorError("Can only have multi/sortedmulti at top level, in sh(), or in wsh()")
        threshold, *texts = _split(text)
        if not re.fullmatch("[0-9]{1,20}", threshold, re.ASCII) or int(threshold) > 0xFFFFFFFF:
            raise DescriptorError(f"Multi threshold '{threshold}' is not valid")
        keys = tuple(self._key(name, key, context, uncompressed=context in {"top", "sh"}) for key in texts)
        self._check_multi(name, int(threshold), keys, context)
        return self._make(name, keys=keys, threshold=int(threshold), x_only=context == "tr")

    _read_sortedmulti = _read_multi_a = _read_sortedmulti_a = _read_multi

    @staticmethod
    def _check_multi(name: str, threshold: int, keys: tuple[KeyExpression, ...], context: str) -> None:
        kind, most = ("multi_a", _MAX_MULTI_A_KEYS) if context == "tr" else ("multisig", 20)
        if not 1 <= len(keys) <= most:
            raise DescriptorError(
                f"Cannot have {len(keys)} keys in {kind}; must have between 1 and {most} keys, inclusive"
            )
        if threshold < 1:
            raise DescriptorError(f"Multisig threshold cannot be {threshold}, must be at least 1")
        if threshold > len(keys):
            raise DescriptorError(
                "Multisig threshold cannot be larger than the number of keys; "
                f"threshold is {threshold} but only {len(keys)} keys specified"
            )
        if context == "top" and len(keys) > 3:
            raise DescriptorError(f"Cannot have {len(keys)} pubkeys in bare multisig; only at most 3 pubkeys")
        size = 3 + sum((34 if key.is_compressed else 66) for key in keys)
        if context == "sh" and size > _MAX_P2SH_SCRIPT:
            raise DescriptorError(f"P2SH script is too large, {size} bytes is larger than {_MAX_P2SH_SCRIPT} bytes")

    def _read_tr(self, name: str, text: str, context: str) -> Descriptor:
        if context != "top":
            raise DescriptorError("Can only have tr at top level")
        internal, *rest = _split(text)
        key = self._key(name, internal, context, uncompressed=False)
        if len(rest) > 1:
            raise DescriptorError("tr(): expected ')' after script expression")
        return self._make(name, keys=(key,), tree=self._tree(rest[0], 0) if rest else None)

    def _tree(self, text: str, depth: int) -> Tree:
        if depth > _MAX_TREE_DEPTH:
            raise DescriptorError(f"tr() supports at most {_MAX_TREE_DEPTH} nesting levels")
        if not text.startswith("{"):
            return self.script(text, "tr")
        if not text.endswith("}"):
            raise DescriptorError("tr(): expected '}' after script expression")
        branches = _split(text[1:-1])
        if len(branches) != 2:
            raise DescriptorError("tr(): expected ',' after script expression")
        return self._tree(branches[0], depth + 1), self._tree(branches[1], depth + 1)

    def _read_rawtr(self, name: str, text: str, context: str) -> Descriptor:
        if context != "top":
            raise DescriptorError("Can only have rawtr at top level")
        if len(_split(text)) > 1:
            raise DescriptorError("rawtr(): only one key expected.")
        return self._single(name, text, context, uncompressed=False)

    def _read_addr(self, name: str, text: str, context: str) -> Descriptor:
        if context != "top":
            raise DescriptorError("Can only have addr() at top level")
        try:
            return self._make(name, script=decode_address(text, self.network))
        except AddressError:
            raise DescriptorError("Address is not valid") from None

    def _read_raw(self, name: str, text: str, context: str) -> Descriptor:
        if context != "top":
            raise DescriptorError("Can only have raw() at top level")
        if not is_hex(text):
            raise DescriptorError("Raw script is not hex")
        return self._make(name, script=bytes.fromhex(text))


def _split(text: str) -> list[str]:
    """Cut at the commas that are outside of brackets. Raises DescriptorError for brackets that do not match."""
    parts, depth, start = [], 0, 0
    for place, character in enumerate(text):
        if character in "({":
            depth += 1
        elif character in ")}":
            depth -= 1
            if depth < 0:
                raise DescriptorError(f"expected ',', got '{character}'")
        elif character == "," and depth == 0:
            parts.append(text[start:place])
            start = place + 1
    if depth:
        raise DescriptorError("expected ')'")
    return [*parts, text[start:]]
