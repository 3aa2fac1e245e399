"""What a node remembers of its peers, in small files beside the chain. All of them can be lost."""

import json
import logging
import os
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from altyn.p2p.address_book import AddressBook
from altyn.p2p.addresses import NetworkAddress
from altyn.p2p.bans import Bans
from altyn.p2p.clock import Clock
from altyn.p2p.netgroups import parse_address

log = logging.getLogger(__name__)

SAVE_INTERVAL = 15 * 60.0
"""Seconds between two times that the address book and what is discouraged should be written, besides at the end."""

BANS, ADDRESSES, ANCHORS = "banlist.json", "peers.json", "anchors.json"


class PeerFiles:
    """JSON files in a folder, each replaced as a whole; without a folder nothing is kept."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder

    @property
    def are_kept(self) -> bool:
        return self._folder is not None

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


class PeerMemory:
    """Bans and addresses: read at the start, written by `save`; bans at once."""

    def __init__(self, folder: Path | None, clock: Clock, rng: random.Random) -> None:
        self.files = PeerFiles(folder)
        self._clock, self._rng = clock, rng
        self.bans = Bans(self._save_bans)
        self.files.load(BANS, self.bans.load)
        self.book = AddressBook(rng)
        self.files.load(ADDRESSES, self._take_book)
        self.anchors: list[NetworkAddress] = []
        """Block-relay peers at the end of the last run: the first to dial, so that a restart cannot be made use of."""
        self.files.load(ANCHORS, self._take_anchors)
        self.files.remove(ANCHORS)  # should they be what made us stop, then once only

    def keep_anchors(self, anchors: Sequence[NetworkAddress]) -> None:
        """Write the anchors for the next start."""
        self.files.save(ANCHORS, [[anchor.text, anchor.port] for anchor in anchors])

    def _take_anchors(self, saved: Any) -> None:
        self.anchors = [parse_address(str(host), int(port)) for host, port in saved]

    def _take_book(self, saved: Any) -> None:
        self.book = AddressBook.from_json(saved, self._rng)

    def save(self) -> None:
        """Write everything but the anchors."""
        self._save_bans()
        if self.files.are_kept:
            self.files.save(ADDRESSES, self.book.as_json())

    def _save_bans(self) -> None:
        self.files.save(BANS, self.bans.as_json(int(self._clock.now())))
