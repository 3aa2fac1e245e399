"""Buried and signalled deployments, and the script flags they bring."""

from dataclasses import replace

import pytest
from ancestors import Ancestor, entry, line

from altyn.consensus.deployments import (
    BURIED,
    State,
    UnknownBits,
    UnknownRules,
    VersionBits,
    activation_height,
    is_active,
    script_flags,
)
from altyn.consensus.networks import (
    MAINNET,
    NO_TIMEOUT,
    REGTEST,
    SIGNET,
    TESTNET3,
    VersionBitsDeployment,
)
from altyn.consensus.script.flags import (
    CHECKLOCKTIMEVERIFY,
    CHECKSEQUENCEVERIFY,
    DERSIG,
    NULLDUMMY,
    P2SH,
    TAPROOT,
    WITNESS,
)

ALWAYS = P2SH | WITNESS | TAPROOT
SIGNAL = 0x20000001
FORK = VersionBitsDeployment("fork", 0, 1_600_000_000, NO_TIMEOUT, window=10, threshold=8)


@pytest.mark.parametrize(
    ("height", "flags"),
    [
        (1, ALWAYS),
        (363_724, ALWAYS),
        (363_725, ALWAYS | DERSIG),
        (388_381, ALWAYS | DERSIG | CHECKLOCKTIMEVERIFY),
        (419_328, ALWAYS | DERSIG | CHECKLOCKTIMEVERIFY | CHECKSEQUENCEVERIFY),
        (481_824, ALWAYS | DERSIG | CHECKLOCKTIMEVERIFY | CHECKSEQUENCEVERIFY | NULLDUMMY),
    ],
)
def test_mainnet_blocks_have_the_flags_of_their_height(height: int, flags: int) -> None:
    assert script_flags(MAINNET, height, bytes(32)) == flags


def test_three_old_blocks_break_later_rules() -> None:
    breaks_p2sh = bytes.fromhex("00000000000002dc756eebf4f49723ed8d30cc28a5f108eb94b1ba88ac4f9c22")[::-1]
    assert script_flags(MAINNET, 170_060, breaks_p2sh) == 0
    breaks_taproot = bytes.fromhex("0000000000000000000f14c35b2d841e986ab5441de8c585d5ffe55ea1e395ad")[::-1]
    later = DERSIG | CHECKLOCKTIMEVERIFY | CHECKSEQUENCEVERIFY | NULLDUMMY
    assert script_flags(MAINNET, 692_261, breaks_taproot) == P2SH | WITNESS | later
    on_testnet = bytes.fromhex("00000000dd30457c001f4095d208cc1296b0eed002427aa599874af7a432b105")[::-1]
    assert script_flags(TESTNET3, 100, on_testnet) == 0


@pytest.mark.parametrize("name", BURIED)
def test_a_buried_deployment_is_active_from_its_height(name: str) -> None:
    height = activation_height(MAINNET, name)
    assert not is_active(MAINNET, name, height - 1)
    assert is_active(MAINNET, name, height)


def test_getdeploymentinfo_of_regtest() -> None:
    described = VersionBits(REGTEST).describe(line(1))
    assert list(described) == ["bip34", "bip66", "bip65", "csv", "segwit", "testdummy", "taproot"]
    assert described["bip65"] == {"type": "buried", "active": True, "height": 1}
    assert described["testdummy"] == {
        "type": "bip9",
        "active": False,
        "bip9": {
            "start_time": 0,
            "timeout": NO_TIMEOUT,
            "min_activation_height": 0,
            "status": "defined",
            "since": 0,
            "status_next": "defined",
        },
    }
    assert described["taproot"] == {
        "type": "bip9",
        "height": 0,
        "active": True,
        "bip9": {
            "start_time": -1,
            "timeout": NO_TIMEOUT,
            "min_activation_height": 0,
            "status": "active",
            "since": 0,
            "status_next": "active",
        },
    }


def test_a_deployment_that_never_starts_is_not_described() -> None:
    assert "testdummy" not in VersionBits(SIGNET).describe(line(1))
    assert VersionBits(SIGNET).state(SIGNET.version_bits[0], None) is State.FAILED
    assert VersionBits(SIGNET).since(SIGNET.version_bits[0], line(30)) == 0


