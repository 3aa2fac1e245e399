"""Transactions made to cost the node time: others get their turn meanwhile."""

import time
from random import Random
from typing import Any

from builders import ANYONE, OP_TRUE, coin, push, push_number, spend
from turns import expect_steps_below

from altyn.consensus.encoding import compact_size
from altyn.consensus.hashes import sha256
from altyn.consensus.script.sighash import SighashCache
from altyn.consensus.secp256k1 import load
from altyn.consensus.transaction import Transaction, TxIn, TxOut
from altyn.node.chain.caches import ScriptCache
from altyn.node.mempool.accept import SMALL_WEIGHT, Acceptance, check_scripts
from altyn.node.mempool.entry import RemovalReason
from altyn.node.offload import Threads
from altyn.node.sync.judge import TransactionJudge
from altyn.p2p.limits import MESSAGES_AT_ONCE

SECRET = bytes(31) + b"\1"
SECP = load()
RIGHT, WRONG = (SECP.public_key(bytes(31) + bytes((number,))) for number in (1, 2))
ROUNDS = 6
"""Multisigs with twenty keys of which the last one tried fits: so many that there are no more than 201 operations."""
_TRY_TWENTY = (
    b"\x00\x6c\x76\x6b\x51"  # the dummy, and the signature from the other stack, one of
    + (push(RIGHT) + push(WRONG) + b"\x76\x76" + b"\x6f" * 5 + b"\x76")
    + (push_number(20) + b"\xaf")
)
COSTLY = b"\x6b" + _TRY_TWENTY * ROUNDS + b"\x51"


def costly(setup: Any, funding: Transaction, *, version: int) -> Transaction:
    """Spend two outputs for which one signature is tried with 120 keys each."""
    coins = [coin(funding, index) for index in (0, 1)]
    total = sum(one.output.value for one in coins)
    outputs = [TxOut(total - 2000, ANYONE)]
    bare = Transaction(version, [TxIn(one.outpoint) for one in coins], outputs)
    cache = SighashCache(bare, [one.output for one in coins])
    inputs = []
    for index, one in enumerate(coins):
        digest = cache.witness_v0(index, COSTLY, one.output.value, 1)
        signature = SECP.sign_ecdsa(SECRET, digest) + b"\1"
        inputs.append(TxIn(one.outpoint, witness=(signature, COSTLY)))
    return Transaction(version, inputs, outputs)


async def test_small_transactions_with_many_signature_checks_go_to_a_thread(setup: Any) -> None:
    """Each is below 2,000 weight units and has 240 keys tried, twice: 32 of them, as many as one peer may have
    handled in one turn, would keep everybody waiting for half a second and more."""
    script = b"\x00\x20" + sha256(COSTLY)
    value = (setup.coin(1).output.value - 1000) // 2
    funding = spend(setup.coin(1), [TxOut(value, script)] * 2)
    await setup.chain.add_block(setup.block("a130 a131", funding, fees=1000))
    tx = costly(setup, funding, version=2)
    assert tx.weight <= SMALL_WEIGHT
    threads = Threads(1)
    acceptance = Acceptance(setup.chain, setup.mempool, setup.writer, threads, SECP, ScriptCache(bytes(32), 1 << 20))
    began = time.thread_time()
    coins = {txin.prevout: setup.chain.coins.get(txin.prevout) for txin in tx.inputs}
    check_scripts(tx, coins, SECP)
    alone = time.thread_time() - began

    async def attack() -> None:
        for _ in range(MESSAGES_AT_ONCE):
            await acceptance.accept(tx, test_only=True)

    try:
        await expect_steps_below(alone * 2, attack)
    finally:
        threads.close()


async def test_large_orphans_are_read_again_on_a_thread(setup: Any) -> None:
    """A witness of 390,000 empty parts takes 0.1 seconds to read; there may be a hundred such orphans."""
    parent = spend(setup.coin(1), [TxOut(100_000, ANYONE)] * 5)
    parts = 390_000

    def child(index: int) -> bytes:
        bare = spend(coin(parent, index)).stripped
        witness = compact_size(parts + 1) + b"\0" * parts + push(OP_TRUE)
        return bare[:4] + b"\0\1" + bare[4:-4] + witness + bare[-4:]

    began = time.thread_time()
    orphans = [Transaction.parse(child(index)) for index in range(5)]
    alone = (time.thread_time() - began) / 5
    judges = [TransactionJudge(setup.acceptance, Random(1), lambda _: None) for _ in range(5)]
    for judge in judges:
        for orphan in orphans:
            assert (await judge.judge(orphan, 1, 0.0)).parents == (parent.txid,)

    async def attack() -> None:
        assert (await judges.pop().judge(parent, 1, 0.0)).accepted
        setup.mempool.remove([parent.txid], RemovalReason.EXPIRY)

    await expect_steps_below(alone / 2, attack)
