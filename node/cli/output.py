"""What the commands print, and how words on a command line become RPC arguments."""

import json
import os
import sys
from collections.abc import Sequence
from typing import Any

from altyn.node.rpc.amounts import JsonNumber
from altyn.node.rpc.groups import DECLARED
from altyn.node.rpc.json_text import dump, parse
from altyn.node.rpc.method import Argument, Text

_TEXTS_ONLY = {"echo"}
"""Methods that take any JSON, and whose words are nevertheless texts (Core: not in its table of conversions)."""


class ArgumentError(ValueError):
    """A word that does not fit where it stands; one line."""


def show(text: str) -> None:
    """Print; a reader that has seen enough, as `head` has, is no error."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for the flush when the program ends


def result_text(result: Any) -> str:
    """Return a result as bitcoin-cli prints it: strings bare, everything else as indented JSON, null as nothing."""
    if result is None:
        return ""
    return result if isinstance(result, str) else indented(result)


def indented(value: Any, depth: int = 0) -> str:
    """Return indented JSON in which numbers stand as they came."""
    inner, outer = "  " * (depth + 1), "  " * depth
    if isinstance(value, dict):
        lines = [f"{inner}{json.dumps(key)}: {indented(each, depth + 1)}" for key, each in value.items()]
        return "{\n" + ",\n".join(lines) + f"\n{outer}}}" if lines else "{\n" + outer + "}"
    if isinstance(value, list):
        lines = [inner + indented(each, depth + 1) for each in value]
        return "[\n" + ",\n".join(lines) + f"\n{outer}]" if lines else "[\n" + outer + "]"
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else dump(value)


def positional_arguments(method: str, words: Sequence[str]) -> list[Any]:
    """Return the JSON of the words behind a method; those that are not texts by its declaration are read as JSON.

    Raises ArgumentError.
    """
    if method in _TEXTS_ONLY:
        return list(words)
    declared = DECLARED.get(method)
    known: Sequence[Argument | None] = declared.arguments if declared else ()
    known = [*known, *[None] * (len(words) - len(known))]
    return [_value(word, argument) for word, argument in zip(words, known, strict=False)]


def named_arguments(method: str, words: Sequence[str]) -> dict[str, Any]:
    """Return the JSON of `name=value` words; words without a name become `args`. Raises ArgumentError."""
    declared = DECLARED.get(method)
    by_name = {name: each for each in declared.arguments for name in each.names.split("|")} if declared else {}
    named: dict[str, Any] = {}
    bare = []
    for word in words:
        name, equals, text = word.partition("=")
        if not equals:
            bare.append(word)
        else:
            named[name] = text if method in _TEXTS_ONLY else _value(text, by_name.get(name))
    if bare:
        named["args"] = positional_arguments(method, bare)
    return named


def _value(word: str, argument: Argument | None) -> Any:
    if argument is not None and isinstance(argument.parameter, Text):
        return word
    try:
        value = parse(word)
    except ValueError:
        if argument is None:  # a method that is not ours: what is no JSON is a text
            return word
        raise ArgumentError(f"Error parsing JSON: {word}") from None
    if argument is None and not isinstance(value, bool | list | dict | int | JsonNumber | None):
        return word
    return value
