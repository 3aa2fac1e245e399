"""JSON in and out: amounts with eight decimals and never through floating point, long answers in pieces."""

import asyncio
import json
import time
from collections.abc import Iterable, Iterator
from json.encoder import encode_basestring_ascii as quote
from typing import Any

from altyn.node.rpc.amounts import Amount, JsonNumber

SLICE = 0.01
"""Seconds that encoding may keep the event loop from everything else."""
_STRINGS_AT_ONCE = 2_000
MAX_DEPTH = 100
"""Levels of nesting that are read. Core reads 512, but nothing it understands has ten; and an id is written back."""


class Lazy:
    """A JSON array whose items are made while it is written, so that a long answer never holds up the loop."""

    __slots__ = ("items",)

    def __init__(self, items: Iterable[Any]) -> None:
        self.items = items


class LazyObject:
    """A JSON object whose fields are made while it is written."""

    __slots__ = ("fields",)

    def __init__(self, fields: Iterable[tuple[str, Any]]) -> None:
        self.fields = fields


class RepeatedFields(dict[str, Any]):
    """A JSON object in which a name came more than once: the first value counts, as in Core."""

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__(reversed(pairs))
        self.pairs = pairs


def fields(value: dict[str, Any]) -> list[tuple[str, Any]]:
    """Return names and values of an object that was read, with those that came again."""
    return value.pairs if isinstance(value, RepeatedFields) else list(value.items())


def _object_of(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    return value if len(value) == len(pairs) else RepeatedFields(pairs)


def parse(text: bytes | str) -> Any:
    """Read JSON; numbers with a fraction or exponent stay as they were written. Raises ValueError."""
    try:
        value = json.loads(text, parse_float=JsonNumber, parse_constant=_refuse_constant, object_pairs_hook=_object_of)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if (b"\\ud" if isinstance(text, bytes) else "\\ud") in text.lower():  # type: ignore[operator]  # each its own kind
        json.dumps(value, ensure_ascii=False, default=str).encode()  # refuses halves of characters, as Core does
    opened = text.count(b"[") + text.count(b"{") if isinstance(text, bytes) else text.count("[") + text.count("{")
    if opened > MAX_DEPTH and _is_deeper(value, MAX_DEPTH):
        raise ValueError("nested too deeply")
    return value


def _is_deeper(value: Any, levels: int) -> bool:
    """Tell whether lists and objects are nested more than so deep, level by level and without recursion."""
    level = [value]
    for _ in range(levels + 1):
        level = [each for each in level if isinstance(each, list | dict)]
        if not level:
            return False
        level = [part for each in level for part in (each.values() if isinstance(each, dict) else each)]
    return True


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def dump(value: Any) -> str:
    """Return the JSON text of a value, in one go."""
    return "".join(_pieces(value))


async def dump_in_pieces(value: Any) -> bytes:
    """Return the JSON text of a value, letting others run every few milliseconds."""
    pieces: list[str] = []
    deadline = time.monotonic() + SLICE
    for piece in _pieces(value):
        pieces.append(piece)
        if time.monotonic() > deadline:
            await asyncio.sleep(0)
            deadline = time.monotonic() + SLICE
    return "".join(pieces).encode()


def _scalar(value: Any) -> str | None:
    kind = type(value)
    if kind is str:
        return quote(value)
    if value is None:
        return "null"
    if kind is bool:
        return "true" if value else "false"
    if kind is int or kind is Amount or kind is JsonNumber:
        return str(value)
    if kind is float:
        return format(value, ".16g")
    return None


def _pieces(value: Any) -> Iterator[str]:
    text = _scalar(value)
    if text is not None:
        yield text
    elif isinstance(value, dict):
        yield from _object(value.items())
    elif isinstance(value, LazyObject):
        yield from _object(value.fields)
    elif isinstance(value, list | tuple):
        yield from _array(value)
    elif isinstance(value, Lazy):
        yield from _items(value.items)
    else:
        raise TypeError(f"{type(value).__name__} has no form in JSON")


def _object(fields: Iterable[tuple[str, Any]]) -> Iterator[str]:
    start = "{"
    for key, value in fields:
        text = _scalar(value)
        if text is not None:
            yield f"{start}{quote(key)}:{text}"
        else:
            yield f"{start}{quote(key)}:"
            yield from _pieces(value)
        start = ","
    yield "{}" if start == "{" else "}"


def _array(values: list[Any] | tuple[Any, ...]) -> Iterator[str]:
    if values and all(type(value) is str for value in values):  # ids, mostly: C is fast, in bounded steps
        start = "["
        for position in range(0, len(values), _STRINGS_AT_ONCE):
            yield start + ",".join(map(quote, values[position : position + _STRINGS_AT_ONCE]))
            start = ","
        yield "]"
    else:
        yield from _items(values)


def _items(values: Iterable[Any]) -> Iterator[str]:
    start = "["
    for value in values:
        yield start
        yield from _pieces(value)
        start = ","
    yield "[]" if start == "[" else "]"
