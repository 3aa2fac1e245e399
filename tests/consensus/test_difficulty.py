"""The retarget rules, and which transitions they can bring about."""

from dataclasses import replace

import pytest
from ancestors import Ancestor, entry

from altyn.consensus.difficulty import permitted_transition, required_bits
from altyn.consensus.networks import MAINNET, REGTEST, TESTNET3, TESTNET4

SMALL = replace(MAINNET, target_spacing=600, target_timespan=6000)
"""Ten blocks a period."""
SMALL_TEST = replace(SMALL, allow_min_difficulty_blocks=True)


class LastOfPeriod(Ancestor):
    """The last block of a period of which only the first one's time is known."""

    def __init__(self, height: int, first_time: int, time: int, bits: int, first_bits: int | None = None) -> None:
        super().__init__(entry(time=time, bits=bits).header, height=height)
        self.first = entry(time=first_time, bits=bits if first_bits is None else first_bits, height=height - 2015)

    def ancestor(self, height: int) -> Ancestor:
        assert height == self.first.height, "Bitcoin measures the last 2,015 blocks"
        return self.first


@pytest.mark.parametrize(
    ("height", "first_time", "time", "bits", "expected"),
    [
        pytest.param(32255, 1261130161, 1262152739, 0x1D00FFFF, 0x1D00D86A, id="the first retarget of mainnet"),
        pytest.param(2015, 1231006505, 1233061996, 0x1D00FFFF, 0x1D00FFFF, id="not easier than the limit"),
        pytest.param(68543, 1279008237, 1279297671, 0x1C05A3F4, 0x1C0168FD, id="at most four times harder"),
        pytest.param(46367, 1263163443, 1269211443, 0x1C387F6F, 0x1D00E1FD, id="at most four times easier"),
    ],
)
def test_mainnet_retargets_by_the_time_a_period_took(
    height: int, first_time: int, time: int, bits: int, expected: int
) -> None:
    assert required_bits(LastOfPeriod(height, first_time, time, bits), time + 600, MAINNET) == expected


def test_inside_a_period_the_bits_stay() -> None:
    parent = entry(bits=0x1C05A3F4, height=100)
    assert required_bits(parent, parent.header.time + 100_000, MAINNET) == 0x1C05A3F4


def test_a_test_chain_waives_difficulty_after_twenty_minutes() -> None:
    parent = entry(bits=0x1C05A3F4, height=101)
    assert required_bits(parent, parent.header.time + 1200, TESTNET3) == 0x1C05A3F4
    assert required_bits(parent, parent.header.time + 1201, TESTNET3) == 0x1D00FFFF


def test_after_a_waived_block_the_last_real_difficulty_counts() -> None:
    real = entry(bits=0x1C05A3F4, height=3)
    waived = entry(entry(real, bits=0x1D00FFFF), bits=0x1D00FFFF)
    assert required_bits(waived, waived.header.time + 60, SMALL_TEST) == 0x1C05A3F4


def test_the_search_for_the_last_real_difficulty_stops_at_the_retarget() -> None:
    before = entry(bits=0x1C05A3F4, height=9)
    waived = entry(entry(before, bits=0x1D00FFFF), bits=0x1D00FFFF)
    assert required_bits(waived, waived.header.time + 60, SMALL_TEST) == 0x1D00FFFF


def test_a_waived_last_block_makes_testnet3_start_over_but_not_testnet4() -> None:
    last = LastOfPeriod(4031, 1_700_000_000, 1_700_000_000 + 14 * 24 * 3600, 0x1D00FFFF, first_bits=0x1C05A3F4)
    assert required_bits(last, last.header.time + 600, TESTNET3) == 0x1D00FFFF
    assert required_bits(last, last.header.time + 600, TESTNET4) == 0x1C05A3F4


def test_regtest_never_retargets() -> None:
    parent = entry(bits=0x207FFFFF, height=143)
    assert required_bits(parent, parent.header.time + 1, REGTEST) == 0x207FFFFF


@pytest.mark.parametrize(
    ("old", "new", "allowed"),
    [
        (0x1C05A3F4, 0x1C05A3F4, True),
        (0x1C05A3F4, 0x1C0168FD, True),
        (0x1C05A3F4, 0x1C0168FC, False),
        (0x1C387F6F, 0x1D00E1FD, True),
        (0x1C387F6F, 0x1D00E1FE, False),
        (0x1D00FFFF, 0x1D00FFFF, True),
        (0x1D00FFFF, 0x1D010000, False),
    ],
)
def test_a_retarget_moves_the_target_by_at_most_a_factor_of_four(old: int, new: int, allowed: bool) -> None:
    assert permitted_transition(MAINNET, 2016 * 7, old, new) is allowed


def test_between_retargets_no_transition_is_permitted() -> None:
    assert permitted_transition(MAINNET, 2017, 0x1C05A3F4, 0x1C05A3F4)
    assert not permitted_transition(MAINNET, 2017, 0x1C05A3F4, 0x1C05A3F3)


def test_a_test_chain_permits_any_transition() -> None:
    assert permitted_transition(TESTNET3, 2017, 0x1C05A3F4, 0x1D00FFFF)
