"""RPC methods are declared once: names, types, defaults and help of the arguments are read from the signature.

A group of methods is a class that takes the parts it uses; `@method` marks those of its functions that are served:

    @method("Blockchain", result='"hex": The block hash', example="1000")
    def getblockhash(self, height: Annotated[int, Number("The height index")]) -> str:
        "Return the hash of the block at a height of the active chain."

Arguments are checked, converted and refused with Core's codes and texts before the function sees them.
"""

import asyncio
import inspect
import json
import time
import typing
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn, TypeVar

from altyn.node.rpc.amounts import JsonNumber, amount_from_json
from altyn.node.rpc.errors import INVALID_PARAMETER, METHOD_NOT_FOUND, MISC_ERROR, TYPE_ERROR, RpcError
from altyn.node.rpc.json_text import dump, fields

Json = Any
"""What JSON can say, with `Amount` for coins and `JsonNumber` for numbers that are not whole."""
Function = TypeVar("Function", bound=Callable[..., Any])

HIDDEN = "hidden"
"""The category of methods that `help` lists only when asked by name."""
_INT32, _INT64 = 1 << 31, 1 << 63


def json_type(value: Json) -> str:
    """Return what Core calls the type of a JSON value (Core: uvTypeName)."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int | JsonNumber):
        return "number"
    if isinstance(value, str):
        return "string"
    return "array" if isinstance(value, list) else "object"


def expect_type(value: Json, expected: str) -> Json:
    """Return `value` if it has Core's type `expected`. Raises RpcError -3."""
    if json_type(value) != expected:
        raise RpcError(TYPE_ERROR, f"JSON value of type {json_type(value)} is not of expected type {expected}")
    return value


def expect_fields(value: dict[str, Json], *, optional: bool = False, **expected: str) -> None:
    """Check types of named fields, which may be absent if `optional` (Core: RPCTypeCheckObj). Raises RpcError -3."""
    for name, kind in sorted(expected.items()):
        found = json_type(value.get(name))
        if found == "null" and not optional:
            raise RpcError(TYPE_ERROR, f"Missing {name}")
        if found not in {kind, "null"}:
            raise RpcError(TYPE_ERROR, f"JSON value of type {found} for field {name} is not of expected type {kind}")


def integer(value: Json, bound: int = _INT32, least: int | None = None) -> int:
    """Return a JSON number as an integer of 32 bits, or from `least` or `-bound` up to `bound`. Raises RpcError."""
    expect_type(value, "number")
    if not isinstance(value, int) or not (-bound if least is None else least) <= value < bound:
        raise RpcError(MISC_ERROR, "JSON integer out of range")
    return value


def hash_from_json(value: Json, name: str) -> bytes:
    """Return a displayed hash as 32 bytes in internal order (Core: ParseHashV). Raises RpcError -8."""
    text: str = expect_type(value, "string")
    if len(text) != 64:
        raise RpcError(INVALID_PARAMETER, f"{name} must be of length 64 (not {len(text)}, for '{text}')")
    return hex_from_json(text, name)[::-1]


def hex_from_json(value: Json, name: str) -> bytes:
    """Return hexadecimal text as bytes (Core: ParseHexV). Raises RpcError -8."""
    text: str = expect_type(value, "string")
    data = decode_hex(text)
    if data is None:
        raise RpcError(INVALID_PARAMETER, f"{name} must be hexadecimal string (not '{text}')")
    return data


def decode_hex(text: str) -> bytes | None:
    """Return the bytes of hexadecimal text without spaces; None if it is something else (Core: IsHex)."""
    try:
        data = bytes.fromhex(text)
    except ValueError:
        return None
    return data if 2 * len(data) == len(text) else None  # spaces are passed over


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """One argument of a method; the subclasses are the kinds there are. `name` comes from the signature."""

    help: str = field(kw_only=False)
    alias: str = ""
    """A second name, which Core still takes."""
    shown: str = ""
    """How the argument stands in the first line of the help, if not by its name."""
    details: str = ""
    """Further lines of help, for what is inside an array or object."""
    check: bool = True
    """Whether a wrong JSON type is refused with all others at once; otherwise `convert` decides."""
    hidden: bool = False
    keeps_null: bool = False
    """Whether the method gets null as it was given, not the default."""
    may_be_null: bool = False
    """Whether null stands for none, though arguments that must be given follow."""

    type_name: typing.ClassVar[str] = "any"
    expected: typing.ClassVar[str] = ""
    """Core's name of the JSON type, if there is only one."""

    def convert(self, value: Json, name: str) -> Any:
        """Return what the method gets for the JSON `value`. Raises RpcError."""
        return value

    def usage(self, name: str) -> str:
        """Return how the argument looks in a call."""
        return self.shown or name


