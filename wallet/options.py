"""What every command of `altyn-wallet` accepts: which wallet, which node, where the passphrase comes from."""

import functools
import json
import os
import re
import stat
import sys
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, TypeVar

import click

from altyn.consensus.networks import NETWORKS, Network
from altyn.wallet.backend import Credentials, RpcBackend
from altyn.wallet.errors import WalletError
from altyn.wallet.wallet import Wallet

F = TypeVar("F", bound=Callable[..., Any])
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True, slots=True)
class Options:
    """What every command needs to know; what is None was not said."""

    network: str | None = None
    wallet: str | None = None
    wallet_dir: Path | None = None
    rpc_url: str | None = None
    rpc_cookie: Path | None = None
    rpc_user: str | None = None
    rpc_password_file: Path | None = None
    rpc_timeout: float | None = None
    passphrase_file: Path | None = None
    testnet: str | None = None
    as_json: bool = False


_FOLDER = click.Path(file_okay=False, path_type=Path)
_FILE = click.Path(dir_okay=False, path_type=Path)

_SHARED: tuple[tuple[tuple[str, ...], str | None, dict[str, Any]], ...] = (
    (("--network",), "ALTYN_NETWORK", {"help": "regtest (default), signet, testnet3, testnet4 or mainnet."}),
    (("--wallet",), "ALTYN_WALLET", {"metavar": "NAME", "help": 'The wallet\'s name; "default" if left out.'}),
    (
        ("--wallet-dir",),
        "ALTYN_WALLET_DIR",
        {"type": _FOLDER, "help": "Where wallets lie, if not in ~/.altyn/wallets."},
    ),
    (("--rpc-url",), "ALTYN_RPC_URL", {"help": "The node, as http://HOST:PORT; on this machine if left out."}),
    (
        ("--rpc-cookie", "--rpc-cookie-file", "rpc_cookie"),
        "ALTYN_RPC_COOKIE",
        {"type": _FILE, "help": "The node's cookie file."},
    ),
    (("--rpc-user",), "ALTYN_RPC_USER", {"help": "Instead of a cookie; the password is in ALTYN_RPC_PASSWORD."}),
    (("--rpc-password-file",), None, {"type": _FILE, "help": "The password, instead of ALTYN_RPC_PASSWORD."}),
    (("--rpc-timeout",), None, {"type": click.FloatRange(min=1), "help": "Seconds to wait for an answer, if not 300."}),
    (
        ("--passphrase-file",),
        None,
        {"type": _FILE, "help": "The passphrase, instead of ALTYN_WALLET_PASSPHRASE or a prompt."},
    ),
    (
        ("--testnet",),
        "ALTYN_TESTNET",
        {"metavar": "NAME[:NODE]", "help": "Wallets and a node of a local network (`altyn testnet up`)."},
    ),
    (("--json", "as_json"), None, {"is_flag": True, "help": "Print JSON for machines."}),
)


def group_options(function: F) -> F:
    """Accept the options of all commands before the command's name, and from the environment."""
    for names, variable, settings in reversed(_SHARED):
        function = click.option(*names, envvar=variable, show_envvar=True, **settings)(function)
    return function


def with_options(function: Callable[..., None]) -> Callable[..., None]:
    """Accept them behind the command's name too, where they win; the command gets `Options` as its first argument."""

    @functools.wraps(function)
    def run(**given: Any) -> None:
        function(resolve(take_options(given)), **given)

    command: Callable[..., None] = run
    for names, _, settings in reversed(_SHARED):
        # Only --json is listed in the help of each command; the rest is in that of the whole.
        command = click.option(*names, hidden="--json" not in names, **settings)(command)
    return command


def take_options(given: dict[str, Any]) -> Options:
    """Remove the shared options from what click read, and lay those that were said over those said before."""
    before = click.get_current_context().obj
    said = {each.name: given.pop(each.name) for each in fields(Options)}
    return replace(before or Options(), **{name: value for name, value in said.items() if value})


def own_command(options: Options, command: str) -> str:
    """Return how to call a command for the same wallet."""
    words = ["altyn-wallet"]
    if options.testnet:
        words += ["--testnet", options.testnet]
    elif options.network not in {None, "regtest"}:
        words += ["--network", str(options.network)]
    if options.wallet not in {None, "default"}:
        words += ["--wallet", str(options.wallet)]
    return " ".join([*words, command])


# Where things are


def _home() -> Path:
    return Path(os.environ.get("ALTYN_HOME") or Path.home() / ".altyn")


def resolve(options: Options) -> Options:
    """Fill in what follows from the name of a local network, then the defaults."""
    if options.testnet:
        options = _on_testnet(options, options.testnet)
    return replace(
        options,
        network=options.network or "regtest",
        wallet=options.wallet or "default",
        wallet_dir=options.wallet_dir or _home() / "wallets",
    )


