"""A child that pays for its parents, and what no child can pay for."""

from typing import Any

import pytest
from builders import ANYONE, coin, spend

from altyn.consensus.errors import ValidationError
from altyn.consensus.transaction import Transaction, TxOut
from altyn.node.mempool.entry import RemovalReason
from altyn.node.mempool.packages import PackageAcceptance, PackageRefused, check_form, is_child_with_parents, is_tree


def full(make: Any) -> Any:
    """A mempool that was full lately, and now asks for about 20 sat/vB."""
    setup = make()
    setup.mempool._rolling_feerate = 20_000.0
    return setup


def packages(setup: Any) -> PackageAcceptance:
    return PackageAcceptance(setup.acceptance)


def family(setup: Any, height: int, fees: tuple[int, int], version: int = 2) -> tuple[Transaction, Transaction]:
    parent = spend(setup.coin(height), fee=fees[0], version=version)
    return parent, spend(coin(parent), fee=fees[1], version=version)


def refusals(result: Any) -> list[str]:
    return [str(verdict.error) for verdict in result.verdicts.values() if verdict.error is not None]


async def test_a_child_pays_for_its_parent_where_the_minimum_was_raised(make: Any) -> None:
    setup = full(make)
    parent, child = family(setup, 1, (200, 10_000))
    with pytest.raises(ValidationError, match=r"^mempool min fee not met, 200 < 1920$"):
        await setup.accept(parent)
    result = await packages(setup).accept([parent, child])
    assert result.message == "success"
    assert {entry.txid for entry in setup.mempool} == {parent.txid, child.txid}
    both = (parent.wtxid, child.wtxid)
    for verdict in result.verdicts.values():
        assert verdict.includes == both
        assert verdict.feerate == 10_200 * 1000 // (parent.vsize + child.vsize)


async def test_a_child_that_pays_too_little_for_both_brings_in_neither(make: Any) -> None:
    setup = full(make)
    parent, child = family(setup, 1, (200, 3000))
    result = await packages(setup).accept([parent, child])
    assert result.message == "transaction failed"
    assert refusals(result) == ["mempool min fee not met, 200 < 1920", "mempool min fee not met, 3200 < 3840"]
    assert len(setup.mempool) == 0


async def test_a_parent_that_pays_for_itself_needs_no_child(make: Any) -> None:
    setup = full(make)
    parent, child = family(setup, 1, (3000, 10))
    result = await packages(setup).accept([parent, child])
    assert result.message == "transaction failed"
    assert [entry.txid for entry in setup.mempool] == [parent.txid]
    assert result.verdicts[parent.wtxid].includes == (parent.wtxid,)
    assert refusals(result) == ["min relay fee not met, 10 < 96"]


async def test_no_child_mends_a_broken_rule(make: Any) -> None:
    setup = full(make)
    wrong = spend(setup.coin(1), version=4)
    early = spend(setup.coin(40))
    for parent, reason in ((wrong, "version"), (early, "bad-txns-premature-spend-of-coinbase")):
        result = await packages(setup).accept([parent, spend(coin(parent), fee=10_000)])
        assert result.message == "transaction failed"
        assert refusals(result)[0].startswith(reason)
        assert refusals(result)[1] == "bad-txns-inputs-missingorspent"
    below_relay, child = family(setup, 2, (90, 10_000))
    result = await packages(setup).accept([below_relay, child])
    assert refusals(result)[0] == "min relay fee not met, 90 < 96"
    assert len(setup.mempool) == 0


async def test_scripts_are_checked_of_those_that_come_together_too(make: Any) -> None:
    setup = full(make)
    parent, child = family(setup, 1, (200, 10_000))
    child = Transaction(2, [child.inputs[0]._replace(witness=(b"\x52",))], child.outputs)
    result = await packages(setup).accept([parent, child])
    assert result.message == "transaction failed"
    assert "Witness program hash mismatch" in refusals(result)[1]
    assert len(setup.mempool) == 0


async def test_what_is_there_already_is_left_out(make: Any) -> None:
    setup = make()
    parent, child = family(setup, 1, (1000, 2000))
    await setup.accept(parent)
    result = await packages(setup).accept([parent, child])
    assert result.message == "success"
    assert result.verdicts[parent.wtxid].feerate is None
    other = Transaction(2, [child.inputs[0]._replace(witness=(b"\x52",))], child.outputs)
    result = await packages(setup).accept([parent, other])
    assert result.verdicts[other.wtxid].other_wtxid == child.wtxid


async def test_a_package_that_is_the_least_worth_of_a_full_pool_leaves_at_once(make: Any) -> None:
    setup = make()
    for height in range(1, 5):
        await setup.accept(spend(setup.coin(height), fee=50_000))
    small = make(max_bytes=setup.mempool.usage)
    for height in range(1, 5):
        await small.accept(spend(setup.coin(height), fee=50_000))
    result = await packages(small).accept(family(small, 5, (1000, 2000)))
    assert result.message == "transaction failed"
    assert set(refusals(result)) == {"mempool full"}
    assert len(small.mempool) == 4


async def test_a_package_replaces_what_pays_less_than_it(make: Any) -> None:
    setup = make()
    await setup.accept(spend(setup.coin(1), fee=1000))
    parent, child = family(setup, 1, (500, 9000))
    result = await packages(setup).accept([parent, child])
    assert result.message == "success"
    assert {entry.txid for entry in setup.mempool} == {parent.txid, child.txid}


