"""Run one target under atheris, which looks for input that reaches new code.

usage: fuzz_run.py TARGET [LIBFUZZER ARGUMENT ...]
"""

import sys

import atheris

with atheris.instrument_imports(include=["altyn.consensus", "altyn.p2p", "fuzz_targets"]):
    from fuzz_targets import TARGETS

if __name__ == "__main__":
    target = TARGETS[sys.argv.pop(1)]
    atheris.Setup(sys.argv, target)
    atheris.Fuzz()
