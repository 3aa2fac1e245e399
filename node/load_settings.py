"""Reading the settings from where the user gave them, and checking them against each other."""

import dataclasses
import string
from collections.abc import Mapping, Sequence
from pathlib import Path

from altyn.consensus.networks import NETWORKS, Network, custom_signet
from altyn.node.options import ConfigFile, Layer, Option, SettingsError, choose, read_arguments, read_environment
from altyn.node.settings import ACCEPTED, CORE_STYLE, OPTIONS, Settings, read_endpoint
from altyn.node.version import user_agent
from altyn.p2p.limits import MAX_USER_AGENT_LENGTH

_KNOWN = frozenset(OPTIONS) | ACCEPTED
_NETWORK_FLAGS = ("regtest", "signet", "testnet", "testnet4")
_ACTIVATION_HEIGHTS = {
    "segwit": "segwit_height",
    "bip34": "bip34_height",
    "dersig": "bip66_height",
    "cltv": "bip65_height",
    "csv": "csv_height",
}
_SECTIONS = frozenset({"main", "test", "testnet4", "signet", "regtest"})
_MINIMUM_PRUNE = 550
_SAFE_IN_COMMENTS = frozenset(string.ascii_letters + string.digits + " .,;-_?@")


def load(
    arguments: Sequence[str] = (),
    *,
    environ: Mapping[str, str] | None = None,
    defaults: Mapping[str, str] = CORE_STYLE,
    datadir_must_exist: bool = True,
) -> Settings:
    """Read the settings from a command line in bitcoind's style, the environment and the configuration file.

    `defaults` are texts that stand in for the declared defaults; `datadir_must_exist` refuses a data directory that was
    asked for and is not there. Raises SettingsError; touches only files.
    """
    command_line = read_arguments(arguments, _KNOWN)
    environment = read_environment(environ or {}, _KNOWN)
    base = Layer(_KNOWN)
    for name, text in defaults.items():
        base.add(name, text)
    if "includeconf" in command_line.values:
        raise SettingsError(
            "Error parsing command line arguments: -includeconf cannot be used from commandline; "
            f'-includeconf="{command_line.values["includeconf"][-1]}"'
        )
    above = [command_line, environment]
    datadir = Path(choose(OPTIONS["datadir"], above)[0]).expanduser()
    if datadir_must_exist and any("datadir" in layer for layer in above) and not datadir.is_dir():
        raise SettingsError(f'Specified data directory "{datadir}" does not exist.')
    config = _read_config(above, datadir)
    unsectioned, unknown = config.layer("", _KNOWN)
    chain = _choose_chain([command_line, environment, unsectioned], base)
    section, unknown_in_section = config.layer(chain, _KNOWN)
    layers = [*above, section, unsectioned, base]
    warnings = [*config.warnings]
    warnings += (f"Ignoring unknown configuration value {name}" for name in (*unknown, *unknown_in_section))
    strange = [f"{place} Section [{name}] is not recognized." for name, place in config.places if name not in _SECTIONS]
    warnings += strange
    notices = [f"warning: {text}" for text in config.warnings]
    if strange:
        notices.append("Warning: " + "\n".join(strange))
    warnings += (
        f"Option -{name} has no effect here" for name in sorted(ACCEPTED) if any(name in layer for layer in layers)
    )
    _refuse_stray_options(chain, layers)

    values: dict[str, object] = {}
    given = set()
    for name, each in OPTIONS.items():
        usable = [layer for layer in layers if layer is not unsectioned] if _is_stray(each, chain) else layers
        value, is_given = choose(each, usable)
        values[name.replace("-", "_")] = value
        if is_given:
            given.add(name)
    values |= {"chain": chain, "datadir": Path(str(values["datadir"])).expanduser().absolute()}
    values |= {name: name == _flag_of(chain) for name in _NETWORK_FLAGS}
    # Each value has its field's type, for the declaration in `Settings` read it; a dictionary cannot say so.
    raw = Settings(**values, given=frozenset(given), warnings=tuple(warnings), notices=tuple(notices))  # type: ignore[arg-type]
    return _finish(raw)


