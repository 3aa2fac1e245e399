"""Core's addresses and private keys of all networks."""

import contextlib
from typing import Any

import pytest

from altyn.consensus.networks import NETWORKS, Network
from altyn.consensus.script.addresses import AddressError, decode_address, decode_wif, encode_address, encode_wif
from tests.vectors.conftest import load

ALL_NETWORKS = sorted({network.name: network for network in NETWORKS.values()}.values(), key=str)


def read(text: str, network: Network) -> bytes | tuple[bytes, bool] | None:
    for reader in (decode_address, decode_wif):
        with contextlib.suppress(AddressError):
            return reader(text, network)
    return None


@pytest.mark.parametrize(("text", "payload", "facts"), load("crypto/key_io_valid.json"))
def test_what_core_reads_is_read(text: str, payload: str, facts: dict[str, Any]) -> None:
    network = NETWORKS[facts["chain"]]
    if facts["isPrivkey"]:
        expected: Any = (bytes.fromhex(payload), facts["isCompressed"])
        assert encode_wif(*expected[:1], network, compressed=expected[1]) == text
        with pytest.raises(AddressError):
            decode_address(text, network)
    else:
        expected = bytes.fromhex(payload)
        assert encode_address(expected, network) == text
        with pytest.raises(AddressError):
            decode_wif(text, network)
    assert read(text, network) == expected
    if facts.get("tryCaseFlip"):
        assert read(text.swapcase(), network) == expected


@pytest.mark.parametrize("text", [row[0] for row in load("crypto/key_io_invalid.json")])
def test_what_core_refuses_is_refused_on_every_network(text: str) -> None:
    assert len(ALL_NETWORKS) == 5
    assert [read(text, network) for network in ALL_NETWORKS] == [None] * 5
