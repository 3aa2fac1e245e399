from typing import Annotated, Any

import pytest

from altyn.node.rpc.errors import RpcError
from altyn.node.rpc.json_text import parse
from altyn.node.rpc.method import Array, Coins, Flag, Hash, Json, MethodTable, Number, Text, Verbosity, method


class Shop:
    @method("Trade", result="n    (numeric) the price", example='"apple" 3')
    def price(
        self,
        name: Annotated[str, Text("What it is")],
        count: Annotated[int, Number("How many")] = 1,
        gift: Annotated[bool, Flag("Wrapped", alias="wrapped")] = False,
    ) -> Json:
        """Returns what is to be paid."""
        return [name, count, gift]

    @method("Trade", result="null")
    async def pay(self, amount: Annotated[int, Coins("How much")]) -> int:
        return amount

    @method("hidden", result="null")
    def look(
        self,
        block: Annotated[bytes, Hash("Which")],
        verbosity: Annotated[int, Verbosity("How much", alias="verbose")] = 1,
        rest: Annotated[list[Any] | None, Array("More")] = None,
    ) -> Json:
        return [block.hex(), verbosity, rest]


@pytest.fixture
def table() -> MethodTable:
    return MethodTable([Shop()])


async def refusal(table: MethodTable, name: str, params: Any) -> tuple[int, str]:
    with pytest.raises(RpcError) as caught:
        await table.call(name, params)
    return caught.value.code, caught.value.message


@pytest.mark.parametrize(
    ("params", "answer"),
    [
        (["apple"], ["apple", 1, False]),
        (["apple", None, True], ["apple", 1, True]),
        ({"name": "apple", "gift": True}, ["apple", 1, True]),
        ({"name": "apple", "wrapped": True}, ["apple", 1, True]),
        ({"args": ["apple", 4], "gift": True}, ["apple", 4, True]),
    ],
)
async def test_arguments_come_by_place_or_by_name(table: MethodTable, params: Any, answer: Any) -> None:
    assert await table.call("price", params) == answer


@pytest.mark.parametrize(
    ("params", "code", "text"),
    [
        ({"name": "apple", "colour": "red"}, -8, "Unknown named parameter colour"),
        (
            {"args": ["apple", 4], "count": 5},
            -8,
            "Parameter count specified twice both as positional and named argument",
        ),
        ([], -1, 'price "name" ( count gift )\n'),
        (["apple", 1, True, 4], -1, 'price "name" ( count gift )\n'),
        (
            [1, "x"],
            -3,
            "Wrong type passed:\n{\n"
            '    "Position 1 (name)": "JSON value of type number is not of expected type string",\n'
            '    "Position 2 (count)": "JSON value of type string is not of expected type number"\n}',
        ),
        (["apple", 1, 0], -3, '"Position 3 (gift|wrapped)": "JSON value of type number is not of expected type bool"'),
        ([None], -3, '"Position 1 (name)": "JSON value of type null is not of expected type string"'),
        (["apple", 1 << 31], -1, "JSON integer out of range"),
    ],
)
async def test_wrong_arguments_are_refused_in_cores_words(
    table: MethodTable, params: Any, code: int, text: str
) -> None:
    found = await refusal(table, "price", params)
    assert found[0] == code
    assert text in found[1]


async def test_a_number_with_a_fraction_is_no_integer(table: MethodTable) -> None:
    assert await refusal(table, "price", parse('["apple", 1.0]')) == (-1, "JSON integer out of range")


async def test_hashes_are_turned_and_checked(table: MethodTable) -> None:
    shown = "01" + "00" * 31
    assert await table.call("look", [shown]) == ["00" * 31 + "01", 1, None]
    assert await refusal(table, "look", ["00"]) == (-8, "block must be of length 64 (not 2, for '00')")
    assert await refusal(table, "look", ["zz" * 32]) == (-8, f"block must be hexadecimal string (not '{'zz' * 32}')")


async def test_verbosity_may_be_a_boolean_and_nothing_else(table: MethodTable) -> None:
    assert (await table.call("look", ["00" * 32, True]))[1] == 1
    assert (await table.call("look", ["00" * 32, False]))[1] == 0
    assert await refusal(table, "look", ["00" * 32, "1"]) == (
        -3,
        "JSON value of type string is not of expected type number",
    )


async def test_amounts_are_read_exactly(table: MethodTable) -> None:
    assert await table.call("pay", parse("[0.29]")) == 29_000_000
    assert await table.call("pay", ["0.00000001"]) == 1
    assert await refusal(table, "pay", [True]) == (-3, "Amount is not a number or string")
    assert await refusal(table, "pay", parse("[0.000000001]")) == (-3, "Invalid amount")
    assert await refusal(table, "pay", [-1]) == (-3, "Amount out of range")


async def test_unknown_methods_have_cores_code(table: MethodTable) -> None:
    assert await refusal(table, "steal", []) == (-32601, "Method not found")


def test_help_comes_from_the_declaration(table: MethodTable) -> None:
    assert table.help() == '== Trade ==\npay amount\nprice "name" ( count gift )'
    text = table.help("price")
    assert "Returns what is to be paid." in text
    assert "2. count    (numeric, optional, default=1) How many" in text
    assert '> altyn-cli price "apple" 3' in text
    assert table.help("look").startswith('look "block" ( verbosity rest )')
    assert table.help("steal") == "help: unknown command: steal"
