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

from altyn.node.cli.dashboards import MOST_DETAIL, PEERS_HELP, peers_text, state_text
from altyn.node.cli.output import ArgumentError, named_arguments, positional_arguments, result_text, show
from altyn.node.load_settings import load
from altyn.node.options import SettingsError, choose, declared_options, option, read_arguments
from altyn.node.rpc.amounts import JsonNumber
from altyn.node.rpc.client import RpcClient, RpcFailure, Unauthorized, Unreachable
from altyn.node.rpc.errors import IN_WARMUP
from altyn.node.settings import ACCEPTED, OPTIONS, Settings
from altyn.node.version import VERSION
from altyn.p2p.addresses import Endpoint

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
    stdinwalletpassphrase: bool = option(False, "Read the wallet's passphrase from standard input", group="Client")
    rpcwallet: str = option("", "Call methods for this wallet (of bitcoind)", group="Client", value_name="name")
    getinfo: bool = option(False, "Show the state of the node", group="Client")
    netinfo: bool = option(False, "Show the peers, in detail up to level 4 (0), or help", group="Client")
    addrinfo: bool = option(False, "Count the addresses known to the node, by network", group="Client")
    generate: bool = option(
        False, "Mine blocks for a new address of the node's wallet: how many (1), and most tries", group="Client"
    )
    color: str = option(
        "auto", "Colour -getinfo: always, auto (on a terminal), never", group="Client", value_name="when"
    )


CLIENT_OPTIONS = declared_options(ClientOptions)
_KNOWN = frozenset(CLIENT_OPTIONS) | frozenset(OPTIONS) | ACCEPTED


@dataclass(frozen=True, slots=True)
class Request:
    """What one command line asks for: options of client and node, and the words after them."""

    options: ClientOptions
    settings: Settings
    words: Sequence[str]


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
        settings = dataclasses.replace(settings, rpcpassword=_secret("stdinrpcpass", "RPC password> "))
    words = list(command)
    if client_options.stdinwalletpassphrase:
        if not (words and words[0].startswith("walletpassphrase")):
            raise CliError("error: -stdinwalletpassphrase is only applicable for walletpassphrase(change)")
        words.insert(1, _secret("stdinwalletpassphrase", "Wallet passphrase> "))
    if client_options.stdin:
        words += sys.stdin.read().splitlines()
    special = [name for name in _SPECIAL if getattr(client_options, name)]
    if len(special) > 1:
        raise CliError(f"error: Only one of {', '.join('-' + name for name in special)} may be specified.")
    request = Request(client_options, settings, words)
    if special:
        return _with_patience(request, lambda client: _call_special(client, special[0], request))
    if not words:
        raise CliError("error: too few parameters (need at least command)")
    method, *given = words
    params: Any = named_arguments(method, given) if client_options.named else positional_arguments(method, given)
    return _with_patience(request, lambda client: client.call(method, params))


def _secret(option: str, prompt: str) -> str:
    """Read a line of standard input that is not to be shown. Raises CliError."""
    if sys.stdin.isatty():
        with contextlib.suppress(EOFError):
            return getpass.getpass(prompt)
    elif line := sys.stdin.readline():
        return line.rstrip("\n")
    raise CliError(f"error: -{option} specified but failed to read from standard input")


def _call_special(client: RpcClient, name: str, request: Request) -> Any:
    """Do what a flag in place of a method asks for."""
    if request.words and name not in {"generate", "netinfo"}:
        raise CliError(f"error: -{name} takes no arguments")
    return _SPECIAL[name](client, request)


def _is_client_option(word: str) -> bool:
    name = word.lstrip("-").partition("=")[0]
    return name in CLIENT_OPTIONS or name.removeprefix("no") in CLIENT_OPTIONS


def _with_patience(request: Request, action: Callable[[RpcClient], Any]) -> Any:
    """Do it with a client; with -rpcwait again and again until the node is there."""
    options = request.options
    server = _server(request)
    client = _client(request, server, options.rpcwallet)
    deadline = time.monotonic() + options.rpcwaittimeout if options.rpcwaittimeout else float("inf")
    while True:
        try:
            return action(client)
        except Unauthorized:
            raise CliError("error: Authorization failed: Incorrect rpcuser or rpcpassword") from None
        except Unreachable as error:
            if not options.rpcwait or time.monotonic() > deadline:
                raise CliError(_unreachable_text(request.settings, server)) from error
        except RpcFailure as error:
            if not (options.rpcwait and error.code == IN_WARMUP) or time.monotonic() > deadline:
                raise CliError(
                    f"error code: {error.code}\nerror message:\n{error.message}", abs(error.code) & 0xFF
                ) from error
        time.sleep(_POLL)


