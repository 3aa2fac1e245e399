"""The HTTP server: JSON-RPC 1.0, 1.1 and 2.0, single requests and batches, as bitcoind answers them."""

import asyncio
import contextlib
import ipaddress
import logging
import socket
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from aiohttp import http_exceptions, web
from prometheus_client import CONTENT_TYPE_LATEST

from altyn.node.options import SettingsError
from altyn.node.rpc.auth import Users
from altyn.node.rpc.errors import (
    CLIENT_NOT_CONNECTED,
    IN_WARMUP,
    INTERNAL_ERROR,
    INVALID_REQUEST,
    METHOD_NOT_FOUND,
    PARSE_ERROR,
    RpcError,
)
from altyn.node.rpc.json_text import dump, dump_in_pieces, parse
from altyn.node.rpc.method import Json, MethodTable
from altyn.node.rpc.metrics import NodeMetrics
from altyn.node.rpc.rest import Refusal, Rest
from altyn.node.rpc.stream import EventStream, TooManyClients
from altyn.node.writer import WriterStopped

log = logging.getLogger(__name__)
_http_log = logging.getLogger(f"{__name__}.http")

MAX_BODY = 0x02000000
"""Bytes of a request (Core: MAX_SIZE)."""
_BRUTE_FORCE_DELAY = 0.25
_SHUTDOWN_TIMEOUT = 2.0
_ABSENT = object()
_HTTP_STATUS = {INVALID_REQUEST: 400, METHOD_NOT_FOUND: 404}


@dataclass(slots=True)
class Request:
    """One call as it was read so far: what is known when a part is wrong shapes the answer to it."""

    id: Any = None
    is_version_2: bool = False
    method: str = ""
    params: Json = field(default_factory=list)

    @property
    def is_notification(self) -> bool:
        """Whether nobody waits for an answer."""
        return self.is_version_2 and self.id is _ABSENT

    def read(self, value: Json) -> None:
        """Fill in from JSON (Core: JSONRPCRequest::parse). Raises RpcError."""
        if not isinstance(value, dict):
            raise RpcError(INVALID_REQUEST, "Invalid Request object")
        self.id = value.get("id", _ABSENT)
        version = value.get("jsonrpc")
        if version is not None:
            if not isinstance(version, str):
                raise RpcError(INVALID_REQUEST, "jsonrpc field must be a string")
            if version not in {"1.0", "2.0"}:
                raise RpcError(INVALID_REQUEST, "JSON-RPC version not supported")
            self.is_version_2 = version == "2.0"
        method = value.get("method")
        if method is None:
            raise RpcError(INVALID_REQUEST, "Missing method")
        if not isinstance(method, str):
            raise RpcError(INVALID_REQUEST, "Method must be a string")
        self.method = method
        params = value.get("params")
        if params is not None and not isinstance(params, list | dict):
            raise RpcError(INVALID_REQUEST, "Params must be an array or object")
        self.params = [] if params is None else params

    def result(self, text: bytes) -> bytes:
        """Return the reply that carries a result, given as JSON text."""
        head = b'{"jsonrpc":"2.0","result":' if self.is_version_2 else b'{"result":'
        return b"".join((head, text, b"" if self.is_version_2 else b',"error":null', self._id(), b"}"))

    def error(self, error: RpcError) -> bytes:
        """Return the reply that carries an error."""
        head = '{"jsonrpc":"2.0",' if self.is_version_2 else '{"result":null,'
        body = dump({"code": error.code, "message": error.message})
        return f'{head}"error":{body}'.encode() + self._id() + b"}"

    def _id(self) -> bytes:
        return b"" if self.id is _ABSENT else b',"id":' + dump(self.id).encode()


