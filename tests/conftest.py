"""What all tests share: how many cases are tried, and which skips continuous integration allows."""

import logging
import os
from collections.abc import Generator, Iterator

import hypothesis
import pytest

EFFORTS = {"quick": 100, "slow": 1_000, "exhaustive": 5_000}
"""Generated cases a property test tries, by ALTYN_EFFORT."""

MAY_SKIP_IN_CI = (
    "network namespaces",
    "no file system can be mounted",
    "ElectrumX is not to be had",
    "Electrum is not to be had",
)
"""Beginnings of the reasons for which a test may be skipped under CI=true; any other skip there is a failure."""

for name, examples in EFFORTS.items():
    hypothesis.settings.register_profile(name, max_examples=examples, deadline=None, print_blob=True)
hypothesis.settings.load_profile(os.environ.get("ALTYN_EFFORT", "quick"))


@pytest.fixture(autouse=True)
def log_level() -> Iterator[None]:
    """Put back the level of the log: `logging` by RPC changes it for the whole process."""
    root = logging.getLogger()
    before = root.level
    yield
    root.setLevel(before)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.skipped and not hasattr(report, "wasxfail") and os.environ.get("CI") == "true":
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        if not reason.removeprefix("Skipped: ").startswith(MAY_SKIP_IN_CI):
            report.outcome = "failed"
            report.longrepr = f"{item.nodeid} was skipped in CI: {reason}"
    # A name that is no Unicode may stand in the log; reports of workers must be.
    report.sections = [(name, text.encode(errors="backslashreplace").decode()) for name, text in report.sections]
    return report
