"""Mutations of whole blocks: header, coinbase, merkle tree, witness commitment, sizes, amounts, finality."""

import time
from random import Random

from builders import (
    ANYONE,
    OP_TRUE,
    Spendable,
    coin,
    mine,
    push,
    push_number,
    solve,
    spend,
)
from differential.ground import Ground, grow, shuffled
from differential.mutations import (
    Case,
    fund,
    mutation,
    payments,
    plain_coinbase,
    replaced,
    with_coinbase,
    with_parts,
)

from altyn.consensus.block import Block, Header
from altyn.consensus.emission import block_subsidy
from altyn.consensus.errors import Fault
from altyn.consensus.limits import MAX_FUTURE_BLOCK_TIME, MAX_MONEY
from altyn.consensus.merkle import make_witness_commitment, merkle_root
from altyn.consensus.pow import bits_to_target
from altyn.consensus.transaction import NULL_OUTPOINT, Transaction, TxIn, TxOut

_CLOCK_MARGIN = 120
"""Seconds by which blocks of the future keep off the limit: the clocks of the judges are those of the machine."""

# The header


@mutation("high-hash", Fault.INVALID_HEADER)
def work_not_done(ground: Ground, random: Random) -> Case:
    twin = ground.build(*payments(ground, random))
    old = twin.header
    nonce = old.nonce
    while True:
        nonce += 1
        lazy = Header(old.version, old.prev_hash, old.merkle_root, old.time, old.bits, nonce)
        if int.from_bytes(lazy.hash, "little") > bits_to_target(old.bits):
            return Case(twin, Block(lazy, twin.transactions))


def _with_bits(twin: Block, bits: int) -> Header:
    """Return the header with other bits, worked for where that can be done."""
    old = twin.header
    if bits_to_target(bits) >> 240:
        return mine(old.version, old.prev_hash, old.merkle_root, old.time, bits)
    return Header(old.version, old.prev_hash, old.merkle_root, old.time, bits, old.nonce)


@mutation("high-hash", Fault.INVALID_HEADER)
def target_that_no_block_may_have(ground: Ground, random: Random) -> Case:
    twin = ground.build()
    bits = random.choice((0, 1, 0x20800000, 0x207FFFFF | 0x00800000, 0x217FFFFF, 0xFF7FFFFF, 0x2100FFFF))
    return Case(twin, Block(_with_bits(twin, bits), twin.transactions))


@mutation("bad-diffbits", Fault.INVALID_HEADER)
def wrong_bits(ground: Ground, random: Random) -> Case:
    twin = ground.build(*payments(ground, random))
    bits = random.choice((0x207FFFFE, 0x21007FFF, 0x2000FFFF, 0x207F0000, 0x1F7FFFFF))
    return Case(twin, Block(_with_bits(twin, bits), twin.transactions))


@mutation("time-too-old", Fault.INVALID_HEADER)
def time_too_old(ground: Ground, random: Random) -> Case:
    transactions = payments(ground, random)
    earlier = random.choice((0, 0, 1, 600, 86400))
    return Case(
        ground.build(*transactions, time=ground.earliest_time),
        ground.build(*transactions, time=ground.median_time - earlier),
    )


@mutation("time-too-new", Fault.TIME_FUTURE)
def time_too_new(ground: Ground, random: Random) -> Case:
    limit = int(time.time()) + MAX_FUTURE_BLOCK_TIME
    ahead = random.choice((_CLOCK_MARGIN, 86400, 0xFFFFFFFF - limit))
    after = grow(ground, 6)  # that the median time stays where it was when this is tried again and again
    before = tuple(after.line()[ground.height :])
    return Case(after.build(time=limit - _CLOCK_MARGIN), after.build(time=limit + ahead), before)


def _bad_version(version: int) -> None:
    @mutation(
        f"bad-version(0x{version & 0xFFFFFFFF:08x})",
        Fault.INVALID_HEADER,
        name=f"version-{version}",
    )
    def build(ground: Ground, random: Random) -> Case:
        transactions = payments(ground, random)
        good = random.choice((4, 5, 0x20000000, 0x3FFFE000, 0x7FFFFFFF))
        return Case(ground.build(*transactions, version=good), ground.build(*transactions, version=version))


for _version in (3, 2, 1, 0, -1, -(1 << 31)):
    _bad_version(_version)


@mutation("prev-blk-not-found", Fault.MISSING_PREVIOUS)
def unknown_parent(ground: Ground, random: Random) -> Case:
    twin = ground.build()
    old = twin.header
    header = mine(old.version, random.randbytes(32), old.merkle_root, old.time, old.bits)
    return Case(twin, Block(header, twin.transactions))


# The transactions under the header


