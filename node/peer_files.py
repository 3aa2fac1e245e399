"""What a node remembers of its peers, in small files beside the chain. All of them can be lost."""

import json
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)

BANS = "banlist.json"


class PeerFiles:
    """JSON files in a folder, each replaced as a whole; without a folder nothing is kept."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder

    def load(self, name: str, take: Callable[[Any], None]) -> bool:
        """Hand what a file holds to `take`; False if there is none. One that makes no sense counts as none."""
        if self._folder is None:
            return False
        try:
            take(json.loads((self._folder / name).read_bytes()))
        except FileNotFoundError:
            return False
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            log.warning("%s cannot be read, starting without it: %s", name, error)
            return False
        return True

    def save(self, name: str, value: Any) -> None:
        """Write a file. That it cannot be written is logged: nothing depends on it."""
        if self._folder is None:
            return
        path = self._folder / name
        beside = path.with_name(f"{name}.new")
        try:
            beside.write_text(json.dumps(value), "utf-8")
            os.replace(beside, path)
        except OSError as error:
            log.warning("%s cannot be written: %s", name, error)

    def remove(self, name: str) -> None:
        """Remove a file, if it is there."""
        if self._folder is not None:
            (self._folder / name).unlink(missing_ok=True)
