"""MuHash3072 against Core's known answers, and what makes it a hash of a set."""

import random

import pytest

from altyn.consensus.muhash import MuHash

A, B, C = (bytes([number]) + bytes(31) for number in range(3))


def displayed(muhash: MuHash) -> str:
    return muhash.digest()[::-1].hex()


def test_a_product_and_a_quotient_have_cores_hash() -> None:
    """The answer of Core's muhash_tests and of its functional test framework."""
    muhash = MuHash()
    muhash.insert([A, B])
    muhash.remove([C])
    assert displayed(muhash) == "10d312b100cbd32ada024a6646e40d3482fcff103668d2625f10002a607d5863"


def test_the_empty_set_has_cores_hash() -> None:
    assert displayed(MuHash()) == "dd5ad2a105c2d29495f577245c357409002329b9f4d6182c0af3dc2f462555c8"


def test_order_does_not_matter_and_leaving_undoes_joining() -> None:
    chance = random.Random(1)
    elements = [chance.randbytes(chance.randint(1, 80)) for _ in range(30)]
    stays, leaves = elements[:20], elements[20:]
    plain = MuHash()
    plain.insert(stays)
    for _ in range(5):
        steps = [(MuHash.insert, element) for element in elements] + [(MuHash.remove, element) for element in leaves]
        chance.shuffle(steps)
        mixed = MuHash()
        for step, element in steps:
            step(mixed, [element])
        assert mixed.digest() == plain.digest()
        assert mixed.state() == plain.state()


def test_a_state_goes_on_where_it_was() -> None:
    first, whole = MuHash(), MuHash()
    first.insert([A, B])
    first.remove([C])
    again = MuHash.from_state(first.state())
    again.insert([C])
    whole.insert([A, B])
    assert again.digest() == whole.digest()
    assert first.digest() != whole.digest()
    with pytest.raises(ValueError, match="384 bytes"):
        MuHash.from_state(bytes(383))
