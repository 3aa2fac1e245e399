"""The commands as they are installed, and what Ctrl-C does to them while they are being loaded."""

import os
import signal
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
WHILE_LOADING = {"altyn": "click", "altynd": "zmq", "altyn-cli": "getpass", "altyn-wallet": "click"}
"""Modules that the programs import, by program."""


def interrupted(folder: Path, module: str, *command: str, handler: object = signal.default_int_handler) -> object:
    """Run Python; the first import of `module` presses Ctrl-C and waits, for a moment where that is ignored."""
    folder.joinpath(f"{module}.py").write_text(
        "import os, signal, time\n"
        "os.kill(os.getpid(), signal.SIGINT)\n"
        "time.sleep(60 * (signal.getsignal(signal.SIGINT) is not signal.SIG_IGN))\n"
        "raise SystemExit('went on')\n"
    )
    ended = subprocess.run(
        [sys.executable, *command],
        env={**os.environ, "PYTHONPATH": str(folder)},
        preexec_fn=lambda: signal.signal(signal.SIGINT, handler),  # type: ignore[arg-type]
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    return ended.returncode, ended.stdout, ended.stderr


def as_installed(program: str) -> tuple[str, str]:
    (script,) = (each for each in entry_points(group="console_scripts") if each.name == program)
    return "-c", f"from {script.module} import {script.attr}; {script.attr}()"


@pytest.mark.parametrize("program", WHILE_LOADING)
def test_ctrl_c_while_a_program_is_being_loaded_ends_it_without_a_word(tmp_path: Path, program: str) -> None:
    assert interrupted(tmp_path, WHILE_LOADING[program], *as_installed(program)) == (-signal.SIGINT, "", "")


def test_so_it_does_to_the_script_that_makes_a_network(tmp_path: Path) -> None:
    assert " -m altyn.node.cli testnet prove " in (ROOT / "scripts" / "testnet").read_text()
    command = "-m", "altyn.node.cli", "testnet", "prove"
    assert interrupted(tmp_path, "click", *command) == (-signal.SIGINT, "", "")


def test_a_program_whose_starter_ignores_ctrl_c_ignores_it_too(tmp_path: Path) -> None:
    outcome = interrupted(tmp_path, "zmq", *as_installed("altynd"), handler=signal.SIG_IGN)
    assert outcome == (1, "", "went on\n")


def test_programs_call_themselves_by_their_names() -> None:
    for program, start in (("altyn", ("-m", "altyn.node.cli")), ("altyn-wallet", as_installed("altyn-wallet"))):
        ended = subprocess.run([sys.executable, *start], capture_output=True, text=True, check=False, timeout=60)
        assert f"Usage: {program} " in ended.stdout + ended.stderr
