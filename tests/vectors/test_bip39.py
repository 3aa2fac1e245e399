"""Recovery words in every language (BIP39)."""

import pytest

from altyn.consensus.networks import MAINNET
from altyn.consensus.secp256k1 import load as load_secp
from altyn.wallet import words
from altyn.wallet.formats.keys import ExtendedKey
from tests.vectors.conftest import load, vectors_path

LANGUAGES = ("english", "japanese", "korean")


@pytest.mark.parametrize(
    ("language", "case"),
    [(language, case) for language in LANGUAGES for case in load(f"crypto/bip39/mnemonic-{language}.json")],
    ids=lambda value: value if isinstance(value, str) else value[0],
)
def test_bip39(language: str, case: list[str]) -> None:
    entropy, mnemonic, passphrase, seed, xprv = case
    assert words.normalize(words.from_entropy(bytes.fromhex(entropy), language)) == words.normalize(mnemonic)
    assert words.to_entropy(mnemonic).hex() == entropy
    assert words.to_seed(mnemonic, passphrase).hex() == seed
    assert ExtendedKey.from_seed(bytes.fromhex(seed), load_secp()).encode(MAINNET) == xprv


@pytest.mark.parametrize("language", words.LANGUAGES)
def test_every_language_of_bip39_is_there_and_is_read_back(language: str) -> None:
    listed = vectors_path(f"crypto/bip39/wordlists/{language}.txt").read_text().split()
    for number in range(0, 2048, 2):
        entropy = (number << 245 | (number + 1) << 234 | 7).to_bytes(32, "big")
        text = words.normalize(words.from_entropy(entropy, language)).split()
        assert text[:2] == words.normalize(f"{listed[number]} {listed[number + 1]}").split()
        if number % 128 == 0:
            assert words.to_entropy(" ".join(text), language) == entropy
