"""Takes each rule away in turn and looks whether a test notices: a pytest plugin for test_every_rule.py.

    python -m pytest -p every_rule tests/consensus      (with PYTHONPATH=tests and ALTYN_RULES_REPORT=FILE)

A rule is a statement that raises ValidationError, ScriptError or EncodingError, or calls `fail`. The tests are
collected once, and run once with every rule noting which test reached it. Then each rule is removed in a process of its
own, forked from the one that collected, and the tests that reach it run until one fails; no other test could tell the
difference. The report is JSON: for each rule, "FILE:LINE text", the test that failed, or null.
"""

import ast
import builtins
import gc
import json
import multiprocessing
import os
import types
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple, TypeVar

import pytest
from _pytest.runner import runtestprotocol

CONSENSUS = Path(__file__).parents[1] / "consensus"
REFUSALS = {"ValidationError", "ScriptError", "EncodingError", "missing_inputs"}
"""What is raised: errors, and what makes one."""
PATIENCE = 60
"""Seconds after which the tests without a rule count as hanging: that is noticed too."""
PROCESSES = 2

_NOTE = "_note_rule_reached"

T = TypeVar("T")
_fork = multiprocessing.get_context("fork")


class Rule(NamedTuple):
    """A statement that refuses something."""

    path: Path
    line: int
    text: str

    def __str__(self) -> str:
        return f"{self.path.relative_to(CONSENSUS.parent)}:{self.line} {self.text}"


def find_rules() -> list[Rule]:
    """Return all rules, file by file."""
    rules = []
    for path in sorted(CONSENSUS.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.stmt) and _is_rule(node):
                rules.append(Rule(path, node.lineno, ast.unparse(node)))
    return rules


def _is_rule(node: ast.stmt) -> bool:
    match node:
        case ast.Raise(exc=ast.Call(func=ast.Name(id=name))):
            return name in REFUSALS
        case ast.Expr(value=ast.Call(func=ast.Name(id="fail"))):
            return True
    return False


class _Rewriting(ast.NodeTransformer):
    """Puts something in the place of rules, by line."""

    def __init__(self, replace: Callable[[ast.stmt], ast.stmt | None]) -> None:
        self._replace = replace

    def visit(self, node: ast.AST) -> ast.AST:
        if isinstance(node, ast.stmt) and _is_rule(node):
            replacement = self._replace(node)
            if replacement is not None:
                return ast.fix_missing_locations(ast.copy_location(replacement, node))
        return self.generic_visit(node)


def rewrite(path: Path, replace: Callable[[ast.stmt], ast.stmt | None]) -> None:
    """Change the functions of a module that is imported already, wherever references to them are."""
    tree = _Rewriting(replace).visit(ast.parse(path.read_text()))
    changed = {(code.co_qualname, code.co_firstlineno): code for code in _codes(compile(tree, path, "exec"))}
    for each in gc.get_objects():
        if isinstance(each, types.FunctionType) and _resolve(each.__code__.co_filename) == path:
            each.__code__ = changed[each.__code__.co_qualname, each.__code__.co_firstlineno]


@cache
def _resolve(name: str) -> Path:
    return Path(name).resolve()  # the packages are reached through links


def _codes(code: types.CodeType) -> Iterator[types.CodeType]:
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield constant
            yield from _codes(constant)


def _without(rule: Rule) -> Callable[[ast.stmt], ast.stmt | None]:
    # Not simply gone: the names it uses must stay those of the function, or its closure no longer fits.
    return lambda node: ast.If(ast.Constant(value=False), [node], []) if node.lineno == rule.line else None


def _noting(path: Path) -> Callable[[ast.stmt], ast.stmt | None]:
    def replace(node: ast.stmt) -> ast.stmt:
        note = ast.parse(f"{_NOTE}({str(path)!r}, {node.lineno})").body
        return ast.If(ast.Constant(value=True), [*note, node], [])

    return replace


def run(items: Sequence[pytest.Item], before: Callable[[pytest.Item], None] = lambda _: None) -> str | None:
    """Run tests until one fails, and return its id."""
    for item, following in zip(items, [*items[1:], None], strict=True):
        before(item)
        if any(report.failed for report in runtestprotocol(item, nextitem=following, log=False)):
            return item.nodeid
    return None


def in_fork(function: Callable[[], T]) -> T | None:
    """Return what the function returns in a process of its own, None if that takes too long or breaks."""
    receiver, sender = _fork.Pipe(duplex=False)
    process = _fork.Process(target=_answer, args=(sender, function))
    process.start()
    sender.close()
    try:
        answer: T | None = receiver.recv() if receiver.poll(PATIENCE) else None
    except EOFError:
        answer = None
    finally:
        process.kill()
        process.join()
    return answer


def _answer(sender: Connection, function: Callable[[], T]) -> None:
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 1)
    sender.send(function())
    os._exit(0)  # nothing of the session that was forked is ours to end


def who_reaches(rules: Sequence[Rule], items: Sequence[pytest.Item]) -> dict[tuple[str, int], list[int]]:
    """Run all tests once, all of which must pass, and return by file and line which of them reach a rule."""
    reached: defaultdict[tuple[str, int], list[int]] = defaultdict(list)
    current = -1

    def next_item(_: pytest.Item) -> None:
        nonlocal current
        current += 1

    def note(path: str, line: int) -> None:
        if reached[path, line][-1:] != [current]:
            reached[path, line].append(current)

    setattr(builtins, _NOTE, note)
    for path in {rule.path for rule in rules}:
        rewrite(path, _noting(path))
    failed = run(items, next_item)
    if failed is not None:
        raise AssertionError(f"{failed} fails with all rules in place")
    return dict(reached)


def who_notices(rule: Rule, items: Sequence[pytest.Item]) -> str | None:
    """Take a rule away and return the first test that fails."""
    rewrite(rule.path, _without(rule))
    return run(items)


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> bool:
    """Instead of running the tests, try the rules."""
    rules, items = find_rules(), session.items
    reached = in_fork(lambda: who_reaches(rules, items))
    if reached is None:
        raise AssertionError("the tests do not pass with all rules in place")

    def try_rule(rule: Rule) -> str | None:
        tests = [items[number] for number in reached.get((str(rule.path), rule.line), [])]
        if not tests:
            return None
        outcome = in_fork(lambda: [who_notices(rule, tests)])
        return "it hangs or breaks" if outcome is None else outcome[0]

    with ThreadPoolExecutor(PROCESSES) as pool:
        noticed = dict(zip(map(str, rules), pool.map(try_rule, rules), strict=True))
    Path(os.environ["ALTYN_RULES_REPORT"]).write_text(json.dumps(noticed, indent=2))
    return True
