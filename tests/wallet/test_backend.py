"""Asking a node by JSON-RPC: batches, credentials, and every way of going wrong, in one line each."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from stranger import strange_port

from altyn.consensus.transaction import Transaction, TxIn, TxOut
from altyn.wallet.backend import Credentials, RpcBackend
from altyn.wallet.errors import NodeError, NodeUnreachable, Rejected
from tests.wallet.fake_node import FakeNode
from tests.wallet.fake_server import FakeServer, RpcError


@pytest.fixture
def backend(server: FakeServer) -> Iterator[RpcBackend]:
    made = RpcBackend(server.url, Credentials(server.cookie_file), sleep=lambda seconds: None)
    yield made
    made.close()


def test_it_answers_as_the_node_itself(backend: RpcBackend, node: FakeNode) -> None:
    node.mine(3)
    heights = [0, 1, 2, 3]
    hashes = backend.block_hashes(heights)
    assert hashes == node.block_hashes(heights)
    assert hashes is not None
    assert backend.chain_info() == node.chain_info()
    assert backend.headers(hashes) == node.headers(hashes)
    assert backend.filters(hashes) == node.filters(hashes)
    assert backend.block(hashes[2]) == node.block(hashes[2])
    assert backend.min_feerate() == 1000
    assert backend.block_hashes([3, 4]) is None


def test_a_batch_is_one_request_and_the_connection_stays_open(backend: RpcBackend, server: FakeServer) -> None:
    server.node.mine(250)
    backend.block_hashes(range(250))
    backend.chain_info()
    assert (server.requests, server.connections) == (2, 1)


def test_an_empty_batch_is_no_request(backend: RpcBackend, server: FakeServer) -> None:
    assert backend.block_hashes([]) == []
    assert server.requests == 0


def test_answers_of_a_batch_may_come_in_any_order(
    backend: RpcBackend, server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.node.mine(3)
    honest = server.answer
    monkeypatch.setattr(server, "answer", lambda request: [honest(each) for each in reversed(request)])
    assert backend.block_hashes([0, 1, 2]) == server.node.block_hashes([0, 1, 2])


def test_estimates_are_exact_decimals(backend: RpcBackend, node: FakeNode, server: FakeServer) -> None:
    node.estimate = 12_345
    assert backend.estimate_feerate(6) == 12_345
    node.estimate = None
    assert backend.estimate_feerate(6) is None
    server.answers["estimatesmartfee"] = RpcError(-32601, "Method not found")  # a light node
    assert backend.estimate_feerate(6) is None


def test_a_cookie_that_changed_is_read_again(backend: RpcBackend, server: FakeServer) -> None:
    backend.chain_info()
    server.set_secret("__cookie__:2")
    backend.chain_info()


def test_a_connection_the_node_closed_is_opened_again(backend: RpcBackend, server: FakeServer) -> None:
    backend.chain_info()
    server.hang_up = True
    backend.chain_info()
    assert server.connections == 2


def test_wrong_credentials_are_named(backend: RpcBackend, server: FakeServer) -> None:
    server.secret = "other"
    with pytest.raises(NodeUnreachable, match="refuses the credentials: check --rpc-cookie"):
        backend.chain_info()


def test_user_and_password_may_stand_in_the_url_or_beside_it(server: FakeServer) -> None:
    server.secret = "me:p@ss"
    with RpcBackend(server.url.replace("//", "//me:p%40ss@"), Credentials()) as backend:
        backend.chain_info()
    with RpcBackend(server.url, Credentials(None, "me", "p@ss")) as backend:
        backend.chain_info()


def test_a_missing_cookie_file_is_named(server: FakeServer, tmp_path: Path) -> None:
    with pytest.raises(NodeUnreachable, match=r"cannot read the cookie file .*none.*is the node running"):
        RpcBackend(server.url, Credentials(tmp_path / "none")).chain_info()


def test_nobody_there_says_what_to_do() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and does not listen
        backend = RpcBackend(f"127.0.0.1:{taken.getsockname()[1]}", Credentials(None, "a", "b"))
        with pytest.raises(NodeUnreachable, match=r"no node answers at .*start one, or say where it is with --rpc-url"):
            backend.chain_info()


def test_what_a_stranger_says_is_kept_from_the_terminal() -> None:
    with strange_port(calls=1) as port:
        backend = RpcBackend(f"127.0.0.1:{port}", Credentials(None, "a", "b"))
        with pytest.raises(NodeUnreachable, match="is no RPC server: say where one is") as raised:
            backend.chain_info()
    assert "owned" not in str(raised.value)


def test_a_node_that_does_not_answer_in_time_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        backend = RpcBackend(f"127.0.0.1:{silent.getsockname()[1]}", Credentials(None, "a", "b"), timeout=0.05)
        with pytest.raises(NodeUnreachable, match="did not answer within"):
            backend.chain_info()


@pytest.mark.parametrize("url", ["ftp://x", "http://", "http://x:port", ""])
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(NodeUnreachable, match="http://HOST:PORT"):
        RpcBackend(url, Credentials())


@pytest.mark.parametrize("raw", [b"<html>", b"", b"[]", b"1", b'"x"', b"\xff"])
def test_what_is_no_node_is_named(backend: RpcBackend, server: FakeServer, raw: bytes) -> None:
    server.raw = raw
    with pytest.raises(NodeError, match="does not answer like a node"):
        backend.chain_info()


@pytest.mark.parametrize("raw", [b"[]", b"1", b'[{"id": 0}]', b"[1, 2]", b'[{"id": 7, "result": 1}]'])
def test_a_batch_answered_by_something_else(backend: RpcBackend, server: FakeServer, raw: bytes) -> None:
    server.raw = raw
    with pytest.raises(NodeError):
        backend.block_hashes([0, 1])


def test_a_node_that_starts_up_asks_for_patience(backend: RpcBackend, server: FakeServer) -> None:
    server.answers["getblockchaininfo"] = RpcError(-28, "Verifying blocks…")
    with pytest.raises(NodeUnreachable, match=r"still starting \(Verifying blocks…\): try again"):
        backend.chain_info()


def test_a_node_that_does_not_let_us_in(backend: RpcBackend, server: FakeServer) -> None:
    server.status = 403
    with pytest.raises(NodeUnreachable, match="rpcallowip"):
        backend.chain_info()


def test_a_bitcoind_without_filters_says_how_to_start_it(backend: RpcBackend, server: FakeServer) -> None:
    server.answers["getblockfilter"] = RpcError(-1, "Index is not enabled for filtertype basic")
    with pytest.raises(NodeError, match="start bitcoind with -blockfilterindex=1"):
        backend.filters([server.node.blocks[0].hash])


def test_filters_that_are_being_indexed_are_waited_for(backend: RpcBackend, server: FakeServer) -> None:
    busy = RpcError(-1, "Filter not found. Block filters are still in the process of being indexed.")
    server.answers["getblockfilter"] = [busy, busy]
    assert len(backend.filters([server.node.blocks[0].hash])) == 1


def test_but_not_for_ever(server: FakeServer) -> None:
    now = iter(range(0, 1000, 25))
    backend = RpcBackend(
        server.url, Credentials(server.cookie_file), monotonic=lambda: next(now), sleep=lambda seconds: None
    )
    server.answers["getblockfilter"] = RpcError(-1, "Filter not found. Block filters are still being indexed.")
    with backend, pytest.raises(NodeError, match="being indexed"):
        backend.filters([server.node.blocks[0].hash])


def test_a_refused_transaction_keeps_reason_and_code(backend: RpcBackend) -> None:
    tx = Transaction(2, [TxIn(Transaction(1, [], []).outpoint(0))], [TxOut(1, b"\x51")])
    with pytest.raises(Rejected, match=r"^bad-txns-inputs-missingorspent$") as refusal:
        backend.broadcast(tx.raw)
    assert refusal.value.code == -25


@pytest.mark.parametrize(
    ("method", "answer"),
    [
        ("getblockchaininfo", {"chain": "regtest"}),
        ("getblockchaininfo", 3),
        ("getblockhash", "zz"),
        ("getblockhash", "00"),
        ("getblockheader", "00"),
        ("getblockheader", "00" * 80),
        ("getblockheader", None),
        ("getblockfilter", {"filter": "00"}),
        ("getblockfilter", []),
        ("getblock", "00"),
        ("getblock", {}),
        ("getnetworkinfo", {}),
        ("getnetworkinfo", {"relayfee": "x"}),
    ],
)
def test_answers_that_cannot_be_true(backend: RpcBackend, server: FakeServer, method: str, answer: object) -> None:
    genesis = server.node.blocks[0].hash
    server.answers[method] = answer
    with pytest.raises(NodeError) as refusal:
        for _ in (
            backend.chain_info(),
            backend.block_hashes([0]),
            backend.headers([genesis]),
            backend.filters([genesis]),
            backend.block(genesis),
            backend.min_feerate(),
        ):
            pass
    assert "\n" not in str(refusal.value)


def test_another_block_than_the_one_asked_for(backend: RpcBackend, server: FakeServer) -> None:
    server.node.mine(1)
    genesis, other = server.node.blocks
    server.answers |= {"getblock": other.raw.hex(), "getblockheader": other.header.raw.hex()}
    with pytest.raises(NodeError, match="another block than"):
        backend.block(genesis.hash)
    with pytest.raises(NodeError, match="another header than"):
        backend.headers([genesis.hash])


def test_secrets_are_not_shown() -> None:
    assert "secret" not in repr(Credentials(None, "me", "secret"))
