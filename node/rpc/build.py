"""Transactions from what createrawtransaction and its like are given: inputs, outputs and options in JSON."""

from collections.abc import Iterator
from typing import Annotated

from altyn.consensus.limits import SEQUENCE_FINAL
from altyn.consensus.networks import Network
from altyn.consensus.script.addresses import AddressError, decode_address
from altyn.consensus.script.templates import null_data
from altyn.consensus.transaction import OutPoint, Transaction, TxIn, TxOut
from altyn.node.rpc.amounts import amount_from_json
from altyn.node.rpc.errors import INVALID_ADDRESS_OR_KEY, INVALID_PARAMETER, RpcError
from altyn.node.rpc.json_text import fields
from altyn.node.rpc.method import (
    Array,
    Flag,
    Json,
    Number,
    Parameter,
    expect_type,
    hash_from_json,
    hex_from_json,
    integer,
    json_type,
)

_SEQUENCE_REPLACEABLE = 0xFFFFFFFD
_SEQUENCE_WITH_LOCK_TIME = 0xFFFFFFFE
_WIDE = 1 << 63

Inputs = Annotated[
    list[Json],
    Array(
        "The inputs",
        shown='[{"txid":"hex","vout":n,"sequence":n},...]',
        details="""
        txid (string, required): The transaction id
        vout (numeric, required): The output number
        sequence (numeric, optional): The sequence number; depends on 'replaceable' and 'locktime' when left out""",
    ),
]


class Outputs(Parameter):
    """A list of objects with one field each, or one object; the builder looks into it."""

    type_name = "json array"

    def usage(self, name: str) -> str:
        return '[{"address":amount,...},{"data":"hex"},...]'


OutputsArgument = Annotated[
    Json,
    Outputs(
        "The outputs specified as key-value pairs: address and amount, or data and hex",
        details="""
        Each key may only appear once: there can be one 'data' output, and no address twice.
        An object that holds the pairs directly is also accepted.""",
        check=False,
    ),
]
LockTime = Annotated[int, Number("Raw locktime. Non-0 value also locktime-activates inputs", wide=True)]
Replaceable = Annotated[
    bool | None,
    Flag(
        "Marks this transaction as BIP125-replaceable (default: true). "
        "If provided, it is an error if explicit sequence numbers are incompatible."
    ),
]


def build_transaction(
    inputs: list[Json], outputs: Json, lock_time: int, replaceable: bool | None, network: Network
) -> Transaction:
    """Return an unsigned transaction (Core: ConstructTransaction). Raises RpcError with Core's texts."""
    if outputs is None:
        raise RpcError(INVALID_PARAMETER, "Invalid parameter, output argument must be non-null")
    if not 0 <= lock_time <= 0xFFFFFFFF:
        raise RpcError(INVALID_PARAMETER, "Invalid parameter, locktime out of range")
    sequence = _SEQUENCE_WITH_LOCK_TIME if lock_time else SEQUENCE_FINAL
    if replaceable is not False:
        sequence = _SEQUENCE_REPLACEABLE
    made = [_input(each, sequence) for each in inputs]
    tx = Transaction(2, made, _outputs(outputs, network), lock_time)
    if replaceable and made and all(txin.sequence > _SEQUENCE_REPLACEABLE for txin in made):
        raise RpcError(
            INVALID_PARAMETER,
            "Invalid parameter combination: Sequence number(s) contradict replaceable option",
        )
    return tx


def _input(value: Json, sequence: int) -> TxIn:
    expect_type(value, "object")
    txid = hash_from_json(value.get("txid"), "txid")
    vout = value.get("vout")
    if json_type(vout) != "number":
        raise RpcError(INVALID_PARAMETER, "Invalid parameter, missing vout key")
    if integer(vout) < 0:
        raise RpcError(INVALID_PARAMETER, "Invalid parameter, vout cannot be negative")
    given = value.get("sequence")
    if json_type(given) == "number":
        sequence = integer(given, _WIDE)
        if not 0 <= sequence <= SEQUENCE_FINAL:
            raise RpcError(INVALID_PARAMETER, "Invalid parameter, sequence number is out of range")
    return TxIn(OutPoint.make(txid, vout), b"", sequence)


def _outputs(value: Json, network: Network) -> Iterator[TxOut]:
    paid: set[bytes] = set()
    has_data = False
    for name, amount in _pairs(value):
        if name == "data":
            if has_data:
                raise RpcError(INVALID_PARAMETER, "Invalid parameter, duplicate key: data")
            has_data = True
            text = amount if isinstance(amount, str) else "" if isinstance(amount, list | dict) else str(amount)
            data = hex_from_json(text, "Data")
            if not data:
                raise RpcError(INVALID_PARAMETER, f"Data must be hexadecimal string (not '{text}')")
            yield TxOut(0, null_data(data))
            continue
        try:
            script_pubkey = decode_address(name, network)
        except AddressError as error:
            raise RpcError(INVALID_ADDRESS_OR_KEY, f"Invalid Bitcoin address: {name}") from error
        if script_pubkey in paid:
            raise RpcError(INVALID_PARAMETER, f"Invalid parameter, duplicated address: {name}")
        paid.add(script_pubkey)
        yield TxOut(amount_from_json(amount), script_pubkey)


def _pairs(value: Json) -> Iterator[tuple[str, Json]]:
    """Yield name and value of each output (Core: NormalizeOutputs)."""
    if isinstance(value, dict):
        yield from fields(value)
        return
    for each in expect_type(value, "array"):
        if not isinstance(each, dict):
            raise RpcError(INVALID_PARAMETER, "Invalid parameter, key-value pair not an object as expected")
        pairs = fields(each)
        if len(pairs) != 1:
            raise RpcError(INVALID_PARAMETER, "Invalid parameter, key-value pair must contain exactly one key")
        yield pairs[0]
