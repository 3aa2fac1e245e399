"""Mutations that cost one signature operation too many: in scripts themselves, behind P2SH, in witnesses."""

from random import Random

from builders import ANYONE, Spendable, coin, spend
from differential.ground import Ground
from differential.locks import given
from differential.mutations import Case, fund, mutation
from differential.signing import Solve, TapTree, unlock

from altyn.consensus.block import Block
from altyn.consensus.limits import MAX_BLOCK_SIGOPS_COST
from altyn.consensus.script.opcodes import push
from altyn.consensus.script.taproot import Leaf
from altyn.consensus.script.templates import p2sh_of, p2wsh_of
from altyn.consensus.transaction import Transaction, TxOut

_LIMIT = MAX_BLOCK_SIGOPS_COST // 4
"""Of operations that are not in a witness."""


def _counted(checks: int, random: Random) -> bytes:
    """Return a script that counts for so many operations, at most 3,600, and executes none of them."""
    twenties, rest = divmod(checks, 20)
    body = b"\xae" * twenties
    if 1 < rest <= 16 and random.random() < 0.5:  # the number before it is believed here
        body += bytes((0x50 + rest, 0xAE))
    else:
        body += random.choice((b"\xac", b"\xad")) * rest
    return b"\x00\x63" + body + b"\x68\x51"


def _counted_in_outputs(ground: Ground, checks: int, random: Random) -> Transaction:
    """Return a payment whose own scripts count for so many operations."""
    twenties = random.randint(0, checks // 20)
    script = b"\x6a" + b"\x52\xae" * twenties + b"\xac" * (checks - 20 * twenties)
    uncounted = b"\x4b" + b"\xac" * 74  # a push that is cut off ends the count
    return spend(ground.take(), [TxOut(0, script + uncounted), TxOut(1000, ANYONE)])


@mutation("bad-blk-sigops")
def legacy_signature_operations_over_the_limit(ground: Ground, random: Random) -> Case:
    elsewhere = random.randint(0, _LIMIT)
    payment = _counted_in_outputs(ground, elsewhere, random)
    first = ground.coinbase([payment])

    def made(checks: int) -> Block:
        outputs = [*first.outputs, TxOut(0, b"\x6a" + b"\xad" * (checks - elsewhere))]
        return ground.build(payment, coinbase_tx=Transaction(first.version, first.inputs, outputs))

    return Case(made(_LIMIT), made(_LIMIT + 1))


def _spending(
    ground: Ground, random: Random, source: Spendable, outputs: list[tuple[bytes, Solve]], checks: int
) -> Block:
    """Build a block that makes these outputs of `source`, spends them all, and counts for `checks` besides."""
    funding = fund(source, *(script for script, _ in outputs))
    spends = [unlock(coin(funding, index), solve) for index, (_, solve) in enumerate(outputs)]
    return ground.build(funding, *spends, _counted_in_outputs(ground, checks, random))


@mutation("bad-blk-sigops")
def p2sh_signature_operations_over_the_limit(ground: Ground, random: Random) -> Case:
    counts = [random.randint(1, 3600) for _ in range(random.randint(1, 5))]

    def made(counts: list[int]) -> Block:
        scripts = [_counted(count, random) for count in counts]
        return _spending(ground, random, source, [(p2sh_of(each), given(push(each))) for each in scripts], rest)

    source, rest = ground.take(), _LIMIT - sum(counts)
    return Case(made(counts), made([*counts[:-1], counts[-1] + 1]))


@mutation("bad-blk-sigops")
def witness_signature_operations_over_the_limit(ground: Ground, random: Random) -> Case:
    """A witness costs a quarter; tapscripts cost nothing."""
    counts = [random.randint(1, 3599) for _ in range(random.randint(1, 20))]
    counts[-1] = counts[-1] // 4 * 4 + -sum(counts[:-1]) % 4
    nested = random.random() < 0.5
    tapscript = Leaf(b"\x00\x63" + b"\xac" * 1000 + b"\x68\x51")
    tree = TapTree(tapscript)

    def made(counts: list[int]) -> Block:
        outputs: list[tuple[bytes, Solve]] = [(tree.script_pubkey, lambda _: tree.reveal(tapscript))]
        for count in counts:
            script = _counted(count, random)
            program = p2wsh_of(script)
            if nested:
                outputs.append((p2sh_of(program), given(push(program), script)))
            else:
                outputs.append((program, given(b"", script)))
        return _spending(ground, random, source, outputs, rest)

    source, rest = ground.take(), (MAX_BLOCK_SIGOPS_COST - sum(counts)) // 4
    return Case(made(counts), made([*counts[:-1], counts[-1] + 1]))
