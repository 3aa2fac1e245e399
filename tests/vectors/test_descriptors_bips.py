"""The descriptors of the BIPs (380 to 390)."""

from typing import Any

import pytest

from altyn.consensus.networks import MAINNET
from altyn.wallet.formats.descriptors import DescriptorError, parse, parse_all
from altyn.wallet.formats.key_expressions import parse_key
from tests.vectors.conftest import load
from tests.vectors.descriptor_cases import SECP, cases, scripts_of

BIPS = load("wallet/descriptors_bips.json")


@pytest.mark.parametrize("case", cases(BIPS, "valid"))
def test_bip_valid(case: dict[str, Any]) -> None:
    descriptors = parse_all(case["descriptor"], MAINNET, SECP)
    if "expands_to" in case:
        assert [str(each) for each in descriptors] == [str(parse(text, MAINNET, SECP)) for text in case["expands_to"]]
    for index, expected in enumerate(case.get("scripts", [])):
        if descriptors[0].name != "combo":
            assert scripts_of(descriptors[0], index) == [expected]
    if descriptors[0].name == "combo":
        children = case.get("scripts_per_child") or [case["scripts"]]
        assert [scripts_of(descriptors[0], index) for index in range(len(children))] == children


@pytest.mark.parametrize("case", [case for case in BIPS if case["kind"] == "invalid"])
def test_bip_invalid(case: dict[str, Any]) -> None:
    with pytest.raises(DescriptorError):
        parse_all(case["descriptor"], MAINNET, SECP)


@pytest.mark.parametrize("case", [case for case in BIPS if case["kind"] == "checksum"])
def test_bip_checksum(case: dict[str, Any]) -> None:
    if case["note"] in {"Valid checksum", "No checksum"}:
        parse(case["descriptor"], MAINNET, SECP)
    if case["note"] != "Valid checksum":
        with pytest.raises(DescriptorError):
            parse(case["descriptor"], MAINNET, SECP, demand_checksum=True)


@pytest.mark.parametrize("case", [case for case in BIPS if case["kind"] == "valid_key_expression"])
def test_bip_valid_key(case: dict[str, Any]) -> None:
    parse_key(case["descriptor"], MAINNET, SECP, uncompressed=True)


@pytest.mark.parametrize("case", [case for case in BIPS if case["kind"] == "invalid_key_expression"])
def test_bip_invalid_key(case: dict[str, Any]) -> None:
    with pytest.raises(DescriptorError):
        parse_key(case["descriptor"], MAINNET, SECP, uncompressed=True)
