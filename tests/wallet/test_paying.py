"""Coin selection, transactions, fees, signatures."""

from collections.abc import Callable
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from altyn.consensus.hashes import hash160
from altyn.consensus.limits import COIN
from altyn.consensus.networks import MAINNET, REGTEST
from altyn.consensus.script import templates
from altyn.consensus.script.addresses import decode_address, encode_address
from altyn.consensus.script.taproot import output_key
from altyn.consensus.transaction import OutPoint, Transaction, TxIn, TxOut
from altyn.wallet.builder import Draft, Recipient, build, dust_limit, fee_for, format_coins, input_weight, signed_weight
from altyn.wallet.coins import Candidate, Costs, branch_and_bound, largest_first, random_draw, select
from altyn.wallet.errors import NotEnoughMoney, WalletError, WrongPassphrase
from altyn.wallet.formats.signing import SigningError, check_signatures, sign
from altyn.wallet.wallet import FALLBACK_FEERATE, Wallet
from tests.wallet.conftest import PASSPHRASE
from tests.wallet.fake_node import SECP, FakeNode

P2WPKH, P2TR = templates.p2wpkh(b"\x01" * 20), templates.p2tr(b"\x02" * 32)
FAR = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080"
FAR_SCRIPT = decode_address(FAR, REGTEST)


def coins(*values: int, script: bytes = P2WPKH, confirmed: bool = True) -> list[Candidate]:
    weight = input_weight(script)
    return [
        Candidate(OutPoint.make(bytes((number,)) * 32, 0), TxOut(value, script), weight, confirmed)
        for number, value in enumerate(values, 1 if confirmed else 100)
    ]


def costs(target: int, feerate: int = 1000, least_change: int = 294) -> Costs:
    return Costs(
        target, feerate, base_weight=42 * 4, change_weight=31 * 4, change_spend_weight=271, least_change=least_change
    )


def draft(amount: int | None, candidates: list[Candidate], feerate: int = 1000, seed: int = 1) -> Draft:
    return build(
        [Recipient(FAR_SCRIPT, amount)],
        candidates,
        feerate=feerate,
        change_script=P2WPKH,
        lock_time=7,
        replaceable=True,
        random=Random(seed),
    )


# Selection


def test_a_set_without_change_is_found() -> None:
    found = branch_and_bound(coins(90_000, 50_000, 30_000, 20_000, 7_000), costs(50_300 + 30_000))
    assert found is None
    fee = 42 + 2 + 2 * 68  # of the rest and two inputs, rounded up
    found = branch_and_bound(coins(90_000, 50_000, 30_000, 20_000, 7_000), costs(80_000 - fee))
    assert found is not None
    assert sorted(coin.value for coin in found) == [30_000, 50_000]


@given(
    st.lists(st.integers(1_000, 200_000), min_size=1, max_size=9),
    st.integers(1_000, 400_000),
    st.sampled_from([1000, 2500, 20_000]),
)
def test_branch_and_bound_finds_the_best_set_there_is(values: list[int], target: int, feerate: int) -> None:
    bound = costs(target, feerate)
    useful = sorted((c for c in coins(*values) if bound.effective(c) > 0), key=bound.effective, reverse=True)
    sums = [0]
    for coin in useful:
        sums += [total + bound.effective(coin) for total in sums]
    fitting = [total for total in sums if bound.changeless <= total <= bound.changeless + bound.change]
    found = branch_and_bound(useful, bound)
    assert (sum(map(bound.effective, found)) if found else None) == (min(fitting) if fitting else None)


@given(
    st.lists(st.integers(300, 10 * COIN), min_size=1, max_size=12),
    st.integers(300, 30 * COIN),
    st.integers(1000, 50_000),  # at which no fee is absurd
    st.randoms(use_true_random=False),
)
def test_whatever_is_built_is_exact(values: list[int], amount: int, feerate: int, random: Random) -> None:
    candidates = coins(*values)
    try:
        built = build(
            [Recipient(FAR_SCRIPT, amount)],
            candidates,
            feerate=feerate,
            change_script=P2TR,
            lock_time=7,
            replaceable=False,
            random=random,
        )
    except NotEnoughMoney:
        bound = costs(amount, feerate)
        assert sum(max(0, bound.effective(coin)) for coin in candidates) < bound.changeless + 8 * bound.feerate
        return
    tx = built.transaction
    assert len({txin.prevout for txin in tx.inputs}) == len(tx.inputs)
    assert [coin.outpoint for coin in built.coins] == [txin.prevout for txin in tx.inputs]
    assert built.fee == sum(coin.value for coin in built.coins) - sum(output.value for output in tx.outputs)
    needed = fee_for(signed_weight(built.coins, tx.outputs), feerate)
    if built.change is None:
        assert built.fee >= needed
        assert len(tx.outputs) == 1
        # What was left over would not have made useful change.
        assert built.fee - needed < max(330, fee_for(230, feerate) + 1) + fee_for(43 * 4 + 3, feerate) + 2
    else:
        assert built.fee == needed
        assert tx.outputs[built.change].value >= 330
        assert tx.outputs[built.change].script_pubkey == P2TR
        assert tx.outputs[1 - built.change] == TxOut(amount, FAR_SCRIPT)


