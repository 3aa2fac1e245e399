"""A pipe from the starter of a local network to each of its nodes: when the starter dies, however it dies, so do they.

The starter holds the writing end, the node the reading end. End of file means that the starter is gone, and the node
stops. A starter that wants its node to outlive it writes `KEEP` before it leaves.
"""

import asyncio
import os

ENVIRONMENT = "ALTYN_LIFELINE_FD"
KEEP = b"keep"


class Lifeline:
    """The starter's end of one node's pipe. Start the node with `pass_fds=[read_fd]` and `environment` in its own."""

    def __init__(self) -> None:
        self.read_fd, self._write_fd = os.pipe()  # neither end is inherited unless passed on by name

    @property
    def environment(self) -> dict[str, str]:
        return {ENVIRONMENT: str(self.read_fd)}

    def started(self) -> None:
        """Drop this process's copy of the node's end, once the node has it."""
        os.close(self.read_fd)

    def release(self) -> None:
        """Let the node live on after this process."""
        try:
            os.write(self._write_fd, KEEP)
        except BrokenPipeError:  # the node has ended meanwhile; whoever looks after it will see that
            pass
        self.abandon()

    def abandon(self) -> None:
        """Close the pipe: what the system does when this process dies. A node that was not released stops."""
        os.close(self._write_fd)


async def starter_gone() -> None:
    """Return when the process that started this one is gone; never, if it let go or there is none."""
    loop = asyncio.get_running_loop()
    forever: asyncio.Future[None] = loop.create_future()
    text = os.environ.pop(ENVIRONMENT, None)
    if text is None:
        await forever
        return
    fd = int(text)
    os.set_inheritable(fd, False)
    readable = asyncio.Event()
    loop.add_reader(fd, readable.set)
    try:
        await readable.wait()
        word = os.read(fd, len(KEEP))
    finally:
        loop.remove_reader(fd)
        os.close(fd)
    if word == KEEP:
        await forever
