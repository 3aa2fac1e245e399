"""A small client: calls a node's methods over one kept connection."""

import base64
import http.client
import itertools
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self
from urllib.parse import unquote, urlsplit

from altyn.node.rpc.amounts import JsonNumber
from altyn.node.rpc.errors import RpcError
from altyn.node.rpc.json_text import dump, parse

DEFAULT_TIMEOUT = 900.0
"""Seconds to wait for an answer (bitcoin-cli: -rpcclienttimeout)."""


class RpcUnavailable(ConnectionError):
    """No node answers at the address."""


class RpcRefused(Exception):
    """The node does not accept the user or password."""


class RpcClient:
    """Calls one node; not to be shared between threads. Numbers with fractions come back as Decimal by default."""

    def __init__(
        self,
        host: str,
        port: int,
        *,
        user: str = "",
        password: str = "",
        cookie: Path | None = None,
        timeout: float = DEFAULT_TIMEOUT,
        parse_float: Callable[[str], Any] | None = None,
    ) -> None:
        """Authenticate with `user` and `password`, or with the cookie file, read anew for each connection."""
        self.host, self.port = host, port
        self._user, self._password, self._cookie = user, password, cookie
        self._timeout = timeout
        self._parse_float = parse_float
        self._connection: http.client.HTTPConnection | None = None
        self._authorization = ""
        self._ids = itertools.count(1)

    @classmethod
    def from_url(cls, url: str, *, cookie: Path | None = None, timeout: float = DEFAULT_TIMEOUT) -> Self:
        """Build a client for `http://user:password@host:port`. Raises ValueError."""
        parts = urlsplit(url if "//" in url else f"http://{url}")
        if parts.scheme != "http" or not parts.hostname or not parts.port:
            raise ValueError(f"not the address of a node: {url}")
        user, password = unquote(parts.username or ""), unquote(parts.password or "")
        return cls(parts.hostname, parts.port, user=user, password=password, cookie=cookie, timeout=timeout)

    def call(self, method: str, *params: Any, **named: Any) -> Any:
        """Return the result of one call, with positional or named parameters.

        Raises RpcError with the node's code, RpcUnavailable, RpcRefused.
        """
        arguments: Any = {**named, **({"args": list(params)} if params else {})} if named else list(params)
        reply = self.post({"jsonrpc": "2.0", "id": next(self._ids), "method": method, "params": arguments})
        return _result(reply)

    def batch(self, calls: Sequence[tuple[str, Sequence[Any]]]) -> list[Any]:
        """Send several calls at once; each answer is a result or an RpcError."""
        requests = [
            {"jsonrpc": "2.0", "id": number, "method": method, "params": list(params)}
            for number, (method, params) in enumerate(calls)
        ]
        replies = self.post(requests)
        answers: list[Any] = []
        for reply in sorted(replies, key=lambda each: int(each["id"])):
            try:
                answers.append(_result(reply))
            except RpcError as error:
                answers.append(error)
        return answers

    def post(self, request: Any) -> Any:
        """Send JSON and return the JSON that comes back. Raises RpcUnavailable, RpcRefused."""
        body = dump(request).encode()
        status, content = self._send(body)
        if status == 401:
            raise RpcRefused("the node does not accept the user name and password")
        if status == 403:
            raise RpcRefused("the node does not allow this call")
        try:
            return json.loads(content, parse_float=self._parse_float) if self._parse_float else parse(content)
        except ValueError:
            raise RpcUnavailable(f"server returned HTTP error {status}") from None

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _send(self, body: bytes) -> tuple[int, bytes]:
        is_kept = self._connection is not None
        try:
            return self._exchange(body)
        except (OSError, http.client.HTTPException) as error:
            self.close()
            if not is_kept or isinstance(error, TimeoutError):
                raise RpcUnavailable(f"Could not connect to the server {self.host}:{self.port}") from error
        try:  # the node closes connections that were idle for long
            return self._exchange(body)
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise RpcUnavailable(f"Could not connect to the server {self.host}:{self.port}") from error

    def _exchange(self, body: bytes) -> tuple[int, bytes]:
        if self._connection is None:
            self._authorization = self._credentials()
            self._connection = http.client.HTTPConnection(self.host, self.port, timeout=self._timeout)
        headers = {"Authorization": self._authorization, "Content-Type": "application/json"}
        self._connection.request("POST", "/", body, headers)
        response = self._connection.getresponse()
        return response.status, response.read()

    def _credentials(self) -> str:
        plain = f"{self._user}:{self._password}"
        if self._cookie is not None and not self._password:
            try:
                plain = self._cookie.read_text("utf-8")
            except OSError as error:
                raise RpcUnavailable(f"no node runs there: cannot read its cookie {self._cookie}") from error
        return "Basic " + base64.b64encode(plain.encode()).decode()


def _result(reply: Any) -> Any:
    error = reply.get("error")
    if error is not None:
        raise RpcError(int(error["code"]), str(error["message"]))
    return reply.get("result")


__all__ = ["JsonNumber", "RpcClient", "RpcRefused", "RpcUnavailable"]
