"""Local networks of real processes, driven by their commands as a user would."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from altyn.node.rpc.client import RpcClient

pytestmark = [pytest.mark.timeout(300), pytest.mark.xdist_group("testnet")]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder for networks; whatever still runs on it at the end of the test is a failure."""
    monkeypatch.setenv("ALTYN_HOME", str(tmp_path))
    yield tmp_path
    left = processes_in(tmp_path)
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    assert not left, "processes left behind"


def processes_in(folder: Path) -> list[int]:
    listing = subprocess.run(
        ["ps", "-ww", "-e", "-o", "pid=", "-o", "command="], capture_output=True, text=True, check=True
    ).stdout
    lines = [line.split(maxsplit=1) for line in listing.splitlines()]
    return [int(pid) for pid, command in lines if f"{folder}/" in command and "altyn.node.cli" in command]


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "altyn.node.cli.altyn", "testnet", *arguments]


def started(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(command(*arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def done(*arguments: str) -> str:
    finished = subprocess.run(command(*arguments), capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    return finished.stdout


def answer(*arguments: str) -> Any:
    return json.loads(done(*arguments, "--json"))


def until(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.05)  # other processes: nothing to wait on but the clock


def check_proof(proof: dict[str, Any]) -> None:
    assert {node["kind"] for node in proof["nodes"]} == {"full", "light"}
    assert len({node["tip"] for node in proof["nodes"]}) == 1
    assert proof["payment"]["amount_sat"] == 150_000_000
    assert proof["payment"]["fee_sat"] > 0
    assert proof["double_spend"]["rejected"] is True
    assert proof["double_spend"]["reason"].startswith("insufficient fee, rejecting replacement ")
    assert proof["double_spend"]["code"] == -26
    assert proof["light"]["headers"] >= 107
    assert proof["light"]["filters_checked"] >= 6
    assert proof["light"]["payment_seen"] is True


def test_one_command_proves_a_payment_and_leaves_nothing_behind(home: Path) -> None:
    proof = answer("prove", "--once")
    check_proof(proof)
    assert proof["payment"]["confirmations"] == 6
    assert list((home / "testnets").glob("*/network.json")) == []


@pytest.mark.slow
def test_a_network_stays_answers_and_goes_on_after_a_stop(home: Path) -> None:
    proof = answer("up")
    check_proof(proof)
    asked = {}
    for node in proof["nodes"]:
        rpc = RpcClient(node["rpc"], cookie_file=Path(node["cookie"]))
        asked[node["name"]] = (rpc.call("getblockcount"), rpc.call("getbestblockhash"))
        assert asked[node["name"]] == (node["height"], node["tip"])
        if node["kind"] == "full":
            payment = rpc.call("getrawtransaction", [proof["payment"]["txid"], True, proof["payment"]["block"]])
            assert payment["confirmations"] == proof["payment"]["confirmations"]
    again = answer("up")
    assert again["nodes"] == proof["nodes"]  # the same processes: `up` twice is harmless
    assert answer("status") == again

    mined = answer("mine", "2")["blocks"]
    grown = answer("status")
    assert {node["tip"] for node in grown["nodes"]} == {mined[-1]}
    assert grown["payment"]["confirmations"] == proof["payment"]["confirmations"] + 2

    done("down")
    assert processes_in(home) == []
    back = answer("up")
    assert {node["tip"] for node in back["nodes"]} == {mined[-1]}
    done("destroy", "--yes")
    assert not (home / "testnets" / "default").exists()


@pytest.mark.slow
def test_two_networks_run_at_once(home: Path) -> None:
    first, second = started("up", "--json", "--name", "one"), started("up", "--json", "--name", "two")
    proofs = [json.loads(process.communicate()[0]) for process in (first, second)]
    for proof in proofs:
        check_proof(proof)
    assert proofs[0]["nodes"][0]["tip"] != proofs[1]["nodes"][0]["tip"]
    for name in ("one", "two"):
        done("destroy", "--yes", "--name", name)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=lambda number: number.name)
def test_a_network_ends_with_its_starter(home: Path, number: signal.Signals) -> None:
    with started("prove", "--json") as process:
        until(lambda: len(processes_in(home)) >= 3)
        process.send_signal(number)
        process.communicate()
    until(lambda: processes_in(home) == [])


@pytest.mark.slow
def test_a_killed_node_is_brought_back_by_up(home: Path) -> None:
    proof = answer("up")
    victim = proof["nodes"][1]
    os.kill(victim["pid"], signal.SIGKILL)
    until(lambda: victim["pid"] not in processes_in(home))
    back = answer("up")
    assert back["nodes"][1]["pid"] != victim["pid"]
    assert back["nodes"][1]["tip"] == victim["tip"]
    done("destroy", "--yes")


def test_what_is_not_there_is_said_in_one_line(home: Path) -> None:
    finished = subprocess.run(command("status", "--name", "nowhere"), capture_output=True, text=True, check=False)
    assert finished.returncode == 1
    assert finished.stderr == "Error: there is no network 'nowhere'; start it with: altyn testnet up --name nowhere\n"
