"""Miniscript (BIP379) in witness scripts of version 0: a script read back as the conditions that it states.

Every fragment has a type, a set of letters: one of B, V, K and W says where it can stand; z, o, n, d, u what it takes
from the stack and leaves there; e, f, s, m, x how safely it is satisfied and refused; g, h, i, j which kinds of locks
(relative by time, by height, absolute by time, by height) are inside, k that none excludes another.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

from altyn.consensus.limits import LOCKTIME_THRESHOLD, SEQUENCE_LOCKTIME_TYPE_FLAG
from altyn.consensus.script import opcodes as op
from altyn.consensus.script.errors import ScriptError
from altyn.consensus.script.stack import decode_number, encode_number

_MAX_SCRIPT = 3600  # bytes of a standard witness script
_MAX_OPS = 201
_MAX_STACK = 100  # items of a standard witness
_MAX_DEPTH = 100
_MAX_MULTI_KEYS = 20
_WRAPPERS = "ascdvjn"
_BASES = frozenset("BVKW")

Type: TypeAlias = frozenset[str]


class _NoMiniscript(Exception):
    """The script is something else."""


@dataclass(frozen=True, slots=True)
class Node:
    """A fragment with those inside it. `number` is a threshold or a lock, `data` the keys or the hash."""

    name: str
    subs: tuple["Node", ...] = ()
    number: int = 0
    data: tuple[bytes, ...] = ()
    type: Type = frozenset()

    def all_nodes(self) -> Iterator["Node"]:
        """Yield this fragment and all inside it."""
        yield self
        for each in self.subs:
            yield from each.all_nodes()

    def text(self, write_key: Callable[[bytes], str], *, wrapped: bool = False) -> str:
        """Return the text; `wrapped` stands behind the letters of wrappers, which a colon ends."""

        def inner(place: int) -> str:
            return self.subs[place].text(write_key, wrapped=True)

        names = [each.name for each in self.subs]
        if self.name == "c" and names[0] in _SHORT:
            return f"{':' * wrapped}{_SHORT[names[0]]}({write_key(self.subs[0].data[0])})"
        if self.name in _WRAPPERS:
            return self.name + inner(0)
        if self.name == "and_v" and names[1] == "1":
            return "t" + inner(0)
        if self.name == "or_i" and "0" in names:
            return "l" + inner(1) if names[0] == "0" else "u" + inner(0)
        subs, name = self.subs, self.name
        if name == "andor" and names[2] == "0":
            subs, name = subs[:2], "and_n"
        parts = [str(self.number)] * (name in {"older", "after", "multi", "thresh"})
        parts += (each.text(write_key) for each in subs)
        parts += map(write_key if name in {"pk_k", "pk_h", "multi"} else bytes.hex, self.data)
        return ":" * wrapped + name + (f"({','.join(parts)})" if parts else "")

    @property
    def is_sane(self) -> bool:
        """Whether nobody but the holders of keys can spend, nor change how, within the limits of policy (Core: IsSane).

        Branches that exclude each other count towards the limits together, so a giant may be refused that Core takes.
        """
        nodes = list(self.all_nodes())
        keys = [key for node in nodes if node.name in {"pk_k", "pk_h", "multi"} for key in node.data]
        most_items = sum(_ITEMS.get(node.name, 0) + node.number * (node.name == "multi") for node in nodes)
        return frozenset("Bmsk") <= self.type and len(set(keys)) == len(keys) and most_items <= _MAX_STACK


_SHORT = {"pk_k": "pk", "pk_h": "pkh"}
_ITEMS = {"pk_k": 1, "pk_h": 2, "multi": 1, "or_i": 1, "d": 1} | dict.fromkeys(
    ("sha256", "hash256", "ripemd160", "hash160"), 1
)
"""How many items a fragment itself needs in the witness; one of multi more than its signatures."""


# The types (Core: ComputeType)


def _make(name: str, *subs: Node, number: int = 0, data: tuple[bytes, ...] = ()) -> Node:
    """Return a fragment. Raises _NoMiniscript if those inside cannot stand there."""
    found = _leaf_type(name, number) if not subs else _type_of(name, [each.type for each in subs], number)
    if len(found & _BASES) != 1:
        raise _NoMiniscript
    return Node(name, subs, number, data, found)


def _leaf_type(name: str, number: int) -> Type:
    match name:
        case "older":
            return frozenset("Bzfmxk" + ("g" if number & SEQUENCE_LOCKTIME_TYPE_FLAG else "h"))
        case "after":
            return frozenset("Bzfmxk" + ("i" if number >= LOCKTIME_THRESHOLD else "j"))
    return _LEAVES[name]


_LEAVES = {
    name: frozenset(letters)
    for name, letters in {
        "0": "Bzudemsxk",
        "1": "Bzufmxk",
        "pk_k": "Konudemsxk",
        "pk_h": "Knudemsxk",
        "multi": "Bnudemsk",
        "sha256": "Bonudmk",
        "hash256": "Bonudmk",
        "ripemd160": "Bonudmk",
        "hash160": "Bonudmk",
    }.items()
}


def _has(found: Type, letters: str) -> bool:
    return found >= frozenset(letters)


def _if(condition: bool, letters: str) -> Type:
    return frozenset(letters) if condition else frozenset()


def _mixes(one: Type, other: Type) -> bool:
    """Whether locks of time and of height stand in two parts that are both needed."""
    pairs = ("g", "h"), ("h", "g"), ("i", "j"), ("j", "i")
    return any(first in one and second in other for first, second in pairs)


def _locks(*types: Type, both: tuple[Type, Type] | None = None) -> Type:
    some, every = frozenset.union(*types), frozenset.intersection(*types)
    return some & frozenset("ghij") | _if("k" in every and not (both and _mixes(*both)), "k")


def _type_of(name: str, types: list[Type], threshold: int) -> Type:
    x = types[0]
    if name in _WRAPPERS:
        return _wrapped_type(name, x) | x & frozenset("ghijk")
    if name == "thresh":
        return _thresh_type(types, threshold)
    y = types[1]
    if name == "andor":
        return _andor_type(x, y, types[2])
    some, every = x | y, x & y
    has_o = _if("z" in some, "o") & some
    match name:
        case "and_v":
            found = _if("V" in x, "BVK") & y | has_o | x & frozenset("n") | _if("z" in x, "n") & y
            found |= every & frozenset("dmz") | some & frozenset("s") | _if("f" in y or "s" in x, "f")
            return found | y & frozenset("ux") | _locks(x, y, both=(x, y))
        case "and_b":
            found = _if("W" in y, "B") & x | has_o | x & frozenset("n") | _if("z" in x, "n") & y
            found |= _if("s" in every, "e") & every | every & frozenset("dzm") | some & frozenset("s")
            is_forced = "f" in every or _has(x, "sf") or _has(y, "sf")
            return found | _if(is_forced, "f") | frozenset("ux") | _locks(x, y, both=(x, y))
        case "or_b":
            found = _if(_has(x, "Bd") and _has(y, "Wd"), "B") | has_o | every & frozenset("zse") | frozenset("dux")
            return found | _if("s" in some and "e" in every, "m") & every | _locks(x, y)
        case "or_d" | "or_c":
            found = _if("z" in y, "o") & x | _if("e" in x and "s" in some, "m") & every | every & frozenset("zs")
            base = _if(_has(x, "Bdu"), "B" if name == "or_d" else "V") & y
            rest = y & frozenset("ufde") | frozenset("x") if name == "or_d" else frozenset("fx")
            return found | base | rest | _locks(x, y)
    assert name == "or_i"
    found = every & frozenset("VBKufs") | _if("z" in every, "o") | _if("f" in some, "e") & some
    found |= _if("s" in some, "m") & every | some & frozenset("d") | frozenset("x")
    return found | _locks(x, y)


def _wrapped_type(name: str, x: Type) -> Type:
    match name:
        case "a":
            return _if("B" in x, "W") | x & frozenset("udfems") | frozenset("x")
        case "s":
            return _if(_has(x, "Bo"), "W") | x & frozenset("udfemsx")
        case "c":
            return _if("K" in x, "B") | x & frozenset("ondfem") | frozenset("us")
        case "d":
            found = _if(_has(x, "Vz"), "B") | _if("z" in x, "o") | _if("f" in x, "e")
            return found | x & frozenset("ms") | frozenset("ndx")
        case "v":
            return _if("B" in x, "V") | x & frozenset("zonms") | frozenset("fx")
        case "j":
            return _if(_has(x, "Bn"), "B") | _if("f" in x, "e") | x & frozenset("oums") | frozenset("ndx")
    assert name == "n"
    return x & frozenset("Bzondfems") | frozenset("ux")


def _andor_type(x: Type, y: Type, z: Type) -> Type:
    both, some, every = y & z, x | y | z, x & y & z
    found = _if(_has(x, "Bdu"), "BVK") & both | every & frozenset("z") | both & frozenset("u") | z & frozenset("d")
    found |= _if("z" in x | both, "o") & (x | both) | _if("s" in x or "f" in y, "fe") & z
    found |= _if("e" in x and "s" in some, "m") & every | z & (x | y) & frozenset("s") | frozenset("x")
    return found | _locks(x, y, z, both=(x, y))


def _thresh_type(types: list[Type], threshold: int) -> Type:
    if not all(_has(each, "Wdu" if place else "Bdu") for place, each in enumerate(types)):
        return frozenset()
    every = frozenset.intersection(*types)
    signed = sum("s" in each for each in types)
    taken = sum(0 if "z" in each else 1 if "o" in each else 2 for each in types)
    locks = frozenset("k")
    for each in types:
        locks = _locks(locks, each, both=(locks, each) if threshold > 1 else None)
    found = frozenset("Bdu") | _if(taken == 0, "z") | _if(taken == 1, "o") | locks
    found |= _if("e" in every and signed == len(types), "e")
    found |= _if(_has(every, "em") and signed >= len(types) - threshold, "m")
    return found | _if(signed > len(types) - threshold, "s")


# From script to text, read from its end (Core: DecodeScript)

_VERIFYING = {
    op.OP_CHECKSIGVERIFY: op.OP_CHECKSIG,
    op.OP_CHECKMULTISIGVERIFY: op.OP_CHECKMULTISIG,
    op.OP_EQUALVERIFY: op.OP_EQUAL,
    op.OP_NUMEQUALVERIFY: op.OP_NUMEQUAL,
}
_HASHES = {
    op.OP_SHA256: ("sha256", 32),
    op.OP_HASH256: ("hash256", 32),
    op.OP_RIPEMD160: ("ripemd160", 20),
    op.OP_HASH160: ("hash160", 20),
}
_AFTER_STATEMENTS = {op.OP_IF, op.OP_ELSE, op.OP_NOTIF, op.OP_TOALTSTACK, op.OP_SWAP}
"""What no fragment ends in, so that nothing before it belongs to an and_v."""


def read_miniscript(script: bytes, find_key: Callable[[bytes], bytes | None]) -> Node | None:
    """Return what a witness script states; None if it is no sane miniscript.

    `find_key` returns the public key of a HASH160, if it is known.
    """
    try:
        reader = _Reader(_operations(script), find_key)
        node = reader.statements(0)
        executed = sum(code > op.OP_16 for code, _, _ in op.script_operations(script))
    except (ScriptError, _NoMiniscript):
        return None
    executed += sum(len(each.data) for each in node.all_nodes() if each.name == "multi")
    return node if reader.is_at_end and node.is_sane and executed <= _MAX_OPS else None


def _operations(script: bytes) -> list[tuple[int, bytes | None]]:
    """Cut a script up, with each VERIFY on its own. Raises ScriptError, _NoMiniscript."""
    if len(script) > _MAX_SCRIPT:
        raise _NoMiniscript
    found: list[tuple[int, bytes | None]] = []
    for code, data, _ in op.script_operations(script):
        if data is not None and code != op.OP_0 and op.push(data)[0] != code:
            raise _NoMiniscript  # not pushed in the shortest way
        if code == op.OP_VERIFY and found and found[-1][0] in _VERIFYING.values():
            raise _NoMiniscript  # one operation does both
        if code in _VERIFYING:
            found.append((_VERIFYING[code], None))
            code = op.OP_VERIFY
        found.append((code, data))
    return found


class _Reader:
    """Takes operations from the end of a script, and makes fragments of them."""

    def __init__(self, operations: list[tuple[int, bytes | None]], find_key: Callable[[bytes], bytes | None]) -> None:
        self._left = operations
        self._find_key = find_key

    @property
    def is_at_end(self) -> bool:
        return not self._left

    def _next(self, back: int = 0) -> int | None:
        return self._left[-1 - back][0] if len(self._left) > back else None

    def _pop(self) -> tuple[int, bytes | None]:
        if not self._left:
            raise _NoMiniscript
        return self._left.pop()

    def _take(self, *codes: int) -> bool:
        """Take these operations, the last of the script first, if they are next."""
        if any(self._next(back) != code for back, code in enumerate(codes)):
            return False
        del self._left[len(self._left) - len(codes) :]
        return True

    def _expect(self, *codes: int) -> None:
        if not self._take(*codes):
            raise _NoMiniscript

    def _number(self) -> int:
        """Take a number from 1 to 2^31 - 1."""
        code, data = self._pop()
        if op.OP_1 <= code <= op.OP_16:
            return code - op.OP_1 + 1
        if (
            not data
            or len(data) > 4
            or encode_number(number := decode_number(data, minimal=False)) != data
            or number <= 16
        ):
            raise _NoMiniscript
        return number

    def _data(self, size: int) -> bytes:
        _, data = self._pop()
        if data is None or len(data) != size:
            raise _NoMiniscript
        return data

    def _key(self) -> bytes:
        key = self._data(33)
        if key[0] not in {2, 3}:
            raise _NoMiniscript
        return key

    def statements(self, depth: int) -> Node:
        """Take a fragment, and those before it that must hold too (and_v)."""
        last = [self._one(depth + 1)]
        while self._left and self._next() not in _AFTER_STATEMENTS:
            last.append(self._one(depth + 1))
        node = last.pop()
        while last:
            node = _make("and_v", node, last.pop())
        return node

    def _one(self, depth: int) -> Node:
        if depth > _MAX_DEPTH:
            raise _NoMiniscript
        code = self._next()
        if code == 33:
            return _make("pk_k", data=(self._key(),))
        if self._take(op.OP_0) or self._take(op.OP_1):
            return _make("0" if code == op.OP_0 else "1")
        if self._take(op.OP_CHECKSIG):
            return _make("c", self._one(depth + 1))
        if self._take(op.OP_0NOTEQUAL):
            return _make("n", self._one(depth + 1))
        if self._take(op.OP_CHECKSEQUENCEVERIFY):
            return _make("older", number=self._number())
        if self._take(op.OP_CHECKLOCKTIMEVERIFY):
            return _make("after", number=self._number())
        if self._take(op.OP_BOOLAND) or self._take(op.OP_BOOLOR):
            second = self._second(depth + 1)
            return _make("and_b" if code == op.OP_BOOLAND else "or_b", self._one(depth + 1), second)
        if self._take(op.OP_CHECKMULTISIG):
            return self._multi()
        if self._take(op.OP_ENDIF):
            return self._branches(depth + 1)
        if self._take(op.OP_EQUAL):
            return self._equal(depth)
        if code == op.OP_VERIFY and self._is_key_hash():
            self._take(op.OP_VERIFY, op.OP_EQUAL)
            key = self._find_key(self._data(20))
            self._expect(op.OP_HASH160, op.OP_DUP)
            if key is None:
                raise _NoMiniscript
            return _make("pk_h", data=(key,))
        self._expect(op.OP_VERIFY)
        return _make("v", self._one(depth + 1))

    def _is_key_hash(self) -> bool:
        return (self._next(1), self._next(3), self._next(4)) == (op.OP_EQUAL, op.OP_HASH160, op.OP_DUP)

    def _multi(self) -> Node:
        count = self._number()
        if count > _MAX_MULTI_KEYS:
            raise _NoMiniscript
        keys = tuple(self._key() for _ in range(count))[::-1]
        threshold = self._number()
        if threshold > count:
            raise _NoMiniscript
        return _make("multi", number=threshold, data=keys)

    def _equal(self, depth: int) -> Node:
        """Take a hash, or fragments that are counted."""
        kind = _HASHES.get(self._next(1) or 0)
        if kind is not None and self._next(2) == op.OP_VERIFY:
            name, size = kind
            digest = self._data(size)
            self._pop()
            self._expect(op.OP_VERIFY, op.OP_EQUAL)
            if self._number() != 32:
                raise _NoMiniscript
            self._expect(op.OP_SIZE)
            return _make(name, data=(digest,))
        threshold = self._number()
        subs = []
        while self._take(op.OP_ADD):
            subs.append(self._second(depth + 1))
        subs.append(self._one(depth + 1))
        if threshold > len(subs):
            raise _NoMiniscript
        return _make("thresh", *reversed(subs), number=threshold)

    def _second(self, depth: int) -> Node:
        """Take a fragment that works below the top of the stack."""
        if self._take(op.OP_FROMALTSTACK):
            node = _make("a", self.statements(depth))
            self._expect(op.OP_TOALTSTACK)
        else:
            node = _make("s", self.statements(depth))
            self._expect(op.OP_SWAP)
        return node

    def _branches(self, depth: int) -> Node:
        last = self.statements(depth)
        if self._take(op.OP_ELSE):
            first = self.statements(depth)
            if self._take(op.OP_IF):
                return _make("or_i", first, last)
            self._expect(op.OP_NOTIF)
            return _make("andor", self._one(depth), last, first)
        if self._take(op.OP_IF, op.OP_DUP):
            return _make("d", last)
        if self._take(op.OP_IF, op.OP_0NOTEQUAL, op.OP_SIZE):
            return _make("j", last)
        self._expect(op.OP_NOTIF)
        name = "or_d" if self._take(op.OP_IFDUP) else "or_c"
        return _make(name, self._one(depth), last)
