"""The search for nonces: right, complete, and replaceable."""

from importlib.metadata import EntryPoint

import pytest

from altyn.consensus.hashes import sha256d
from altyn.consensus.networks import MAINNET, REGTEST
from altyn.consensus.pow import bits_to_target
from altyn.node.mining import search
from altyn.node.mining.search import UnknownBackend, backend_names, load_backend
from altyn.node.mining.search.hashlib import HashlibSearch

HEADER = MAINNET.genesis.header
TARGET = bits_to_target(HEADER.bits)


def test_the_nonce_of_genesis_is_found() -> None:
    first = HEADER.nonce - 20_000
    assert HashlibSearch().search(HEADER.raw, TARGET, first, 20_001) == HEADER.nonce
    assert HashlibSearch().search(HEADER.raw, TARGET, first, 20_000) is None
    assert HashlibSearch().search(HEADER.raw, TARGET, HEADER.nonce + 1, 20_000) is None


@pytest.mark.parametrize("target", [1 << 252, (1 << 248) - 1, 1 << 248, 3 << 245, (1 << 256) - 1])
def test_the_first_of_several_nonces_is_found(target: int) -> None:
    raw = REGTEST.genesis.header.raw
    hashes = (sha256d(raw[:76] + nonce.to_bytes(4, "little")) for nonce in range(5000))
    expected = next((n for n, found in enumerate(hashes) if int.from_bytes(found, "little") <= target), None)
    assert HashlibSearch().search(raw, target, 0, 5000) == expected


def test_a_hash_equal_to_the_target_will_do() -> None:
    number = int.from_bytes(HEADER.hash, "little")
    assert HashlibSearch().search(HEADER.raw, number, HEADER.nonce, 1) == HEADER.nonce
    assert HashlibSearch().search(HEADER.raw, number - 1, HEADER.nonce, 1) is None


def test_the_last_nonce_is_tried() -> None:
    assert HashlibSearch().search(HEADER.raw, (1 << 256) - 1, 0xFFFFFFFF, 1) == 0xFFFFFFFF


def test_backends_are_chosen_by_name() -> None:
    assert load_backend("hashlib").name == "hashlib"
    assert "hashlib" in backend_names()
    with pytest.raises(UnknownBackend, match=r"no search backend 'abacus'; try one of: .*hashlib"):
        load_backend("abacus")


def test_a_plugin_adds_a_backend(monkeypatch: pytest.MonkeyPatch) -> None:
    plugin = EntryPoint("faster", "altyn.node.mining.search.hashlib:HashlibSearch", search.PLUGIN_GROUP)

    def entry_points(*, group: str, name: str = "faster") -> list[EntryPoint]:
        return [plugin] if (group, name) == (search.PLUGIN_GROUP, "faster") else []

    monkeypatch.setattr(search, "entry_points", entry_points)
    assert isinstance(load_backend("faster"), HashlibSearch)
    assert backend_names() == ["faster", "hashlib"]
