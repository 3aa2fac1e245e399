"""Methods about the indexes: how far they are, and what those say that Core does not have."""

from typing import Annotated

from altyn.consensus.networks import Network
from altyn.consensus.script.addresses import AddressError, decode_address
from altyn.consensus.transaction import OutPoint
from altyn.node.chain.addresses import AddressIndex, Touch, Unspent
from altyn.node.chain.chain import Chain
from altyn.node.chain.tree import Entry, HeaderTree
from altyn.node.mempool.pool import Mempool
from altyn.node.offload import Offload
from altyn.node.rpc.amounts import Amount
from altyn.node.rpc.errors import INVALID_ADDRESS_OR_KEY, INVALID_PARAMETER, MISC_ERROR, TYPE_ERROR, RpcError
from altyn.node.rpc.json_forms import display
from altyn.node.rpc.json_text import Lazy
from altyn.node.rpc.method import (
    Array,
    Json,
    Number,
    Object,
    Text,
    decode_hex,
    expect_fields,
    expect_type,
    hash_from_json,
    integer,
    method,
)

_EXAMPLE = '"bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080"'
_ADDRESS_HELP = "The address, or an output script in hex"


class IndexMethods:
    """The indexes of a full node."""

    def __init__(self, chain: Chain, mempool: Mempool, network: Network, offload: Offload) -> None:
        self._chain = chain
        self._mempool = mempool
        self._network = network
        self._offload = offload

    @method(
        "Util",
        result="""
        {
          "name" : {                     the name of the index: txindex, coinstatsindex, basic block filter index,
                                         addressindex, txospenderindex
            "synced" : true|false,       (boolean) Whether the index is synced or not
            "best_block_height" : n      (numeric) The block height to which the index is synced
          }, ...
        }""",
        example=("", "txindex"),
    )
    def getindexinfo(
        self, index_name: Annotated[str, Text("Filter results for an index with a specific name.")] = ""
    ) -> Json:
        """Returns the status of one or all available indices currently running in the node."""
        tip = self._chain.tip
        return {
            index.title: {
                "synced": HeaderTree.fork_point(index.best, tip) is tip,
                "best_block_height": index.best.height,
            }
            for index in self._chain.indexes
            if index_name in {"", index.title} and index.best is not None
        }

    @method(
        "Util",
        result="""
        {
          "height" : n,               (numeric) the block up to which the index answers, usually the tip
          "bestblock" : "hex",        (string) its hash
          "total" : n,                (numeric) transactions in the whole history
          "transactions" : [          the newest first
            {
              "txid" : "hex",
              "height" : n,
              "blockhash" : "hex",
              "confirmations" : n,
              "received" : n,         (numeric) amount that its outputs pay to the address
              "spent" : n,            (numeric) amount of the address's outputs that it spends
              "vout" : [ n, ... ],    indexes of those outputs
              "vin" : [ {"txid" : "hex", "vout" : n}, ... ]    the outputs it spends
            }, ...
          ]
        }""",
        example=(_EXAMPLE, f"{_EXAMPLE} 10 20"),
    )
    async def getaddresshistory(
        self,
        address: Annotated[str, Text(_ADDRESS_HELP)],
        count: Annotated[int, Number("The number of transactions to return")] = 100,
        skip: Annotated[int, Number("The number of newer transactions to leave out")] = 0,
    ) -> Json:
        """Returns the confirmed transactions that pay to an address or spend from it. Requires -addressindex."""
        if count < 0:
            raise RpcError(INVALID_PARAMETER, "Negative count")
        if skip < 0:
            raise RpcError(INVALID_PARAMETER, "Negative skip")
        index, script = self._addresses(), self._script(address)
        view = index.view(self._chain.tip)
        history: list[Touch] = await self._offload(lambda: list(index.history(script, view)))
        end = len(history) - skip
        shown = history[max(end - count, 0) : max(end, 0)]
        return _place(view) | {
            "total": len(history),
            "transactions": Lazy(_history_form(touch, view) for touch in reversed(shown)),
        }

    @method(
        "Util",
        result="""
        {
          "height" : n,               (numeric) the block up to which the index answers, usually the tip
          "bestblock" : "hex",        (string) its hash
          "total_amount" : n,         (numeric) of all unspent outputs
          "unspents" : [              the oldest first
            {
              "txid" : "hex",
              "vout" : n,
              "scriptPubKey" : "hex",
              "amount" : n,
              "coinbase" : true|false,
              "height" : n,
              "blockhash" : "hex",
              "confirmations" : n
            }, ...
          ]
        }""",
        example=_EXAMPLE,
    )
    async def getaddressutxos(self, address: Annotated[str, Text(_ADDRESS_HELP)]) -> Json:
        """Returns the outputs of an address that no confirmed transaction spends. Requires -addressindex."""
        index, script = self._addresses(), self._script(address)
        view = index.view(self._chain.tip)
        unspents, total = await self._offload(_unspent_and_total, index, script, view)
        return _place(view) | {
            "total_amount": Amount(total),
            "unspents": Lazy(_unspent_form(each, script, view) for each in unspents),
        }

    @method(
        "Blockchain",
        result="""
        [
          {
            "txid" : "hex",             (string) the transaction id of the checked output
            "vout" : n,                 (numeric) the vout value of the checked output
            "spendingtxid" : "hex",     (string) the transaction that spends it (omitted if unspent)
            "blockhash" : "hex"         (string) the block that it is in (omitted in the mempool)
          }, ...
        ]""",
        example='\'[{"txid":"a08e6907dbbd3d809776dbfc5d82e371b764ed838b5655e72f463568df1aadf0","vout":3}]\'',
    )
    async def gettxspendingprevout(
        self,
        outputs: Annotated[
            list[Json],
            Array(
                "The transaction outputs that we want to check, each by its txid and the vout number",
                shown='[{"txid":"hex","vout":n},...]',
            ),
        ],
        options: Annotated[
            dict[str, Json] | None,
            Object(
                "Where to look",
                details="mempool_only (boolean): Do not look into the chain (default: true without -txospenderindex)",
                fields=("mempool_only",),
            ),
        ] = None,
    ) -> Json:
        """Scans the mempool, and with -txospenderindex the chain, for transactions that spend the given outputs."""
        if not outputs:
            raise RpcError(INVALID_PARAMETER, "Invalid parameter, outputs are missing")
        wishes = options or {}
        _expect_no_other(wishes, {"mempool_only"})
        index = self._chain.indexes.spenders
        mempool_only = bool(expect_type(wishes.get("mempool_only", index is None), "bool"))
        return [await self._spending(each, mempool_only=mempool_only) for each in map(_outpoint, outputs)]

    async def _spending(self, outpoint: OutPoint, *, mempool_only: bool) -> Json:
        form: dict[str, Json] = {"txid": display(outpoint.txid), "vout": outpoint.vout}
        waiting = self._mempool.spender(outpoint)
        index = self._chain.indexes.spenders
        if waiting is not None:
            form["spendingtxid"] = display(waiting.tx.txid)
        elif not mempool_only:
            if index is None:
                raise RpcError(MISC_ERROR, "Mempool lacks a relevant spend, and txospenderindex is unavailable.")
            found = await self._offload(index.spender, outpoint, index.view(self._chain.tip))
            if found is not None:
                form |= {"spendingtxid": display(found[0]), "blockhash": display(found[1].hash)}
        return form

    def _addresses(self) -> AddressIndex:
        index = self._chain.indexes.addresses
        if index is None:
            raise RpcError(MISC_ERROR, "Index is not enabled: start with -addressindex")
        return index

    def _script(self, address: str) -> bytes:
        try:
            return decode_address(address, self._network)
        except AddressError as error:
            script = decode_hex(address)
            if not script:
                raise RpcError(INVALID_ADDRESS_OR_KEY, f"Invalid address or script: {address}") from error
            return script


