"""A small client for a node's JSON-RPC: Altyn's or bitcoind's."""

import base64
import http.client
import itertools
import json
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, Self
from urllib.parse import unquote, urlsplit

from altyn.node.rpc.json_text import dump

DEFAULT_TIMEOUT = 900.0
"""Seconds to wait for an answer (bitcoin-cli: -rpcclienttimeout)."""


class RpcFailure(Exception):
    """The node answered with an error: its code and message."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message

    def __str__(self) -> str:
        return f"{self.message} (code {self.code})"


class Unreachable(ConnectionError):
    """Nobody answers there, or not as a node does."""


class Unauthorized(Unreachable):
    """The node does not accept the user and password, or not for this call."""


class RpcClient:
    """Calls one node. Inside `with` the connection is kept between calls; not to be shared between threads."""

    def __init__(
        self,
        url: str,
        *,
        cookie_file: Path | None = None,
        timeout: float = DEFAULT_TIMEOUT,
        parse_float: Callable[[str], Any] = Decimal,
    ) -> None:
        """Call the node at `http://[user:password@]host:port[/path]`; without a user, with its cookie.

        The cookie is read when connecting. `timeout` in seconds. Raises ValueError when the URL is none.
        """
        parts = urlsplit(url if "//" in url else f"http://{url}")
        if parts.scheme != "http" or not parts.hostname or not parts.port:
            raise ValueError(f"not the address of a node: {url}")
        self._host, self._port = parts.hostname, parts.port
        self._path = parts.path or "/"
        self._user, self._password = unquote(parts.username or ""), unquote(parts.password or "")
        self._cookie_file = cookie_file
        self._timeout = timeout
        self._parse_float = parse_float
        self._is_kept = False
        self._connection: http.client.HTTPConnection | None = None
        self._authorization = ""
        self._ids = itertools.count(1)

    def __enter__(self) -> Self:
        self._is_kept = True
        return self

    def __exit__(self, *_: object) -> None:
        self._is_kept = False
        self._close()

    def call(self, method: str, params: Sequence[Any] | Mapping[str, Any] = ()) -> Any:
        """Return the result of a call with positional or named parameters. Raises RpcFailure, Unreachable."""
        arguments = dict(params) if isinstance(params, Mapping) else list(params)
        reply = self.post({"jsonrpc": "2.0", "id": next(self._ids), "method": method, "params": arguments})
        return _result(reply)

    def batch(self, calls: Sequence[tuple[str, Sequence[Any]]]) -> list[Any]:
        """Send calls in one request; each answer is a result or an RpcFailure. Raises Unreachable."""
        replies = self.post(
            [
                {"jsonrpc": "2.0", "id": number, "method": method, "params": list(params)}
                for number, (method, params) in enumerate(calls)
            ]
        )
        answers: list[Any] = []
        for reply in sorted(replies, key=lambda each: int(each["id"])):
            try:
                answers.append(_result(reply))
            except RpcFailure as error:
                answers.append(error)
        return answers

    def post(self, request: Any) -> Any:
        """Send JSON and return the JSON that comes back, errors too. Raises Unreachable."""
        try:
            status, content = self._exchange(dump(request).encode())
        except Unreachable:
            raise
        except (OSError, http.client.HTTPException) as error:
            self._close()
            where = f"{self._host}:{self._port}"
            if isinstance(error, http.client.HTTPException) and not isinstance(error, http.client.RemoteDisconnected):
                # What it said is kept from the terminal.
                raise Unreachable(f"what answers at {where} is no RPC server: is it the port for peers?") from error
            reason = getattr(error, "strerror", None) or error or "it hung up"
            raise Unreachable(f"no node answers at {where} ({reason}): is it running there?") from error
        if not self._is_kept:
            self._close()
        if status in {401, 403}:
            raise Unauthorized("the node does not accept the user and password for this call")
        try:
            return json.loads(content, parse_float=self._parse_float)
        except ValueError:
            raise Unreachable(f"server returned HTTP error {status}") from None

    def _exchange(self, body: bytes) -> tuple[int, bytes]:
        if self._connection is None:
            self._authorization = self._credentials()
            self._connection = http.client.HTTPConnection(self._host, self._port, timeout=self._timeout)
        headers = {"Authorization": self._authorization, "Content-Type": "application/json"}
        self._connection.request("POST", self._path, body, headers)
        response = self._connection.getresponse()
        return response.status, response.read()

    def _credentials(self) -> str:
        plain = f"{self._user}:{self._password}".encode()
        if self._cookie_file is not None and not self._user:
            try:
                plain = self._cookie_file.read_bytes().strip()
            except OSError as error:
                where = f"{self._cookie_file} ({error.strerror})"
                what_to_do = "start it (altyn node), or say where it is (--datadir, --network, --rpc-url)"
                raise Unreachable(f"no cookie of a running node at {where}: {what_to_do}") from error
        return "Basic " + base64.b64encode(plain).decode()

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _result(reply: Any) -> Any:
    error = reply.get("error")
    if error is not None:
        raise RpcFailure(int(error["code"]), str(error["message"]))
    return reply.get("result")
