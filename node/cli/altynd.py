"""`altynd`: the full node under bitcoind's options, files and exit statuses."""

import os
import sys
import textwrap
from collections.abc import Sequence

from altyn.node.cli.output import show
from altyn.node.cli.run import Kind, run
from altyn.node.load_settings import load
from altyn.node.options import SettingsError
from altyn.node.settings import ACCEPTED, CORE_STYLE, OPTIONS
from altyn.node.version import VERSION

_HELP = {"-?", "-h", "-help", "-help-debug", "--help"}
_VERSION = {"-version", "--version"}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the node until it is told to stop."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if _HELP & set(words):
        show(help_text())
        return
    if _VERSION & set(words):
        print(f"Altyn daemon version v{VERSION}")
        return
    try:
        settings = load(words, environ=os.environ, defaults=CORE_STYLE)
    except SettingsError as error:
        print(f"Error: {error}", file=sys.stderr)
        sys.exit(1)
    for notice in settings.notices:
        print(notice, file=sys.stderr)
    sys.exit(run(settings, Kind.FULL, arguments=words, wallets_folder=True))


def help_text() -> str:
    """Return all options with their help, from their declaration."""
    lines = [f"Altyn daemon version v{VERSION}", "", "Usage:  altynd [options]"]
    group = ""
    for name, option in OPTIONS.items():
        if option.group != group:
            group = option.group
            lines += ["", f"{group} options:"]
        shown = "" if option.default in {"", (), None} or option.is_flag else f" (default: {option.default})"
        lines += ["", f"  -{name}" + (f"=<{option.value_name}>" if option.value_name else "")]
        lines += textwrap.wrap(option.help + shown, 79, initial_indent=" " * 7, subsequent_indent=" " * 7)
    lines += ["", "Accepted for bitcoind's sake, without effect:", ""]
    lines += textwrap.wrap(" ".join(f"-{name}" for name in sorted(ACCEPTED)), 79, break_on_hyphens=False)
    return "\n".join(lines)


if __name__ == "__main__":
    main()
