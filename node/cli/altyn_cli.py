"""`altyn-cli`: bitcoin-cli's options, output and exit statuses, for any node."""

import collections
import contextlib
import dataclasses
import getpass
import os
import socket
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from altyn.node.cli.output import ArgumentError, named_arguments, positional_arguments, result_text, show
from altyn.node.load_settings import load
from altyn.node.options import SettingsError, choose, declared_options, option, read_arguments
from altyn.node.rpc.amounts import JsonNumber
from altyn.node.rpc.client import RpcClient, RpcFailure, Unauthorized, Unreachable
from altyn.node.rpc.errors import IN_WARMUP
from altyn.node.settings import ACCEPTED, OPTIONS, Settings, split_address
from altyn.node.version import VERSION

_POLL = 0.1
_HELP = {"-?", "-h", "-help", "--help"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientOptions:
    """What bitcoin-cli knows beyond the node's options."""

    rpcconnect: str = option("127.0.0.1", "Send commands to the node there", group="Client", value_name="host")
    rpcclienttimeout: int = option(900, "Limit for an answer in seconds, 0 for none", group="Client")
    rpcwait: bool = option(False, "Wait for the node to start", group="Client")
    rpcwaittimeout: int = option(0, "How many seconds to wait for it, 0 for ever", group="Client")
    named: bool = option(False, "Pass named instead of positional arguments", group="Client")
    stdin: bool = option(False, "Read further arguments from standard input, one a line", group="Client")
    stdinrpcpass: bool = option(False, "Read the password from standard input", group="Client")
    rpcwallet: str = option("", "Call methods for this wallet (of bitcoind)", group="Client", value_name="name")
    getinfo: bool = option(False, "Show the state of the node", group="Client")
    netinfo: bool = option(False, "Refused: getpeerinfo and getnetworkinfo say more", group="Client")
    addrinfo: bool = option(False, "Count the addresses known to the node, by network", group="Client")
    generate: bool = option(
        False, "Mine blocks for a new address of the node's wallet: how many (1), and most tries", group="Client"
    )
    color: str = option("auto", "Accepted; nothing is coloured", group="Client", value_name="when")


CLIENT_OPTIONS = declared_options(ClientOptions)
_KNOWN = frozenset(CLIENT_OPTIONS) | frozenset(OPTIONS) | ACCEPTED


class CliError(Exception):
    """What ends the command: lines for standard error, and the exit status."""

    def __init__(self, text: str, status: int = 1) -> None:
        super().__init__(text)
        self.status = status


def main(arguments: Sequence[str] | None = None) -> None:
    """Call a method and print its result."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    count = next((number for number, word in enumerate(words) if not word.startswith("-")), len(words))
    options, command = words[:count], words[count:]
    if _HELP & set(options):
        show(help_text())
        return
    if {"-version", "--version"} & set(options):
        print(f"Altyn RPC client version v{VERSION}")
        return
    try:
        print_result(call(options, command))
    except (CliError, SettingsError, ArgumentError) as error:
        print(_said(error), file=sys.stderr)
        sys.exit(error.status if isinstance(error, CliError) else 1)


def _said(error: Exception) -> str:
    text = str(error)
    if isinstance(error, SettingsError):
        return text if text.startswith("Error ") else f"Error: {text}"
    return text if isinstance(error, CliError) else f"error: {text}"


def print_result(result: Any) -> None:
    """Print a result, nothing for null."""
    text = result_text(result)
    if text:
        show(text)


def call(options: Sequence[str], command: Sequence[str]) -> Any:
    """Do what a command line asks for; return the result. Raises CliError, SettingsError, ArgumentError."""
    layer = read_arguments(options, _KNOWN)
    chosen = {name: choose(each, [layer])[0] for name, each in CLIENT_OPTIONS.items()}
    client_options = ClientOptions(**chosen)
    for_node = [word for word in options if not _is_client_option(word)]
    settings = load(for_node, environ=os.environ)
    if client_options.stdinrpcpass:
        password = getpass.getpass("RPC password> ") if sys.stdin.isatty() else sys.stdin.readline().rstrip("\n")
        settings = dataclasses.replace(settings, rpcpassword=password)
    words = list(command)
    if client_options.stdin:
        words += sys.stdin.read().splitlines()
    special = [name for name in _SPECIAL if getattr(client_options, name)]
    if len(special) > 1:
        raise CliError(f"error: Only one of {', '.join('-' + name for name in special)} may be specified.")
    if special:
        return _with_patience(client_options, settings, lambda client: _call_special(client, special[0], words))
    if not words:
        raise CliError("error: too few parameters (need at least command)")
    method, *given = words
    params: Any = named_arguments(method, given) if client_options.named else positional_arguments(method, given)
    return _with_patience(client_options, settings, lambda client: client.call(method, params))


def _call_special(client: RpcClient, name: str, words: Sequence[str]) -> Any:
    """Do what a flag in place of a method asks for."""
    if words and name != "generate":
        raise CliError(f"error: -{name} takes no arguments")
    return _SPECIAL[name](client, words)


def _is_client_option(word: str) -> bool:
    name = word.lstrip("-").partition("=")[0]
    return name in CLIENT_OPTIONS or name.removeprefix("no") in CLIENT_OPTIONS


def _with_patience(options: ClientOptions, settings: Settings, action: Any) -> Any:
    """Do it with a client; with -rpcwait again and again until the node is there."""
    client = make_client(options, settings)
    deadline = time.monotonic() + options.rpcwaittimeout if options.rpcwaittimeout else float("inf")
    while True:
        try:
            return action(client)
        except Unauthorized:
            raise CliError("error: Authorization failed: Incorrect rpcuser or rpcpassword") from None
        except Unreachable as error:
            if not options.rpcwait or time.monotonic() > deadline:
                raise CliError(_unreachable_text(options, settings)) from error
        except RpcFailure as error:
            if not (options.rpcwait and error.code == IN_WARMUP) or time.monotonic() > deadline:
                raise CliError(
                    f"error code: {error.code}\nerror message:\n{error.message}", abs(error.code) & 0xFF
                ) from error
        time.sleep(_POLL)


def make_client(options: ClientOptions, settings: Settings) -> RpcClient:
    """Return a client of the node that the options and settings name. Raises CliError."""
    host, port = split_address(options.rpcconnect, settings.rpcport)
    host = f"[{host}]" if ":" in host else host
    user = f"{quote(settings.rpcuser, '')}:{quote(settings.rpcpassword, '')}@" if settings.rpcpassword else ""
    url = f"http://{user}{host}:{port}" + (f"/wallet/{quote(options.rpcwallet, '')}" if options.rpcwallet else "")
    cookie = None if settings.rpcpassword else settings.path(settings.rpccookiefile)
    try:
        return RpcClient(
            url, cookie_file=cookie, timeout=float(options.rpcclienttimeout or 10**6), parse_float=JsonNumber
        )
    except ValueError as error:
        raise CliError(f"error: {error}") from error


def _unreachable_text(options: ClientOptions, settings: Settings) -> str:
    host, port = split_address(options.rpcconnect, settings.rpcport)
    is_there = False
    with contextlib.suppress(OSError), socket.create_connection((host, port), 1):
        is_there = True
    if is_there and not settings.rpcpassword and not settings.path(settings.rpccookiefile).exists():
        return (
            "error: Could not locate RPC credentials. No authentication cookie could be found, and RPC password is not "
            "set.  See -rpcpassword and -stdinrpcpass.  "
            f"Configuration file: ({settings.datadir / settings.conf})"
        )
    return (
        f"error: timeout on transient error: Could not connect to the server {host}:{port}\n\n"
        "Make sure the node is running and that you are connecting to the correct RPC port.\n"
        'Use "altyn-cli -help" for more info.'
    )


def _info(client: RpcClient, _: Sequence[str]) -> str:
    """Return what -getinfo shows."""
    network, chain = client.batch([("getnetworkinfo", ()), ("getblockchaininfo", ())])
    for answer in (network, chain):
        if isinstance(answer, RpcFailure):
            raise answer
    warnings = network["warnings"]
    warnings = "\n".join(warnings) if isinstance(warnings, list) else warnings
    proxies: dict[str, list[str]] = {}
    for each in network["networks"]:
        if each["proxy"]:
            proxies.setdefault(each["proxy"], []).append(each["name"])
    progress = float(str(chain["verificationprogress"])) * 100
    return "\n".join(
        (
            f"Chain: {chain['chain']}",
            f"Blocks: {chain['blocks']}",
            f"Headers: {chain['headers']}",
            f"Verification progress: {progress:.4f}%",
            f"Difficulty: {chain['difficulty']}",
            "",
            f"Network: in {network['connections_in']}, out {network['connections_out']}, "
            f"total {network['connections']}",
            f"Version: {network['version']}",
            f"Time offset (s): {network['timeoffset']}",
            "Proxies: " + (", ".join(f"{each} ({', '.join(names)})" for each, names in proxies.items()) or "n/a"),
            f"Min tx relay fee rate (BTC/kvB): {network['relayfee']}",
            "",
            f"Warnings: {warnings or '(none)'}",
        )
    )


def _netinfo(_: RpcClient, __: Sequence[str]) -> Any:
    raise CliError("error: -netinfo is not offered; getpeerinfo, getnetworkinfo and getnettotals have its figures")


def _addrinfo(client: RpcClient, _: Sequence[str]) -> Any:
    """Return how many addresses of each network the node would give away."""
    known = collections.Counter(each["network"] for each in client.call("getnodeaddresses", [0]))
    counts = {name: known[name] for name in ("ipv4", "ipv6", "onion", "i2p", "cjdns")}
    return {"addresses_known": {**counts, "total": sum(known.values())}}


def _generate(client: RpcClient, words: Sequence[str]) -> Any:
    """Mine blocks for a new address of the node's wallet, if it has one (bitcoind)."""
    address = client.call("getnewaddress")
    if len(words) > 2:
        raise CliError("error: too many arguments (maximum 2 for nblocks and maxtries)")
    count, *tries = positional_arguments("generatetoaddress", [words[0] if words else "1", address, *words[1:]])[::2]
    if not isinstance(count, int) or count <= 0:
        raise CliError(
            "error: the first argument (number of blocks to generate, default: 1) must be an integer value greater "
            "than zero"
        )
    return {"address": address, "blocks": client.call("generatetoaddress", [count, address, *tries])}


_SPECIAL: Mapping[str, Callable[[RpcClient, Sequence[str]], Any]] = {
    "getinfo": _info,
    "netinfo": _netinfo,
    "addrinfo": _addrinfo,
    "generate": _generate,
}
"""What flags in place of a method do."""


def help_text() -> str:
    """Return how the command is called, and its options."""
    lines = [
        f"Altyn RPC client version v{VERSION}",
        "",
        "Usage:  altyn-cli [options] <command> [params]  Send command to a node",
        "or:     altyn-cli [options] -named <command> [name=value]...  Send command with named arguments",
        "or:     altyn-cli [options] help                List commands",
        "or:     altyn-cli [options] help <command>      Get help for a command",
        "",
        "Options, besides those of altynd:",
    ]
    for name, each in CLIENT_OPTIONS.items():
        lines += ["", f"  -{name}" + (f"=<{each.value_name}>" if each.value_name else ""), f"       {each.help}"]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
