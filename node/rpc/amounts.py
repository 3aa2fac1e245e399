"""Amounts at the RPC: satoshis inside, decimal coins in JSON, exact in both directions."""

import re

from altyn.consensus.limits import COIN, MAX_MONEY
from altyn.node.rpc.errors import TYPE_ERROR, RpcError

_DECIMALS = 8
_NUMBER = re.compile(r"(-?)(0|[1-9][0-9]*)(?:\.([0-9]+))?(?:[eE]([+-]?[0-9]{1,4}))?")


class Amount(int):
    """Satoshis that appear in JSON as coins with eight decimals, without rounding."""

    __slots__ = ()

    def __str__(self) -> str:
        whole, fraction = divmod(abs(int(self)), COIN)
        return f"{'-' if self < 0 else ''}{whole}.{fraction:08d}"


def parse_fixed_point(text: str, decimals: int = _DECIMALS) -> int | None:
    """Read a JSON number as a count of 10**-decimals, or None if it is not a whole count (Core: ParseFixedPoint)."""
    match = _NUMBER.fullmatch(text)
    if match is None:
        return None
    sign, whole, fraction, exponent = match.groups()
    fraction = fraction or ""
    digits = (whole + fraction).lstrip("0")
    zeros = len(digits) - len(digits.rstrip("0"))
    places = int(exponent or 0) - len(fraction) + zeros + decimals
    digits = digits.rstrip("0")
    if not digits:
        return 0
    if places < 0 or len(digits) + places > 18:
        return None
    number: int = int(digits) * 10**places
    return -number if sign else number


def amount_from_json(value: object) -> int:
    """Return the satoshis of a JSON number or string in coins (Core: AmountFromValue). Raises RpcError -3."""
    if isinstance(value, bool) or not isinstance(value, int | str | JsonNumber):
        raise RpcError(TYPE_ERROR, "Amount is not a number or string")
    amount = parse_fixed_point(str(value), _DECIMALS)
    if amount is None:
        raise RpcError(TYPE_ERROR, "Invalid amount")
    if not 0 <= amount <= MAX_MONEY:
        raise RpcError(TYPE_ERROR, "Amount out of range")
    return amount


class JsonNumber:
    """A number of a request that is not a whole one, as it was written."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text

    def __str__(self) -> str:
        return self.text