def test_a_buried_deployment_shows_whether_the_next_block_has_it() -> None:
    network = replace(REGTEST, csv_height=5)
    assert VersionBits(network).describe(line(4))["csv"]["active"] is False
    assert VersionBits(network).describe(line(5))["csv"]["active"] is True


def states(deployment: VersionBitsDeployment, tip: Ancestor) -> list[State]:
    """Return the state for the first block of each window up to the one after `tip`."""
    bits = VersionBits(REGTEST)
    parents = [None, *(tip.ancestor(height) for height in range(9, tip.height + 1, 10))]
    return [bits.state(deployment, parent) for parent in parents]


def test_a_fork_that_is_signalled_becomes_active() -> None:
    tip = line(10)
    tip = line(8, tip, version=SIGNAL)
    tip = line(2, tip)
    tip = line(10, tip)
    assert states(FORK, tip) == [State.DEFINED, State.STARTED, State.LOCKED_IN, State.ACTIVE]


def test_seven_signals_of_eight_do_not_lock_in() -> None:
    tip = line(3, line(7, line(10), version=SIGNAL))
    assert states(FORK, tip)[-1] is State.STARTED


def test_signals_count_only_under_the_top_bits() -> None:
    tip = line(10, line(10), version=1)
    assert states(FORK, tip)[-1] is State.STARTED
    tip = line(10, line(10), version=0x60000001)
    assert states(FORK, tip)[-1] is State.STARTED


def test_a_fork_starts_only_at_its_time() -> None:
    tip = line(20, version=SIGNAL)
    later = replace(FORK, start_time=tip.header.time - 5 * 60 + 1)
    assert states(later, tip) == [State.DEFINED] * 3
    assert states(replace(later, start_time=later.start_time - 1), tip)[-1] is State.STARTED


def test_a_fork_fails_at_its_timeout_unless_locked_in() -> None:
    tip = line(20)
    short = replace(FORK, timeout=tip.header.time - 5 * 60)
    assert states(short, tip)[-1] is State.FAILED
    assert states(replace(short, timeout=short.timeout + 1), tip)[-1] is State.STARTED
    assert states(short, line(10, line(10), version=SIGNAL))[-1] is State.LOCKED_IN
    assert states(short, line(10, tip, version=SIGNAL))[-1] is State.FAILED


def test_activation_waits_for_its_height() -> None:
    tip = line(30, version=SIGNAL)
    waiting = replace(FORK, min_activation_height=31)
    assert states(waiting, tip)[-1] is State.LOCKED_IN
    assert states(waiting, line(10, tip))[-1] is State.ACTIVE
    assert states(replace(FORK, min_activation_height=30), tip)[-1] is State.ACTIVE


def test_a_state_is_since_the_first_block_of_its_first_window() -> None:
    tip = line(55, version=SIGNAL)
    bits = VersionBits(REGTEST)
    heights = (8, 9, 18, 19, 28, 29, 54)
    assert [bits.since(FORK, tip.ancestor(height)) for height in heights] == [
        0,
        10,
        10,
        20,
        20,
        30,
        30,
    ]
    assert bits.since(FORK, None) == 0


def test_the_signals_of_the_running_window_are_shown() -> None:
    network = replace(REGTEST, version_bits=(FORK,))
    tip = entry(entry(line(1, line(10), version=SIGNAL)), version=SIGNAL)
    assert VersionBits(network).describe(tip)["fork"] == {
        "type": "bip9",
        "active": False,
        "bip9": {
            "bit": 0,
            "start_time": 1_600_000_000,
            "timeout": NO_TIMEOUT,
            "min_activation_height": 0,
            "status": "started",
            "since": 10,
            "status_next": "started",
            "statistics": {"period": 10, "elapsed": 3, "count": 2, "threshold": 8, "possible": True},
            "signalling": "#-#",
        },
    }
    lost = line(3, line(10))
    shown = VersionBits(network).describe(lost)["fork"]["bip9"]
    assert isinstance(shown, dict)
    assert shown["statistics"]["possible"] is False


