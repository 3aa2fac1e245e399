"""When soft forks apply: buried at a height, or signalled by miners (BIP9)."""

from collections import Counter
from collections.abc import Mapping
from enum import Enum
from typing import NamedTuple

from altyn.consensus.ancestry import ChainEntry, median_time_past
from altyn.consensus.networks import ALWAYS_ACTIVE, NEVER_ACTIVE, Network, VersionBitsDeployment
from altyn.consensus.script import flags as script_flag

BURIED: Mapping[str, str] = {
    "bip34": "bip34_height",
    "bip66": "bip66_height",
    "bip65": "bip65_height",
    "csv": "csv_height",
    "segwit": "segwit_height",
}
"""Core's deployment name to the field of Network that holds its height; in getdeploymentinfo's order."""

_TOP_MASK, _TOP_BITS = 0xE0000000, 0x20000000
_BITS = range(29)
"""Those of a version that may signal."""


def activation_height(network: Network, name: str) -> int:
    """Return the first height at which the buried deployment applies. Raises KeyError for an unknown name."""
    height: int = getattr(network, BURIED[name])
    return height


def is_active(network: Network, name: str, height: int) -> bool:
    """Tell whether the buried deployment `name` applies to a block at `height` (Core: DeploymentActiveAt)."""
    return height >= activation_height(network, name)


def script_flags(network: Network, height: int, block_hash: bytes) -> int:
    """Return the flags that a block's scripts are verified with (Core: GetBlockScriptFlags).

    BIP16, segwit and taproot hold for every block but the network's exceptions: no other block broke them before.
    """
    flags = network.script_flag_exceptions.get(block_hash, script_flag.P2SH | script_flag.WITNESS | script_flag.TAPROOT)
    if height >= network.bip66_height:
        flags |= script_flag.DERSIG
    if height >= network.bip65_height:
        flags |= script_flag.CHECKLOCKTIMEVERIFY
    if height >= network.csv_height:
        flags |= script_flag.CHECKSEQUENCEVERIFY
    if height >= network.segwit_height:
        flags |= script_flag.NULLDUMMY
    return flags


class State(Enum):
    """Where a signalled deployment stands (BIP9); the values are RPC's words."""

    DEFINED = "defined"
    STARTED = "started"
    LOCKED_IN = "locked_in"
    ACTIVE = "active"
    FAILED = "failed"


class Signals(NamedTuple):
    """How the running window signals so far."""

    period: int
    threshold: int
    elapsed: int
    signalling: int
    possible: bool
    blocks: tuple[bool, ...]