def _testnet_state(name: str) -> dict[str, Any]:
    path = _home() / "testnets" / name / "network.json"
    try:
        if Path(name).name == name:
            state = json.loads(path.read_text())
            if isinstance(state, dict):
                return state
    except (OSError, ValueError):
        pass
    raise WalletError(f"there is no local network {name!r}: start it with `altyn testnet up --name {name}`")


def _on_testnet(options: Options, text: str) -> Options:
    name, _, wanted = text.partition(":")
    state = _testnet_state(name)
    try:
        nodes = {node["name"]: node for node in state["nodes"]}
        node = nodes.get(wanted) if wanted else next(iter(nodes.values()))
        if node is None:
            raise WalletError(f"no node {wanted!r} in {name}: it has {', '.join(nodes)}")
        return replace(
            options,
            network=options.network or "regtest",
            wallet_dir=options.wallet_dir or _home() / "testnets" / name / "wallets",
            rpc_url=options.rpc_url or f"http://127.0.0.1:{int(node['rpc_port'])}",
            rpc_cookie=options.rpc_cookie or Path(node["datadir"]) / "regtest" / ".cookie",
        )
    except (KeyError, TypeError, ValueError, StopIteration):
        raise WalletError(f"the state of local network {name!r} cannot be read") from None


def wallet_path(folder: Path, network: Network, name: str) -> Path:
    """Return where the wallet called `name` lies. Raises WalletError for a name that is no plain file name."""
    if not _NAME.fullmatch(name):
        raise WalletError(f"{name!r} is no name for a wallet: use letters, digits, dots and dashes")
    return folder / network.name / f"{name}.sqlite"


def network_named(name: str) -> Network:
    """Return a network by our name or Core's. Raises WalletError."""
    try:
        return NETWORKS[name]
    except KeyError:
        raise WalletError(f"no network {name!r}: use mainnet, testnet3, testnet4, signet or regtest") from None


def network_of(options: Options) -> Network:
    """Return the network that the options name, regtest when none. Raises WalletError."""
    return network_named(options.network or "regtest")


def path_of(options: Options) -> Path:
    """Return where the wallet lies. Raises WalletError."""
    return wallet_path(options.wallet_dir or _home() / "wallets", network_of(options), options.wallet or "default")


def backend_of(options: Options) -> RpcBackend:
    """Return the node that the options name, by default the one of this machine; closed when the command ends."""
    network = network_of(options)
    url = options.rpc_url or f"http://127.0.0.1:{network.rpc_port}"
    cookie = options.rpc_cookie
    if cookie is None and not options.rpc_user:
        cookie = _home() / network.folder / ".cookie"
    password = os.environ.get("ALTYN_RPC_PASSWORD", "")
    if options.rpc_password_file:
        password = first_line(options.rpc_password_file)
    if options.rpc_user and options.rpc_cookie is None:
        credentials = Credentials(None, options.rpc_user, password)
    else:
        credentials = Credentials(cookie)
    backend = RpcBackend(url, credentials, timeout=options.rpc_timeout or 300.0)
    click.get_current_context().call_on_close(backend.close)
    return backend


def open_wallet(options: Options) -> Wallet:
    """Open the wallet that the options name, with its node. Raises WalletError."""
    return Wallet.open(path_of(options), network_of(options), backend_of(options))


# The passphrase


def first_line(path: Path) -> str:
    """Return the first line of a file that holds a secret. Raises WalletError."""
    try:
        return path.read_text().split("\n", 1)[0].rstrip("\r")
    except (OSError, UnicodeDecodeError) as error:
        raise WalletError(f"cannot read {path} ({getattr(error, 'strerror', None) or 'not text'})") from None


def ask_passphrase(options: Options, *, new: bool = False) -> str:
    """Get the passphrase: from a file, the environment, the local network's state, or by asking."""
    if options.passphrase_file:
        passphrase = first_line(options.passphrase_file)
        if options.passphrase_file.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            click.echo(f"Warning: others can read {options.passphrase_file}; chmod 600 it.", err=True)
    elif "ALTYN_WALLET_PASSPHRASE" in os.environ:
        passphrase = os.environ["ALTYN_WALLET_PASSPHRASE"]
    elif options.testnet:
        passphrase = str(_testnet_state(options.testnet.partition(":")[0]).get("passphrase", ""))
    elif sys.stdin.isatty():
        passphrase = click.prompt("Passphrase", hide_input=True, confirmation_prompt=new, err=True)
    else:
        raise WalletError("no passphrase: set ALTYN_WALLET_PASSPHRASE, or name a file with --passphrase-file")
    if not passphrase:
        raise WalletError("the passphrase is empty")
    return passphrase
