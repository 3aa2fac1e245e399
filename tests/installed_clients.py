"""Others' software that tests run beside a node: installed into pytest's cache folder, away from our environment."""

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

_PATIENCE = 400
"""Seconds for a download, or an installation."""


@dataclass(frozen=True, slots=True)
class Client:
    """How another's program is called."""

    command: list[str]
    environment: dict[str, str] = field(default_factory=dict)


def electrumx(cache: pytest.Cache) -> Client:
    """Return ElectrumX's server, in a virtual environment of its own. Skips where it cannot be had."""
    folder = cache.mkdir("electrumx")
    complete = folder / "complete"
    if not complete.exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True, timeout=_PATIENCE)
        done = _run(str(folder / "bin" / "pip"), "install", "e-x[leveldb]>=2")
        if done.returncode:
            problem = "is not to be had" if "require a different python" in done.stderr else "does not install"
            pytest.skip(f"ElectrumX {problem}: {done.stderr[-500:]}")
        complete.touch()
    return Client([str(folder / "bin" / "electrumx_server")], {"ALLOW_ROOT": "1"})


def electrum(cache: pytest.Cache) -> Client:
    """Return the Electrum wallet: the installed one, or Debian's, unpacked. Skips where it cannot be had."""
    installed = shutil.which("electrum")
    if installed:
        return Client([installed])
    if not (shutil.which("apt-get") and shutil.which("dpkg-deb")):
        pytest.skip("Electrum is not to be had: there is neither an electrum nor Debian's packages here")
    folder = cache.mkdir("electrum")
    root, complete = folder / "root", folder / "complete"
    if not complete.exists():
        plan = _run("apt-get", "install", "--simulate", "--no-install-recommends", "electrum")
        packages = re.findall(r"^Inst (\S+)", plan.stdout, re.MULTILINE)
        done = _run("apt-get", "download", *packages, folder=folder) if packages else plan
        if done.returncode or not packages:
            pytest.skip(f"Electrum does not install: {done.stderr[-500:]}")
        for package in folder.glob("*.deb"):
            subprocess.run(["dpkg-deb", "-x", package, root], check=True, timeout=_PATIENCE)
            package.unlink()
        complete.touch()
    libraries = os.pathsep.join(map(str, root.glob("usr/lib/*-linux-gnu*")))
    environment = {"PYTHONPATH": str(root / "usr/lib/python3/dist-packages"), "LD_LIBRARY_PATH": libraries}
    return Client(["/usr/bin/python3", "-W", "ignore", str(root / "usr/bin/electrum")], environment)


def _run(*command: str, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=_PATIENCE, cwd=folder)
