import asyncio
import json
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from altyn.consensus.limits import MAX_MONEY
from altyn.node.rpc.amounts import Amount, JsonNumber, parse_fixed_point
from altyn.node.rpc.json_text import MAX_DEPTH, SLICE, Lazy, LazyObject, dump, dump_in_pieces, parse

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 63), 1 << 63) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(VALUES)
def test_what_is_written_reads_the_same(value: object) -> None:
    assert json.loads(dump(value)) == value


@given(st.integers(-MAX_MONEY, MAX_MONEY))
def test_amounts_keep_every_satoshi_in_both_directions(satoshis: int) -> None:
    text = dump(Amount(satoshis))
    assert Decimal(text) * 10**8 == satoshis
    assert len(text.partition(".")[2]) == 8
    assert parse_fixed_point(text) == satoshis


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("1e-8", 1),
        ("2.1E7", 21 * 10**14),
        ("-0.5", -50_000_000),
        ("00.1", None),
        ("1.", None),
        ("0.123456789", None),
        ("1e99", None),
    ],
)
def test_json_numbers_are_read_without_floating_point(text: str, number: int | None) -> None:
    assert parse_fixed_point(text) == number


def test_doubles_are_written_as_core_writes_them() -> None:
    assert dump(4.656542373906925e-10) == "4.656542373906925e-10"
    assert dump(1.0) == "1"


def test_a_fraction_in_a_request_stays_as_written() -> None:
    number = parse("[0.10]")[0]
    assert isinstance(number, JsonNumber)
    assert dump([number]) == "[0.10]"


@pytest.mark.parametrize("text", ["", "{", "[1,]", "NaN", "[Infinity]", "[" * 100_000, "9" * 10_000])
def test_what_is_no_json_raises_value_error(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - that is all it promises
        parse(text)


def test_lazy_parts_are_written_like_lists_and_objects() -> None:
    value = {"a": Lazy(iter([1, {"b": Lazy(iter([]))}])), "c": LazyObject(iter([("d", None)]))}
    assert json.loads(dump(value)) == {"a": [1, {"b": []}], "c": {"d": None}}


async def test_a_long_answer_lets_others_run_while_it_is_written() -> None:
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    other = asyncio.create_task(others())
    loop = asyncio.get_running_loop()
    began = loop.time()
    await dump_in_pieces(Lazy({"number": number} for number in range(100_000)))
    assert turns >= (loop.time() - began) / (SLICE * 5)
    other.cancel()


@pytest.mark.parametrize("form", ["[{}]", '{{"a":{}}}'])
def test_nesting_is_read_as_deep_as_it_can_be_written_and_no_deeper(form: str) -> None:
    text = "1"
    for _ in range(MAX_DEPTH):
        text = form.format(text)
    assert dump(parse(text)) == text
    for _ in range(300):
        text = form.format(text)
        with pytest.raises(ValueError, match="nested too deeply"):
            parse(text)
        with pytest.raises(ValueError, match="nested too deeply"):
            parse(text.encode())
    assert len(parse("[" + "[]," * 1000 + "[]]")) == 1001


def test_half_a_character_is_no_json() -> None:
    for text in ('"\\ud800"', '{"\\uDC00": 1}', '["\\ud800x"]', b'"\\ud800"'):
        with pytest.raises(ValueError, match="surrogates"):
            parse(text)
    assert parse('"\\ud83d\\ude00"') == "😀"
