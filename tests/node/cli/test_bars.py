"""Bars for long work: there while it lasts, on a terminal only, and gone afterwards."""

import io
import sys
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from altyn.node.cli import bars as module
from altyn.node.cli.bars import Bars, bars_on_terminal
from altyn.node.events import BestHeaderChanged, BlockConnected, Events, Progressed


@pytest.fixture
def console() -> Console:
    return Console(file=io.StringIO(), force_terminal=True, width=120)


@pytest.fixture
def bars(console: Console, monkeypatch: pytest.MonkeyPatch) -> Bars:
    monkeypatch.setattr(module, "_INTERVAL", -1.0)
    return Bars(console)


def taken(console: Console) -> str:
    """Return what was drawn since the last call."""
    file: Any = console.file
    text = file.getvalue()
    file.seek(0)
    file.truncate()
    return str(text)


def header(height: int) -> Any:
    return BestHeaderChanged(SimpleNamespace(height=height))  # type: ignore[arg-type]


def block(height: int) -> Any:
    return BlockConnected(SimpleNamespace(height=height), None, ())  # type: ignore[arg-type]


def test_a_chain_that_is_far_behind_has_a_bar_until_it_is_there(bars: Bars, console: Console) -> None:
    bars(header(2000))
    assert not taken(console)
    bars(block(500))
    text = taken(console)
    assert "synchronising" in text
    assert "25%" in text
    assert "500 of 2,000" in text
    bars(block(1950))
    assert "1,950 of 2,000" in taken(console)
    bars(block(2000))
    taken(console)
    bars(header(2001))
    bars(block(2001))
    assert not taken(console)


def test_indexes_and_files_have_bars_of_their_own(bars: Bars, console: Console) -> None:
    bars(Progressed("building index filters", 10, 100))
    bars(Progressed("reading block files", 1, 4))
    text = taken(console)
    assert "building index filters" in text
    assert "reading block files" in text
    bars(Progressed("building index filters", 100, 100))
    bars(Progressed("reading block files", 2, 4))
    text = taken(console)
    assert "building index filters" not in text.partition("reading")[2]
    assert "50%" in text
    bars(Progressed("reading block files", 4, 4))
    taken(console)
    bars(Progressed("reading block files", 4, 4))
    assert not taken(console)


def test_lines_of_the_log_pass_above(console: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    before = sys.stdout
    bars = Bars(console)
    bars(Progressed("reading block files", 1, 4))
    assert sys.stdout is not before
    print("a line of the log")
    assert "a line of the log" in taken(console)
    bars.close()
    assert sys.stdout is before


@pytest.mark.parametrize(
    ("terminal", "kind", "drawn"), [(True, "xterm", True), (True, "dumb", False), (False, "xterm", False)]
)
def test_bars_need_a_terminal(monkeypatch: pytest.MonkeyPatch, terminal: bool, kind: str, drawn: bool) -> None:
    output = io.StringIO()
    monkeypatch.setattr(output, "isatty", lambda: terminal)
    monkeypatch.setattr(sys, "stderr", output)
    monkeypatch.setenv("TERM", kind)
    events = Events()
    with bars_on_terminal(events):
        events.publish(Progressed("reading block files", 1, 4))
    assert ("reading block files" in output.getvalue()) is drawn
    events.publish(Progressed("reading block files", 2, 4))
    assert "50%" not in output.getvalue()
