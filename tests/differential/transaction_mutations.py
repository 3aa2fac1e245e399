"""Mutations of single transactions in a block: their parts, the coins they spend, the time they wait for."""

from random import Random

from builders import ANYONE, OP_TRUE, coin, spend
from differential.ground import Ground
from differential.mutations import Case, fund, mutation, payments, plain_coinbase, with_coinbase, with_parts

from altyn.consensus.block import Block
from altyn.consensus.limits import MAX_MONEY
from altyn.consensus.transaction import NULL_OUTPOINT, OutPoint, Transaction, TxIn, TxOut

# Transactions by themselves


def _spoiled(tx_reason: str, name: str, *spoil: tuple[object, object]) -> None:
    """Register payments of which one has other parts; each of `spoil` is (broken outputs, good outputs) by value."""

    @mutation(tx_reason, name=name)
    def build(ground: Ground, random: Random) -> Case:
        broken_values, good_values = random.choice(spoil)
        source = ground.take()

        def made(values: object) -> Transaction:
            assert isinstance(values, tuple)
            return spend(source, [TxOut(value, ANYONE) for value in values])

        others = payments(ground, random)
        return Case(ground.build(made(good_values), *others), ground.build(made(broken_values), *others))


_spoiled("bad-txns-vout-empty", "no-outputs", ((), (0,)))
_spoiled(
    "bad-txns-vout-negative",
    "negative-value",
    ((-1,), (0,)),
    ((5, -5), (5, 5)),
    ((-(1 << 63),), (1,)),
    ((0, -1), (0, 1)),
)
_spoiled(
    "bad-txns-vout-toolarge",
    "value-above-all-money",
    ((MAX_MONEY + 1,), (0,)),
    (((1 << 63) - 1,), (0,)),
    ((0, MAX_MONEY + 1), (0, 0)),
)
_spoiled(
    "bad-txns-txouttotal-toolarge",
    "values-together-above-all-money",
    ((MAX_MONEY, 1), (0, 1)),
    ((1, MAX_MONEY), (1, 0)),
    ((MAX_MONEY, MAX_MONEY), (0, 0)),
)
_spoiled("bad-txns-in-belowout", "all-money-out-of-little", ((MAX_MONEY,), (1,)), ((MAX_MONEY - 1, 1), (0, 1)))


@mutation("bad-txns-vout-negative")
def negative_value_in_the_coinbase(ground: Ground, random: Random) -> Case:
    def made(value: int) -> Block:
        return with_coinbase(ground, plain_coinbase(ground, outputs=[TxOut(1, ANYONE), TxOut(value, ANYONE)]))

    return Case(made(0), made(random.choice((-1, -(1 << 63)))))


@mutation("bad-txns-vin-empty")
def no_inputs(ground: Ground, random: Random) -> Case:
    empty = Transaction(2, [], [])
    transactions = payments(ground, random)
    return Case(ground.build(*transactions), ground.build(*transactions, empty))


@mutation("bad-txns-inputs-duplicate")
def same_input_twice_in_a_transaction(ground: Ground, random: Random) -> Case:
    """CVE-2018-17144."""
    one, other = ground.take(), ground.take()
    value = random.choice((0, one.output.value, one.output.value + 1))
    more = [other] if random.random() < 0.5 else []
    return Case(
        ground.build(spend([one, *more], [TxOut(0, ANYONE)])),
        ground.build(spend([one, *more, one], [TxOut(value, ANYONE)])),
    )


@mutation("bad-txns-prevout-null")
def null_prevout_among_inputs(ground: Ground, random: Random) -> Case:
    good = spend(ground.take())
    null = TxIn(NULL_OUTPOINT, b"\x51\x51")
    inputs = random.choice(((good.inputs[0], null), (null, good.inputs[0])))
    return Case(ground.build(good), ground.build(with_parts(good, inputs=inputs)))


# Transactions and their coins


