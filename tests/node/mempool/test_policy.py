"""Standardness, case by case, with the reasons of Core."""

import pytest
from builders import ANYONE

from altyn.consensus.errors import ValidationError
from altyn.consensus.script.templates import multisig, p2pk, p2pkh, p2sh_of, p2tr, p2wpkh, p2wsh_of, push
from altyn.consensus.transaction import Coin, OutPoint, Transaction, TxIn, TxOut
from altyn.node.mempool.policy import (
    PolicyLimits,
    are_inputs_standard,
    check_standard,
    dust_threshold,
    fee_of_size,
    feerate_of,
    is_witness_standard,
    signals_replacement,
    virtual_size,
)

OUTPOINT = OutPoint.make(bytes(31) + b"\1", 0)
KEY = b"\2" + bytes(31) + b"\1"
ANCHOR = bytes.fromhex("51024e73")
LIMITS = PolicyLimits()


def transaction(
    *outputs: TxOut, version: int = 2, script_sig: bytes = b"", inputs: int = 1, sequence: int = 0xFFFFFFFF
) -> Transaction:
    listed = [TxIn(OutPoint.make(bytes(32), index), script_sig, sequence) for index in range(inputs)]
    return Transaction(version, listed, outputs or [TxOut(100_000, ANYONE)])


def pays(script: bytes, value: int = 100_000) -> Transaction:
    return transaction(TxOut(value, script))


@pytest.mark.parametrize(
    "tx",
    [
        pytest.param(pays(p2pk(KEY)), id="public key"),
        pytest.param(pays(p2pkh(bytes(20))), id="key hash"),
        pytest.param(pays(p2sh_of(b"\x51")), id="script hash"),
        pytest.param(pays(p2wpkh(bytes(20))), id="witness key hash"),
        pytest.param(pays(p2tr(bytes(32))), id="taproot"),
        pytest.param(pays(b"\x52\x02ab"), id="unknown witness version"),
        pytest.param(pays(ANCHOR, 240), id="anchor"),
        pytest.param(pays(multisig(2, [KEY] * 3)), id="two of three"),
        pytest.param(pays(b"\x6a" + push(bytes(80)), 0), id="80 bytes of data"),
        pytest.param(pays(b"\x6a", 0), id="nothing behind OP_RETURN"),
        pytest.param(transaction(version=1), id="version 1"),
        pytest.param(transaction(version=3), id="version 3"),
        pytest.param(transaction(script_sig=push(bytes(520)) * 3), id="1569 bytes of script_sig"),
        pytest.param(pays(ANYONE, 330), id="dust limit of P2WSH"),
        pytest.param(pays(p2pkh(bytes(20)), 546), id="dust limit of P2PKH"),
    ],
)
def test_standard_forms_pass(tx: Transaction) -> None:
    check_standard(tx, LIMITS)


@pytest.mark.parametrize(
    ("tx", "reason"),
    [
        pytest.param(transaction(version=0), "version", id="version 0"),
        pytest.param(transaction(version=4), "version", id="version 4"),
        pytest.param(transaction(version=0xFFFFFFFF), "version", id="negative version"),
        pytest.param(transaction(*[TxOut(1000, ANYONE)] * 2400), "tx-size", id="over 400,000 weight units"),
        pytest.param(transaction(script_sig=push(bytes(550)) * 3), "scriptsig-size", id="1659 bytes of script_sig"),
        pytest.param(transaction(script_sig=b"\x61"), "scriptsig-not-pushonly", id="an operation in script_sig"),
        pytest.param(transaction(script_sig=b"\x02a"), "scriptsig-not-pushonly", id="a push cut short"),
        pytest.param(pays(b"\x51"), "scriptpubkey", id="bare OP_TRUE"),
        pytest.param(pays(b"\x00\x15" + bytes(21)), "scriptpubkey", id="version 0 of odd size"),
        pytest.param(pays(multisig(1, [KEY] * 4)), "scriptpubkey", id="one of four"),
        pytest.param(pays(b"\x6a" + push(bytes(81)), 0), "scriptpubkey", id="81 bytes of data"),
        pytest.param(transaction(*[TxOut(329, ANYONE)] * 2), "dust", id="dust in P2WSH"),
        pytest.param(transaction(*[TxOut(293, p2wpkh(bytes(20)))] * 2), "dust", id="dust in P2WPKH"),
        pytest.param(transaction(*[TxOut(545, p2pkh(bytes(20)))] * 2), "dust", id="dust in P2PKH"),
        pytest.param(transaction(*[TxOut(239, ANCHOR)] * 2), "dust", id="dust in an anchor"),
        pytest.param(transaction(*[TxOut(0, b"\x6a\x01a")] * 2), "multi-op-return", id="two OP_RETURN"),
    ],
)
def test_other_forms_are_refused(tx: Transaction, reason: str) -> None:
    with pytest.raises(ValidationError) as caught:
        check_standard(tx, LIMITS)
    assert str(caught.value) == reason


def test_options_change_what_is_standard() -> None:
    with pytest.raises(ValidationError, match=r"^bare-multisig$"):
        check_standard(pays(multisig(1, [KEY])), PolicyLimits(permit_bare_multisig=False))
    with pytest.raises(ValidationError, match=r"^scriptpubkey$"):
        check_standard(pays(b"\x6a", 0), PolicyLimits(max_datacarrier_bytes=None))
    check_standard(pays(b"\x6a" + push(bytes(200)), 0), PolicyLimits(max_datacarrier_bytes=203))
    check_standard(pays(ANYONE, 0), PolicyLimits(dust_relay_feerate=0))