def _read_config(above: Sequence[Layer], datadir: Path) -> ConfigFile:
    name, is_given = choose(OPTIONS["conf"], above)
    config = ConfigFile()
    path = datadir / Path(name).expanduser()
    if name == "0":
        return config
    if path.is_dir():
        raise SettingsError(f'Error reading configuration file: Config file "{path}" is a directory.')
    if not path.is_file():
        if is_given:
            raise SettingsError(
                f'Error reading configuration file: specified config file "{path}" could not be opened.'
            )
        return config
    config.read(_text_of(path), str(path))
    if "includeconf" in above[0].negated:
        return config
    chain = _choose_chain([*above, config.layer("", _KNOWN)[0]], Layer(_KNOWN))
    for included in (*config.get("includeconf"), *config.get("includeconf", chain)):
        path = datadir / Path(included).expanduser()
        if not path.is_file():
            raise SettingsError(f"Error reading configuration file: Failed to include configuration file {included}")
        config.read(_text_of(path), included, is_included=True)
    return config


def _text_of(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"Error reading configuration file: {path}: {error}") from error


def _choose_chain(asking: Sequence[Layer], base: Layer) -> str:
    """Return Core's name of the chain that those ask for together, or `base` if they ask for none."""
    for layers in (asking, [base]):
        asked = [flag for flag in _NETWORK_FLAGS if choose(OPTIONS[flag], layers)[0]]
        if any("chain" in layer for layer in layers):
            asked.append("chain")
        if len(asked) > 1:
            raise SettingsError(
                "Invalid combination of -regtest, -signet, -testnet, -testnet4 and -chain. Can use at most one."
            )
        if asked:
            name = choose(OPTIONS["chain"], layers)[0] if asked == ["chain"] else asked[0]
            name = "testnet3" if name == "testnet" else name
            if name not in NETWORKS:
                raise SettingsError(f"Unknown chain {name}.")
            return NETWORKS[name].chain
    return "main"


def _flag_of(chain: str) -> str:
    return "testnet" if chain == "test" else chain


def _is_stray(each: Option, chain: str) -> bool:
    """Whether the part of a configuration file above all sections does not speak for this option."""
    return each.network_only and chain != "main"


def _refuse_stray_options(chain: str, layers: Sequence[Layer]) -> None:
    *usable, unsectioned, _ = layers
    stray = [
        f"Config setting for -{name} only applied on {chain} network when in [{chain}] section."
        for name, each in sorted(OPTIONS.items())
        if _is_stray(each, chain) and name in unsectioned and not any(name in layer for layer in usable)
    ]
    if stray:
        raise SettingsError("\n".join(stray))


