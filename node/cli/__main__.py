"""`python -m altyn.node.cli`: the program `altyn`, which Ctrl-C ends without a word while it is still being loaded."""

import signal
from importlib import import_module

_is_ours = signal.getsignal(signal.SIGINT) is signal.default_int_handler  # else it is ignored, and stays so
if _is_ours:
    signal.signal(signal.SIGINT, signal.SIG_DFL)
main = import_module("altyn.node.cli.altyn").main
if _is_ours:
    signal.signal(signal.SIGINT, signal.default_int_handler)
main(prog_name="altyn")
