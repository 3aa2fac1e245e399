"""A process that runs script checks: reads what to check from its input, answers on its output, ends with its input.

It is asked in frames: 4 bytes of length, then portions in the format of `marshal`, which both ends share because they
run the same interpreter. Each answer is a `VERDICT`. Started by `altyn.node.chain.workers`.
"""

import marshal
import struct
import sys
from collections.abc import Sequence
from typing import Any

from altyn.consensus.checks.scripts import ScriptCheck
from altyn.consensus.script.errors import ScriptError, ScriptErrorCode
from altyn.consensus.script.sighash import SighashCache
from altyn.consensus.secp256k1 import Secp256k1, load
from altyn.consensus.transaction import Transaction, TxOut
from altyn.node.interpreter import tune_interpreter

LENGTH = struct.Struct("<I")
VERDICT = struct.Struct("<iH")
"""The number of the first check that fails, -1 if all pass, and the place of its error in ERRORS."""
ERRORS = tuple(ScriptErrorCode)

Portion = tuple[tuple[Any, ...], list[tuple[int, bytes]], int, list[int]]
"""Of one transaction: its parts (see Transaction.parts); the outputs it spends; flags; the inputs to check."""
Verdict = tuple[int, ScriptErrorCode] | None
"""The number of the first check that fails, and its error."""


def frame(checks: Sequence[ScriptCheck]) -> bytes:
    """Return the frame that asks for `checks`, those of one transaction together."""
    found: list[Portion] = []
    last: object = None
    for check in checks:
        asked = check.cache, check.flags
        if asked == last:
            found[-1][3].append(check.index)
        else:
            last = asked
            spent = [(value, script) for value, script in check.cache.spent_outputs]
            found.append((check.tx.parts(), spent, check.flags, [check.index]))
    data = marshal.dumps(found)
    return LENGTH.pack(len(data)) + data


def check(portions: Sequence[Portion], secp: Secp256k1) -> Verdict:
    """Run the checks in their order, up to the first that fails."""
    number = 0
    for parts, spent, flags, indexes in portions:
        tx = Transaction.from_parts(parts)
        cache = SighashCache(tx, [TxOut(*output) for output in spent])
        for index in indexes:
            try:
                ScriptCheck(tx, index, cache, flags).run(secp)
            except ScriptError as error:
                return number, error.code
            number += 1
    return None


def encode_verdict(verdict: Verdict) -> bytes:
    return VERDICT.pack(-1, 0) if verdict is None else VERDICT.pack(verdict[0], ERRORS.index(verdict[1]))


def decode_verdict(data: bytes) -> Verdict:
    number, error = VERDICT.unpack(data)
    return None if number < 0 else (number, ERRORS[error])


def main() -> None:
    tune_interpreter()
    secp = load(sys.argv[1])
    asked, answers = sys.stdin.buffer, sys.stdout.buffer
    while len(head := asked.read(LENGTH.size)) == LENGTH.size:
        (size,) = LENGTH.unpack(head)
        data = asked.read(size)
        if len(data) < size:
            return
        answers.write(encode_verdict(check(marshal.loads(data), secp)))
        answers.flush()


if __name__ == "__main__":
    main()
