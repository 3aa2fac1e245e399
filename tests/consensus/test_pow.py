"""Compact targets, work, difficulty and the proof-of-work check."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from altyn.consensus.block import Header
from altyn.consensus.errors import Fault, ValidationError
from altyn.consensus.networks import MAINNET, NETWORKS, REGTEST, Network
from altyn.consensus.pow import (
    POW_HASHES,
    bits_to_target,
    check_proof_of_work,
    difficulty,
    meets_target,
    target_to_bits,
    work,
)


@pytest.mark.parametrize(
    ("bits", "target"),
    [
        (0, 0),
        (0x00123456, 0),
        (0x01003456, 0),
        (0x02000056, 0),
        (0x04000000, 0),
        (0x01123456, 0x12),
        (0x02123456, 0x1234),
        (0x03123456, 0x123456),
        (0x04123456, 0x12345600),
        (0x05009234, 0x92340000),
        (0x1D00FFFF, 0xFFFF << 208),
        (0x20123456, 0x123456 << 232),
    ],
)
def test_compact_bits_state_a_target(bits: int, target: int) -> None:
    assert bits_to_target(bits) == target


@pytest.mark.parametrize("bits", [0x01FEDCBA, 0x04923456, 0x1D80FFFF])
def test_negative_bits_state_no_target(bits: int) -> None:
    assert bits_to_target(bits) == 0


@pytest.mark.parametrize("bits", [0xFF123456, 0x22010000 - 0xFFFF + 0xFFFF, 0x21010000, 0x23000001])
def test_bits_over_256_bits_state_no_target(bits: int) -> None:
    assert bits_to_target(bits) == 0


def test_bits_may_fill_256_bits() -> None:
    assert bits_to_target(0x2100FFFF) == 0xFFFF << 240
    assert bits_to_target(0x220000FF) == 0xFF << 248


@pytest.mark.parametrize(
    ("target", "bits"),
    [(0, 0), (0x12, 0x01120000), (0x80, 0x02008000), (0x123456, 0x03123456), (0x92340000, 0x05009234)],
)
def test_targets_are_written_compact(target: int, bits: int) -> None:
    assert target_to_bits(target) == bits


@given(st.integers(1, (1 << 256) - 1))
def test_a_compact_target_is_rounded_down_by_less_than_a_part_in_32768(target: int) -> None:
    rounded = bits_to_target(target_to_bits(target))
    assert rounded <= target
    assert (target - rounded) * 32768 < target


@given(st.integers(1, 0x7FFFFF), st.integers(4, 0x1D))
def test_a_compact_form_read_and_written_is_normal(mantissa: int, size: int) -> None:
    target = bits_to_target(size << 24 | mantissa)
    assert bits_to_target(target_to_bits(target)) == target


def test_work_is_the_expected_number_of_hashes() -> None:
    assert work(0x207FFFFF) == 2
    assert work(0x1D00FFFF) == 0x100010001
    assert work(0) == 0


@pytest.mark.parametrize(
    ("bits", "expected"),
    [
        (0x1F111111, 0.000001),
        (0x1EF88F6F, 0.000016),
        (0x1DF88F6F, 0.004023),
        (0x1CF88F6F, 1.029916),
        (0x1D00FFFF, 1.0),
        (0x12345678, 5913134931067755359633408.0),
        (0x207FFFFF, 4.656542373906925e-10),
        (0x1D000000, 0.0),
    ],
)
def test_difficulty_is_shown_as_core_shows_it(bits: int, expected: float) -> None:
    assert difficulty(bits) == pytest.approx(expected, rel=1e-12, abs=1e-6 if expected < 1 else 0.1)


@pytest.mark.parametrize("network", NETWORKS.values(), ids=str)
def test_every_genesis_block_has_its_work(network: Network) -> None:
    check_proof_of_work(network.genesis.header, network)


def with_bits(header: Header, bits: int) -> Header:
    return Header(header.version, header.prev_hash, header.merkle_root, header.time, bits, header.nonce)


@pytest.mark.parametrize(
    "bits",
    [
        pytest.param(0x1C00FFFF, id="not met"),
        pytest.param(0x1D010000, id="above the network's limit"),
        pytest.param(0x1D80FFFF, id="negative"),
        pytest.param(0, id="zero"),
        pytest.param(0xFF00FFFF, id="overflowing"),
    ],
)
def test_a_header_without_its_work_is_refused(bits: int) -> None:
    with pytest.raises(ValidationError, match="high-hash") as refused:
        check_proof_of_work(with_bits(MAINNET.genesis.header, bits), MAINNET)
    assert refused.value.reason == "high-hash"
    assert refused.value.fault is Fault.INVALID_HEADER


def test_the_hash_may_equal_the_target() -> None:
    """The limit is set to the hash itself: a target is met at, and not only below."""
    number = 0x7FFF00 << 232
    network = replace(REGTEST, pow_hash="fixed")
    header = with_bits(REGTEST.genesis.header, 0x207FFF00)
    hashes = dict(POW_HASHES)
    try:
        POW_HASHES["fixed"] = lambda raw: number.to_bytes(32, "little")  # type: ignore[index]
        assert meets_target(header, network)
        POW_HASHES["fixed"] = lambda raw: (number + 1).to_bytes(32, "little")  # type: ignore[index]
        assert not meets_target(header, network)
    finally:
        POW_HASHES.clear()  # type: ignore[attr-defined]
        POW_HASHES.update(hashes)  # type: ignore[attr-defined]
