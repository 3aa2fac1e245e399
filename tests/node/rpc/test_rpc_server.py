import asyncio
import base64
import contextlib
import io
import json
from collections.abc import AsyncIterator
from typing import Annotated, Any

import aiohttp
import pytest

from altyn.node.rpc.auth import Users
from altyn.node.rpc.errors import RpcError
from altyn.node.rpc.method import Json, Number, method
from altyn.node.rpc.server import MAX_BODY, RpcServer
from altyn.node.testnet.processes import free_ports


class Methods:
    def __init__(self) -> None:
        self.release = asyncio.Event()
        self.calls = 0

    @method("Test", result="n")
    def double(self, number: Annotated[int, Number("n")]) -> int:
        self.calls += 1
        return 2 * number

    @method("Test", result="null")
    def refuse(self) -> Json:
        raise RpcError(-5, "no")

    @method("Test", result="null")
    def fail(self) -> Json:
        raise ZeroDivisionError("a bug")

    @method("Test", result="null")
    async def wait(self) -> None:
        await self.release.wait()


class Caller:
    """Talks HTTP to the server under test."""

    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        self.url = url
        self.session = session

    async def post(self, body: Any, user: str | None = "user:secret") -> tuple[int, Any, aiohttp.ClientResponse]:
        headers = {}
        if user is not None:
            headers["Authorization"] = "Basic " + base64.b64encode(user.encode()).decode()
        data = io.BytesIO(body if isinstance(body, bytes) else json.dumps(body).encode())
        async with self.session.post(self.url, data=data, headers=headers) as response:
            text = await response.text()
            return response.status, json.loads(text) if text.startswith(("{", "[")) else text, response


@pytest.fixture
def methods() -> Methods:
    return Methods()


@pytest.fixture
def server() -> RpcServer:
    users = Users(
        {"user": "secret", "narrow": "pass"}, whitelists=["user:double,refuse,fail,wait,nothing", "narrow:wait"]
    )
    return RpcServer(users, threads=1, work_queue=1, timeout=5)


@pytest.fixture
async def caller(server: RpcServer, methods: Methods) -> AsyncIterator[Caller]:
    server.ready([methods])
    (port,) = free_ports(1)
    await server.listen([("127.0.0.1", port)])
    async with aiohttp.ClientSession() as session:
        yield Caller(f"http://127.0.0.1:{port}/", session)
    methods.release.set()
    await server.close()


async def test_version_2_answers_200_and_either_result_or_error(caller: Caller) -> None:
    head = {"jsonrpc": "2.0", "id": 7}
    status, reply, response = await caller.post({**head, "method": "double", "params": [4]})
    assert (status, reply) == (200, {**head, "result": 8})
    assert response.headers["Content-Type"] == "application/json"
    status, reply, _ = await caller.post({**head, "method": "refuse"})
    assert (status, reply) == (200, {**head, "error": {"code": -5, "message": "no"}})
    status, reply, _ = await caller.post({**head, "method": "nothing"})
    assert (status, reply["error"]["code"]) == (200, -32601)


async def test_older_versions_answer_with_http_errors_and_both_fields(caller: Caller) -> None:
    status, reply, _ = await caller.post({"id": "a", "method": "double", "params": [4]})
    assert (status, reply) == (200, {"result": 8, "error": None, "id": "a"})
    status, reply, response = await caller.post({"jsonrpc": "1.0", "id": None, "method": "refuse"})
    assert (status, reply) == (500, {"result": None, "error": {"code": -5, "message": "no"}, "id": None})
    assert response.headers["Content-Type"] == "application/json"
    status, reply, _ = await caller.post({"method": "nothing"})
    assert (status, reply) == (404, {"result": None, "error": {"code": -32601, "message": "Method not found"}})


@pytest.mark.parametrize(
    ("body", "status", "code", "message"),
    [
        (b"{", 500, -32700, "Parse error"),
        (b"", 500, -32700, "Parse error"),
        (b"\xff\xfe", 500, -32700, "Parse error"),
        (b"[" * 50_000, 500, -32700, "Parse error"),
        (b'"text"', 500, -32700, "Top-level object parse error"),
        (b'{"id": 1}', 400, -32600, "Missing method"),
        (b'{"method": 1}', 400, -32600, "Method must be a string"),
        (b'{"method": "double", "params": 1}', 400, -32600, "Params must be an array or object"),
        (b'{"method": "double", "jsonrpc": 2}', 400, -32600, "jsonrpc field must be a string"),
        (b'{"method": "double", "jsonrpc": "3.0"}', 400, -32600, "JSON-RPC version not supported"),
    ],
)
async def test_malformed_requests_get_cores_errors(
    caller: Caller, body: bytes, status: int, code: int, message: str
) -> None:
    found, reply, _ = await caller.post(body)
    assert (found, reply["error"]) == (status, {"code": code, "message": message})


