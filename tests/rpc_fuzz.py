"""Calls with arguments of every kind, right and wrong, made from the declarations of the methods."""

from collections.abc import Sequence
from random import Random
from typing import Any

from altyn.node.rpc.groups import DECLARED
from altyn.node.rpc.method import Array, Coins, Flag, Hash, Method, Number, Object, Parameter, Text, Verbosity

UNSAFE = {
    "stop",
    "generatetoaddress",
    "generatetodescriptor",
    "generateblock",
    "setmocktime",
    "getblocktemplate",
    "addnode",
    "addconnection",
}
"""Methods that end the node, take long, wait for something that does not come, or call other machines."""
ADDRESS = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080"
KEY = "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798"
SECRET = "cMahea7zqjxrtgAbB7LSGbcQUr1uX1ojuat9jZodMN87JcbXMTcA"
FIELDS = [
    "txid",
    "vout",
    "sequence",
    "data",
    ADDRESS,
    "desc",
    "range",
    "scriptPubKey",
    "amount",
    "rules",
    "mode",
    "args",
]


class Calls:
    """Makes up calls; `hexes` are texts that the node knows, such as hashes, blocks, transactions."""

    def __init__(self, random: Random, hexes: Sequence[str]) -> None:
        self._random = random
        self._hexes = [*hexes, "00" * 32, "00", "ff" * 80, "51", KEY]
        self.names = sorted(name for name in DECLARED if name not in UNSAFE and not name.startswith("wait"))

    def anything(self, depth: int = 0) -> Any:
        """Return any JSON value."""
        choice = self._random.randrange(9 if depth < 3 else 6)
        match choice:
            case 0:
                return self._random.choice([None, True, False])
            case 1:
                return self._random.choice([0, 1, -1, 2, 1 << 31, -(1 << 31), 1 << 63, 1 << 64, 10**30])
            case 2:
                return self._random.choice([0.1, -1.5, 1e300, 1e-9])
            case 3:
                return self._random.choice(
                    ["", "0", "zz", " 00", "\u00e9", "\ud800", "\0", "[", "-1", "1e400", "x" * 5000]
                )
            case 4 | 5:
                return self.text()
            case 6:
                return [self.anything(depth + 1) for _ in range(self._random.randrange(4))]
        names = self._random.sample(FIELDS, self._random.randrange(4))
        return {name: self.anything(depth + 1) for name in names}

    def text(self) -> str:
        """Return text that means something to some method."""
        known = [ADDRESS, SECRET, "basic", "start", "status", "127.0.0.1:1", "ALL", "add", "raw(51)", f"combo({KEY})"]
        return self._random.choice([*self._hexes, *known, self._random.choice(self._hexes)[:-2]])

    def fitting(self, parameter: Parameter) -> Any:
        """Return a value of the kind that a parameter has."""
        match parameter:
            case Hash():
                return self._random.choice([each for each in self._hexes if len(each) == 64])
            case Flag():
                return self._random.random() < 0.5
            case Number() | Verbosity():
                return self._random.choice([0, 1, 2, 3, 50, -1])
            case Coins():
                return self._random.choice([0, "0.1", 0.00000001])
            case Text():
                return self.text()
            case Array():
                return [self._random.choice([self.text(), self.anything()]) for _ in range(self._random.randrange(4))]
            case Object():
                return {name: self.anything(1) for name in self._random.sample(FIELDS, self._random.randrange(4))}
        return self.anything()

    def call(self) -> tuple[str, Any]:
        """Return the name of a method, and parameters."""
        name = self._random.choice(self.names)
        method: Method = DECLARED[name]
        count = self._random.randrange(len(method.arguments) + 2)
        given: list[Any] = []
        for argument in method.arguments[:count]:
            fits = self._random.random() < 0.75
            given.append(self.fitting(argument.parameter) if fits else self.anything())
        if count > len(method.arguments):
            given.append(self.anything())
        if method.arguments and self._random.random() < 0.2:
            return name, {argument.name: value for argument, value in zip(method.arguments, given, strict=False)}
        return name, given
