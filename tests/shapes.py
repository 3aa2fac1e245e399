"""Shapes of JSON: what a reader of it relies on, as a value to compare with."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any


class Number:
    """A number, whole or not."""


@dataclass(frozen=True)
class Maybe:
    """A field that need not be there, but is of this shape if it is."""

    shape: Any


@dataclass(frozen=True)
class MapOf:
    """An object with one entry at least, whose values have this shape."""

    shape: Any


@dataclass(frozen=True)
class Refused:
    """An error with this code."""

    code: int


def problems(shape: Any, value: Any, where: str = "result") -> Iterator[str]:
    """Say where `value` has not the shape: a type, pattern, value, {field: shape}, or [shape] of one item at least."""
    match shape:
        case dict():
            if not isinstance(value, dict):
                yield f"{where} is no object: {value!r}"
                return
            for name, inner in shape.items():
                if name in value:
                    yield from problems(
                        inner.shape if isinstance(inner, Maybe) else inner, value[name], f"{where}.{name}"
                    )
                elif not isinstance(inner, Maybe):
                    yield f"{where}.{name} is missing"
        case MapOf(inner):
            if not isinstance(value, dict) or not value:
                yield f"{where} is no object with entries: {value!r}"
                return
            for name, each in value.items():
                yield from problems(inner, each, f"{where}.{name}")
        case [inner]:
            if not isinstance(value, list) or not value:
                yield f"{where} is no list with items: {value!r}"
                return
            for number, each in enumerate(value):
                yield from problems(inner, each, f"{where}[{number}]")
        case re.Pattern():
            if not isinstance(value, str) or not shape.fullmatch(value):
                yield f"{where} has another form: {value!r}"
        case type():
            wanted = (int, Decimal) if shape is Number else shape
            if not isinstance(value, wanted) or (isinstance(value, bool) and shape is not bool):
                yield f"{where} is no {shape.__name__}: {value!r}"
        case _:
            if value != shape or type(value) is not type(shape):
                yield f"{where} is {value!r}, not {shape!r}"