@pytest.mark.parametrize(
    ("script", "threshold"),
    [(p2pkh(bytes(20)), 546), (p2wpkh(bytes(20)), 294), (p2tr(bytes(32)), 330), (p2sh_of(b""), 540), (b"\x6a", 0)],
)
def test_dust_is_what_costs_more_to_spend_than_it_is_worth(script: bytes, threshold: int) -> None:
    assert dust_threshold(TxOut(0, script), 3000) == threshold


def test_fees_are_rounded_up_and_feerates_down() -> None:
    assert fee_of_size(1000, 141) == 141
    assert fee_of_size(1001, 141) == 142
    assert fee_of_size(0, 141) == 0
    assert feerate_of(141, 141) == 1000
    assert feerate_of(999, 1001) == 998
    assert feerate_of(-999, 1001) == -998


def test_signature_checks_may_count_for_more_than_bytes() -> None:
    assert virtual_size(401, 0, 20) == 101
    assert virtual_size(401, 21, 20) == 105


def test_replacement_is_signalled_by_a_low_sequence() -> None:
    assert signals_replacement(transaction(sequence=0xFFFFFFFD))
    assert not signals_replacement(transaction(sequence=0xFFFFFFFE))


def spends(script: bytes, *witness: bytes, script_sig: bytes = b"") -> tuple[Transaction, dict[OutPoint, Coin]]:
    tx = Transaction(2, [TxIn(OUTPOINT, script_sig, witness=witness)], [TxOut(1000, ANYONE)])
    return tx, {OUTPOINT: Coin(TxOut(2000, script), 1, False)}


CHECKSIGS = b"\xac" * 15


@pytest.mark.parametrize(
    ("script", "script_sig", "standard"),
    [
        pytest.param(b"\x51", b"", False, id="bare OP_TRUE"),
        pytest.param(b"\x52\x02ab", b"", False, id="unknown witness version"),
        pytest.param(ANCHOR, b"", True, id="anchor"),
        pytest.param(ANYONE, b"", True, id="P2WSH"),
        pytest.param(p2sh_of(CHECKSIGS), push(CHECKSIGS), True, id="15 signature checks"),
        pytest.param(p2sh_of(b"\xac" * 16), push(b"\xac" * 16), False, id="16 signature checks"),
        pytest.param(p2sh_of(b"\x51"), b"", False, id="no redeem script"),
        pytest.param(p2sh_of(b"\x51"), b"\x50\x01\x51", False, id="OP_RESERVED in script_sig"),
        pytest.param(p2sh_of(b"\x51"), push(bytes(521)) + b"\x01\x51", False, id="a push over 520 bytes"),
        pytest.param(p2sh_of(b"\x51"), b"\x00" * 1000 + b"\x01\x51", False, id="over 1000 elements"),
        pytest.param(p2sh_of(b"\x81"), b"\x4f", True, id="a redeem script pushed by number"),
    ],
)
def test_spent_scripts_must_be_standard_too(script: bytes, script_sig: bytes, standard: bool) -> None:
    assert are_inputs_standard(*spends(script, script_sig=script_sig)) is standard


TAPROOT = p2tr(bytes(32))
CONTROL, OTHER_LEAF = b"\xc0" + bytes(32), b"\xc2" + bytes(32)


@pytest.mark.parametrize(
    ("script", "script_sig", "witness", "standard"),
    [
        pytest.param(p2pkh(bytes(20)), b"", (b"a",), False, id="witness where none belongs"),
        pytest.param(p2sh_of(b"\x51"), b"\x01\x51", (b"a",), False, id="witness on plain P2SH"),
        pytest.param(p2sh_of(b"\x51"), b"", (b"a",), False, id="witness on P2SH without a redeem script"),
        pytest.param(ANCHOR, b"", (b"a",), False, id="witness on an anchor"),
        pytest.param(ANYONE, b"", (*[bytes(80)] * 100, bytes(3600)), True, id="P2WSH at its limits"),
        pytest.param(ANYONE, b"", (bytes(3601),), False, id="a witness script over 3600 bytes"),
        pytest.param(ANYONE, b"", (*[b""] * 101, b"\x51"), False, id="over 100 elements"),
        pytest.param(ANYONE, b"", (bytes(81), b"\x51"), False, id="an element over 80 bytes"),
        pytest.param(p2sh_of(ANYONE), push(ANYONE), (bytes(81), b"\x51"), False, id="the same inside P2SH"),
        pytest.param(TAPROOT, b"", (bytes(64),), True, id="key path"),
        pytest.param(TAPROOT, b"", (bytes(64), b"\x50"), False, id="annex"),
        pytest.param(TAPROOT, b"", (bytes(80), b"\x51", CONTROL), True, id="tapscript"),
        pytest.param(TAPROOT, b"", (bytes(81), b"\x51", CONTROL), False, id="an element over 80 bytes for tapscript"),
        pytest.param(TAPROOT, b"", (bytes(81), b"\x51", OTHER_LEAF), True, id="an unknown leaf version"),
        pytest.param(TAPROOT, b"", (b"\x51", b""), False, id="no control block"),
        pytest.param(p2wsh_of(b"\x51"), b"", (), True, id="no witness at all"),
    ],
)
def test_witnesses_are_bounded(script: bytes, script_sig: bytes, witness: tuple[bytes, ...], standard: bool) -> None:
    assert is_witness_standard(*spends(script, *witness, script_sig=script_sig)) is standard
