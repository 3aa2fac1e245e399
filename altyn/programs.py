"""The commands as they are installed. Loading one takes a second: Ctrl-C in that time ends it without a word."""

import signal
from importlib import import_module


def altyn() -> None:
    """Run `altyn`."""
    _run("altyn.node.cli.altyn", prog_name="altyn")


def altynd() -> None:
    """Run `altynd`."""
    _run("altyn.node.cli.altynd")


def altyn_cli() -> None:
    """Run `altyn-cli`."""
    _run("altyn.node.cli.altyn_cli")


def altyn_wallet() -> None:
    """Run `altyn-wallet`."""
    _run("altyn.wallet.cli", prog_name="altyn-wallet")


def _run(module: str, **options: str) -> None:
    """Load a module and call its `main`; while it is being loaded, SIGINT does what it does to programs in C."""
    is_heeded = signal.getsignal(signal.SIGINT) is signal.default_int_handler  # else it is ignored, and stays so
    if is_heeded:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    main = import_module(module).main
    if is_heeded:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    main(**options)
