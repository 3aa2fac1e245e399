"""No rule of consensus without a test that needs it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from every_rule import find_rules

PROJECT = Path(__file__).parents[1]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_no_rule_can_be_removed_unnoticed(tmp_path: Path) -> None:
    report = tmp_path / "rules.json"
    # The tests of consensus alone: they need no vectors, and each rule has one beside those that come from outside.
    command = [sys.executable, "-m", "pytest", "-q", "-p", "every_rule", "-p", "no:cacheprovider", "-o", "timeout=0"]
    environment = os.environ | {
        "PYTHONPATH": str(PROJECT / "tests"), "ALTYN_RULES_REPORT": str(report), "ALTYN_EFFORT": "quick"
    }  # fmt: skip
    done = subprocess.run(
        [*command, "tests/consensus"], cwd=PROJECT, env=environment, capture_output=True, text=True, check=False
    )
    assert report.exists(), done.stdout + done.stderr
    noticed = json.loads(report.read_text())
    assert len(noticed) == len(find_rules()) > 140
    unnoticed = [rule for rule, test in noticed.items() if test is None]
    assert not unnoticed, "no test fails without these:\n" + "\n".join(unnoticed)