@dataclass(frozen=True, kw_only=True)
class Text(Parameter):
    """Any string."""

    type_name = "string"
    expected = "string"

    def usage(self, name: str) -> str:
        return self.shown or f'"{name}"'


@dataclass(frozen=True, kw_only=True)
class Hash(Text):
    """A displayed hash; the method gets 32 bytes in internal order."""

    called: str = ""
    """What refusals call it, if not by its name."""

    def convert(self, value: Json, name: str) -> bytes:
        return hash_from_json(value, self.called or name)


@dataclass(frozen=True, kw_only=True)
class Number(Parameter):
    """A whole number of 32 bits, or 64 when `wide`."""

    wide: bool = False
    unsigned: bool = False
    type_name = "numeric"
    expected = "number"

    def convert(self, value: Json, name: str) -> int:
        if self.unsigned:
            return integer(value, 1 << (64 if self.wide else 32), least=0)
        return integer(value, _INT64 if self.wide else _INT32)


@dataclass(frozen=True, kw_only=True)
class Fraction(Parameter):
    """Any number; the method gets a float."""

    type_name = "numeric"
    expected = "number"

    def convert(self, value: Json, name: str) -> float:
        return float(str(value))


@dataclass(frozen=True, kw_only=True)
class Verbosity(Number):
    """A number, or a boolean for 0 and 1 (Core: ParseVerbosity)."""

    check: bool = False

    def convert(self, value: Json, name: str) -> int:
        return int(value) if isinstance(value, bool) else integer(value)


@dataclass(frozen=True, kw_only=True)
class Flag(Parameter):
    """A boolean."""

    type_name = "boolean"
    expected = "bool"


@dataclass(frozen=True, kw_only=True)
class Coins(Parameter):
    """An amount or feerate in coins, as a number or a string; the method gets satoshis."""

    type_name = "numeric or string"

    def convert(self, value: Json, name: str) -> int:
        return amount_from_json(value)


@dataclass(frozen=True, kw_only=True)
class Array(Parameter):
    """A list; the method looks into it."""

    type_name = "json array"
    expected = "array"


@dataclass(frozen=True, kw_only=True)
class Object(Parameter):
    """An object; the method looks into it."""

    fields: tuple[str, ...] = ()
    """Those that a call by name may also give beside the other arguments (Core: OBJ_NAMED_PARAMS)."""
    type_name = "json object"
    expected = "object"


REQUIRED = inspect.Parameter.empty


@dataclass(frozen=True, slots=True)
class Argument:
    """A parameter in its place: its name and what it is when left out."""

    name: str
    parameter: Parameter
    default: Any

    @property
    def is_required(self) -> bool:
        return self.default is REQUIRED

    @property
    def names(self) -> str:
        """All its names, in Core's notation."""
        return f"{self.name}|{self.parameter.alias}" if self.parameter.alias else self.name


