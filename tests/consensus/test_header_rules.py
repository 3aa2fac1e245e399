"""Headers on their parents."""

from dataclasses import replace

import pytest
from ancestors import Ancestor, entry, line

from altyn.consensus.ancestry import median_time_past
from altyn.consensus.block import Header
from altyn.consensus.checks.headers import check_header, check_header_in_context
from altyn.consensus.errors import Fault, ValidationError
from altyn.consensus.networks import MAINNET, REGTEST, TESTNET4

NOW = 2_000_000_000


def header_on(
    parent: Ancestor, *, time: int | None = None, bits: int = 0x207FFFFF, version: int = 0x20000000
) -> Header:
    return entry(parent, time=time, bits=bits, version=version).header


def refusal(header: Header, parent: Ancestor, network: object = REGTEST, now: int = NOW) -> ValidationError:
    with pytest.raises(ValidationError) as refused:
        check_header_in_context(header, parent, network, now)  # type: ignore[arg-type]
    return refused.value


def test_the_median_time_is_that_of_eleven_blocks() -> None:
    tip = entry(time=100)
    assert median_time_past(tip) == 100
    tip = entry(tip, time=50)
    assert median_time_past(tip) == 100
    for time in (10, 20, 30, 40, 60, 70, 80, 90, 110):
        tip = entry(tip, time=time)
    assert median_time_past(tip) == 60
    assert median_time_past(entry(tip, time=120)) == 60
    assert median_time_past(entry(entry(tip, time=120), time=130)) == 70


def test_a_good_header_passes() -> None:
    parent = line(20)
    check_header_in_context(header_on(parent), parent, REGTEST, NOW)


def test_a_header_without_work_is_refused() -> None:
    with pytest.raises(ValidationError) as refused:
        check_header(header_on(line(1), bits=0x1D00FFFF), REGTEST)
    assert str(refused.value) == "high-hash, proof of work failed"


def test_wrong_bits_are_refused() -> None:
    parent = line(20)
    error = refusal(header_on(parent, bits=0x207FFFFE), parent)
    assert str(error) == "bad-diffbits, incorrect proof of work"
    assert error.fault is Fault.INVALID_HEADER


def test_a_time_at_the_median_is_too_old() -> None:
    parent = line(20)
    median = median_time_past(parent)
    error = refusal(header_on(parent, time=median), parent)
    assert str(error) == "time-too-old, block's timestamp is too early"
    assert error.fault is Fault.INVALID_HEADER
    check_header_in_context(header_on(parent, time=median + 1), parent, REGTEST, NOW)


def test_a_time_two_hours_ahead_is_too_new() -> None:
    parent = line(20)
    header = header_on(parent, time=NOW + 7201)
    error = refusal(header, parent)
    assert str(error) == "time-too-new, block timestamp too far in the future"
    assert error.fault is Fault.TIME_FUTURE
    check_header_in_context(header, parent, REGTEST, NOW + 1)


def test_the_first_block_of_a_period_may_not_turn_time_back() -> None:
    parent = entry(line(142), time=1_600_020_000)
    assert parent.height == 142
    parent = entry(parent, time=1_600_020_000)
    header = header_on(parent, time=parent.header.time - 601)
    error = refusal(header, parent)
    assert str(error) == "time-timewarp-attack, block's timestamp is too early on diff adjustment block"
    assert error.fault is Fault.INVALID_HEADER
    check_header_in_context(header_on(parent, time=parent.header.time - 600), parent, REGTEST, NOW)
    check_header_in_context(header, parent, replace(REGTEST, enforce_bip94=False), NOW)


def test_inside_a_period_time_may_turn_back() -> None:
    parent = entry(line(100), time=1_600_020_000)
    check_header_in_context(header_on(parent, time=parent.header.time - 7200), parent, REGTEST, NOW)


def test_testnet4_guards_against_time_warps_and_mainnet_does_not() -> None:
    assert TESTNET4.enforce_bip94
    assert not MAINNET.enforce_bip94


@pytest.mark.parametrize(
    ("version", "field"), [(1, "bip34_height"), (2, "bip66_height"), (3, "bip65_height"), (0, "bip34_height")]
)
def test_old_versions_end_with_their_soft_fork(version: int, field: str) -> None:
    heights = {"bip34_height": 100, "bip66_height": 100, "bip65_height": 100} | {field: 21}
    network = replace(REGTEST, **heights)
    parent = line(21)
    error = refusal(header_on(parent, version=version), parent, network)
    assert str(error) == f"bad-version(0x0000000{version}), rejected nVersion=0x0000000{version} block"
    assert error.fault is Fault.INVALID_HEADER
    before = line(20)
    check_header_in_context(header_on(before, version=version), before, network, NOW)
    check_header_in_context(header_on(parent, version=version + 1 if version else 2), parent, network, NOW)


def test_a_negative_version_is_an_old_one() -> None:
    parent = line(5)
    assert refusal(header_on(parent, version=-1), parent).reason == "bad-version(0xffffffff)"


def test_the_rules_are_asked_in_cores_order() -> None:
    parent = entry(line(142), time=1_600_020_000)
    parent = entry(parent, time=1_600_020_000)
    assert refusal(header_on(parent, time=0, bits=1, version=1), parent).reason == "bad-diffbits"
    assert refusal(header_on(parent, time=0, version=1), parent).reason == "time-too-old"
    early = header_on(parent, time=parent.header.time - 700, version=1)
    assert refusal(early, parent, now=0).reason == "time-timewarp-attack"
    late = header_on(parent, version=1)
    assert refusal(late, parent, now=0).reason == "time-too-new"
    assert refusal(late, parent).reason == "bad-version(0x00000001)"
