"""Every command that README.md shows is run as it stands there; one that nobody runs fails here."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from node_processes import until

from altyn.node.testnet.processes import free_ports

PROJECT = Path(__file__).resolve().parents[1]
README = (PROJECT / "README.md").read_text()
PROGRAMS = Path(sys.executable).parent

pytestmark = [pytest.mark.timeout(300), pytest.mark.xdist_group("testnet")]

ANSWERS = {
    "A network that stays": {
        "altyn testnet up": r"^full1 mined 101 blocks for alice\.$",
        "altyn testnet status": r"saw the payment\.$",
        "altyn-wallet --testnet default --wallet carol create": r"Write down these words",
        "altyn-wallet --testnet default --wallet carol address": r"\Abcrt1q\w+\n\Z",
        "altyn testnet pay ADDRESS 0.25": r"\APaid 0\.25 coins to bcrt1q",
        "altyn testnet mine": r"\AMined 1 block for alice\.",
        "altyn-wallet --testnet default --wallet carol balance": r"\A0\.25000000 coins as of block 108\n\Z",
        "altyn-wallet --testnet default:light1 --wallet carol history": r" 0\.25000000  block 108 ",
        "altyn testnet logs full1": r"UpdateTip: .* height=108 ",
        "altyn testnet down": r"is stopped\. Go on with: altyn testnet up",
        "altyn testnet destroy --yes": r"\ANetwork 'default' is gone\.\n\Z",
    },
    "A node of your own": {
        "altyn doctor": r"^OK +data folder: .* \(made when a node starts\)$",
        "altyn node": r"a full node on regtest\n  RPC   http://127\.0\.0\.1:18443\n",
        "altyn rpc getblockchaininfo": r'"chain": "regtest"',
        "altyn light --datadir ./light --rpcport 18453 --addnode 127.0.0.1:18444": r"a light node on regtest\n",
        "altyn rpc --datadir ./light --rpcport 18453 getlightinfo": r'"filters_checked": \d',
    },
    "A wallet": {
        "altyn-wallet create": r"Write down these words",
        "altyn-wallet address": r"\Abcrt1q\w+\n\Z",
        "altyn mine ADDRESS --blocks 101": r"\A(found block [0-9a-f]{64}\n){101}\Z",
        "altyn-wallet balance": r"\A5050\.00000000 coins as of block 101\n5000\.00000000 of it mined",
        "altyn-wallet send ADDRESS 0.5 --feerate 2": r"\ASent: 0\.50000000 coins, fee \d+ satoshis \(2\.",
        "altyn-wallet history": r"-0\.00000\d+  pending ",
        "altyn-wallet info": r"^bech32: wpkh\(",
        "altyn-wallet restore --wallet again": r"\ARestored .*again\.sqlite: 5050\.00000000 coins as of block 101\.",
        "altyn-wallet --rpc-url http://127.0.0.1:18453 --rpc-cookie ./light/regtest/.cookie --wallet again balance": (
            r"\A5050\.00000000 coins as of block 101\n"
        ),
    },
    "In bitcoind's place": {
        "altynd -regtest": r"",  # as bitcoind, it says nothing
        "altyn-cli -regtest getblockcount": r"\A101\n\Z",
        "altyn-cli -regtest stop": r"stopping",
    },
}
"""What each command prints, by section: expressions searched in its standard output."""

ELSEWHERE = {
    "Altyn": ["./scripts/testnet", "./scripts/test"],
    "Install": [". .venv/bin/activate", "python3 -m pip install ."],
    "Measure it": ["./scripts/bench --list", "./scripts/bench verify"],
}
"""Sections whose commands are not run one after the other in an empty folder; see the last tests, and
processes/test_wheel.py and processes/test_benchmarks.py."""

SERVERS = ("altyn node", "altyn light", "altynd")


def commands() -> dict[str, list[str]]:
    """Return the commands in the README's console blocks, by section."""
    found: dict[str, list[str]] = {}
    section, in_block = "", False
    for line in README.splitlines():
        if line.startswith("```"):
            in_block = line == "```console"
        elif in_block:
            assert line.startswith("$ "), f"neither a command nor marked as text: {line}"
            found.setdefault(section, []).append(line[2:].partition("  #")[0].strip())
        elif line.startswith("#"):
            section = line.lstrip("# ")
    return found


def test_every_command_of_the_readme_is_run_by_a_test() -> None:
    assert commands() == {section: list(answers) for section, answers in ANSWERS.items()} | ELSEWHERE