@dataclass(frozen=True, slots=True)
class Method:
    """A declared method, without the object that answers it."""

    name: str
    category: str
    arguments: tuple[Argument, ...]
    summary: str
    result: str
    examples: tuple[str, ...]
    is_pure: bool = False

    def usage(self) -> str:
        """Return the call in one line: optional arguments stand in parentheses."""
        shown = [argument for argument in self.arguments if not argument.parameter.hidden]
        words, is_open = [self.name], False
        for argument in shown:
            if is_open == argument.is_required:
                words.append(")" if is_open else "(")
                is_open = not is_open
            words.append(argument.parameter.usage(argument.name))
        return " ".join(words + [")"] * is_open)

    def help(self) -> str:
        """Return the whole help text."""
        sections = [self.usage(), self.summary]
        shown = [argument for argument in self.arguments if not argument.parameter.hidden]
        if shown:
            lines = ["Arguments:"]
            width = max(len(argument.name) for argument in shown) + 4
            for number, argument in enumerate(shown, start=1):
                lines.append(f"{number}. {argument.name:<{width}}({_presence(argument)}) {argument.parameter.help}")
                lines += (f"     {line}" for line in inspect.cleandoc(argument.parameter.details).splitlines())
            sections.append("\n".join(lines))
        if not self.result:  # a method that is no more
            return "\n\n".join(sections) + "\n"
        sections.append("Result:\n" + inspect.cleandoc(self.result))
        lines = ["Examples:"]
        for example in self.examples:
            lines.append(f"> altyn-cli {self.name} {example}".rstrip())
        sections.append("\n".join(lines))
        return "\n\n".join(sections) + "\n"

    def place(self, params: Json) -> list[Json]:
        """Return positional arguments for `params`, a list or an object of named ones (Core: transformNamedArguments).

        Raises RpcError -8.
        """
        if isinstance(params, list):
            return params
        named = dict(params)
        if len(fields(params)) != len(named):
            counts = Counter(name for name, _ in fields(params))
            twice = next(name for name, count in counts.items() if count > 1)
            raise RpcError(INVALID_PARAMETER, f"Parameter {twice} specified multiple times")
        placed: list[Json] = []
        holes = initial_holes = 0
        first_named = ""
        for argument in self.arguments:
            _gather_fields(argument, named)
            name = next((name for name in argument.names.split("|") if name in named), None)
            if name is None:
                holes += 1
                if not placed:
                    initial_holes = holes
                continue
            placed += [None] * holes
            holes = 0
            first_named = first_named or argument.names
            placed.append(named.pop(name))
        if isinstance(named.get("args"), list):
            positional = list(named.pop("args"))
            if first_named and initial_holes < len(positional):
                raise RpcError(
                    INVALID_PARAMETER,
                    f"Parameter {first_named} specified twice both as positional and named argument",
                )
            placed = positional + placed[len(positional) :]
        if named:
            raise RpcError(INVALID_PARAMETER, f"Unknown named parameter {next(iter(named))}")
        return placed

    def convert(self, params: Json) -> list[Any]:
        """Check and convert the arguments of one call. Raises RpcError."""
        given = self.place(params)
        required = max((number for number, each in enumerate(self.arguments, 1) if each.is_required), default=0)
        if not required <= len(given) <= len(self.arguments):
            raise RpcError(MISC_ERROR, self.help())
        wrong = {}
        for number, (argument, value) in enumerate(zip(self.arguments, given, strict=False), start=1):
            expected, found = argument.parameter.expected, json_type(value)
            if argument.parameter.check and expected not in {"", found} and (value is not None or argument.is_required):
                wrong[f"Position {number} ({argument.names})"] = (
                    f"JSON value of type {found} is not of expected type {expected}"
                )
        if wrong:
            raise RpcError(TYPE_ERROR, f"Wrong type passed:\n{json.dumps(wrong, indent=4)}")
        return [
            argument.default
            if value is None and not argument.is_required and not argument.parameter.keeps_null
            else argument.parameter.convert(value, argument.name)
            for argument, value in zip(self.arguments, given, strict=False)
        ]


def _gather_fields(argument: Argument, named: dict[str, Json]) -> None:
    """Put fields that were given by name into the object they belong to."""
    fields = argument.parameter.fields if isinstance(argument.parameter, Object) else ()
    found = {field: named.pop(field) for field in fields if field in named}
    if found:
        named[argument.name] = {**expect_type(named.get(argument.name) or {}, "object"), **found}


def _presence(argument: Argument) -> str:
    kind = argument.parameter.type_name
    if argument.is_required:
        return f"{kind}, required"
    if argument.default is None or argument.parameter.keeps_null:
        return f"{kind}, optional"
    return f"{kind}, optional, default={dump(argument.default)}"