def _server(request: Request) -> Endpoint:
    """Return where the node answers: a port by itself wins over that of -rpcconnect. Raises CliError."""
    text, port = request.options.rpcconnect, request.settings.rpcport
    try:
        endpoint = Endpoint.parse(text, port)
    except ValueError:
        raise CliError(f"error: Invalid port provided in -rpcconnect: {text}") from None
    if endpoint.port != port and "rpcport" in request.settings.given:
        print(f"Warning: Port specified in both -rpcconnect and -rpcport. Using -rpcport {port}", file=sys.stderr)
        return endpoint._replace(port=port)
    return endpoint


def _client(request: Request, server: Endpoint, wallet: str) -> RpcClient:
    """Return a client of the node, or of one of its wallets."""
    settings = request.settings
    user = f"{quote(settings.rpcuser, '')}:{quote(settings.rpcpassword, '')}@" if settings.rpcpassword else ""
    url = f"http://{user}{server}" + (f"/wallet/{quote(wallet, '')}" if wallet else "")
    cookie = None if settings.rpcpassword else settings.path(settings.rpccookiefile)
    timeout = float(request.options.rpcclienttimeout or 10**6)
    try:
        return RpcClient(url, cookie_file=cookie, timeout=timeout, parse_float=JsonNumber)
    except ValueError as error:
        raise CliError(f"error: {error}") from error


def _unreachable_text(settings: Settings, server: Endpoint) -> str:
    is_there = False
    with contextlib.suppress(OSError), socket.create_connection(server, 1):
        is_there = True
    if is_there and not settings.rpcpassword and not settings.path(settings.rpccookiefile).exists():
        return (
            "error: Could not locate RPC credentials. No authentication cookie could be found, and RPC password is not "
            "set.  See -rpcpassword and -stdinrpcpass.  "
            f"Configuration file: ({settings.datadir / settings.conf})"
        )
    return (
        f"error: timeout on transient error: Could not connect to the server {server.host}:{server.port}\n\n"
        "Make sure the node is running and that you are connecting to the correct RPC port.\n"
        'Use "altyn-cli -help" for more info.'
    )


def _info(client: RpcClient, request: Request) -> str:
    """Return what -getinfo shows, with the wallets of a node that has some (bitcoind)."""
    calls = ["getnetworkinfo", "getblockchaininfo", "getwalletinfo", "getbalances", "listwallets"]
    network, chain, wallet, balances, wallets = client.batch([(name, ()) for name in calls])
    _raise_failures(network, chain)
    amounts = {} if isinstance(balances, RpcFailure) else {"": balances["mine"]["trusted"]}
    if not request.options.rpcwallet and isinstance(wallets, list) and len(wallets) > 1:
        server = _server(request)
        amounts = {name: _client(request, server, name).call("getbalances")["mine"]["trusted"] for name in wallets}
    when = request.options.color
    if when not in {"always", "auto", "never"}:
        raise CliError("error: Invalid value for -color option. Valid values: always, auto, never.")
    colour = when == "always" or (when == "auto" and sys.stdout.isatty())
    return state_text(network, chain, None if isinstance(wallet, RpcFailure) else wallet, amounts, colour=colour)


def _netinfo(client: RpcClient, request: Request) -> str:
    """Return what -netinfo shows."""
    level = request.words[0] if request.words else "0"
    if level in {"help", "h"}:
        return PEERS_HELP
    if not (level.isascii() and level.isdigit() and int(level) < 1 << 8):
        raise CliError(
            f"error: invalid -netinfo level argument: {level}\nFor more information, run: altyn-cli -netinfo help"
        )
    network, peers = client.batch([("getnetworkinfo", ()), ("getpeerinfo", ())])
    _raise_failures(network, peers)
    chain = request.settings.network.chain
    return peers_text(network, peers, chain, min(int(level), MOST_DETAIL), int(time.time()))


def _raise_failures(*answers: Any) -> None:
    for answer in answers:
        if isinstance(answer, RpcFailure):
            raise answer


def _addrinfo(client: RpcClient, _: Request) -> Any:
    """Return how many addresses of each network the node would give away."""
    known = collections.Counter(each["network"] for each in client.call("getnodeaddresses", [0]))
    counts = {name: known[name] for name in ("ipv4", "ipv6", "onion", "i2p", "cjdns")}
    return {"addresses_known": {**counts, "total": sum(known.values())}}


def _generate(client: RpcClient, request: Request) -> Any:
    """Mine blocks for a new address of the node's wallet, if it has one (bitcoind)."""
    words = request.words
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


_SPECIAL: Mapping[str, Callable[[RpcClient, Request], Any]] = {
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
