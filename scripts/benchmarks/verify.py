"""Inputs verified per second, by kind of output, against libbitcoinkernel on the same inputs.

No two inputs are alike and nothing is remembered between runs: a transaction's digests are computed anew in each, and
there is no cache of signatures or scripts. Kinds of output that have a shortcut round the interpreter are measured
without it too. The limit is libsecp256k1 alone: a key and a signature read from bytes, and checked.
"""

import asyncio
import functools
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType
from typing import Any
from unittest.mock import patch

import measure
from coincurve._libsecp256k1 import ffi, lib
from measure import Case, Job
from spends import Spend, make_spends

from altyn.consensus.checks.scripts import ScriptCheck, script_checks
from altyn.consensus.script.flags import MANDATORY
from altyn.consensus.script.sighash import SighashCache
from altyn.consensus.secp256k1 import load
from altyn.node.chain.verify import ScriptVerifier
from altyn.node.chain.workers import Workers
from altyn.node.offload import Threads

kernel: ModuleType | None
try:
    import kernel
except ImportError:  # libbitcoinkernel is not there for every system
    kernel = None

KERNEL = "libbitcoinkernel"
SIGNATURE_TEMPLATES = ["p2pkh", "p2wpkh", "p2sh-p2wpkh", "p2wsh-2of3", "p2tr-key", "p2tr-script"]
SHORTENED = ["p2pkh", "p2wpkh", "p2sh-p2wpkh"]
"""Kinds with a shortcut: see altyn.consensus.script.shortcuts."""
BAR = ">=0.65"
SCALING_BAR = ">=1.6"
SLICES = 10
UNIT = "inputs/s"
SECP = load("coincurve")


def checks_of(spends: Sequence[Spend]) -> list[ScriptCheck]:
    """Return the checks of all inputs, with nothing of their digests computed yet."""
    return [check for tx, spent in spends for check in script_checks(SighashCache(tx, spent), MANDATORY)]


def verify(spends: Sequence[Spend]) -> None:
    """Verify all inputs on this thread."""
    for check in checks_of(spends):
        check.run(SECP)


def verify_interpreted(spends: Sequence[Spend]) -> None:
    """Verify all inputs on this thread, without shortcuts."""
    with patch("altyn.consensus.script.verify.spends_key_hash", lambda *_: False):
        verify(spends)


def one_thread(template: str, spends: Sequence[Spend], rounds: int) -> list[Case]:
    """Measure one kind of output."""
    parts = measure.slices(spends, SLICES)
    contestants: dict[str, list[Job]] = {"ours": [functools.partial(verify, part) for part in parts]}
    if kernel is not None:
        contestants[KERNEL] = [
            functools.partial(kernel.verify, [kernel.prepare(each) for each in part]) for part in parts
        ]
    if template in SHORTENED:
        contestants["interpreted"] = [functools.partial(verify_interpreted, part) for part in parts]
    found = measure.rates(contestants, inputs_of(spends), rounds)
    bar = BAR if template in SIGNATURE_TEMPLATES else None
    cases = [Case(template, found["ours"], UNIT, KERNEL, found.get(KERNEL), bar)]
    if template in SHORTENED:
        cases.append(Case(f"{template}-no-shortcut", found["interpreted"], UNIT, KERNEL, found.get(KERNEL)))
    return cases


def all_cores(spends: Sequence[Spend], rounds: int) -> list[Case]:
    """Measure what all processors bring, as a node uses them, to us and to the kernel; all kinds mixed."""
    count = measure.cores()
    single, many, workers, loop = Threads(1), Threads(count), Workers(count, SECP.name), asyncio.Runner()

    def ours(threads: Threads, workers: Workers | None = None) -> Job:
        return lambda: loop.run(ScriptVerifier(threads, SECP, workers=workers).verify(checks_of(spends)))

    contestants: dict[str, list[Job]] = {
        "one thread": [ours(single)],
        "all cores": [ours(many, workers)],
        "threads": [ours(many)],
    }
    contestants["all cores"][0]()  # starts the processes
    if kernel is not None:
        prepared = [kernel.prepare(each) for each in spends]
        contestants["kernel, one thread"] = [lambda: spread(kernel.verify, prepared, 1)]
        contestants["kernel, all cores"] = [lambda: spread(kernel.verify, prepared, count)]
    found = measure.rates(contestants, inputs_of(spends), rounds)
    single.close()
    many.close()
    workers.close()
    loop.close()
    base = found["one thread"] if count > 1 else None  # one processor: nothing to compare
    cases = [Case("all-cores", found["all cores"], UNIT, "one thread", base, SCALING_BAR)]
    cases.append(Case("all-cores-threads", found["threads"], UNIT, "one thread", base))
    cases.append(Case("all-cores-kernel", found["all cores"], UNIT, KERNEL, found.get("kernel, all cores")))
    if kernel is not None:
        alone = found["kernel, one thread"]
        cases.append(Case("kernel-all-cores", found["kernel, all cores"], UNIT, "kernel, one thread", alone))
    return cases


