"""Base58."""

import pytest

from altyn.consensus.script.addresses import base58_decode, base58_encode
from tests.vectors.conftest import load


@pytest.mark.parametrize(("data", "text"), load("crypto/base58_encode_decode.json"))
def test_base58_is_written_and_read(data: str, text: str) -> None:
    assert base58_encode(bytes.fromhex(data)) == text
    assert base58_decode(text) == bytes.fromhex(data)
