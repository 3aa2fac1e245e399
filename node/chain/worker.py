"""A process that runs script checks: reads what to check from its input, answers on its output, ends with its input.

Both ways go frames: 4 bytes of length, then a value in the format of `marshal`, which both ends share because they run
the same interpreter. Started by `altyn.node.chain.workers`.
"""

import marshal
import struct
import sys
from collections.abc import Sequence
from typing import IO, Any

from altyn.consensus.checks.scripts import ScriptCheck
from altyn.consensus.script.errors import ScriptError
from altyn.consensus.script.sighash import SighashCache
from altyn.consensus.secp256k1 import Secp256k1, load
from altyn.consensus.transaction import Transaction, TxOut

LENGTH = struct.Struct("<I")

Portion = tuple[bytes, list[int], list[bytes], int, list[int]]
"""Of one transaction: its bytes; amounts and scripts of all outputs it spends; flags; the inputs to check."""
Verdict = tuple[int, str] | None
"""The number of the first check that fails, and the name of its error."""


def check(portions: Sequence[Portion], secp: Secp256k1) -> Verdict:
    """Run the checks in their order, up to the first that fails."""
    number = 0
    for raw, amounts, scripts, flags, indexes in portions:
        tx = Transaction.parse(raw)
        cache = SighashCache(tx, list(map(TxOut, amounts, scripts)))
        for index in indexes:
            try:
                ScriptCheck(tx, index, cache, flags).run(secp)
            except ScriptError as error:
                return number, error.code.name
            number += 1
    return None


def send(stream: IO[bytes], value: Any) -> None:
    """Write a frame."""
    data = marshal.dumps(value)
    stream.write(LENGTH.pack(len(data)))
    stream.write(data)
    stream.flush()


def receive(stream: IO[bytes]) -> Any:
    """Read a frame. Raises EOFError where the stream ends."""
    head = stream.read(LENGTH.size)
    if len(head) < LENGTH.size:
        raise EOFError
    (size,) = LENGTH.unpack(head)
    data = stream.read(size)
    if len(data) < size:
        raise EOFError
    return marshal.loads(data)


def main() -> None:
    secp = load(sys.argv[1])
    while True:
        try:
            portions = receive(sys.stdin.buffer)
        except EOFError:
            return
        send(sys.stdout.buffer, check(portions, secp))


if __name__ == "__main__":
    main()
