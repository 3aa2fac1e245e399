"""`altyn testnet`: local networks of real nodes."""

import contextlib
import json
import os
import shutil
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import click
from rich.console import Console

from altyn.node.rpc.client import RpcFailure, Unreachable
from altyn.node.testnet.processes import LocalNetwork, TestnetError, last_line, network_names
from altyn.node.testnet.proof import WalletCommand, describe_nodes, mine, stage

Progress = Callable[[str], None]

name_option = click.option("--name", default="default", show_default=True, help="Which network.")
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON for machines.")


class TestnetGroup(click.Group):
    """Turns the errors of a network into one line and exit code 1."""

    __test__ = False

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (TestnetError, Unreachable, RpcFailure) as error:
            raise click.ClickException(str(error)) from error


@click.group(cls=TestnetGroup, short_help="Run local networks of real nodes.")
def testnet() -> None:
    """Run local networks of real nodes: full ones that mine and relay, and a light one that verifies.

    \b
    altyn testnet up                    start a network, pay on it, leave it running
    altyn testnet pay bcrt1q... 0.25    pay from its wallet "alice"
    altyn testnet mine 3                confirm it
    altyn testnet status                see where every node stands
    altyn testnet down                  stop it; "up" goes on where it stopped
    """


@testnet.command(short_help="Start a network and leave it running.")
@name_option
@click.option("--nodes", type=click.IntRange(1, 20), help="Full nodes of a new network; 3 when left out.")
@click.option("--light", type=click.IntRange(1, 20), help="Light nodes of a new network; 1 when left out.")
@json_option
def up(name: str, nodes: int | None, light: int | None, as_json: bool) -> None:
    """Start the network and leave it running; the first time, stage a payment on it and prove it.

    \b
    altyn testnet up
    altyn testnet up --name pilot --nodes 5 --json
    """
    network = LocalNetwork(name)
    try:
        with ending_on_signals(), progress_shown(as_json) as progress, network.locked():
            network = existing(name, progress) or LocalNetwork.create(name, nodes or 3, light or 1)
            for wanted, found, what in (
                (nodes, network.full_nodes, "full"),
                (light, network.light_nodes, "light"),
            ):
                if wanted not in {None, len(found)}:
                    raise TestnetError(
                        f"network {name!r} has {len(found)} {what} nodes, not {wanted}: give a new one another --name"
                    )
            bring_up(network, progress)
            network.release()
    except StoppedBySignal:
        raise TestnetError(
            f"interrupted; network {name!r} is stopped, go on with: altyn testnet up --name {name}"
        ) from None
    show_account(network, as_json)


@testnet.command(short_help="Show a payment on a network that goes afterwards.")
@click.option("--once", is_flag=True, help="Stop after the proof and remove the network.")
@click.option("--keep", is_flag=True, help="With --once: keep the network's folder.")
@click.option("--nodes", type=click.IntRange(1, 20), default=3, show_default=True, help="Full nodes.")
@click.option("--light", type=click.IntRange(1, 20), default=1, show_default=True, help="Light nodes.")
@json_option
def prove(once: bool, keep: bool, nodes: int, light: int, as_json: bool) -> None:
    """Start a fresh network, show a payment on it from end to end, and stay up until Ctrl-C.

    \b
    altyn testnet prove
    altyn testnet prove --once --json
    """
    network = LocalNetwork(f"proof-{os.getpid()}")
    with ending_on_signals():
        try:
            with network.locked(), progress_shown(as_json) as progress:
                network = LocalNetwork.create(network.name, nodes, light)
                bring_up(network, progress)
            show_account(network, as_json)
            if not once:
                if not as_json:
                    click.echo("")
                    click.echo("The network stays up until Ctrl-C. From another terminal:")
                    click.echo(f"  {own_command('altyn')} testnet status --name {network.name}")
                    click.echo(f"  {own_command('altyn-wallet')} --testnet {network.name} --wallet bob balance")
                sys.stdout.flush()
                threading.Event().wait()
        except StoppedBySignal:
            click.echo("Stopping the network ...", err=True)
            if network.proof is None:
                raise SystemExit(1) from None  # nothing was proved
        except TestnetError as error:
            if not network.exists:
                raise
            keep = True  # the logs say more than the error
            raise TestnetError(
                f"{error}; remove what is left with: altyn testnet destroy --yes --name {network.name}"
            ) from error
        finally:
            if network.exists:
                with progress_shown(as_json) as progress:
                    network.stop(progress)
            if network.folder.exists() and not keep:
                network.destroy()


