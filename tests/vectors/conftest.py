"""Where the public test vectors are, and how the tests read them.

The folder is named by ALTYN_VECTORS; left out, it is `../shared/vectors` beside the project. A file that is absent
fails under CI=true and skips elsewhere. Other sets of the same formats, smaller or larger, go through the same tests:
every list may be empty.

    from tests.vectors.conftest import load_rows

    @pytest.mark.parametrize("case", load_rows("script/sighash.json"))
    def test_...

Cases known to fail stand in `xfails.txt`, one test id a line as pytest prints it, seen from this folder; they are
strict.
"""

import csv
import gzip
import json
import os
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
PROJECT = HERE.parent.parent


def vectors_folder() -> Path:
    """Return the folder of vectors, whether it exists or not."""
    return Path(os.environ.get("ALTYN_VECTORS") or PROJECT.parent / "shared" / "vectors")


def vectors_path(name: str) -> Path:
    """Return the file or folder `name`, such as "script/sighash.json"; skip, under CI=true fail, when it is absent.

    May be called while a module is collected: then all of the module is skipped.
    """
    path = vectors_folder() / name
    if not path.exists():
        message = f"no {name} in {vectors_folder()}: point ALTYN_VECTORS at a folder of vectors that has it"
        if os.environ.get("CI") == "true":
            pytest.fail(message, pytrace=False)
        pytest.skip(message, allow_module_level=True)
    return path


def vectors_matching(pattern: str) -> list[str]:
    """Return the names of all files or folders such as "p2p/compact*.raw", sorted; the folder must be there."""
    folder, name = pattern.rsplit("/", maxsplit=1)
    return sorted(f"{folder}/{path.name}" for path in vectors_path(folder).glob(name))


def load(name: str) -> Any:
    """Return the contents of `name`, by its ending: .json, .jsonl.gz (a list), .csv (a list of dicts), else bytes."""
    path = vectors_path(name)
    if name.endswith(".json"):
        return json.loads(path.read_bytes())
    if name.endswith(".jsonl.gz"):
        return [json.loads(line) for line in gzip.decompress(path.read_bytes()).splitlines() if line]
    if name.endswith(".csv"):
        with path.open(newline="") as file:
            return list(csv.DictReader(file))
    return path.read_bytes()


def load_rows(name: str) -> list[list[Any]]:
    """Return the cases of one of Core's JSON lists: its entries without the comments, which have a single element."""
    return [row for row in load(name) if not (len(row) == 1 and isinstance(row[0], str))]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Drop the tests whose list of cases is empty, which pytest would skip; mark the cases of `xfails.txt`."""
    prefix = HERE.relative_to(PROJECT).as_posix() + "/"
    lines = (HERE / "xfails.txt").read_text().splitlines()
    known = {line.strip() for line in lines if line.strip() and not line.startswith("#")}
    empty = []
    for item in items:
        if not item.path.is_relative_to(HERE):
            continue
        if any(
            str(mark.kwargs.get("reason")).startswith("got empty parameter set") for mark in item.iter_markers("skip")
        ):
            empty.append(item)
        if item.nodeid.removeprefix(prefix) in known:
            item.add_marker(pytest.mark.xfail(strict=True, reason="listed in xfails.txt"))
    if empty:
        config.hook.pytest_deselected(items=empty)
        items[:] = [item for item in items if item not in empty]