@mutation("bad-txnmrklroot", Fault.MUTATED)
def wrong_merkle_root(ground: Ground, random: Random) -> Case:
    twin = ground.build(*payments(ground, random))
    old = twin.header
    header = mine(old.version, old.prev_hash, random.randbytes(32), old.time, old.bits)
    return Case(twin, Block(header, twin.transactions))


@mutation("bad-txnmrklroot", Fault.MUTATED)
def transactions_exchanged(ground: Ground, random: Random) -> Case:
    twin = ground.build(*payments(ground, random, 3, 5))
    first, *others = twin.transactions
    while (other := [first, *shuffled(random, others)]) == list(twin.transactions):
        pass
    return Case(twin, replaced(twin, other, fix_root=False))


@mutation("bad-txnmrklroot", Fault.MUTATED)
def transaction_left_out(ground: Ground, random: Random) -> Case:
    twin = ground.build(*payments(ground, random, 1, 4))
    kept = list(twin.transactions)
    del kept[random.randrange(1, len(kept))]
    return Case(twin, replaced(twin, kept, fix_root=False))


@mutation("bad-txnmrklroot", Fault.MUTATED)
def no_transactions_at_all(ground: Ground, _: Random) -> Case:
    twin = ground.build()
    return Case(twin, Block(twin.header, ()))


@mutation("bad-txns-duplicate", Fault.MUTATED)
def merkle_duplication_attack(ground: Ground, random: Random) -> Case:
    """Repeat the last transactions so that the root stays the same (CVE-2012-2459)."""
    count, repeated = random.choice(((3, 1), (5, 1), (6, 2), (7, 1), (9, 1), (10, 2), (12, 4)))
    twin = ground.build(*payments(ground, random, count - 1, count - 1))
    longer = [*twin.transactions, *twin.transactions[-repeated:]]
    while merkle_root([tx.txid for tx in longer]) != twin.header.merkle_root:
        longer += longer[-repeated:]
    return Case(twin, replaced(twin, longer, fix_root=False))


@mutation("bad-txns-duplicate", Fault.MUTATED)
def same_transaction_twice_side_by_side(ground: Ground, random: Random) -> Case:
    one, other = payments(ground, random, 2, 2)
    return Case(ground.build(one, other), ground.build(one, other, other))


@mutation("bad-txns-inputs-missingorspent")
def same_transaction_twice(ground: Ground, random: Random) -> Case:
    one, *others = payments(ground, random, 1, 1)
    return Case(ground.build(one, *others), ground.build(one, one, *others))


@mutation("bad-blk-length")
def block_of_nothing(ground: Ground, _: Random) -> Case:
    twin = ground.build()
    return Case(twin, solve(Block(twin.header, ())))


@mutation("bad-cb-missing")
def no_coinbase(ground: Ground, random: Random) -> Case:
    transactions = payments(ground, random, 1, 3)
    twin = ground.build(*transactions)
    return Case(twin, replaced(twin, transactions))


@mutation("bad-cb-missing")
def coinbase_not_first(ground: Ground, random: Random) -> Case:
    twin = ground.build(*payments(ground, random, 1, 3))
    first, second, *others = twin.transactions
    return Case(twin, replaced(twin, [second, first, *others]))


@mutation("bad-cb-multiple")
def two_coinbases(ground: Ground, random: Random) -> Case:
    transactions = payments(ground, random)
    second = plain_coinbase(ground, value=0, extra=random.randbytes(8))
    mixed = [*transactions]
    mixed.insert(random.randint(0, len(mixed)), second)
    return Case(ground.build(*transactions), ground.build(*mixed))


# The coinbase


def _coinbase_with(ground: Ground, script_sig: bytes) -> Transaction:
    plain = plain_coinbase(ground)
    return with_parts(plain, inputs=[TxIn(NULL_OUTPOINT, script_sig)])


@mutation("bad-cb-length")
def coinbase_script_too_short(ground: Ground, random: Random) -> Case:
    script = push_number(ground.next_height)
    return Case(
        with_coinbase(ground, _coinbase_with(ground, script)),
        with_coinbase(ground, _coinbase_with(ground, script[: random.randint(0, 1)])),
    )


@mutation("bad-cb-length")
def coinbase_script_too_long(ground: Ground, random: Random) -> Case:
    script = push_number(ground.next_height) + random.randbytes(200)
    return Case(
        with_coinbase(ground, _coinbase_with(ground, script[:100])),
        with_coinbase(ground, _coinbase_with(ground, script[: random.choice((101, 120, 200))])),
    )


@mutation("bad-cb-height")
def coinbase_of_another_height(ground: Ground, random: Random) -> Case:
    height = ground.next_height
    right = push_number(height)
    wrong = random.choice(
        (
            push_number(height + 1),
            push_number(height - 1),
            push_number(random.randrange(1 << 24)),
            push(right[1:] + b"\0"),  # the same number at more length
            b"\x4c" + right,
            b"\x00" + right,
            right[1:],
            bytes([right[0] + 1]) + right[1:],
        )
    )
    extra = random.randbytes(8)
    return Case(
        with_coinbase(ground, _coinbase_with(ground, right + extra)),
        with_coinbase(ground, _coinbase_with(ground, wrong + extra)),
    )


