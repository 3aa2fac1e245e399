"""The calls of software written for bitcoind, on altynd; and on bitcoind, which proves the table of them."""

from collections.abc import Iterator
from typing import Any
from urllib.request import urlopen

import pytest
from client_calls import CLIENTS, Call, World, electrs_rest
from node_processes import NodeProcess, altynd_process, bitcoind_process
from shapes import Refused, problems

from altyn.node.rpc.client import RpcClient

BITCOIND = pytest.param("bitcoind", marks=pytest.mark.slow)


@pytest.fixture(scope="module", params=["altynd", BITCOIND])
def node(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeProcess]:
    folder = tmp_path_factory.mktemp("clients") / "node"
    options = "-txindex", "-blockfilterindex", "-rest", "-disablewallet", "-fallbackfee=0.0001"
    made = (
        altynd_process(folder, *options, "-txospenderindex")
        if request.param == "altynd"
        else bitcoind_process(folder, *options)
    )
    with made as process:
        yield process


@pytest.fixture(scope="module")
def world(node: NodeProcess) -> World:
    return World(node)


def found(call: Call, reply: Any) -> list[str]:
    """Say what is wrong with the reply to a call."""
    error = reply.get("error")
    if isinstance(call.reads, Refused):
        return (
            []
            if error and error["code"] == call.reads.code
            else [f"{call.method}: no error {call.reads.code}: {reply}"]
        )
    if error:
        return [f"{call.method} {call.params}: {error}"]
    return [f"{call.method}: {problem}" for problem in problems(call.reads, reply["result"])]


def test_electrs_gets_blocks_by_rest(node: NodeProcess, world: World) -> None:
    for path, size, since in electrs_rest(world):
        if world.version >= since:
            with urlopen(f"{node.url}/rest/{path}") as response:
                assert response.headers["Content-Type"] == "application/octet-stream", path
                assert len(response.read()) >= size, path


@pytest.mark.parametrize("name", CLIENTS)
def test_a_client_gets_what_it_reads(node: NodeProcess, world: World, name: str) -> None:
    client = CLIENTS[name]
    calls = [call for call in client.calls(world) if world.version >= call.since]
    requests: list[Any] = [
        {**client.envelope, "id": number, "method": call.method}
        | ({} if client.omits_no_params and not call.params else {"params": call.params})
        for number, call in enumerate(calls)
    ]
    with RpcClient(node.url, cookie_file=node.cookie_file) as connection:
        replies = connection.post(requests) if client.batches else [connection.post(each) for each in requests]
    assert [reply["id"] for reply in replies] == list(range(len(calls)))
    assert [problem for call, reply in zip(calls, replies, strict=True) for problem in found(call, reply)] == []


def test_a_wrong_answer_is_found() -> None:
    shape = {"a": int, "b": [str], "c": True}
    assert list(problems(shape, {"a": 1, "b": ["x"], "c": True})) == []
    assert len(list(problems(shape, {"a": True, "b": [1], "c": 1}))) == 3
    assert len(list(problems(shape, {"b": []}))) == 3