async def test_a_batch_answers_each_call_and_never_with_an_http_error(caller: Caller) -> None:
    status, replies, _ = await caller.post(
        [
            {"jsonrpc": "2.0", "id": 1, "method": "double", "params": {"number": 4}},
            {"id": 2, "method": "refuse"},
            {"jsonrpc": "2.0", "method": "double", "params": [1]},
            {"jsonrpc": "2.0", "id": 3},
            5,
        ]
    )
    assert status == 200
    assert replies == [
        {"jsonrpc": "2.0", "result": 8, "id": 1},
        {"result": None, "error": {"code": -5, "message": "no"}, "id": 2},
        {"jsonrpc": "2.0", "error": {"code": -32600, "message": "Missing method"}, "id": 3},
        {"result": None, "error": {"code": -32600, "message": "Invalid Request object"}, "id": None},
    ]
    assert (await caller.post([]))[:2] == (200, [])


async def test_notifications_are_done_and_not_answered(caller: Caller, methods: Methods) -> None:
    notification = {"jsonrpc": "2.0", "method": "double", "params": [1]}
    assert (await caller.post(notification))[:2] == (204, "")
    assert (await caller.post([notification, notification]))[:2] == (204, "")
    assert methods.calls == 3


@pytest.mark.parametrize("user", [None, "user:wrong", "nobody:secret", "user"])
async def test_nobody_calls_without_the_password(caller: Caller, methods: Methods, user: str | None) -> None:
    status, _, response = await caller.post({"id": 1, "method": "double", "params": [1]}, user)
    assert status == 401
    assert response.headers["WWW-Authenticate"] == 'Basic realm="jsonrpc"'
    assert methods.calls == 0


async def test_a_whitelist_holds_for_single_calls_and_for_batches(caller: Caller, methods: Methods) -> None:
    call = {"id": 1, "method": "double", "params": [1]}
    assert (await caller.post(call, "narrow:pass"))[0] == 403
    assert (await caller.post([call], "narrow:pass"))[0] == 403
    assert methods.calls == 0


async def test_other_http_methods_and_paths_are_refused(caller: Caller) -> None:
    async with caller.session.get(caller.url) as response:
        assert response.status == 405
        assert await response.text() == "JSONRPC server handles only POST requests"
    async with caller.session.post(caller.url + "elsewhere") as response:
        assert response.status == 404


async def test_bodies_are_bounded(caller: Caller) -> None:
    assert (await caller.post(b" " * (MAX_BODY + 1)))[0] == 413


async def test_a_full_work_queue_refuses_and_recovers(caller: Caller, methods: Methods) -> None:
    calls = [asyncio.create_task(caller.post({"id": n, "method": "wait"})) for n in range(3)]
    refused, waiting = await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
    assert [each.result()[:2] for each in refused] == [(503, "Work queue depth exceeded")]
    methods.release.set()
    assert [(await each)[0] for each in waiting] == [200, 200]
    assert (await caller.post({"id": 9, "method": "double", "params": [1]}))[0] == 200


async def test_many_slow_clients_do_not_keep_the_next_one_waiting(caller: Caller) -> None:
    port = int(caller.url.split(":")[2].strip("/"))
    head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\nAuthorization: Basic dXNlcjpzZWNyZXQ=\r\n"
    writers = []
    try:
        for number in range(200):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writers.append(writer)
            writer.write(head + (b"\r\n{" if number % 2 else b""))  # half of them stop within the header
        async with asyncio.timeout(3):
            status, _, _ = await caller.post({"id": 1, "method": "double", "params": [1]})
        assert status == 200
    finally:
        for writer in writers:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()


async def test_a_bug_is_logged_and_the_caller_sees_no_traceback(
    caller: Caller, caplog: pytest.LogCaptureFixture
) -> None:
    status, reply, _ = await caller.post({"jsonrpc": "2.0", "id": 1, "method": "fail"})
    assert status == 200
    assert reply["error"]["code"] == -32603
    assert "ZeroDivisionError" not in json.dumps(reply)
    assert "ZeroDivisionError" in caplog.text


async def test_until_the_node_is_ready_every_call_is_told_what_start_up_does() -> None:
    server = RpcServer(Users({"user": "secret"}))
    server.warm_up("Loading block index…")
    (port,) = free_ports(1)
    await server.listen([("127.0.0.1", port)])
    async with aiohttp.ClientSession() as session:
        caller = Caller(f"http://127.0.0.1:{port}/", session)
        status, reply, _ = await caller.post({"id": 1, "method": "anything"})
        assert (status, reply["error"]) == (500, {"code": -28, "message": "Loading block index…"})
    await server.close()


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"\0\xff\x16\x03\x01\r\n\r\n",
        b"POST / HTTP/9.9\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{}",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nAuthorization: Basic \xff\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nAuthorization: Basic dXNlcjpzZWNyZXQ=\r\n"
        b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 100_000 + b"\r\n\r\n",
    ],
)
async def test_what_is_no_http_is_answered_with_a_400_or_401_and_no_traceback(
    caller: Caller, request_bytes: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    host, port = caller.url.removeprefix("http://").rstrip("/").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(request_bytes)
    async with asyncio.timeout(10):
        answer = await reader.read(65536)
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()
    assert answer.split()[1] in (b"400", b"401")
    assert not [record for record in caplog.records if record.exc_info]