def _unspent_and_total(index: AddressIndex, script: bytes, view: Entry) -> tuple[list[Unspent], int]:
    unspents = index.unspent(script, view)
    return unspents, sum(each.value for each in unspents)


def _expect_no_other(value: dict[str, Json], names: set[str]) -> None:
    unexpected = next((name for name in value if name not in names), None)
    if unexpected is not None:
        raise RpcError(TYPE_ERROR, f"Unexpected key {unexpected}")


def _outpoint(value: Json) -> OutPoint:
    """Read an output from its JSON form. Raises RpcError with Core's texts."""
    expect_type(value, "object")
    expect_fields(value, txid="string", vout="number")
    _expect_no_other(value, {"txid", "vout"})
    txid = hash_from_json(value["txid"], "txid")
    vout = integer(value["vout"])
    if vout < 0:
        raise RpcError(INVALID_PARAMETER, "Invalid parameter, vout cannot be negative")
    return OutPoint.make(txid, vout)


def _place(view: Entry) -> dict[str, Json]:
    return {"height": view.height, "bestblock": display(view.hash)}


def _block_form(entry: Entry, view: Entry) -> dict[str, Json]:
    return {
        "height": entry.height,
        "blockhash": display(entry.hash),
        "confirmations": view.height - entry.height + 1,
    }


def _history_form(touch: Touch, view: Entry) -> dict[str, Json]:
    return {
        "txid": display(touch.txid),
        **_block_form(touch.entry, view),
        "received": Amount(sum(value for _, value in touch.made)),
        "spent": Amount(sum(value for _, value in touch.spent)),
        "vout": [index for index, _ in touch.made],
        "vin": [{"txid": display(outpoint.txid), "vout": outpoint.vout} for outpoint, _ in touch.spent],
    }


def _unspent_form(unspent: Unspent, script: bytes, view: Entry) -> dict[str, Json]:
    return {
        "txid": display(unspent.outpoint.txid),
        "vout": unspent.outpoint.vout,
        "scriptPubKey": script.hex(),
        "amount": Amount(unspent.value),
        "coinbase": unspent.is_coinbase,
        **_block_form(unspent.entry, view),
    }
