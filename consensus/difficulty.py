"""How much work a block must have: the retarget rules, by name."""

from collections.abc import Callable, Mapping

from altyn.consensus.ancestry import ChainEntry
from altyn.consensus.networks import Network
from altyn.consensus.pow import bits_to_target, target_to_bits


def required_bits(parent: ChainEntry, time: int, network: Network) -> int:
    """Return the compact target that a block on `parent` with this `time` (seconds) must state."""
    return DIFFICULTY_RULES[network.difficulty_rule](parent, time, network)


def permitted_transition(network: Network, height: int, old_bits: int, new_bits: int) -> bool:
    """Tell whether `new_bits` at `height` may follow `old_bits`, without knowing any time.

    Lets a header chain be judged before it is stored. Core: PermittedDifficultyTransition.
    """
    if network.allow_min_difficulty_blocks:
        return True
    if height % network.retarget_interval:
        return old_bits == new_bits
    old, new = bits_to_target(old_bits), bits_to_target(new_bits)
    timespan = network.target_timespan
    easiest = min(old * (timespan * 4) // timespan, network.pow_limit)
    hardest = min(old * (timespan // 4) // timespan, network.pow_limit)
    return _rounded(hardest) <= new <= _rounded(easiest)


def _rounded(target: int) -> int:
    return bits_to_target(target_to_bits(target))


def _bitcoin(parent: ChainEntry, time: int, network: Network) -> int:
    """Adjust the parent's target to the time that the last period took (Core: GetNextWorkRequired)."""
    if (parent.height + 1) % network.retarget_interval:
        return _within_period(parent, time, network)
    return _retarget(parent, parent.header.bits, network)


def _testnet4(parent: ChainEntry, time: int, network: Network) -> int:
    """Adjust the target of the period's first block: its last one may be a minimum-difficulty block (BIP94)."""
    if (parent.height + 1) % network.retarget_interval:
        return _within_period(parent, time, network)
    return _retarget(parent, _first_of_period(parent, network).header.bits, network)


def _within_period(parent: ChainEntry, time: int, network: Network) -> int:
    if not network.allow_min_difficulty_blocks:
        return parent.header.bits
    limit = target_to_bits(network.pow_limit)
    if time > parent.header.time + 2 * network.target_spacing:
        return limit
    entry = parent  # the last block whose difficulty was not waived
    while entry.header.bits == limit and entry.height % network.retarget_interval and entry.parent is not None:
        entry = entry.parent
    return entry.header.bits


def _first_of_period(last: ChainEntry, network: Network) -> ChainEntry:
    # one interval less one back: the span of 2,015 blocks that Bitcoin measures
    return last.ancestor(last.height - (network.retarget_interval - 1))


def _retarget(last: ChainEntry, bits: int, network: Network) -> int:
    if network.no_retargeting:
        return last.header.bits
    timespan = network.target_timespan
    taken = last.header.time - _first_of_period(last, network).header.time
    taken = min(max(taken, timespan // 4), timespan * 4)
    return target_to_bits(min(bits_to_target(bits) * taken // timespan, network.pow_limit))


DIFFICULTY_RULES: Mapping[str, Callable[[ChainEntry, int, Network], int]] = {
    "bitcoin": _bitcoin,
    "testnet4": _testnet4,
}
"""Functions of the parent, the new block's time and the network that return compact bits."""
