"""Core's descriptors."""

from typing import Any

import pytest

from altyn.consensus.networks import MAINNET
from altyn.wallet.formats.descriptors import DescriptorError, add_checksum, parse, parse_all
from tests.vectors.conftest import load
from tests.vectors.descriptor_cases import SECP, cases, scripts_of

CORE = load("wallet/descriptors_core.json")


@pytest.mark.parametrize("case", cases(CORE, "valid"))
def test_core_valid(case: dict[str, Any]) -> None:
    private, public = parse(case["prv"], MAINNET, SECP), parse(case["pub"], MAINNET, SECP)
    assert str(private) == str(public) == add_checksum(case["pub"])
    assert private.normal_text() == add_checksum(case["norm_pub"])
    assert private.is_range == ("RANGE" in case["flags"])
    assert private.is_solvable == ("UNSOLVABLE" not in case["flags"])
    if "MISSING_PRIVKEYS" not in case["flags"]:
        assert private.private_text() == add_checksum(case["prv"])
    for index, expected in enumerate(case["scripts"]):
        assert scripts_of(private, index) == expected
        if "HARDENED" in case["flags"]:
            with pytest.raises(DescriptorError, match="Cannot derive script without private keys"):
                public.expand(index)
        else:
            assert scripts_of(public, index) == expected
            assert scripts_of(parse(case["norm_pub"], MAINNET, SECP), index) == expected


@pytest.mark.parametrize("case", cases(CORE, "multipath"))
def test_core_multipath(case: dict[str, Any]) -> None:
    private, public = parse_all(case["prv"], MAINNET, SECP), parse_all(case["pub"], MAINNET, SECP)
    assert [str(each) for each in public] == [add_checksum(text) for text in case["expanded_pub"]]
    assert [each.private_text() for each in private] == [add_checksum(text) for text in case["expanded_prv"]]
    for descriptor, expected in zip(private, case["scripts"], strict=True):
        for index, scripts in enumerate(expected):
            assert scripts_of(descriptor, index) == scripts


@pytest.mark.parametrize("case", [case for case in CORE if case["kind"] == "invalid"])
def test_core_invalid(case: dict[str, Any]) -> None:
    for text in (case.get("prv"), case.get("pub")):
        if text is not None:
            with pytest.raises(DescriptorError):
                parse_all(text, MAINNET, SECP)
