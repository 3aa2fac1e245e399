"""Bytes of strangers, chosen at random and by what code they reach: no decoder and no handshake breaks.

A case that broke something, or that chance does not find soon, is kept in `cases/TARGET/` and tried for ever after.
"""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
from fuzz_targets import TARGETS
from hypothesis import given
from hypothesis import strategies as st
from message_examples import EXAMPLES

HERE = Path(__file__).parent
CASES = sorted((HERE / "cases").glob("*/*"))
SECONDS = 60 if os.environ.get("ALTYN_EFFORT") == "exhaustive" else 2


@pytest.mark.parametrize("target", [name for name in TARGETS if name.startswith("v")])
@given(data=st.binary(max_size=400))
def test_no_bytes_break_a_transport(target: str, data: bytes) -> None:
    TARGETS[target](data)


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.parent.name}/{case.name}")
def test_cases_that_were_kept_break_nothing(case: Path) -> None:
    TARGETS[case.parent.name](case.read_bytes())


@pytest.mark.slow
@pytest.mark.timeout(SECONDS + 120)
@pytest.mark.skipif(importlib.util.find_spec("atheris") is None, reason="atheris has no wheel for this Python")
@pytest.mark.parametrize("target", TARGETS)
def test_bytes_that_reach_new_code_break_nothing(target: str, tmp_path: Path) -> None:
    seeds = tmp_path / "seeds"
    seeds.mkdir()
    for number, example in enumerate(EXAMPLES):
        if target in {example.command, "v1-stream", "v2-called", "v2-calling", "v2-session"}:
            (seeds / str(number)).write_bytes(example.payload())
    for case in CASES:
        if case.parent.name == target:
            (seeds / case.name).write_bytes(case.read_bytes())
    command = [sys.executable, str(HERE.parent / "fuzz_run.py"), target, str(seeds), f"-artifact_prefix={tmp_path}/"]
    command += [f"-max_total_time={SECONDS}", "-rss_limit_mb=2048", "-timeout=10", "-seed=1"]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    found = [path.read_bytes().hex() for path in tmp_path.glob("*-*")]
    assert run.returncode == 0, f"keep in {HERE}/cases/{target}: {found}\n{run.stderr[-3000:]}"
