"""The built wheel, installed where nothing of the checkout is in reach, runs the whole proof."""

import json
import os
import subprocess
import sys
import zipfile
from importlib.metadata import version
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]


def run(*command: str | Path, cwd: Path, env: dict[str, str] | None = None) -> str:
    done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_wheel_alone_brings_up_a_network_and_proves_a_payment(tmp_path: Path) -> None:
    # By way of the source archive: in the checkout, setuptools would take up what earlier builds left behind.
    run(sys.executable, "-m", "build", "--outdir", tmp_path / "dist", PROJECT, cwd=tmp_path)
    (wheel,) = (tmp_path / "dist").glob("altyn-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        files = archive.namelist()
    assert {Path(name).parts[0] for name in files} == {"altyn", f"altyn-{version('altyn')}.dist-info"}
    rooms = {Path(name).parts[1] for name in files if name.startswith("altyn/")}
    assert rooms == {"__init__.py", "programs.py", "py.typed", "consensus", "node", "p2p", "wallet"}

    run(sys.executable, "-m", "venv", tmp_path / "fresh", cwd=tmp_path)
    programs = tmp_path / "fresh" / "bin"
    run(programs / "python", "-m", "pip", "install", "-q", wheel, cwd=tmp_path)
    empty = tmp_path / "empty"
    empty.mkdir()
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "ALTYN"))}
    environment["ALTYN_HOME"] = str(tmp_path / "home")

    where = run(programs / "python", "-c", "import altyn; print(altyn.__file__)", cwd=empty, env=environment)
    assert Path(where.strip()).is_relative_to(tmp_path)
    proof = json.loads(run(programs / "altyn", "testnet", "prove", "--once", "--json", cwd=empty, env=environment))

    assert proof["payment"]["confirmations"] == 6
    assert proof["light"]["payment_seen"] is True
    assert proof["double_spend"]["rejected"] is True
    for program in ("altyn", "altynd", "altyn-cli", "altyn-wallet"):
        assert run(programs / program, "--help", cwd=empty, env=environment)
    assert list(empty.iterdir()) == []
