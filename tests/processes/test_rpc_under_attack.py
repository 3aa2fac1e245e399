"""A node whose RPC server is attacked: by calls of every kind, and by clients that take their time."""

import contextlib
import http.client
import json
import os
import re
import socket
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest
from node_processes import NodeProcess, altyn_process
from rpc_fuzz import ADDRESS, Calls

from altyn.node.rpc.client import RpcClient
from altyn.node.rpc.json_text import dump

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
CALLS = {"quick": 10_000, "slow": 10_000, "exhaustive": 200_000}[os.environ.get("ALTYN_EFFORT", "quick")]
SLOW_CLIENTS = 200


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeProcess]:
    folder: Path = tmp_path_factory.mktemp("attacked") / "node"
    with altyn_process(folder, "--txindex", "--rest") as running:
        yield running


def authorization(node: NodeProcess) -> str:
    client = RpcClient(node.url, cookie_file=node.cookie_file)
    with client:
        client.call("getblockcount")
        return client._authorization


def test_ten_thousand_calls_get_an_answer_or_an_error_with_a_body(node: NodeProcess) -> None:
    blocks = node.call("generatetoaddress", 3, ADDRESS)
    raw = node.call("getblock", blocks[0], 0)
    tx = node.call("getblock", blocks[0], 2)["tx"][0]["hex"]
    calls = Calls(Random(11), [*blocks, raw, tx])
    head = {"Authorization": authorization(node), "Content-Type": "application/json"}
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", node.rpc_port, timeout=60)) as connection:
        for number in range(CALLS):
            name, params = calls.call()
            body = dump({"method": name, "params": params, "id": number, "jsonrpc": "2.0"}).encode()
            connection.request("POST", "/", body, head)
            answer = connection.getresponse()
            content = answer.read()
            reply = json.loads(content)
            assert answer.status in {200, 400, 404, 500}, (name, params)
            assert reply.keys() >= {"id", "error"} or "result" in reply, (name, params, content)
            if reply.get("error") is not None:
                assert isinstance(reply["error"]["code"], int)
                assert "see the log" not in reply["error"]["message"], (name, params)
    assert node.call("getblockcount") >= 0
    assert not re.search("Traceback|bug in", node.log)


def test_slow_clients_keep_nobody_else_waiting(node: NodeProcess) -> None:
    head = f"POST / HTTP/1.1\r\nHost: x\r\nAuthorization: {authorization(node)}\r\nContent-Length: 100\r\n\r\n"
    sockets = []
    try:
        for number in range(SLOW_CLIENTS):
            client = socket.create_connection(("127.0.0.1", node.rpc_port), timeout=10)
            client.sendall(head.encode()[: len(head) if number % 2 else 40] + (b'{"method"' if number % 2 else b""))
            sockets.append(client)
        for _ in range(20):
            assert node.call("getblockcount") >= 0
    finally:
        for client in sockets:
            client.close()