@mutation("bad-txns-inputs-missingorspent")
def missing_input(ground: Ground, random: Random) -> Case:
    good = spend(ground.take())
    txin = good.inputs[0]
    prevout = random.choice(
        (
            OutPoint.make(random.randbytes(32), 0),
            OutPoint.make(txin.prevout.txid, 100),
            OutPoint.make(txin.prevout.txid, 0xFFFFFFFF),
            OutPoint.make(bytes(32), 0),
        )
    )
    return Case(ground.build(good), ground.build(with_parts(good, inputs=[txin._replace(prevout=prevout)])))


@mutation("bad-txns-inputs-missingorspent")
def output_spent_twice_in_the_block(ground: Ground, random: Random) -> Case:
    source = ground.take()
    one, other = spend(source), spend(source, fee=random.randrange(2000, 9000))
    between = payments(ground, random)
    return Case(ground.build(one, *between), ground.build(one, *between, other))


@mutation("bad-txns-inputs-missingorspent")
def output_spent_in_an_earlier_block(ground: Ground, random: Random) -> Case:
    source = ground.take()
    before = ground.build(spend(source))
    after = ground.after(before)
    again = spend(source, fee=random.randrange(2000, 9000))
    return Case(after.build(), after.build(again), (before,))


@mutation("bad-txns-inputs-missingorspent")
def output_spent_before_it_is_made(ground: Ground, random: Random) -> Case:
    parent = spend(ground.take())
    child = spend(coin(parent), fee=random.randrange(9000))
    return Case(ground.build(parent, child), ground.build(child, parent))


@mutation("bad-txns-inputs-missingorspent")
def made_spent_and_spent_again_in_the_block(ground: Ground, random: Random) -> Case:
    parent = spend(ground.take())
    child, other = spend(coin(parent)), spend(coin(parent), fee=random.randrange(2000, 9000))
    return Case(ground.build(parent, child), ground.build(parent, child, other))


@mutation("bad-txns-inputs-missingorspent")
def output_that_nobody_can_spend(ground: Ground, random: Random) -> Case:
    script = random.choice((b"\x6a", b"\x6a\x51", b"\x51" + b"\x61" * 10_000))
    parent = spend(ground.take(), [TxOut(1000, script)])
    child = Transaction(2, [TxIn(parent.outpoint(0), b"\x51")], [TxOut(0, ANYONE)])
    return Case(ground.build(parent), ground.build(parent, child))


@mutation("bad-txns-premature-spend-of-coinbase")
def immature_coinbase(ground: Ground, random: Random) -> Case:
    depth = random.choice((99, 99, 98, 50, 1))
    ripe = coin(ground.ancestor(ground.next_height - 100).block)
    young = coin(ground.ancestor(ground.next_height - depth).block)
    ground.coins = [each for each in ground.coins if each != ripe]
    return Case(ground.build(spend(ripe)), ground.build(spend(young)))


@mutation("bad-txns-premature-spend-of-coinbase")
def coinbase_spent_in_its_own_block(ground: Ground, _: Random) -> Case:
    first = plain_coinbase(ground, script_pubkey=OP_TRUE)
    return Case(
        with_coinbase(ground, first),
        with_coinbase(ground, first, spend(coin(first))),
    )


@mutation("bad-txns-in-belowout")
def more_out_than_in(ground: Ground, random: Random) -> Case:
    source = ground.take()
    over = random.choice((1, 1, 1000, source.output.value))
    parent = [] if random.random() < 0.5 else [spend(source, fee=0)]
    origin = coin(parent[0]) if parent else source
    return Case(ground.build(*parent, spend(origin, fee=0)), ground.build(*parent, spend(origin, fee=-over)))


@mutation("bad-txns-in-belowout")
def more_out_than_in_though_fees_pay_for_it(ground: Ground, random: Random) -> Case:
    generous, source = spend(ground.take(), fee=1_000_000), ground.take()
    over = random.randrange(1, 1_000_000)
    return Case(ground.build(generous, spend(source, fee=0)), ground.build(generous, spend(source, fee=-over)))


# Time


