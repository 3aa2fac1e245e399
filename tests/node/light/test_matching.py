"""Filters held against the block that they are said to describe."""

import pytest
from builders import ANYONE, Drawing, chain, coin, spend

from altyn.consensus.block import Block
from altyn.consensus.filters import build_filter, encode_filter
from altyn.consensus.hashes import hash160, sha256
from altyn.consensus.script.templates import p2pkh, p2sh, p2tr, p2wpkh, p2wsh, push
from altyn.consensus.transaction import OutPoint, Transaction, TxIn, TxOut
from altyn.node.light.matching import Fit, fit, possible_spent_scripts

KEY = b"\x02" + bytes(range(32))
SIGNATURE = b"\x30" + bytes(70)
PAID = p2tr(bytes(range(32)))


@pytest.fixture(scope="module")
def block() -> Block:
    """A block with one payment: from ANYONE, to PAID and a data output."""
    drawing: Drawing = chain("g a1..a101")
    tx = spend(coin(drawing["a1"]), [TxOut(10_000, PAID), TxOut(0, b"\x6a\x01\x01"), TxOut(0, b"")])
    return drawing.extend("a101 a102", [tx], fees=coin(drawing["a1"]).output.value - 10_000)[0]


def test_the_true_filter_fits(block: Block) -> None:
    assert fit(build_filter(block, [ANYONE]), block) == Fit(True, 1, 2)


def test_a_filter_that_omits_an_output_does_not_fit(block: Block) -> None:
    assert not fit(encode_filter(block.hash, [ANYONE]), block).possible


def test_a_filter_that_omits_a_spent_script_fits_less_well() -> None:
    drawing = chain("g a1..a101", script_pubkey=ANYONE)
    tx = spend(coin(drawing["a1"]), PAID)
    whole = drawing.extend("a101 a102", [tx], fees=1000)[0]
    paid_elsewhere = Block(whole.header, [spend(coin(whole), PAID), tx])  # nothing here pays ANYONE
    true = fit(encode_filter(whole.hash, [PAID, ANYONE]), paid_elsewhere)
    false = fit(encode_filter(whole.hash, [PAID, b"\x51"]), paid_elsewhere)
    assert true.possible
    assert false.possible
    assert true.by_block > false.by_block


def test_a_filter_with_more_elements_than_the_block_has_scripts_does_not_fit(block: Block) -> None:
    scripts = [ANYONE, PAID, b"\x51"]
    assert fit(encode_filter(block.hash, scripts[:2]), block).possible
    assert not fit(encode_filter(block.hash, scripts), block).possible


def test_an_input_that_shows_nothing_leaves_room_for_one_element(block: Block) -> None:
    payment = block.transactions[1]
    key_path = Transaction(2, [TxIn(payment.inputs[0].prevout, b"", 0, (SIGNATURE,))], payment.outputs)
    other = Block(block.header, [block.transactions[0], key_path])
    assert fit(encode_filter(block.hash, [ANYONE, PAID, b"\x51"]), other).possible
    assert not fit(encode_filter(block.hash, [ANYONE, PAID, b"\x51", b"\x52"]), other).possible


@pytest.mark.parametrize("data", [b"", b"\x05", b"\xff" * 9, b"\x01\x00"])
def test_what_is_no_filter_does_not_fit(block: Block, data: bytes) -> None:
    assert not fit(data, block).possible


@pytest.mark.parametrize(
    ("script_sig", "witness", "expected"),
    [
        (push(SIGNATURE) + push(KEY), (), p2pkh(hash160(KEY))),
        (b"", (SIGNATURE, KEY), p2wpkh(hash160(KEY))),
        (b"", (b"", b"\x51"), p2wsh(sha256(b"\x51"))),
        (push(p2wpkh(hash160(KEY))), (SIGNATURE, KEY), p2sh(hash160(p2wpkh(hash160(KEY))))),
        (b"\x00" + push(SIGNATURE) + b"\x4c\x01\x51", (), p2sh(hash160(b"\x51"))),
    ],
    ids=["p2pkh", "p2wpkh", "p2wsh", "nested", "p2sh"],
)
def test_an_input_shows_what_it_spends(script_sig: bytes, witness: tuple[bytes, ...], expected: bytes) -> None:
    txin = TxIn(OutPoint.make(bytes(32), 0), script_sig, 0, witness)
    assert expected in list(possible_spent_scripts(txin))


@pytest.mark.parametrize("script_sig", [b"\x76", b"\x4b", b"\x4d\x01", b""])
def test_a_script_that_is_not_plain_pushes_shows_nothing(script_sig: bytes) -> None:
    assert list(possible_spent_scripts(TxIn(OutPoint.make(bytes(32), 0), script_sig, 0, ()))) == []