@mutation("bad-cb-amount")
def subsidy_exceeded(ground: Ground, random: Random) -> Case:
    subsidy = block_subsidy(ground.next_height, ground.network)
    more = random.choice((1, 1, random.randrange(1, subsidy), subsidy, MAX_MONEY - subsidy))
    return Case(ground.build(), ground.build(fees=more))


@mutation("bad-cb-amount")
def fees_overclaimed(ground: Ground, random: Random) -> Case:
    paid = random.randrange(100_000)
    transactions = [spend(ground.take(), fee=paid)]
    fund_fee = random.randrange(100_000)
    parent = spend(ground.take(), fee=fund_fee)
    transactions += [parent, spend(coin(parent), fee=paid)]
    fees = 2 * paid + fund_fee
    over = random.choice((1, 1, 10, 100_000))
    return Case(ground.build(*transactions, fees=fees), ground.build(*transactions, fees=fees + over))


@mutation("bad-cb-amount")
def subsidy_exceeded_over_several_outputs(ground: Ground, random: Random) -> Case:
    subsidy = block_subsidy(ground.next_height, ground.network)
    part = random.randrange(subsidy)

    def split(total: int) -> Block:
        outputs = [TxOut(part, ANYONE), TxOut(0, b"\x6a"), TxOut(total - part, ANYONE)]
        return with_coinbase(ground, plain_coinbase(ground, outputs=outputs))

    return Case(split(subsidy), split(subsidy + 1))


# The witnesses under the coinbase


def _committed(
    ground: Ground, transactions: list[Transaction], witness: tuple[bytes, ...], *commitments: bytes
) -> Block:
    """Build a block whose coinbase has this witness and these scripts behind its own."""
    outputs = [plain_coinbase(ground).outputs[0], *(TxOut(0, script) for script in commitments)]
    first = plain_coinbase(ground, outputs=outputs)
    first = with_parts(first, inputs=[first.inputs[0]._replace(witness=witness)])
    return with_coinbase(ground, first, *transactions)


def _commitment(transactions: list[Transaction], reserved: bytes = bytes(32)) -> bytes:
    return make_witness_commitment(merkle_root([bytes(32), *(tx.wtxid for tx in transactions)]), reserved)


def _committed_well(ground: Ground, transactions: list[Transaction], random: Random) -> Block:
    reserved = random.choice((bytes(32), random.randbytes(32)))
    more = random.choice((b"", b"\x51", random.randbytes(40)))
    return _committed(ground, transactions, (reserved,), _commitment(transactions, reserved) + more)


@mutation("bad-witness-merkle-match", Fault.MUTATED)
def wrong_witness_commitment(ground: Ground, random: Random) -> Case:
    transactions = payments(ground, random, 0, 3)
    wrong = make_witness_commitment(random.randbytes(32), bytes(32))
    return Case(_committed_well(ground, transactions, random), _committed(ground, transactions, (bytes(32),), wrong))


@mutation("bad-witness-merkle-match", Fault.MUTATED)
def last_of_two_commitments_wrong(ground: Ground, random: Random) -> Case:
    transactions = payments(ground, random, 1, 3)
    right, wrong = _commitment(transactions), make_witness_commitment(random.randbytes(32), bytes(32))
    return Case(
        _committed(ground, transactions, (bytes(32),), wrong, right),
        _committed(ground, transactions, (bytes(32),), right, wrong),
    )


@mutation("bad-witness-merkle-match", Fault.MUTATED)
def reserved_value_not_committed_to(ground: Ground, random: Random) -> Case:
    transactions = payments(ground, random, 1, 3)
    reserved = random.randbytes(32)
    commitment = _commitment(transactions, reserved)
    return Case(
        _committed(ground, transactions, (reserved,), commitment),
        _committed(ground, transactions, (bytes(32),), commitment),
    )


@mutation("bad-witness-merkle-match", Fault.MUTATED)
def witness_damaged_on_the_way(ground: Ground, random: Random) -> Case:
    """The header stays the same: it must not be remembered as invalid."""
    twin = ground.build(*payments(ground, random, 1, 3))
    first, *others = twin.transactions
    number = random.randrange(len(others))
    txin = others[number].inputs[0]
    other = random.choice(((), (b"\x52",), (b"", OP_TRUE), (OP_TRUE, OP_TRUE)))
    others[number] = with_parts(others[number], inputs=[txin._replace(witness=other)])
    return Case(twin, replaced(twin, [first, *others], fix_root=False))