def _finish(raw: Settings) -> Settings:
    """Check the options against each other and fill in what follows (Core: AppInitParameterInteraction)."""
    network = _network(raw)
    changes: dict[str, object] = {
        "network": network,
        "port": raw.port or network.port,
        "rpcport": raw.rpcport or network.rpc_port,
    }
    for name, port in (("port", raw.port), ("rpcport", raw.rpcport)):
        if name in raw.given and not port:
            raise SettingsError(f"Invalid port specified in -{name}: '0'")
    for name, texts in (("onion", [raw.onion]), ("proxy", [raw.proxy]), ("rpcbind", raw.rpcbind)):
        for text in filter(None, texts):
            read_endpoint(name, text, 1)
    if "listen" in raw.given and not raw.listen and (raw.bind or raw.whitebind):
        raise SettingsError("Cannot set -bind or -whitebind together with -listen=0")
    if "listen" not in raw.given:  # binding asks for it, connecting to chosen peers only speaks against it
        quiet = "connect" in raw.given or raw.proxy not in {"", "0"} or raw.maxconnections <= 0
        changes["listen"] = bool(raw.bind or raw.whitebind) or not quiet
    if raw.peerblockfilters and not raw.blockfilterindex:
        raise SettingsError("Cannot set -peerblockfilters without -blockfilterindex.")
    _check_prune(raw)
    least = -(-raw.limitdescendantsize * 1000 * 40 // 1_000_000)
    if raw.maxmempool < least:
        raise SettingsError(f"-maxmempool must be at least {least} MB")
    if raw.peertimeout <= 0:
        raise SettingsError("peertimeout must be a positive integer.")
    for comment in raw.uacomment:
        if not set(comment) <= _SAFE_IN_COMMENTS:
            raise SettingsError(f"User Agent comment ({comment}) contains unsafe characters.")
    if (length := len(user_agent(raw.uacomment))) > MAX_USER_AGENT_LENGTH:
        raise SettingsError(
            f"Total length of network version string ({length}) exceeds maximum length ({MAX_USER_AGENT_LENGTH}). "
            "Reduce the number or size of uacomments."
        )
    if raw.acceptnonstdtxn and not network.is_test_chain:
        raise SettingsError(f"acceptnonstdtxn is not currently supported for {network.chain} chain")
    if raw.mocktime and not network.is_mockable:
        raise SettingsError("-mocktime is for regression testing (-regtest mode) only")
    if raw.secp256k1 not in {"auto", "coincurve", "ecdsa"}:
        raise SettingsError(f"Unknown -secp256k1 value {raw.secp256k1}.")
    settings = dataclasses.replace(raw, **changes)  # type: ignore[arg-type]  # of several types
    _ = settings.doors, settings.whitelisted, settings.reachable, settings.external_addresses  # refused now or never
    if raw.forcednsseed and not settings.asks_dns:
        raise SettingsError("Cannot set -forcednsseed to true when setting -dnsseed to false.")
    return settings


def _check_prune(raw: Settings) -> None:
    if raw.prune < 0:
        raise SettingsError("Prune cannot be configured with a negative value.")
    if 1 < raw.prune < _MINIMUM_PRUNE:
        raise SettingsError(f"Prune configured below the minimum of {_MINIMUM_PRUNE} MiB.  Please use a higher number.")
    if raw.prune and raw.txindex:
        raise SettingsError("Prune mode is incompatible with -txindex.")
    if raw.prune and raw.reindex_chainstate:
        raise SettingsError("Prune mode is incompatible with -reindex-chainstate. Use full -reindex instead.")


def _network(raw: Settings) -> Network:
    network = NETWORKS[raw.chain]
    if raw.signetchallenge:
        if len(raw.signetchallenge) > 1:
            raise SettingsError("-signetchallenge cannot be multiple values.")
        try:
            challenge = bytes.fromhex(raw.signetchallenge[0])
        except ValueError:
            raise SettingsError(f"-signetchallenge must be hex, not '{raw.signetchallenge[0]}'.") from None
        if raw.chain == "signet":
            network = custom_signet(challenge)
    changes: dict[str, object] = {}
    if raw.fastprune and raw.chain == "regtest":
        changes["prune_after_height"] = 100
    if raw.testactivationheight and raw.chain == "regtest":
        changes |= map(_activation_height, raw.testactivationheight)
    if raw.minimumchainwork:
        changes["minimum_chain_work"] = _number(
            raw.minimumchainwork, "Invalid minimum work specified ({}), must be up to 64 hex digits"
        )
    if "assumevalid" in raw.given:
        block = _number(
            raw.assumevalid,
            "Invalid assumevalid block hash specified ({}), must be up to 64 hex digits (or 0 to disable)",
        )
        changes["assume_valid"] = block.to_bytes(32, "little") if block else None
    return dataclasses.replace(network, **changes) if changes else network  # type: ignore[arg-type]  # as above


def _number(text: str, refusal: str) -> int:
    """Read up to 32 bytes of hexadecimal."""
    digits = text.removeprefix("0x")
    if len(digits) > 64 or not set(digits) <= set(string.hexdigits):
        raise SettingsError(refusal.format(text))
    return int(digits or "0", 16)


def _activation_height(text: str) -> tuple[str, int]:
    name, at, height = text.partition("@")
    if not at:
        raise SettingsError(f"Invalid format ({text}) for -testactivationheight=name@height.")
    if not height.isdecimal() or int(height) >= 2**31 - 1:
        raise SettingsError(f"Invalid height value ({text}) for -testactivationheight=name@height.")
    if name not in _ACTIVATION_HEIGHTS:
        raise SettingsError(f"Invalid name ({text}) for -testactivationheight=name@height.")
    return _ACTIVATION_HEIGHTS[name], int(height)
