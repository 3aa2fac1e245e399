"""What ./scripts/bench prints, and how it ends."""

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

SCRIPTS = Path(__file__).parents[2] / "scripts"
CASE = {"name", "value", "unit", "peer", "peer_value", "ratio", "bar", "holds"}


@pytest.fixture
def measure(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(SCRIPTS / "benchmarks"))
    monkeypatch.delenv("CI", raising=False)
    return importlib.import_module("measure")


@pytest.mark.parametrize(
    ("value", "peer_value", "bar", "verdict", "status"),
    [
        (65.0, 100.0, ">=0.65", "holds", 0),
        (64.9, 100.0, ">=0.65", "DOES NOT HOLD", 1),
        (65.0, None, ">=0.65", "not measured", 0),
        (65.0, 100.0, None, "", 0),
    ],
)
def test_a_bar_decides_the_exit_status(
    measure: ModuleType, value: float, peer_value: float | None, bar: str | None, verdict: str, status: int
) -> None:
    case = measure.Case("name", value, "things/s", "peer", peer_value, bar)
    assert case.verdict == verdict
    assert measure.report("bench", [case], as_json=False) == status


def test_a_peer_that_is_absent_fails_continuous_integration(
    measure: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CI", "true")
    assert measure.report("bench", [measure.Case("name", 1.0, "things/s", "peer", None, ">=4")], as_json=True) == 1
    (shown,) = json.loads(capsys.readouterr().out)["cases"]
    assert shown["holds"] is None
    assert shown["note"] == "not measured"


def test_contestants_take_turns(measure: ModuleType) -> None:
    log: list[str] = []
    jobs = {name: [lambda name=name: log.append(name)] * 2 for name in ("ours", "peer")}
    assert measure.rates(jobs, amount=6, rounds=2).keys() == {"ours", "peer"}
    assert log == ["ours", "peer", "ours", "peer", "peer", "ours", "peer", "ours"]


def run(name: str, *options: str) -> dict[str, list[dict[str, object]]]:
    command = [sys.executable, str(SCRIPTS / "benchmarks" / f"{name}.py"), "--json", "--rounds", "1", *options]
    environment = {key: value for key, value in os.environ.items() if key != "CI"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False, env=environment)
    if "no real blocks" in done.stderr:
        pytest.skip("no real blocks: point ALTYN_VECTORS at a folder of vectors that has them")
    assert done.returncode in {0, 1}, done.stderr  # a busy machine may miss a bar
    printed: dict[str, list[dict[str, object]]] = json.loads(done.stdout)
    assert printed["bench"] == name
    assert printed["machine"]
    assert all(case.keys() - {"note"} == CASE for case in printed["cases"])
    return printed


def test_verify_measures_every_template() -> None:
    cases = {case["name"]: case for case in run("verify", "--inputs", "20")["cases"]}
    signatures = ["p2pkh", "p2wpkh", "p2sh-p2wpkh", "p2wsh-2of3", "p2tr-key", "p2tr-script"]
    assert [cases[name]["bar"] for name in signatures] == [">=0.65"] * 6
    assert cases["all-cores"]["bar"] == ">=1.6"
    assert cases.keys() > {"interpreter", "limit-ecdsa", "limit-schnorr"}


def test_parse_measures_the_largest_blocks() -> None:
    (case,) = run("parse", "--blocks", "1")["cases"]
    assert case["bar"] == ">=4"
    assert case["unit"] == "MB/s"


def test_coins_are_looked_up_beside_plyvel() -> None:
    checked, unchecked = run("coins", "--coins", "2000", "--look-ups", "1000")["cases"]
    assert (checked["name"], checked["bar"], checked["unit"]) == ("random-look-ups", ">=0.6", "coins/s")
    assert unchecked["bar"] is None


@pytest.mark.slow
def test_mempool_measures_both_ways_in_and_answers_meanwhile() -> None:
    options = ("--count", "50", "--batch", "25", "--blocks", "130", "--inputs", "200")
    cases = {case["name"]: case for case in run("mempool", *options)["cases"]}
    for name in ("accept-rpc", "accept-rpc-chains", "accept-p2p", "accept-p2p-chains"):
        assert (cases[name]["bar"], cases[name]["unit"], cases[name]["holds"]) == (">=0.4", "tx/s", None)
    assert cases["getblockcount-p99"]["bar"] == "<=1"


def test_an_unknown_benchmark_is_a_usage_error() -> None:
    done = subprocess.run([SCRIPTS / "bench", "nothing"], capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == 2
    assert "parse relay verify" in done.stderr
