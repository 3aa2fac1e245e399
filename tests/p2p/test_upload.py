"""How much may be sent in a day; how far clocks are apart."""

import pytest

from altyn.p2p.time_offsets import MAX_SAMPLES, TimeOffsets
from altyn.p2p.upload import BLOCK_BYTES, CYCLE, UploadTarget, parse_bytes


@pytest.mark.parametrize(
    ("text", "number"),
    [("0", 0), ("800", 800 << 20), ("3k", 3000), ("3K", 3072), ("2m", 2_000_000), ("1G", 1 << 30), ("1t", 10**12)],
)
def test_numbers_of_bytes_have_units(text: str, number: int) -> None:
    assert parse_bytes(text) == number


@pytest.mark.parametrize("text", ["", "x", "1.5G", "-1", "1kB", "1" * 13])
def test_what_is_no_number_of_bytes_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a number"):
        parse_bytes(text)


def test_old_blocks_stop_first_and_a_new_day_begins_anew() -> None:
    sent, now = 0, 1000.0
    target = UploadTarget(CYCLE // 600 * BLOCK_BYTES + 100, lambda: sent, now)
    assert target.time_left(now) == CYCLE
    assert not target.is_reached(now, historical=True)
    sent = 100
    assert target.is_reached(now, historical=True)
    assert not target.is_reached(now, historical=False)
    assert not target.is_reached(now + 601, historical=True)  # less of the day is left to keep back for
    sent = target.target
    assert target.is_reached(now, historical=False)
    assert target.bytes_left(now) == 0
    assert not target.is_reached(now + CYCLE + 1, historical=True)
    assert target.bytes_left(now + CYCLE + 1) == target.target


def test_without_a_target_there_is_no_limit() -> None:
    target = UploadTarget(0, lambda: 1 << 60, 0.0)
    assert not target.is_reached(5.0, historical=True)
    assert (target.bytes_left(5.0), target.time_left(5.0)) == (0, 0)


def test_a_clock_is_doubted_when_most_peers_of_ours_disagree_with_it() -> None:
    offsets = TimeOffsets()
    for _ in range(4):
        offsets.add(100_000)
    assert (offsets.median, offsets.warnings) == (0, [])  # too few to say
    offsets.add(100_000)
    assert offsets.median == 100_000
    assert "10 minutes out of sync" in offsets.warnings[0]


def test_a_minority_that_lies_changes_nothing_and_old_samples_go() -> None:
    """Of 50 peers 24 lie by a century: the median stays with the honest; a million samples take the memory of 50."""
    offsets = TimeOffsets()
    for number in range(MAX_SAMPLES):
        offsets.add(3_000_000_000 if number < 24 else 2)
    assert (offsets.median, offsets.warnings) == (2, [])
    for _ in range(1_000):
        offsets.add(-700)
    assert offsets.median == -700
    assert len(offsets.warnings) == 1
    assert len(offsets._samples) == MAX_SAMPLES
