"""A port where something answers that is no RPC server, and says what a terminal would obey."""

import contextlib
import socket
import threading
from collections.abc import Iterator


@contextlib.contextmanager
def strange_port(calls: int) -> Iterator[int]:
    """Offer a port that answers so many calls with control bytes."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            for _ in range(calls):
                connection, _ = listener.accept()
                with connection:
                    connection.recv(10_000)
                    connection.sendall(b"\x1b]0;owned\x07\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        yield listener.getsockname()[1]
        thread.join()