def test_confirmed_coins_are_taken_before_pending_change() -> None:
    found = select([*coins(COIN, confirmed=False), *coins(COIN)], costs(COIN // 2), Random(1))
    assert found is not None
    assert [coin.is_confirmed for coin in found] == [True]
    found = select([*coins(COIN, confirmed=False), *coins(COIN)], costs(3 * COIN // 2), Random(1))
    assert found is not None
    assert len(found) == 2


def test_random_draw_leaves_useful_change_and_largest_first_is_the_last_resort() -> None:
    assert random_draw(coins(60_000), costs(20_000), Random(1)) is None
    assert largest_first(coins(60_000), costs(20_000)) is not None
    assert select(coins(60_000), costs(20_000), Random(1)) is not None


def test_coins_that_cost_more_than_they_hold_stay_where_they_are() -> None:
    built = draft(50_000, coins(300, 100_000), feerate=10_000)
    assert [coin.value for coin in built.coins] == [100_000]


# Transactions


@pytest.mark.parametrize(
    ("script", "least"),
    [
        (templates.p2pkh(bytes(20)), 546),
        (templates.p2sh(bytes(20)), 540),
        (P2WPKH, 294),
        (templates.p2wsh(bytes(32)), 330),
        (P2TR, 330),
        (templates.null_data(b"x"), 0),
    ],
)
def test_dust_limits_are_those_of_core(script: bytes, least: int) -> None:
    assert dust_limit(script) == least


def test_dust_is_not_sent_and_not_made_as_change() -> None:
    with pytest.raises(WalletError, match="293 satoshis are too little to send: this address takes 294 or more"):
        draft(293, coins(100_000))
    fee = fee_for(signed_weight(coins(100_000), [TxOut(0, FAR_SCRIPT)]), 1000)
    built = draft(100_000 - fee - 200, coins(100_000))
    assert (built.change, built.fee) == (None, fee + 200)


def test_everything_can_be_sent() -> None:
    built = draft(None, coins(100_000, 200_000, 60), feerate=2000)
    assert len(built.coins) == 2
    (output,) = built.transaction.outputs
    assert output.value == 300_000 - built.fee
    assert built.fee == fee_for(signed_weight(built.coins, [output]), 2000)


def test_the_lock_time_holds_and_the_sequence_says_whether_it_may_be_replaced() -> None:
    tx = draft(50_000, coins(100_000)).transaction
    assert (tx.version, tx.lock_time, tx.inputs[0].sequence) == (2, 7, 0xFFFFFFFD)


def test_an_absurd_fee_is_refused() -> None:
    with pytest.raises(WalletError, match="choose a lower --feerate"):
        draft(COIN, coins(5 * COIN), feerate=100_000_000)


def test_too_little_money_says_what_there_is() -> None:
    with pytest.raises(NotEnoughMoney, match=r"2\.00000000 and a fee.*0\.50000000 can be spent"):
        draft(2 * COIN, coins(COIN // 2))
    with pytest.raises(NotEnoughMoney):
        draft(None, [])
    with pytest.raises(NotEnoughMoney):
        draft(COIN // 2, coins(COIN // 2))  # the fee is missing


def test_too_many_coins_for_one_transaction_are_refused() -> None:
    many = [Candidate(OutPoint.make(n.to_bytes(32, "big"), 0), TxOut(10_000, P2WPKH), 271) for n in range(2000)]
    with pytest.raises(WalletError, match="too many for one transaction"):
        draft(19_000_000 - 2000, many, feerate=100)


def test_amounts_are_written_with_eight_decimals() -> None:
    assert (format_coins(150_000_000), format_coins(-1)) == ("1.50000000", "-0.00000001")


# Signatures


@pytest.mark.parametrize("kind", ["witness_v0_keyhash", "witness_v1_taproot", "pubkeyhash"])
def test_a_signature_holds_and_another_amount_breaks_it(kind: str) -> None:
    secret = b"\x09" * 32
    key = SECP.public_key(secret)
    script = {
        "witness_v0_keyhash": templates.p2wpkh(hash160(key)),
        "witness_v1_taproot": templates.p2tr(output_key(SECP, key[1:])[0]),
        "pubkeyhash": templates.p2pkh(hash160(key)),
    }[kind]
    spent = [TxOut(COIN, script), TxOut(2 * COIN, script)]
    tx = Transaction(2, [TxIn(OutPoint.make(b"\x01" * 32, n)) for n in (0, 1)], [TxOut(COIN, FAR_SCRIPT)])
    signed = sign(tx, spent, {script: secret}, SECP)
    assert signed.txid == tx.txid or kind == "pubkeyhash"
    check_signatures(signed, spent, SECP)
    if kind != "pubkeyhash":  # whose digest does not contain the amount
        with pytest.raises(SigningError, match="the signature of input 0 does not hold"):
            check_signatures(signed, [TxOut(COIN + 1, script), spent[1]], SECP)
    with pytest.raises(SigningError, match="no key for input 0"):
        sign(tx, spent, {}, SECP)
    p2sh = templates.p2sh(bytes(20))
    with pytest.raises(SigningError, match="scripthash output"):
        sign(tx, [TxOut(1, p2sh)] * 2, {p2sh: secret}, SECP)


# The whole


@pytest.fixture
def rich(wallet: Wallet, node: FakeNode) -> Wallet:
    for _ in range(12):
        for kind in ("bech32", "bech32m"):
            node.pay(TxOut(COIN, decode_address(wallet.address(kind), REGTEST)))
    wallet.sync()
    return wallet


@pytest.mark.parametrize("feerate", [1000, 1234, 7900, 25_000])
@pytest.mark.parametrize("change", ["bech32", "bech32m"])
def test_the_fee_is_exact_for_the_measured_size(rich: Wallet, feerate: int, change: str) -> None:
    for amount in (COIN // 3, 4 * COIN, 11 * COIN):
        payment = rich.send([(FAR, amount)], PASSPHRASE, feerate=feerate, change_kind=change, dry_run=True)
        assert payment.fee == -(-payment.transaction.vsize * feerate // 1000)
        assert payment.amount == amount
        assert payment.change > 0


def test_what_is_sent_is_valid_and_arrives(rich: Wallet, node: FakeNode, open_wallet: Callable[..., Wallet]) -> None:
    payment = rich.send([(FAR, 20 * COIN)], PASSPHRASE)
    assert payment.transaction.txid in node.mempool  # which checks signatures
    kinds = {templates.classify(node.outputs()[txin.prevout].script_pubkey).kind for txin in payment.transaction.inputs}
    assert kinds == {"witness_v0_keyhash", "witness_v1_taproot"}


def test_several_can_be_paid_at_once(rich: Wallet) -> None:
    payment = rich.send([(FAR, COIN), (FAR, 2 * COIN)], PASSPHRASE)
    assert payment.amount == 3 * COIN


def test_a_dry_run_leaves_no_trace(rich: Wallet, node: FakeNode) -> None:
    payment = rich.send([(FAR, COIN)], PASSPHRASE, dry_run=True)
    assert not payment.is_sent
    assert not node.mempool
    assert len(rich.history()) == 24


def test_the_feerate_is_the_nodes_estimate_or_a_stated_fallback(rich: Wallet, node: FakeNode) -> None:
    assert (rich.feerate().per_kvb, rich.feerate().source) == (FALLBACK_FEERATE, "fallback")
    node.estimate = 12_345
    assert (rich.feerate().per_kvb, rich.feerate().source) == (12_345, "estimate")
    node.relay_fee = 20_000
    assert rich.feerate().per_kvb == 20_000
    node.estimate = None
    assert rich.feerate().per_kvb == 20_000


def test_an_address_of_another_network_is_refused(rich: Wallet) -> None:
    address = encode_address(FAR_SCRIPT, MAINNET)
    assert address is not None
    with pytest.raises(WalletError, match="is no address of regtest"):
        rich.send([(address, COIN)], PASSPHRASE)


def test_a_wrong_passphrase_pays_nothing(rich: Wallet, node: FakeNode) -> None:
    with pytest.raises(WrongPassphrase, match="wrong passphrase"):
        rich.send([(FAR, COIN)], "guess")
    assert not node.mempool