@mutation("bad-txns-nonfinal")
def not_final_by_height(ground: Ground, random: Random) -> Case:
    source, height = ground.take(), ground.next_height
    late = random.choice((height, height, height + 1, 499_999_999))
    good = random.choice(
        (
            spend(source, lock_time=height - 1),
            spend(source, lock_time=late, sequence=0xFFFFFFFF),
            spend(source, lock_time=1, sequence=0xFFFFFFF0, version=1),
        )
    )
    bad = spend(source, lock_time=late, sequence=random.choice((0xFFFFFFFE, 0x80000000)))
    return Case(ground.build(good), ground.build(bad))


@mutation("bad-txns-nonfinal")
def not_final_by_median_time(ground: Ground, random: Random) -> Case:
    """Final by the block's own time (BIP113)."""
    source, median = ground.take(), ground.median_time
    late = random.choice((median, median, median + 60, 0xFFFFFFFF))
    time_ = max(median + 120, ground.next_time())
    return Case(
        ground.build(spend(source, lock_time=median - 1), time=time_),
        ground.build(spend(source, lock_time=late), time=time_),
    )


@mutation("bad-txns-nonfinal")
def coinbase_not_final(ground: Ground, _: Random) -> Case:
    plain = plain_coinbase(ground)
    inputs = [plain.inputs[0]._replace(sequence=0xFFFFFFFE)]
    return Case(
        with_coinbase(ground, with_parts(plain, inputs=inputs, lock_time=ground.height)),
        with_coinbase(ground, with_parts(plain, inputs=inputs, lock_time=ground.next_height)),
    )


def _aged(ground: Ground, random: Random) -> tuple[tuple[Block, ...], Ground, Transaction, int]:
    """Make a coin, let it grow a few blocks old, and return those blocks, the ground, the coin and its height."""
    funding = fund(ground.take(), ANYONE)
    made_at = ground.next_height
    before = [ground.build(funding)]
    ground = ground.after(before[0])
    for _ in range(random.randrange(4)):
        before.append(ground.build())
        ground = ground.after(before[-1])
    return tuple(before), ground, funding, made_at


@mutation("bad-txns-nonfinal")
def sequence_lock_by_height(ground: Ground, random: Random) -> Case:
    before, ground, funding, made_at = _aged(ground, random)
    age = ground.next_height - made_at
    good = random.choice(
        (
            spend(coin(funding), sequence=age),
            spend(coin(funding), sequence=0x7FBF0000 | age),  # bits without meaning
            spend(coin(funding), sequence=age + 1, version=1),
            spend(coin(funding), sequence=1 << 31 | age + 1),
        )
    )
    late = random.choice((age + 1, age + 1, 0xFFFF, 0x7FBF0000 | age + 1))
    bad = spend(coin(funding), sequence=late, version=random.choice((2, 2, 3, 0x80000000, 0xFFFFFFFF)))
    return Case(ground.build(good), ground.build(bad), before)


@mutation("bad-txns-nonfinal")
def sequence_lock_by_time(ground: Ground, random: Random) -> Case:
    before, ground, funding, made_at = _aged(ground, random)
    while (passed := ground.median_time - ground.ancestor(made_at - 1).median_time) < 512:
        before = (*before, ground.build())
        ground = ground.after(before[-1])
    units = passed // 512
    good = random.choice(
        (
            spend(coin(funding), sequence=1 << 22 | units),
            spend(coin(funding), sequence=1 << 22 | units + 1, version=1),
            spend(coin(funding), sequence=1 << 31 | 1 << 22 | units + 1),
        )
    )
    bad = spend(coin(funding), sequence=1 << 22 | random.choice((units + 1, units + 1, 0xFFFF)))
    return Case(ground.build(good), ground.build(bad), before)


@mutation("bad-txns-nonfinal")
def sequence_lock_on_a_coin_of_the_same_block(ground: Ground, random: Random) -> Case:
    parent = spend(ground.take())
    kind = random.choice((0, 1 << 22))
    return Case(
        ground.build(parent, spend(coin(parent), sequence=kind)),
        ground.build(parent, spend(coin(parent), sequence=kind | 1)),
    )
