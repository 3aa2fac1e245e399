"""The subsidy of blocks."""

from altyn.consensus.emission import block_subsidy
from altyn.consensus.limits import COIN, MAX_MONEY
from altyn.consensus.networks import MAINNET, REGTEST


def test_the_subsidy_halves() -> None:
    assert block_subsidy(0, MAINNET) == block_subsidy(209_999, MAINNET) == 50 * COIN
    assert block_subsidy(210_000, MAINNET) == 25 * COIN
    assert block_subsidy(150, REGTEST) == 25 * COIN
    assert block_subsidy(32 * 210_000, MAINNET) == 1


def test_the_subsidy_ends() -> None:
    assert block_subsidy(33 * 210_000, MAINNET) == 0
    assert block_subsidy(64 * 210_000, MAINNET) == 0
    assert block_subsidy(10_000_000_000, MAINNET) == 0


def test_all_subsidies_stay_below_the_limit_of_money() -> None:
    total = sum(block_subsidy(era * 210_000, MAINNET) * 210_000 for era in range(100))
    assert total == 2_099_999_997_690_000 <= MAX_MONEY