@testnet.command(short_help="Show where every node stands.")
@name_option
@json_option
def status(name: str, as_json: bool) -> None:
    """Show where every node stands, and the payment that was staged.

    \b
    altyn testnet status
    altyn testnet status --name pilot --json
    """
    network = running(name)
    show_account(network, as_json)


@testnet.command(short_help="Pay coins from the network's wallet alice.")
@name_option
@click.argument("address")
@click.argument("amount")
@json_option
def pay(name: str, address: str, amount: str, as_json: bool) -> None:
    """Pay AMOUNT coins to ADDRESS from the network's wallet "alice".

    \b
    altyn testnet pay bcrt1q... 0.25
    """
    network = running(name)
    with progress_shown(as_json) as progress:
        progress(f"paying {amount} coins from alice")
        payment = WalletCommand(network, "alice", network.full_nodes[0]).run("send", address, amount)
    if as_json:
        click.echo(json.dumps(payment))
    else:
        click.echo(f"Paid {amount} coins to {address}: {payment['txid']}, fee {payment['fee_sat']} satoshis.")
        click.echo(f"Confirm it with: altyn testnet mine --name {name}")


@testnet.command("mine", short_help="Mine blocks for the network's wallet alice.")
@name_option
@click.argument("count", type=click.IntRange(1, 10_000), default=1)
@json_option
def mine_command(name: str, count: int, as_json: bool) -> None:
    """Mine COUNT blocks (1 when left out) for the network's wallet "alice".

    \b
    altyn testnet mine
    altyn testnet mine 6
    """
    network = running(name)
    miner = network.full_nodes[0]
    blocks = f"{count} block" + "s" * (count > 1)
    with progress_shown(as_json) as progress:
        progress(f"mining {blocks} for alice on {miner.name}")
        address = WalletCommand(network, "alice", miner).run("address")["address"]
        hashes = mine(network, miner, count, address)
    text = f"Mined {blocks} for alice. Every node stands at the new tip {hashes[-1]}."
    click.echo(json.dumps({"blocks": hashes}) if as_json else text)


@testnet.command()
@name_option
@click.argument("node")
@click.option("--lines", type=click.IntRange(1, 100_000), default=20, show_default=True, help="How many.")
def logs(name: str, node: str, lines: int) -> None:
    """Print the last lines of a node's log.

    \b
    altyn testnet logs full1 --lines 50
    """
    record = LocalNetwork.load(name).node(node)
    path = record.cookie_file.with_name("debug.log")
    if not path.exists():
        raise TestnetError(f"{node} has no log yet; its output ends: {last_line(record.log_file)}")
    with path.open(errors="replace") as file:
        click.echo("".join(file.readlines()[-lines:]), nl=False)


@testnet.command()
@name_option
def down(name: str) -> None:
    """Stop the network's nodes; their data stays.

    \b
    altyn testnet down
    """
    network = LocalNetwork.load(name)
    with network.locked(), progress_shown(quiet=False) as progress:
        LocalNetwork.load(name).stop(progress)
    click.echo(f"Network {name!r} is stopped. Go on with: altyn testnet up --name {name}")


@testnet.command(short_help="Stop the network and remove all of it.")
@name_option
@click.option("--yes", is_flag=True, help="Do not ask.")
def destroy(name: str, yes: bool) -> None:
    """Stop the network and remove everything of it, its wallets too.

    \b
    altyn testnet destroy
    altyn testnet destroy --name pilot --yes
    """
    network = LocalNetwork(name)
    if not network.folder.exists():
        raise TestnetError(f"there is no network {name!r}; there are: {', '.join(network_names()) or 'none'}")
    if not yes:
        if not sys.stdin.isatty():
            raise TestnetError("nobody is there to be asked: say --yes to remove the network with its wallets")
        click.confirm(f"Remove {network.folder} with its wallets?", abort=True)
    with network.locked(), progress_shown(quiet=False) as progress:
        with contextlib.suppress(TestnetError):  # a state that cannot be read has no nodes to stop
            LocalNetwork.load(name).stop(progress)
        network.destroy()
    click.echo(f"Network {name!r} is gone.")