@dataclass
class Terminal:
    """A folder in which commands are typed, with a home of its own. `ports` are put in place of the README's."""

    folder: Path
    ports: dict[str, str] = field(default_factory=dict)
    address: str = ""
    words: str = ""
    servers: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def environment(self) -> dict[str, str]:
        plain = {name: value for name, value in os.environ.items() if not name.startswith("ALTYN")}
        plain |= {"HOME": str(self.folder), "PATH": f"{PROGRAMS}:{os.environ['PATH']}"}
        plain |= {"ALTYN_WALLET_PASSPHRASE": "a passphrase", "ALTYN_WALLET_WORDS": self.words}
        if "18443" in self.ports:
            plain["ALTYN_RPC_URL"] = f"http://127.0.0.1:{self.ports['18443']}"
        return plain

    def run_section(self, section: str) -> None:
        """Type the section's commands, one after the other, and compare what they print."""
        for command, expected in ANSWERS[section].items():
            typed = self._with_ports(command.replace("ADDRESS", self.address))
            if command.startswith(SERVERS):
                printed = self._serve(typed, expected)
            else:
                printed = self._run(typed)
            for readme, ours in self.ports.items():
                printed = printed.replace(ours, readme)
            assert re.search(expected, printed, re.MULTILINE), f"{command} printed:\n{printed}"

    def _with_ports(self, command: str) -> str:
        for readme, ours in self.ports.items():
            command = command.replace(readme, ours)
        return command

    def _run(self, command: str) -> str:
        done = subprocess.run(
            ["bash", "-c", command], cwd=self.folder, env=self.environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{command}: {done.stderr}"
        if command.endswith(" address"):
            self.address = done.stdout.strip()
        for line in done.stdout.splitlines():
            if len(line.split()) == 12:
                self.words = line.strip()
        return done.stdout

    def _serve(self, command: str, expected: str) -> str:
        output = self.folder / f"output-{len(self.servers)}"
        with output.open("wb") as file:
            program, *arguments = command.split()
            process = subprocess.Popen(
                [PROGRAMS / program, *arguments], cwd=self.folder, env=self.environment, stdout=file, stderr=file
            )
        self.servers.append(process)
        self._is_up(process, output, quiet=not expected)
        return output.read_text()

    def _is_up(self, process: subprocess.Popen[bytes], output: Path, *, quiet: bool) -> None:
        log = self.folder / ".altyn" / "regtest" / "debug.log"

        def up() -> bool:
            assert process.poll() is None, output.read_text()
            if quiet:
                return "Done loading" in log.read_text().rpartition("Shutdown: done")[2]
            return "stop  Ctrl-C" in output.read_text()

        until(up)

    def stop(self) -> None:
        """End the servers as Ctrl-C does, the last first."""
        while self.servers:
            process = self.servers.pop()
            process.send_signal(signal.SIGINT)
            assert process.wait(60) == 0


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    made = Terminal(tmp_path)
    yield made
    for process in made.servers:
        process.kill()
        process.wait()


def test_a_node_a_light_node_a_wallet_and_a_daemon_work_as_the_readme_says(terminal: Terminal) -> None:
    terminal.ports = dict(zip(("18443", "18444", "18453"), map(str, free_ports(3)), strict=True))
    (terminal.folder / ".altyn").mkdir()
    (terminal.folder / ".altyn" / "bitcoin.conf").write_text(
        f"[regtest]\nrpcport={terminal.ports['18443']}\nport={terminal.ports['18444']}\n"
    )
    terminal.run_section("A node of your own")
    terminal.run_section("A wallet")
    terminal.stop()
    terminal.run_section("In bitcoind's place")
    assert terminal.servers.pop().wait(60) == 0


@pytest.mark.slow
def test_a_network_that_stays_works_as_the_readme_says(terminal: Terminal) -> None:
    terminal.run_section("A network that stays")
    assert list((terminal.folder / ".altyn" / "testnets").iterdir()) == []


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Return a folder with the scripts, in which `.venv` is set up already: it is this interpreter's."""
    shutil.copytree(PROJECT / "scripts", tmp_path / "checkout" / "scripts")
    root = tmp_path / "checkout"
    shutil.copy(PROJECT / "pyproject.toml", root)
    (root / ".venv" / "bin").mkdir(parents=True)
    python = root / ".venv" / "bin" / "python"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    with (root / "pyproject.toml").open() as file:
        sum_ = subprocess.run(["cksum"], stdin=file, capture_output=True, text=True, check=True).stdout.strip()
    for extra in ("", "[dev]"):
        (root / ".venv" / f"altyn-installed{extra}").write_text(f"{root} {sum_}\n")
    return root


def script(checkout: Path, *command: str) -> str:
    home = {**os.environ, "HOME": str(checkout), "ALTYN_HOME": str(checkout / "home")}
    done = subprocess.run(command, cwd=checkout, env=home, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def shape(text: str) -> list[str]:
    """Return lines without what differs from run to run: ids, ports, folders, blocks that only seem to concern bob."""
    text = re.sub(r"fetched \d+ blocks?", "fetched SOME", text)
    text = re.sub(r"[0-9a-f]{64}", "TXID", text)
    text = re.sub(r"127\.0\.0\.1:\d+", "ADDRESS", text)
    return re.sub(r"data \S+/proof-\d+/", "data FOLDER/", text).strip().splitlines()


@pytest.mark.slow
def test_the_account_in_the_readme_is_what_the_script_prints(checkout: Path) -> None:
    shown = README.partition("```text\n")[2].partition("```")[0]
    assert shape(script(checkout, "./scripts/testnet", "--once")) == shape(shown)


@pytest.mark.slow
def test_the_json_of_the_script_is_alone_on_standard_output(checkout: Path) -> None:
    assert json.loads(script(checkout, "./scripts/testnet", "--once", "--json"))["payment"]["confirmations"] == 6
    assert list((checkout / "home" / "testnets").iterdir()) == []


def test_the_other_scripts_of_the_readme_are_there(checkout: Path) -> None:
    assert "usage: scripts/test" in script(checkout, "./scripts/test", "--help")
    assert "verify" in script(checkout, "./scripts/bench", "--list").split()


def test_activating_the_environment_puts_the_programs_on_the_path() -> None:
    for program in ("altyn", "altyn-wallet", "altynd", "altyn-cli"):
        assert f"`{program}`" in README
        command = f". {PROGRAMS}/activate && command -v {program}"
        found = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True).stdout
        assert found == f"{PROGRAMS / program}\n"


def test_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert (PROJECT / target).exists(), target