def spread(function: Callable[[Sequence[Any]], None], work: Sequence[Any], workers: int) -> None:
    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(function, measure.slices(work, workers)))


def limits(count: int, rounds: int) -> list[Case]:
    """Measure libsecp256k1 alone."""
    keys = [SECP.public_key((number + 1).to_bytes(32, "big")) for number in range(count)]
    digests = [number.to_bytes(32, "big") for number in range(count)]
    ecdsa = [SECP.sign_ecdsa((n + 1).to_bytes(32, "big"), digest) for n, digest in enumerate(digests)]
    schnorr = [SECP.sign_schnorr((n + 1).to_bytes(32, "big"), digest) for n, digest in enumerate(digests)]
    context = ffi.gc(lib.secp256k1_context_create(lib.SECP256K1_CONTEXT_NONE), lib.secp256k1_context_destroy)
    key, parsed, x_only = (ffi.new(f"secp256k1_{kind} *") for kind in ("pubkey", "ecdsa_signature", "xonly_pubkey"))
    read_key, read_signature, read_x = (
        lib.secp256k1_ec_pubkey_parse, lib.secp256k1_ecdsa_signature_parse_der, lib.secp256k1_xonly_pubkey_parse,
    )  # fmt: skip
    check_ecdsa, check_schnorr = lib.secp256k1_ecdsa_verify, lib.secp256k1_schnorrsig_verify

    def run_ecdsa(part: Sequence[tuple[bytes, bytes, bytes]]) -> None:
        for public_key, signature, digest in part:
            read_key(context, key, public_key, 33)
            read_signature(context, parsed, signature, len(signature))
            if not check_ecdsa(context, parsed, digest, key):
                raise AssertionError("a signature that was just made does not hold")

    def run_schnorr(part: Sequence[tuple[bytes, bytes, bytes]]) -> None:
        for public_key, signature, digest in part:
            read_x(context, x_only, public_key)
            if not check_schnorr(context, signature, digest, 32, x_only):
                raise AssertionError("a signature that was just made does not hold")

    ecdsa_work = measure.slices(list(zip(keys, ecdsa, digests, strict=True)), SLICES)
    schnorr_work = measure.slices([(k[1:], s, d) for k, s, d in zip(keys, schnorr, digests, strict=True)], SLICES)
    contestants: dict[str, list[Job]] = {
        "limit-ecdsa": [functools.partial(run_ecdsa, part) for part in ecdsa_work],
        "limit-schnorr": [functools.partial(run_schnorr, part) for part in schnorr_work],
    }
    found = measure.rates(contestants, count, rounds)
    return [Case(name, rate, "signatures/s") for name, rate in found.items()]


def inputs_of(spends: Sequence[Spend]) -> int:
    return sum(len(spend.spent) for spend in spends)


def main() -> int:
    options = measure.parser(__doc__)
    options.add_argument("--inputs", type=int, default=2000, help="distinct inputs of each kind (%(default)s)")
    chosen = options.parse_args()
    cases = []
    mixed: list[Spend] = []
    for template in [*SIGNATURE_TEMPLATES, "interpreter"]:
        measure.progress(template)
        made = make_spends(SECP, template, chosen.inputs)
        cases += one_thread(template, made, chosen.rounds)
        if template in SIGNATURE_TEMPLATES:
            mixed += made
    measure.progress("all-cores")
    mixed = [mixed[at] for start in range(chosen.inputs) for at in range(start, len(mixed), chosen.inputs)]
    cases += all_cores(mixed, chosen.rounds)
    measure.progress("limit")
    cases += limits(chosen.inputs, chosen.rounds)
    measure.end_progress()
    remarks = [
        "caches empty, no two inputs alike; -no-shortcut: the same by the interpreter, as the other kinds always",
        "all-cores: as a node does it, by processes; all-cores-threads: the same by threads alone",
        "interpreter: a script of two hundred operations and no signature",
        "limit: libsecp256k1 alone reads a key and a signature and checks it; p2wsh-2of3 needs 2 or 3 of these, "
        "p2tr-script one and a commitment",
    ]
    return measure.report("verify", cases, chosen.json, remarks)


if __name__ == "__main__":
    sys.exit(main())
