"""`altyn`: nodes, calls, mining and local networks, for people."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from altyn.node.cli import doctor as diagnosis
from altyn.node.cli import mine as mining
from altyn.node.cli.output import ArgumentError, named_arguments, positional_arguments, result_text
from altyn.node.cli.run import Kind, run
from altyn.node.cli.testnet import testnet
from altyn.node.load_settings import load
from altyn.node.options import Option, SettingsError, sample_text
from altyn.node.rpc.amounts import JsonNumber
from altyn.node.rpc.client import RpcClient, RpcFailure, Unreachable
from altyn.node.rpc.errors import METHOD_NOT_FOUND
from altyn.node.settings import ALTYN_STYLE, OPTIONS, Settings
from altyn.node.version import VERSION

_NETWORKS = ("mainnet", "testnet3", "testnet4", "signet", "regtest")
_NETWORK_FLAGS = {"chain", "regtest", "signet", "testnet", "testnet4", "includeconf"}
_FOR_CALLS = ("datadir", "rpcport", "rpcuser", "rpcpassword", "rpccookiefile", "conf")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(VERSION, prog_name="altyn")
def main() -> None:
    """Run and use Altyn, a Bitcoin-protocol node.

    \b
    altyn testnet up        a local network of real nodes, with money on it
    altyn node              a full node (regtest, unless --network says otherwise)
    altyn light             a light node
    altyn rpc getblockcount ask a running node
    altyn mine bcrt1q...    mine a block on it
    altyn doctor            what keeps a node from running here?
    """


def _click_option(option: Option, hidden: bool) -> click.Option:
    """Make the option of a command from a declaration; what it is left out for is decided by the settings."""
    name = f"--{option.name}"
    if option.is_flag:
        return click.Option([f"{name}/--no{option.name}"], default=None, help=option.help, hidden=hidden)
    return click.Option(
        [name],
        multiple=option.many,
        metavar=option.value_name.upper() or "VALUE",
        help=option.help,
        hidden=hidden,
    )


def _with_settings(names: Sequence[str], shown: Sequence[str] = tuple(OPTIONS)) -> Callable[[Any], Any]:
    """Give a command `--network` and the options called `names`, in the order of their declaration.

    Its help has those in `shown` that are common.
    """

    def decorate(command: click.Command) -> click.Command:
        network = click.Option(
            ["--network"], type=click.Choice(_NETWORKS), default=None, help="Which chain; regtest when left out."
        )
        options = [OPTIONS[name] for name in names]
        command.params += [
            network,
            *(_click_option(each, not each.common or each.name not in shown) for each in options),
        ]
        return command

    return decorate


_ALL = tuple(name for name in OPTIONS if name not in _NETWORK_FLAGS)
_FOR_LIGHT = (
    "datadir", "connect", "addnode", "proxy", "onion", "maxconnections", "rpcport", "rpcbind", "rpcallowip", "debug",
)  # fmt: skip
"""What the help of a light node shows; it accepts all settings, and has no use for most."""


def _arguments(values: dict[str, Any]) -> list[str]:
    """Turn what click read into words that the settings read."""
    words = []
    for name, value in values.items():
        option = "chain" if name == "network" else name.replace("_", "-")
        if value is None or value == ():
            continue
        for each in value if isinstance(value, tuple) else (value,):
            text = str(int(each)) if isinstance(each, bool) else str(each)
            words.append(f"-{option}={text}")
    return words


def _settings(words: Sequence[str], *, datadir_must_exist: bool = True) -> Settings:
    try:
        return load(words, environ=os.environ, defaults=ALTYN_STYLE, datadir_must_exist=datadir_must_exist)
    except SettingsError as error:
        raise click.ClickException(str(error)) from error


def _run(kind: Kind, values: dict[str, Any]) -> None:
    if values.get("datadir"):
        folder = Path(values["datadir"]).expanduser()
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise click.ClickException(f"{folder} cannot be used as data directory: {error.strerror}") from error
    words = _arguments(values)
    settings = _settings(words)

    def ready(addresses: Sequence[tuple[str, int]]) -> None:
        where = f"http://{addresses[0][0]}:{addresses[0][1]}" if addresses else "off"
        click.echo(f"Altyn {VERSION}: a {kind.value} on {settings.network.name}")
        click.echo(f"  RPC   {where}")
        click.echo(f"  data  {settings.folder}")
        port = "" if settings.rpcport == settings.network.rpc_port else f" --rpcport {settings.rpcport}"
        where = f"--network {settings.network.name} --datadir {settings.datadir}{port}"
        click.echo(f"  ask   altyn rpc {where} getblockchaininfo")
        click.echo("  stop  Ctrl-C")

    raise SystemExit(run(settings, kind, arguments=words, for_people=True, ready=ready))


@_with_settings(_ALL)
@main.command()
def node(**values: Any) -> None:
    """Run a full node in the foreground.

    \b
    altyn node
    altyn node --network signet --datadir ~/signet
    altyn sample-config     explains the options that are not listed here; they work here too
    """
    _run(Kind.FULL, values)


@_with_settings(_ALL, shown=_FOR_LIGHT)
@main.command(short_help="Run a light node in the foreground.")
def light(**values: Any) -> None:
    """Run a light node in the foreground: it keeps headers and filters, and needs full nodes as peers.

    \b
    altyn light --connect 127.0.0.1:18444 --datadir ~/light --rpcport 18500
    """
    _run(Kind.LIGHT, values)


def _client(values: dict[str, Any]) -> RpcClient:
    """Return a client of the node that the options name, by URL or by its data directory."""
    url, cookie_file = values.pop("rpc_url", None), values.pop("rpc_cookie_file", None)
    settings = _settings(_arguments(values))
    url, cookie_file = _where(settings, url, cookie_file)
    try:
        return RpcClient(url, cookie_file=cookie_file, parse_float=JsonNumber)
    except ValueError as error:
        raise click.ClickException(str(error)) from error


def _where(settings: Settings, url: str | None, cookie_file: Path | None) -> tuple[str, Path | None]:
    if url is None:
        user = f"{settings.rpcuser}:{settings.rpcpassword}@" if settings.rpcpassword else ""
        url = f"http://{user}127.0.0.1:{settings.rpcport}"
    return url, cookie_file or settings.path(settings.rpccookiefile)


_url_options = (
    click.option("--rpc-url", metavar="URL", help="Address of the node: http://[user:password@]host:port."),
    click.option("--rpc-cookie-file", type=click.Path(path_type=Path), help="Its cookie, if not in the data folder."),
)


def _with_url(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in reversed(_url_options):
        command = option(command)
    return command


@_with_settings(_FOR_CALLS)
@main.command("rpc", short_help="Call a method of a running node.", context_settings={"ignore_unknown_options": True})
@click.argument("method")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@click.option("--named", is_flag=True, help="ARGUMENTS are name=value.")
@_with_url
def rpc(method: str, arguments: tuple[str, ...], named: bool, **values: Any) -> None:
    """Call METHOD of a running node and print the result.

    \b
    altyn rpc getblockcount
    altyn rpc getblock 0f91... 2
    altyn rpc --named getblockhash height=5
    """
    client = _client(values)
    try:
        params: Any = named_arguments(method, arguments) if named else positional_arguments(method, arguments)
        text = result_text(client.call(method, params))
    except RpcFailure as error:
        if "\n" in error.message:  # the help of the method, for a call that does not fit it
            usage = error.message.partition("\n")[0]
            raise click.ClickException(f"usage: {usage} (see: altyn rpc help {method})") from error
        hint = ". See: altyn rpc help" if error.code == METHOD_NOT_FOUND else ""
        raise click.ClickException(f"{error}{hint}") from error
    except (Unreachable, ArgumentError) as error:
        raise click.ClickException(str(error)) from error
    if text:
        click.echo(text)


@_with_settings(_FOR_CALLS)
@main.command(short_help="Mine blocks that pay an address.")
@click.argument("address")
@click.option("--blocks", type=click.IntRange(min=0), default=1, show_default=True, help="How many; 0 for no end.")
@_with_url
def mine(address: str, blocks: int, rpc_url: str | None, rpc_cookie_file: Path | None, **values: Any) -> None:
    """Mine blocks that pay ADDRESS, on any node that has getblocktemplate.

    \b
    altyn mine bcrt1q... --blocks 5
    altyn mine bcrt1q... --rpc-url http://user:password@127.0.0.1:18443
    """
    url, cookie_file = _where(_settings(_arguments(values)), rpc_url, rpc_cookie_file)
    mining.run(url, cookie_file, address, blocks)


@_with_settings(_ALL)
@main.command("doctor", short_help="Say what keeps a node from running here.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for machines.")
def doctor(as_json: bool, **values: Any) -> None:
    """Look whether a node with these options would run here, and say what to mend. Changes nothing.

    Exit status 1 when a node would not start, or not work.

    \b
    altyn doctor
    altyn doctor --network signet --datadir ~/signet --json
    """
    findings = list(diagnosis.examine(_settings(_arguments(values), datadir_must_exist=False)))
    if as_json:
        click.echo(diagnosis.as_json(findings))
    else:
        for each in findings:
            click.echo(f"{each.state.upper():8} {each.name}: {each.text}")
            if each.remedy:
                click.echo(f"         mend it: {each.remedy}")
    raise SystemExit(not diagnosis.is_healthy(findings))


@main.command("sample-config", short_help="Print a configuration file, explained.")
def sample_config() -> None:
    """Print a configuration file with every option explained, each commented out.

    \b
    altyn sample-config > ~/.altyn/bitcoin.conf
    """
    click.echo(sample_text(OPTIONS))


main.add_command(testnet)

if __name__ == "__main__":
    main()