def method(
    category: str, *, result: str, example: str | Sequence[str] = "", name: str = "", pure: bool = False
) -> Callable[[Function], Function]:
    """Declare a function of a group as an RPC method; its docstring is the help's description.

    `result` describes the answer; each `example` is the arguments of a call as `altyn-cli` takes them. One that is
    `pure` looks at nothing but its arguments, and works on a thread: these may be long.
    """

    def declare(function: Function) -> Function:
        hints = typing.get_type_hints(function, include_extras=True)
        arguments = []
        for each in list(inspect.signature(function).parameters.values())[1:]:
            parameter = next(part for part in hints[each.name].__metadata__ if isinstance(part, Parameter))
            arguments.append(Argument(each.name, parameter, None if parameter.may_be_null else each.default))
        examples = (example,) if isinstance(example, str) else tuple(example)
        function.__rpc__ = Method(  # type: ignore[attr-defined]  # the mark that `_marked` looks for
            name or function.__name__,
            category,
            tuple(arguments),
            inspect.getdoc(function) or "",
            result,
            examples,
            pure,
        )
        return function

    return declare


class MethodTable:
    """The methods that a server answers, gathered from groups."""

    def __init__(self, groups: Sequence[object] = ()) -> None:
        self._methods: dict[str, tuple[Method, Callable[..., Any]]] = {}
        self._running: dict[object, tuple[str, float]] = {}
        self.answered: Counter[str] = Counter()
        """How often each method was called, refusals included."""
        for group in groups:
            self.add(group)

    def add(self, group: object) -> None:
        """Serve the declared methods of `group`."""
        for name, declared in _marked(type(group)):
            self._methods[declared.name] = declared, getattr(group, name)

    def __contains__(self, name: str) -> bool:
        return name in self._methods

    def methods(self) -> list[Method]:
        """Return the declarations, by name."""
        return [self._methods[name][0] for name in sorted(self._methods)]

    async def call(self, name: str, params: Json) -> Json:
        """Answer one call; `params` is a list or an object. Raises RpcError, and whatever the method lets out."""
        found = self._methods.get(name)
        if found is None:
            raise RpcError(METHOD_NOT_FOUND, "Method not found")
        declared, function = found
        call = object()
        self._running[call] = name, time.monotonic()
        try:
            arguments = declared.convert(params)
            if declared.is_pure:
                return await asyncio.to_thread(function, *arguments)
            answer = function(*arguments)
            return await answer if inspect.isawaitable(answer) else answer
        finally:
            del self._running[call]
            self.answered[name] += 1

    def running(self) -> list[tuple[str, float]]:
        """Return the calls that are being answered: name and seconds since each came."""
        now = time.monotonic()
        return [(name, now - began) for name, began in self._running.values()]

    def help(self, name: str = "") -> str:
        """Return the help of one method, or the list of all that are not hidden, by category."""
        if name:
            if name not in self._methods:
                return f"help: unknown command: {name}"
            return self._methods[name][0].help()
        by_category: dict[str, list[str]] = {}
        for each in self.methods():
            if each.category != HIDDEN:
                by_category.setdefault(each.category, []).append(each.usage())
        return "\n\n".join("\n".join((f"== {name} ==", *lines)) for name, lines in sorted(by_category.items()))

    def conversions(self) -> list[list[Json]]:
        """Return method, position, name and whether it is a string, for each name of each argument."""
        rows: list[list[Json]] = []
        for each in self.methods():
            for position, argument in enumerate(each.arguments):
                parameter = argument.parameter
                is_text = isinstance(parameter, Text)
                rows += ([each.name, position, name, is_text] for name in argument.names.split("|"))
                if isinstance(parameter, Object):
                    rows += ([each.name, position, name, False] for name in parameter.fields)
        return rows


def refuse_with_help(function: Callable[..., Any], code: int = MISC_ERROR) -> NoReturn:
    """Refuse a call whose words make no sense as Core does: with the help of the method. Raises RpcError."""
    declared: Method = function.__rpc__  # type: ignore[attr-defined]  # set by `method`
    raise RpcError(code, declared.help())


def declared_methods(group: type) -> list[Method]:
    """Return the methods that a group of methods declares."""
    return [declared for _, declared in _marked(group)]


def _marked(group: type) -> Iterator[tuple[str, Method]]:
    for name in dir(group):
        declared = getattr(getattr(group, name), "__rpc__", None)
        if isinstance(declared, Method):
            yield name, declared