def existing(name: str, progress: Progress) -> LocalNetwork | None:
    """Return the network called `name`, if its payment was staged; what an interrupted first start left is removed."""
    if not LocalNetwork(name).exists:
        return None
    network = LocalNetwork.load(name)
    if network.proof is not None:
        return network
    network.stop(progress)
    network.clear()
    return None


def running(name: str) -> LocalNetwork:
    """Return the network called `name`. Raises TestnetError unless all its nodes run."""
    network = LocalNetwork.load(name)
    network.check_running()
    return network


def own_command(name: str) -> str:
    """Return how to call one of our commands from here: by its name, or by its path when it is not on the PATH."""
    beside = Path(sys.executable).with_name(name)
    found = shutil.which(name)
    if not beside.exists() or (found and Path(found).samefile(beside)):
        return name
    return os.path.relpath(beside) if beside.is_relative_to(Path.cwd()) else str(beside)


class StoppedBySignal(BaseException):
    """Ctrl-C, or a polite request to end: not an error, so nothing that handles errors catches it."""


@contextlib.contextmanager
def ending_on_signals() -> Iterator[None]:
    """Turn SIGINT, SIGTERM and SIGHUP into StoppedBySignal, once; later ones do not disturb the clean-up."""

    def stop(number: int, frame: FrameType | None) -> None:
        for one in signals:
            signal.signal(one, signal.SIG_IGN)
        raise StoppedBySignal

    signals = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    previous = [signal.signal(one, stop) for one in signals]
    try:
        yield
    finally:
        for one, handler in zip(signals, previous, strict=True):
            signal.signal(one, handler)


@contextlib.contextmanager
def progress_shown(quiet: bool) -> Iterator[Progress]:
    """Yield a function that shows a step on stderr: on a terminal a moving line, elsewhere a line unless `quiet`."""
    console = Console(stderr=True)
    if console.is_terminal:
        with console.status("") as line:
            yield lambda step: line.update(f"{step} ...")
    elif quiet:
        yield lambda step: None
    else:
        yield lambda step: click.echo(f"{step} ...", err=True)


def bring_up(network: LocalNetwork, progress: Progress) -> None:
    """Start the nodes and, the first time, stage the payment; on failure stop what was started."""
    try:
        network.start(progress)
        if network.proof is None:
            network.proof = stage(network, progress)
            network.save()
    except BaseException:
        network.stop(lambda step: None)
        raise


def account(network: LocalNetwork) -> dict[str, Any]:
    """Return the network as it stands now: its nodes, and the staged payment with today's confirmations."""
    state = dict(network.proof or {})
    state["network"] = network.name
    state["nodes"] = describe_nodes(network)
    if "payment" in state:
        height = state["nodes"][0]["height"]
        state["payment"] = {**state["payment"], "confirmations": height - state["payment"]["height"] + 1}
    return state


def show_account(network: LocalNetwork, as_json: bool) -> None:
    """Print what happened on the network and where its services are."""
    state = account(network)
    if as_json:
        click.echo(json.dumps(state, indent=1))
        return
    if "payment" in state:
        mined, payment, refused, light = (state[part] for part in ("mined", "payment", "double_spend", "light"))
        click.echo(f"{mined['by']} mined {mined['blocks']} blocks for {mined['to']}.")
        click.echo(f"{payment['from']} paid {payment['to']} {payment['amount_sat'] / 1e8:.8f} coins:")
        click.echo(f"  {payment['txid']}, fee {payment['fee_sat']} satoshis, {payment['confirmations']} confirmations")
        reason = refused["reason"].partition(",")[0]  # Core's reason; what follows are hashes and feerates
        click.echo(f"A second payment with the same coin was refused by {refused['by']}: {reason}.")
        fetched = f"{light['blocks_fetched']} block" + "s" * (light["blocks_fetched"] != 1)
        click.echo(
            f"{light['node']} keeps no blocks. It checked {light['headers']} headers and {light['filters_checked']} "
            f"filters (block 0 has one too), fetched {fetched}, "
            f"and {'saw' if light['payment_seen'] else 'did not see'} the payment."
        )
    click.echo("")
    for node in state["nodes"]:
        click.echo(
            f"{node['name']:8} {node['kind']:5} height {node['height']:<6} RPC {node['rpc']}  data {node['datadir']}"
        )