async def test_a_package_replaces_families_of_two_at_most(make: Any) -> None:
    setup = make()
    chain = [spend(setup.coin(1))]
    for _ in range(2):
        chain.append(spend(coin(chain[-1])))
    split = spend(setup.coin(2), [TxOut(10**9, ANYONE)] * 2)
    joined = [spend(setup.coin(3)), spend(setup.coin(4))]
    both = spend([coin(joined[0]), coin(joined[1])])
    for tx in (*chain, split, spend(coin(split)), spend([coin(split, 1), setup.coin(5)]), *joined, both):
        await setup.accept(tx)
    for height, reason in (
        (1, f"{chain[0].txid[::-1].hex()} has 2 descendants, max 1 allowed"),
        (2, f"{split.txid[::-1].hex()} has 2 descendants, max 1 allowed"),
        (3, f"{joined[0].txid[::-1].hex()} is not the only parent of child {both.txid[::-1].hex()}"),
    ):
        result = await packages(setup).accept(family(setup, height, (900, 4 * 10**9)))
        assert result.message == f"package RBF failed: {reason}"
    one = next(entry for entry in setup.mempool if setup.coin(5).outpoint in {i.prevout for i in entry.tx.inputs})
    result = await packages(setup).accept(family(setup, 5, (900, 4 * 10**9)))
    assert result.message == (
        f"package RBF failed: {one.txid[::-1].hex()} is not the only child of parent {split.txid[::-1].hex()}"
    )


async def test_a_rival_that_comes_while_scripts_run_is_seen(make: Any) -> None:
    setup = full(make)
    parent, child = family(setup, 1, (200, 10_000))
    rival = spend(setup.coin(1), fee=90_000)
    inner = setup.acceptance.check_scripts
    calls = 0

    async def slow(candidate: Any) -> None:
        nonlocal calls
        calls += 1
        await inner(candidate)
        if calls == 2:
            await setup.accept(rival)

    setup.acceptance.check_scripts = slow
    result = await packages(setup).accept([parent, child])
    assert result.message.startswith("package RBF failed: insufficient anti-DoS fees")
    assert [entry.txid for entry in setup.mempool] == [rival.txid]


async def test_a_test_of_several_changes_nothing_and_replaces_nothing(make: Any) -> None:
    setup = make()
    await setup.accept(spend(setup.coin(2)))
    setup.seen.clear()
    parent, child = family(setup, 1, (1000, 1000))
    result = await packages(setup).test([parent, child])
    assert refusals(result) == []
    assert result.verdicts[child.wtxid].includes == (child.wtxid,)
    result = await packages(setup).test([parent, spend(setup.coin(2), fee=9000)])
    assert refusals(result) == ["bip125-replacement-disallowed"]
    assert setup.seen == []


async def test_a_chain_of_packages_keeps_to_the_limits_together(make: Any) -> None:
    setup = make()
    root = spend(setup.coin(1), [TxOut(10**8, ANYONE)] * 5)
    await setup.accept(root)
    await setup.accept(spend(coin(root, 1)))
    many = [spend(coin(root))]
    for _ in range(23):
        many.append(spend(coin(many[-1])))
    result = await packages(setup).test(many)
    assert result.refusal is not None
    assert result.refusal.is_policy
    assert result.message == "package-mempool-limits, possibly too many descendants for tx " + (
        f"{root.txid[::-1].hex()} [limit: 25]"
    )


@pytest.mark.parametrize(
    ("pick", "reason"),
    [
        (lambda a, b, c: [a] * 26, "package-too-many-transactions"),
        (lambda a, b, c: [a, a], "package-contains-duplicates"),
        (lambda a, b, c: [b, a], "package-not-sorted"),
        (lambda a, b, c: [a, c], "conflict-in-package"),
    ],
)
async def test_what_is_no_package_is_refused(setup: Any, pick: Any, reason: str) -> None:
    parent, child = family(setup, 1, (1000, 1000))
    with pytest.raises(PackageRefused, match=f"^{reason}$"):
        check_form(pick(parent, child, spend(setup.coin(1), fee=3000)))


async def test_a_heavy_package_is_refused_unless_it_is_one_transaction(setup: Any) -> None:
    heavy = spend(setup.coin(1), [TxOut(1000, ANYONE)] * 2400)
    check_form([heavy])
    with pytest.raises(PackageRefused, match=r"^package-too-large$"):
        check_form([heavy, spend(setup.coin(2))])


async def test_families_are_told_from_trees(setup: Any) -> None:
    first = spend(setup.coin(1), [TxOut(10**9, ANYONE)] * 2)
    second = spend(coin(first))
    child = spend([coin(first, 1), coin(second)])
    assert is_child_with_parents([first, second, child])
    assert not is_tree([first, second, child])
    assert is_tree([first, second])
    assert not is_child_with_parents([first, child, second])


async def test_parents_that_are_neither_confirmed_nor_given_are_asked_for(setup: Any) -> None:
    held = spend(setup.coin(2))
    await setup.accept(held)
    parent = spend(setup.coin(1))
    result = await packages(setup).accept([parent, spend([coin(parent), coin(held)])])
    assert result.message == "package-not-child-with-unconfirmed-parents"
    assert setup.mempool.get(parent.txid) is None
    setup.mempool.remove([held.txid], RemovalReason.EXPIRY)
