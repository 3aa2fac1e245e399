"""bcoin's descriptors."""

from typing import Any

import pytest

from altyn.consensus.hashes import hash160
from altyn.consensus.networks import NETWORKS, Network
from altyn.consensus.script.addresses import encode_address
from altyn.consensus.script.templates import classify, p2pkh
from altyn.wallet.formats.descriptors import DescriptorError, checksum, parse
from tests.vectors.conftest import load
from tests.vectors.descriptor_cases import SECP


def network_of(case: dict[str, Any]) -> Network:
    return NETWORKS[{"testnet": "testnet3"}.get(case.get("network", "main"), case.get("network", "main"))]


def by_type(name: str) -> list[Any]:
    return [case for group in load(name).values() for case in group]


@pytest.mark.parametrize("case", by_type("wallet/bcoin_desc-valid.json"))
def test_bcoin_valid(case: dict[str, Any]) -> None:
    descriptor = parse(case["input"], network_of(case), SECP)
    assert str(descriptor) == case["descriptor"]
    assert checksum(case["input"].partition("#")[0]) == case["checksum"]
    assert descriptor.is_range == case["isrange"]
    assert descriptor.is_solvable == case["issolvable"]
    assert descriptor.has_private_keys == case["hasprivatekeys"]


@pytest.mark.parametrize("case", by_type("wallet/bcoin_desc-addresses.json"))
def test_bcoin_addresses(case: dict[str, Any]) -> None:
    network = network_of(case)
    descriptor = parse(case["input"], network, SECP)
    first, last = case.get("range") or (0, 0)
    if "error" in case and "address" not in case["error"]:
        with pytest.raises(DescriptorError):
            descriptor.expand(first)
        return
    scripts = [script for index in range(first, last + 1) for script in descriptor.expand(index).scripts]
    # bcoin gives a bare public key the address of its hash, as Core once did.
    scripts = [p2pkh(hash160(script[1:-1])) if classify(script).kind == "pubkey" else script for script in scripts]
    addresses = [encode_address(script, network) for script in scripts]
    assert [address for address in addresses if address is not None] == case.get("addresses", [])


INVALID = [case for case in load("wallet/bcoin_desc-invalid.json") if not case["input"].startswith("tr(")]
"""Without the descriptors that bcoin refuses because it does not know taproot."""


@pytest.mark.parametrize("case", INVALID)
def test_bcoin_invalid(case: dict[str, Any]) -> None:
    with pytest.raises(DescriptorError):
        parse(case["input"], network_of(case), SECP)


@pytest.mark.parametrize("case", load("wallet/bcoin_desc-privatekeys.json"))
def test_bcoin_private_form(case: dict[str, Any]) -> None:
    descriptor = parse(case["input"], network_of(case), SECP)
    if "error" in case:
        with pytest.raises(DescriptorError):
            descriptor.private_text()
    else:
        assert descriptor.private_text() == case["expected"]