class VersionBits:
    """The signalled deployments of one network; remembers the states it found, one for each window."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self._states: dict[tuple[str, bytes], State] = {}

    def state(self, deployment: VersionBitsDeployment, parent: ChainEntry | None) -> State:
        """Return the state for the block after `parent`; None stands before genesis (BIP9)."""
        if deployment.start_time == ALWAYS_ACTIVE:
            return State.ACTIVE
        if deployment.start_time == NEVER_ACTIVE:
            return State.FAILED
        window = deployment.window
        entry = _last_of_window(parent, window)
        unknown: list[ChainEntry] = []
        state = State.DEFINED
        while entry is not None:
            known = self._states.get((deployment.name, entry.hash))
            if known is not None:
                state = known
                break
            unknown.append(entry)
            entry = entry.ancestor(entry.height - window) if entry.height >= window else None
        for entry in reversed(unknown):
            state = _next_state(state, deployment, entry)
            self._states[deployment.name, entry.hash] = state
        return state

    def since(self, deployment: VersionBitsDeployment, parent: ChainEntry | None) -> int:
        """Return the height from which the state for the block after `parent` holds (Core: StateSinceHeight)."""
        state = self.state(deployment, parent)
        if deployment.start_time in (ALWAYS_ACTIVE, NEVER_ACTIVE) or state is State.DEFINED:
            return 0
        entry = _last_of_window(parent, deployment.window)
        assert entry is not None, "only DEFINED holds in the first window"
        while entry.height >= deployment.window:
            earlier = entry.ancestor(entry.height - deployment.window)
            if self.state(deployment, earlier) is not state:
                break
            entry = earlier
        return entry.height + 1

    def signals(self, deployment: VersionBitsDeployment, entry: ChainEntry) -> Signals:
        """Count the signals of the window that `entry` lies in, up to it (Core: BIP9Stats)."""
        elapsed = 1 + entry.height % deployment.window
        blocks: list[bool] = []
        current: ChainEntry | None = entry
        while current is not None and len(blocks) < elapsed:
            blocks.append(_signals(deployment, current))
            current = current.parent
        count = sum(blocks)
        possible = deployment.window - deployment.threshold >= elapsed - count
        return Signals(deployment.window, deployment.threshold, elapsed, count, possible, tuple(reversed(blocks)))

    def block_version(self, parent: ChainEntry) -> int:
        """Return the version of a new block: a bit for each deployment started or locked in (BIP9)."""
        version = _TOP_BITS
        for deployment in self.network.version_bits:
            if self.state(deployment, parent) in (State.STARTED, State.LOCKED_IN):
                version |= 1 << deployment.bit
        return version

    def describe(self, entry: ChainEntry) -> dict[str, dict[str, object]]:
        """Return the deployments as of `entry`, as getdeploymentinfo shows them."""
        answer: dict[str, dict[str, object]] = {}
        for name in BURIED:
            height = activation_height(self.network, name)
            answer[name] = {"type": "buried", "active": entry.height + 1 >= height, "height": height}
        for deployment in self.network.version_bits:
            if deployment.start_time != NEVER_ACTIVE:
                answer[deployment.name] = self._describe(deployment, entry)
        return answer

    def _describe(self, deployment: VersionBitsDeployment, entry: ChainEntry) -> dict[str, object]:
        current, following = self.state(deployment, entry.parent), self.state(deployment, entry)
        signalling = current in (State.STARTED, State.LOCKED_IN)
        bip9: dict[str, object] = {"bit": deployment.bit} if signalling else {}
        bip9 |= {
            "start_time": deployment.start_time,
            "timeout": deployment.timeout,
            "min_activation_height": deployment.min_activation_height,
            "status": current.value,
            "since": self.since(deployment, entry.parent),
            "status_next": following.value,
        }
        if signalling:
            signals = self.signals(deployment, entry)
            statistics: dict[str, object] = {
                "period": signals.period,
                "elapsed": signals.elapsed,
                "count": signals.signalling,
            }
            if current is not State.LOCKED_IN:
                statistics |= {"threshold": signals.threshold, "possible": signals.possible}
            bip9 |= {"statistics": statistics, "signalling": "".join("-#"[signal] for signal in signals.blocks)}
        active = following is State.ACTIVE
        answer: dict[str, object] = {"type": "bip9"}
        if active:
            answer["height"] = self.since(deployment, entry)
        return answer | {"active": active, "bip9": bip9}


class UnknownRules(NamedTuple):
    """Bits that enough blocks signalled though no deployment that we know asked for it: of rules that we lack."""

    locked_in: frozenset[int] = frozenset()
    active: frozenset[int] = frozenset()


class UnknownBits:
    """Watches the bits of no known deployment; remembers what it found, once for each window.

    Windows and thresholds are those of the network's first deployment (Core: WarningBitsConditionChecker).
    """

    def __init__(self, network: Network) -> None:
        self._known = VersionBits(network)
        self._window, self._threshold = next(((each.window, each.threshold) for each in network.version_bits), (0, 0))
        self._first = max(2 * self._window, network.unknown_rules_height + self._window) - 1
        """Height at which the first window ends whose signals count; nothing is asked for in that of genesis."""
        self._found: dict[bytes, UnknownRules] = {}

    def rules(self, parent: ChainEntry) -> UnknownRules:
        """Return what holds for the block after `parent`."""
        last = _last_of_window(parent, self._window) if self._window else None
        unknown: list[ChainEntry] = []
        while last is not None and last.height >= self._first and last.hash not in self._found:
            unknown.append(last)
            last = last.ancestor(last.height - self._window)
        rules = self._found.get(last.hash, UnknownRules()) if last else UnknownRules()
        for last in reversed(unknown):
            active = rules.locked_in | rules.active
            rules = self._found[last.hash] = UnknownRules(self._signalled(last) - active, active)
        return rules

    def _signalled(self, last: ChainEntry) -> frozenset[int]:
        """Return the bits that enough blocks of the window that ends with `last` signal, without those we know."""
        versions: Counter[int] = Counter()
        entry: ChainEntry | None = last
        for _ in range(self._window):
            assert entry is not None, "no window is shorter"
            versions[entry.header.version] += 1
            entry = entry.parent
        signals = [each for each in versions.items() if each[0] & _TOP_MASK == _TOP_BITS]
        if sum(count for _, count in signals) < self._threshold:
            return frozenset()
        known = self._known.block_version(entry) if entry is not None else 0
        return frozenset(
            bit
            for bit in _BITS
            if not known >> bit & 1
            and sum(count for version, count in signals if version >> bit & 1) >= self._threshold
        )


def _last_of_window(parent: ChainEntry | None, window: int) -> ChainEntry | None:
    """Return the last entry of the window before the one that the block after `parent` lies in."""
    if parent is None or parent.height + 1 < window:
        return None
    return parent.ancestor(parent.height - (parent.height + 1) % window)


def _next_state(state: State, deployment: VersionBitsDeployment, last: ChainEntry) -> State:
    """Step over the window that ends with `last`."""
    if state is State.DEFINED and median_time_past(last) >= deployment.start_time:
        return State.STARTED
    if state is State.STARTED:
        count = 0
        entry: ChainEntry | None = last
        for _ in range(deployment.window):
            if entry is None:
                break
            count += _signals(deployment, entry)
            entry = entry.parent
        if count >= deployment.threshold:
            return State.LOCKED_IN
        if median_time_past(last) >= deployment.timeout:
            return State.FAILED
    if state is State.LOCKED_IN and last.height + 1 >= deployment.min_activation_height:
        return State.ACTIVE
    return state


def _signals(deployment: VersionBitsDeployment, entry: ChainEntry) -> bool:
    version = entry.header.version
    return version & _TOP_MASK == _TOP_BITS and bool(version >> deployment.bit & 1)
