"""Wallets in memory-backed networks."""

from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

import pytest

from altyn.consensus.networks import REGTEST
from altyn.wallet.encryption import KeyDerivation
from altyn.wallet.wallet import Wallet
from tests.wallet.fake_node import FakeNode
from tests.wallet.fake_server import FakeServer, serving

WORDS = "abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon about"
QUICK = KeyDerivation(cost=1 << 4)
PASSPHRASE = "correct horse"


@pytest.fixture
def node() -> FakeNode:
    return FakeNode()


@pytest.fixture
def open_wallet(tmp_path: Path, node: FakeNode) -> Iterator[Callable[..., Wallet]]:
    """Make or open wallets by name; the first time from WORDS and from the first block on."""
    opened: list[Wallet] = []

    def open_or_make(name: str = "one", words: str = WORDS, backend: FakeNode | None = node) -> Wallet:
        path = tmp_path / f"{name}.sqlite"
        if not path.exists():
            Wallet.restore(path, REGTEST, PASSPHRASE, words, None, key_derivation=QUICK).close()
        wallet = Wallet.open(path, REGTEST, backend, random=Random(7), now=lambda: 1_700_000_000.0)
        opened.append(wallet)
        return wallet

    yield open_or_make
    for wallet in opened:
        wallet.close()


@pytest.fixture
def wallet(open_wallet: Callable[..., Wallet]) -> Wallet:
    return open_wallet()


@pytest.fixture
def server(node: FakeNode, tmp_path: Path) -> Iterator[FakeServer]:
    """The node behind JSON-RPC."""
    with serving(node, tmp_path) as fake:
        yield fake
