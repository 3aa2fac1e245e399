"""Commands of the user that are run when something happens: `-blocknotify` and its like."""

import asyncio
import logging
import re
from collections.abc import Callable
from typing import Protocol

from altyn.node.events import TipChanged, WarningRaised

log = logging.getLogger(__name__)

_UNSAFE = re.compile(r"[^a-zA-Z0-9 .,;\-_/:?@()]")
"""What is left out of text from elsewhere, as a shell reads the command (Core: SanitizeString)."""


class Commands:
    """Runs commands in the background, each by the user's shell."""

    def __init__(self) -> None:
        self._running: set[asyncio.Task[None]] = set()

    def start(self, command: str, text: str = "", *, quote: str = "") -> None:
        """Run a command with `text`, without the characters that mean something to a shell, for each %s."""
        if command:
            task = asyncio.create_task(run_command(command, text, quote=quote))
            self._running.add(task)
            task.add_done_callback(self._running.discard)

    async def finish(self) -> None:
        """Return when all that were started have ended."""
        await asyncio.gather(*self._running)


async def run_command(command: str, text: str = "", *, quote: str = "") -> None:
    """Run one command and wait for its end; that it failed is only logged (Core: runCommand)."""
    line = command.replace("%s", quote + _UNSAFE.sub("", text) + quote)
    process = await asyncio.create_subprocess_shell(
        line,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    status = await process.wait()
    if status:
        log.info('runCommand error: system("%s") returned %d', line, status)


class HasDownload(Protocol):
    """A chain that knows whether it is synchronised."""

    @property
    def is_initial_block_download(self) -> bool: ...


def notify_of_blocks(chain: HasDownload, command: str, commands: Commands) -> Callable[[object], None]:
    """Return a subscriber that runs `command` with the hash of each new tip, once the node is synchronised."""

    def note(event: object) -> None:
        if isinstance(event, TipChanged) and not chain.is_initial_block_download:
            commands.start(command, event.new.hash[::-1].hex())

    return note


def notify_of_warnings(command: str, commands: Commands) -> Callable[[object], None]:
    """Return a subscriber that runs `command` with the text of each new warning, in single quotes as Core gives it."""

    def note(event: object) -> None:
        if isinstance(event, WarningRaised):
            commands.start(command, event.text, quote="'")

    return note