def test_locked_in_shows_no_threshold_and_active_shows_its_height() -> None:
    network = replace(REGTEST, version_bits=(FORK,))
    tip = line(1, line(20, version=SIGNAL))
    shown = VersionBits(network).describe(tip)["fork"]["bip9"]
    assert isinstance(shown, dict)
    assert shown["status"] == "locked_in"
    assert shown["statistics"] == {"period": 10, "elapsed": 1, "count": 0}
    described = VersionBits(network).describe(line(9, tip))["fork"]
    assert (described["height"], described["active"]) == (30, True)


def test_new_blocks_signal_what_is_started_or_locked_in() -> None:
    bits = VersionBits(replace(REGTEST, version_bits=(FORK,)))
    tip = line(40, version=SIGNAL)
    versions = [bits.block_version(tip.ancestor(height)) for height in (8, 9, 19, 29)]
    assert versions == [0x20000000, 0x20000001, 0x20000001, 0x20000000]


def test_regtest_signals_its_test_deployment_from_the_second_window() -> None:
    bits = VersionBits(REGTEST)
    tip = line(144)
    assert bits.block_version(tip.ancestor(142)) == 0x20000000
    assert bits.block_version(tip) == 0x30000000


def unknown(tip: Ancestor, *, known: VersionBitsDeployment = FORK, **changes: int) -> list[UnknownRules]:
    """What is found at the end of each window up to `tip`, asked for in an order in which nothing is remembered."""
    network = replace(REGTEST, version_bits=(known,), **changes)  # type: ignore[arg-type]
    ends = range(known.window - 1, tip.height + 1, known.window)
    return [UnknownBits(network).rules(tip.ancestor(height)) for height in ends]


NOTHING = UnknownRules()
LOCKED_IN, ACTIVE = UnknownRules(locked_in=frozenset([5])), UnknownRules(active=frozenset([5]))
ODD = 0x20000020


def test_a_bit_that_nobody_asked_for_is_locked_in_after_a_window_and_active_for_good_after_another() -> None:
    tip = line(20, line(10, line(10), version=ODD))
    assert unknown(tip) == [NOTHING, LOCKED_IN, ACTIVE, ACTIVE]
    assert UnknownBits(replace(REGTEST, version_bits=(FORK,))).rules(tip.ancestor(18)) == NOTHING
    bits = UnknownBits(replace(REGTEST, version_bits=(FORK,)))
    assert [bits.rules(tip.ancestor(height)) for height in (39, 30, 29, 28, 19)] == [ACTIVE] * 3 + [LOCKED_IN] * 2


def test_what_is_signalled_in_the_first_window_counts_for_nothing() -> None:
    assert unknown(line(20, line(10, version=ODD))) == [NOTHING] * 3


@pytest.mark.parametrize(("signalling", "expected"), [(7, NOTHING), (8, LOCKED_IN)])
def test_as_many_blocks_must_signal_a_bit_as_for_a_known_deployment(signalling: int, expected: UnknownRules) -> None:
    mixed = line(10 - signalling, line(signalling, line(10), version=ODD))
    assert unknown(mixed)[1] == expected


@pytest.mark.parametrize("version", [0x20, 0x40000020, -0x20000000 | 0x20])
def test_versions_without_the_top_bits_signal_nothing(version: int) -> None:
    assert unknown(line(10, line(10), version=version))[1] == NOTHING


def test_a_bit_of_a_deployment_is_known_while_that_is_asked_for_and_no_longer() -> None:
    fork = replace(FORK, bit=5)
    tip = line(40, line(10), version=ODD)
    assert unknown(tip, known=fork) == [NOTHING, NOTHING, NOTHING, LOCKED_IN, ACTIVE]


def test_signals_before_the_height_from_which_they_mean_something_are_of_buried_deployments() -> None:
    tip = line(20, line(10), version=ODD)
    assert unknown(tip, unknown_rules_height=20) == [NOTHING, NOTHING, LOCKED_IN]
    assert unknown(tip, unknown_rules_height=11)[1:] == [NOTHING, LOCKED_IN]


def test_a_network_without_deployments_has_no_unknown_ones() -> None:
    assert UnknownBits(replace(REGTEST, version_bits=())).rules(line(30, version=ODD)) == NOTHING