def _reserved_sizes(sizes: tuple[int, ...]) -> None:
    @mutation("bad-witness-nonce-size", Fault.MUTATED, name=f"reserved-value-of-{sizes or 'nothing'}")
    def build(ground: Ground, random: Random) -> Case:
        transactions = payments(ground, random)
        commitment = _commitment(transactions)
        return Case(
            _committed(ground, transactions, (bytes(32),), commitment),
            _committed(ground, transactions, tuple(bytes(size) for size in sizes), commitment),
        )


for _sizes in ((), (31,), (33,), (0,), (32, 32), (32, 0)):
    _reserved_sizes(_sizes)


@mutation("unexpected-witness", Fault.MUTATED)
def witness_without_commitment(ground: Ground, random: Random) -> Case:
    transactions = payments(ground, random, 1, 2)
    almost = _commitment(transactions)
    wrong = random.choice((b"", almost[:-1], b"\x6a" + almost, almost[1:], b"\x6a\x24\xaa\x21\xa9\xee" + almost[6:]))
    return Case(_committed(ground, transactions, (bytes(32),), almost), _committed(ground, transactions, (), wrong))


@mutation("unexpected-witness", Fault.MUTATED)
def reserved_value_without_commitment(ground: Ground, _: Random) -> Case:
    return Case(_committed(ground, [], (), b"\x6a"), _committed(ground, [], (bytes(32),), b"\x6a"))


@mutation("does not decode", None)
def witness_flag_without_witness(ground: Ground, random: Random) -> Case:
    [tx] = payments(ground, random, 1, 1)
    twin = ground.build(tx)
    position = len(twin.raw) - len(tx.raw)
    stripped = tx.stripped
    superfluous = stripped[:4] + b"\0\1" + stripped[4:-4] + b"\0" + stripped[-4:]
    return Case(twin, twin.raw[:position] + superfluous)


@mutation("does not decode", None)
def unknown_transaction_flag(ground: Ground, random: Random) -> Case:
    [tx] = payments(ground, random, 1, 1)
    twin = ground.build(tx)
    position = len(twin.raw) - len(tx.raw)
    flag = random.choice((2, 3, 4, 0x80, 0xFF))
    return Case(twin, twin.raw[:position] + tx.raw[:5] + bytes([flag]) + tx.raw[6:])


@mutation("does not decode", None)
def block_cut_off(ground: Ground, random: Random) -> Case:
    twin = ground.build(*payments(ground, random, 1, 2))
    return Case(twin, twin.raw[: -random.choice((1, 4, 5, 40, 100, len(twin.raw) - 80, len(twin.raw) - 40))])


# Sizes


def _room(block: Block, limit: int) -> int:
    return limit - block.stripped_size


def _filled(ground: Ground, coin_: Spendable, size: int) -> Block:
    """Build a block without witnesses of exactly `size` bytes."""
    base = ground.build(_carrier(coin_, 500_000), coinbase_tx=_carrying_coinbase(ground, 400_000))
    rest = _room(base, size)
    return ground.build(_carrier(coin_, 500_000), coinbase_tx=_carrying_coinbase(ground, 400_000 + rest))


def _carrier(coin_: Spendable, size: int) -> Transaction:
    return Transaction(2, [TxIn(coin_.outpoint)], [TxOut(0, b"\x6a" + bytes(size))])


def _carrying_coinbase(ground: Ground, size: int) -> Transaction:
    return plain_coinbase(ground, outputs=[TxOut(0, b"\x6a" + bytes(size))])


@mutation("bad-blk-length", is_costly=True)
def stripped_size_over_the_limit(ground: Ground, _: Random) -> Case:
    funding = fund(ground.take(), OP_TRUE)
    before = ground.build(funding)
    after = ground.after(before)
    return Case(_filled(after, coin(funding), 1_000_000), _filled(after, coin(funding), 1_000_001), (before,))


@mutation("bad-blk-weight", is_costly=True)
def block_over_weight(ground: Ground, random: Random) -> Case:
    funding = fund(ground.take(), OP_TRUE, ANYONE)
    before = ground.build(funding)
    after = ground.after(before)
    bulk = random.randint(0, 900_000)

    def heavy(extra: int) -> Block:
        # In the reserved value's place no bulk fits, and OP_TRUE takes none: unknown witness versions take any.
        stuffed = Transaction(
            2,
            [TxIn(future.outpoint(0), b"", 0xFFFFFFFF, (bytes(3_000_000 - 3 * bulk + extra),))],
            [TxOut(0, b"\x6a" + bytes(bulk))],
        )
        return after.build(future, stuffed)

    future = spend(coin(funding, 1), to=b"\x60\x02\x01\x01")
    room = 4_000_000 - heavy(0).weight
    return Case(heavy(room), heavy(room + 1), (before,))