class RpcServer:
    """Answers the methods of a table; until `ready` is called, everything is refused with what start-up does now."""

    def __init__(
        self,
        users: Users,
        *,
        threads: int = 16,
        work_queue: int = 64,
        timeout: float = 30.0,
        allowed: Sequence[str] = (),
        open_paths: Collection[str] = (),
    ) -> None:
        """Work on `threads` calls at once while `work_queue` wait; `timeout` in seconds.

        `open_paths` are those served without a password: "rest", "metrics", "events". Raises SettingsError.
        """
        self.rest: Rest | None = None
        """What answers under /rest/, from the end of the start on; so do the next two."""
        self.metrics: NodeMetrics | None = None
        self.stream: EventStream | None = None
        self._open_paths = open_paths
        self.methods = MethodTable()
        self._users = users
        self._slots = asyncio.Semaphore(max(threads, 1))
        self._most_waiting = max(threads, 1) + max(work_queue, 1)
        self._waiting = 0
        self._timeout = timeout
        self._allowed = [_network(text) for text in ("127.0.0.0/8", "::1", *allowed)]
        self._warmup = "RPC server started"
        self._runner: web.AppRunner | None = None

    def warm_up(self, status: str) -> None:
        """Say what start-up is doing, to everybody who calls meanwhile."""
        self._warmup = status

    def ready(self, groups: Iterable[object]) -> None:
        """Answer the methods of `groups` from now on."""
        for group in groups:
            self.methods.add(group)
        self._warmup = ""

    async def listen(self, addresses: Sequence[tuple[str, int]]) -> list[tuple[str, int]]:
        """Listen on the addresses, at least one of which must be free; return those in use. Raises OSError."""
        application = web.Application(client_max_size=MAX_BODY)
        application.router.add_route("*", "/", self._handle)
        application.router.add_route("*", "/wallet/{name:.*}", self._handle)  # Core without wallets: as if it were "/"
        if "rest" in self._open_paths:
            application.router.add_route("*", "/rest/{target:.*}", self._handle_rest)
        if "metrics" in self._open_paths:
            application.router.add_get("/metrics", self._handle_metrics)
        if "events" in self._open_paths:
            application.router.add_get("/events", self._handle_events)
        runner = self._runner = web.AppRunner(
            application,
            access_log=None,
            logger=_http_log,
            handle_signals=False,
            keepalive_timeout=self._timeout,
            shutdown_timeout=_SHUTDOWN_TIMEOUT,
        )
        await runner.setup()
        try:
            return await _listen(runner, addresses)
        except OSError:
            await runner.cleanup()
            raise

    async def close(self) -> None:
        """Answer nobody any more: what is being worked on gets two seconds to finish."""
        runner, self._runner = self._runner, None
        if self.stream is not None:
            self.stream.end()
        if runner is not None:
            await runner.cleanup()

    async def _handle(self, http: web.Request) -> web.StreamResponse:
        if not self._is_allowed(http.remote):
            return web.Response(status=403)
        if http.method != "POST":
            return web.Response(status=405, text="JSONRPC server handles only POST requests")
        authorization = http.headers.get("Authorization")
        challenge = {"WWW-Authenticate": 'Basic realm="jsonrpc"'}
        if authorization is None:
            return web.Response(status=401, headers=challenge)
        user = self._users.identify(authorization)
        if user is None:
            log.warning("ThreadRPCServer incorrect password attempt from %s", http.remote)
            await asyncio.sleep(_BRUTE_FORCE_DELAY)  # makes guessing slow
            return web.Response(status=401, headers=challenge)
        try:
            async with asyncio.timeout(self._timeout):
                body = await http.read()  # before it counts: who sends slowly keeps nobody waiting
        except TimeoutError:
            return web.Response(status=408)
        except (web.RequestPayloadError, http_exceptions.HttpProcessingError):
            return web.Response(status=400)
        return await self._work(lambda: self._answer(body, user))

    async def _work(self, answer: Callable[[], Awaitable[web.StreamResponse]]) -> web.StreamResponse:
        """Answer when its turn comes, or at once that too many wait."""
        if self._waiting >= self._most_waiting:
            log.warning("Request rejected because http work queue depth exceeded, it can be increased")
            return web.Response(status=503, text="Work queue depth exceeded")
        self._waiting += 1
        try:
            async with self._slots:
                return await answer()
        finally:
            self._waiting -= 1

    async def _handle_rest(self, http: web.Request) -> web.StreamResponse:
        if not self._is_allowed(http.remote):
            return web.Response(status=403)
        try:
            async with asyncio.timeout(self._timeout):
                body = await http.read()
        except TimeoutError:
            return web.Response(status=408)
        except (web.RequestPayloadError, http_exceptions.HttpProcessingError):
            return web.Response(status=400)
        return await self._work(lambda: self._answer_rest(http.raw_path.removeprefix("/rest/"), body))

    async def _handle_metrics(self, http: web.Request) -> web.StreamResponse:
        if not self._is_allowed(http.remote):
            return web.Response(status=403)
        if self.metrics is None:
            return self._not_yet()
        return web.Response(body=self.metrics.text(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def _handle_events(self, http: web.Request) -> web.StreamResponse:
        if not self._is_allowed(http.remote):
            return web.Response(status=403)
        if self.stream is None:
            return self._not_yet()
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"})
        try:
            async with contextlib.aclosing(self.stream.listen()) as events:
                async for text in events:
                    if not response.prepared:
                        await response.prepare(http)
                    await response.write(text)
        except TooManyClients:
            return web.Response(status=503, text="Too many listen already")
        except ConnectionError:
            pass  # the client is gone
        return response

    def _not_yet(self) -> web.Response:
        return web.Response(status=503, text=f"Service temporarily unavailable: {self._warmup}\r\n")

    async def _answer_rest(self, target: str, body: bytes) -> web.StreamResponse:
        if self.rest is None:
            return self._not_yet()
        try:
            form, content = await self.rest.answer(target, body)
            if form == "json":
                return _json_response(await dump_in_pieces(content), 200)
        except Refusal as error:
            if not error.text:
                return web.Response(status=error.status, content_type="text/html")
            return _plain(error.status, error.text)
        except RpcError as error:  # met while a long answer was made
            return _plain(500, error.message)
        except Exception:  # the boundary, as in _execute
            log.exception("bug in REST %s", target)
            return _plain(500, "Internal error; see the log")
        if form == "hex":
            return web.Response(body=content.hex().encode() + b"\n", headers={"Content-Type": "text/plain"})
        return web.Response(body=content, content_type="application/octet-stream")

    def _is_allowed(self, remote: str | None) -> bool:
        address = ipaddress.ip_address((remote or "0.0.0.0").partition("%")[0])
        if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
            address = address.ipv4_mapped
        return any(address in network for network in self._allowed)

    async def _answer(self, body: bytes, user: str) -> web.StreamResponse:
        request = Request()
        try:
            try:
                value = parse(body)
            except ValueError:
                raise RpcError(PARSE_ERROR, "Parse error") from None
            if not self._users.may_call_anything(user):
                log.warning("RPC User %s not allowed to call any methods", user)
                return web.Response(status=403)
            if isinstance(value, list):
                return await self._answer_batch(value, user)
            if not isinstance(value, dict):
                raise RpcError(PARSE_ERROR, "Top-level object parse error")
            request.read(value)
            if not self._users.may_call(user, request.method):
                log.warning("RPC User %s not allowed to call method %s", user, request.method)
                return web.Response(status=403)
            reply = await self._execute(request, user)
        except RpcError as error:
            return _json_response(request.error(error), _HTTP_STATUS.get(error.code, 500))
        if request.is_notification:
            return web.Response(status=204)
        if isinstance(reply, RpcError):
            status = 200 if request.is_version_2 else _HTTP_STATUS.get(reply.code, 500)
            return _json_response(request.error(reply), status)
        return _json_response(request.result(reply), 200)

    async def _answer_batch(self, values: list[Json], user: str) -> web.StreamResponse:
        for value in values:
            method = value.get("method") if isinstance(value, dict) else None
            if isinstance(method, str) and not self._users.may_call(user, method):
                log.warning("RPC User %s not allowed to call method %s", user, method)
                return web.Response(status=403)
        replies = []
        for value in values:
            request = Request()
            try:
                request.read(value)
            except RpcError as error:
                replies.append(request.error(error))
                continue
            reply = await self._execute(request, user)
            if not request.is_notification:
                replies.append(request.error(reply) if isinstance(reply, RpcError) else request.result(reply))
            await asyncio.sleep(0)  # others come in between, however long the batch
        if values and not replies:
            return web.Response(status=204)
        return _json_response(b"[" + b",".join(replies) + b"]", 200)

    async def _execute(self, request: Request, user: str) -> bytes | RpcError:
        """Return the JSON text of the result, or the error."""
        log.debug("ThreadRPCServer method=%s user=%s", request.method, user)
        if self._warmup:
            return RpcError(IN_WARMUP, self._warmup)
        try:
            return await dump_in_pieces(await self.methods.call(request.method, request.params))
        except RpcError as error:
            return error
        except WriterStopped:
            return RpcError(CLIENT_NOT_CONNECTED, "Shutting down")
        except Exception:  # the boundary: a bug costs this answer, not the node; the log has the traceback
            log.exception("bug in RPC method %s", request.method)
            return RpcError(INTERNAL_ERROR, f"Internal error in {request.method}; see the log")


def _quieten(record: logging.LogRecord) -> bool:
    """Make a debug line of what aiohttp logs, with its traceback, over bytes that are no HTTP: anyone can send them."""
    error = record.exc_info[1] if record.exc_info else None
    if isinstance(error, http_exceptions.HttpProcessingError | web.RequestPayloadError):
        record.levelno, record.levelname, record.exc_info = logging.DEBUG, "DEBUG", None
        record.msg, record.args = "malformed HTTP request: %s", (type(error).__name__,)
    return True


_http_log.addFilter(_quieten)


def _json_response(body: bytes, status: int) -> web.Response:
    return web.Response(body=body + b"\n", status=status, content_type="application/json")


def _plain(status: int, text: str) -> web.Response:
    return web.Response(status=status, body=f"{text}\r\n".encode(), headers={"Content-Type": "text/plain"})


def _network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise SettingsError(
            f"Invalid -rpcallowip subnet specification: {text}. Valid values are a single IP (e.g. 1.2.3.4), "
            "a network/netmask (e.g. 1.2.3.4/255.255.255.0), a network/CIDR (e.g. 1.2.3.4/24), "
            "all ipv4 (0.0.0.0/0), or all ipv6 (::/0).\n"
            "Error: Unable to start HTTP server. See debug log for details."
        ) from None


async def _listen(runner: web.AppRunner, addresses: Sequence[tuple[str, int]]) -> list[tuple[str, int]]:
    """Open each address; one that fails is no matter as long as another works, as IPv6 may be missing."""
    bound, failure = [], None
    for host, port in addresses:
        try:
            site = web.TCPSite(runner, host, port)
            await site.start()
        except (OSError, socket.gaierror) as error:
            log.info("Binding RPC on address %s port %i failed.", host, port)
            failure = error
        else:
            log.info("Binding RPC on address %s port %i", host, port)
            bound.append((host, port))
    if not bound:
        raise failure or OSError("no address to listen on")
    return bound
