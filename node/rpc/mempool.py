"""Methods about what is in the mempool."""

import logging
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated

from altyn.node.chain.chain import Chain
from altyn.node.mempool.double_spends import DoubleSpends
from altyn.node.mempool.entry import MempoolEntry
from altyn.node.mempool.persist import FILE_NAME, MempoolFile
from altyn.node.mempool.pool import Mempool
from altyn.node.rpc.amounts import Amount
from altyn.node.rpc.errors import (
    CLIENT_IN_INITIAL_DOWNLOAD,
    INVALID_ADDRESS_OR_KEY,
    INVALID_PARAMETER,
    MISC_ERROR,
    RpcError,
)
from altyn.node.rpc.json_forms import display
from altyn.node.rpc.json_text import LazyObject
from altyn.node.rpc.method import Flag, Fraction, Hash, Json, Number, Object, Text, expect_type, method

log = logging.getLogger(__name__)

_ENTRY_FORM = """vsize, weight, time, height, descendantcount, descendantsize, ancestorcount, ancestorsize, wtxid,
          fees {base, modified, ancestor, descendant}, depends, spentby, bip125-replaceable, unbroadcast"""
_FAMILY_RESULT = f"""
        verbose = false: a list of txids
        verbose = true: an object with, for each txid: {_ENTRY_FORM}"""

NO_OPTIONS: dict[str, Json] = {}
Txid = Annotated[bytes, Hash("The transaction id (must be in mempool)", called="parameter 1")]
Verbose = Annotated[bool, Flag("True for a json object, false for array of transaction ids")]


class MempoolMethods:
    """The mempool of a full node."""

    def __init__(
        self, mempool: Mempool, double_spends: DoubleSpends, file: MempoolFile, chain: Chain, folder: Path
    ) -> None:
        """`folder` is where the mempool is saved."""
        self._mempool = mempool
        self._double_spends = double_spends
        self._file = file
        self._chain = chain
        self._folder = folder

    @method(
        "Blockchain",
        result="""
        An object: loaded, size (transactions), bytes (virtual), usage (bytes of memory), total_fee, maxmempool,
        mempoolminfee, minrelaytxfee, incrementalrelayfee (coins per kvB), unbroadcastcount, fullrbf""",
    )
    def getmempoolinfo(self) -> Json:
        """Returns details on the active state of the TX memory pool."""
        mempool, limits = self._mempool, self._mempool.limits
        return {
            "loaded": self._mempool.loaded,
            "size": len(mempool),
            "bytes": mempool.total_vsize,
            "usage": mempool.usage,
            "total_fee": Amount(mempool.total_fee),
            "maxmempool": limits.max_bytes,
            "mempoolminfee": Amount(mempool.required_feerate()),
            "minrelaytxfee": Amount(limits.min_relay_feerate),
            "incrementalrelayfee": Amount(limits.incremental_relay_feerate),
            "unbroadcastcount": len(mempool.unbroadcast),
            "fullrbf": limits.full_rbf,
        }

    @method(
        "Blockchain",
        result="""
        verbose = false: a list of txids
        verbose = true: an object with, for each txid, what getmempoolentry says of it
        mempool_sequence = true: an object with txids and mempool_sequence""",
        example="true",
    )
    def getrawmempool(
        self,
        verbose: Verbose = False,
        mempool_sequence: Annotated[
            bool,
            Flag("If verbose=false, returns a json object with transaction list and mempool sequence number attached."),
        ] = False,
    ) -> Json:
        """Returns all transaction ids in memory pool as a json array of string transaction ids."""
        if verbose and mempool_sequence:
            raise RpcError(INVALID_PARAMETER, "Verbose results cannot contain mempool sequence values.")
        if verbose:
            return self._forms(entry.txid for entry in self._mempool.sorted_entries())
        txids = [display(entry.txid) for entry in self._mempool.sorted_entries()]
        return {"txids": txids, "mempool_sequence": self._mempool.sequence} if mempool_sequence else txids

    def _forms(self, txids: Iterable[bytes]) -> LazyObject:
        def forms() -> Iterator[tuple[str, Json]]:
            for txid in txids:
                entry = self._mempool.get(txid)
                if entry is not None:  # some may leave while a long answer is written
                    yield display(txid), self.entry_form(entry)

        return LazyObject(forms())

    def entry_form(self, entry: MempoolEntry) -> dict[str, Json]:
        """Show an entry of the mempool (Core: entryToJSON); and its rivals, if some were seen."""
        form: dict[str, Json] = {
            "vsize": entry.vsize,
            "weight": entry.weight,
            "time": entry.time,
            "height": entry.height,
            "descendantcount": entry.descendant_count,
            "descendantsize": entry.descendant_size,
            "ancestorcount": entry.ancestor_count,
            "ancestorsize": entry.ancestor_size,
            "wtxid": display(entry.wtxid),
            "fees": {
                "base": Amount(entry.fee),
                "modified": Amount(entry.modified_fee),
                "ancestor": Amount(entry.ancestor_fees),
                "descendant": Amount(entry.descendant_fees),
            },
            "depends": sorted(map(display, entry.parents)),
            "spentby": sorted(map(display, entry.children)),
            "bip125-replaceable": self._mempool.is_replaceable(entry.txid),
            "unbroadcast": entry.txid in self._mempool.unbroadcast,
        }
        rivals = self._double_spends.rivals(entry.txid)
        return form | {"doublespends": [display(txid) for txid in rivals]} if rivals else form

    @method(
        "Blockchain",
        result="""
        A list, oldest first, with an object for each: outpoint {txid, vout} (what both spend), txid (seen first), rival
          (the txid that came later), time (when, unix), peers (how many had it), replaced (whether it took the other's
          place in the mempool), in_mempool (whether the first is there now)""",
        example='"mytxid"',
    )
    def getdoublespends(
        self, txid: Annotated[bytes | None, Hash("Only those of this transaction, seen first or later")] = None
    ) -> Json:
        """Returns the attempts, of late, to spend what a transaction of the mempool spends already.

        Only such count whose scripts hold: their makers own the coin. A raised fee counts too, see replaced.
        """
        return [
            {
                "outpoint": {"txid": display(each.outpoint.txid), "vout": each.outpoint.vout},
                "txid": display(each.first),
                "rival": display(each.rival),
                "time": each.time,
                "peers": len(each.peers),
                "replaced": each.replaced,
                "in_mempool": each.first in self._mempool,
            }
            for each in self._double_spends
            if txid is None or txid in (each.first, each.rival)
        ]

    @method(
        "Blockchain",
        result=f"""
        An object: {_ENTRY_FORM}""",
        example='"mytxid"',
    )
    def getmempoolentry(self, txid: Txid) -> Json:
        """Returns mempool data for given transaction."""
        return self.entry_form(self._find(txid))

    @method("Blockchain", result=_FAMILY_RESULT, example='"mytxid"')
    def getmempoolancestors(self, txid: Txid, verbose: Verbose = False) -> Json:
        """If txid is in the mempool, returns all in-mempool ancestors."""
        return self._family(self._mempool.ancestors(self._find(txid).txid), verbose)

    @method("Blockchain", result=_FAMILY_RESULT, example='"mytxid"')
    def getmempooldescendants(self, txid: Txid, verbose: Verbose = False) -> Json:
        """If txid is in the mempool, returns all in-mempool descendants."""
        return self._family(self._mempool.descendants(self._find(txid).txid), verbose)

    def _find(self, txid: bytes) -> MempoolEntry:
        entry = self._mempool.get(txid)
        if entry is None:
            raise RpcError(INVALID_ADDRESS_OR_KEY, "Transaction not in mempool")
        return entry

    def _family(self, txids: set[bytes], verbose: bool) -> Json:
        ordered = sorted(txids)
        return self._forms(ordered) if verbose else [display(txid) for txid in ordered]

    @method("Mining", result="true    (boolean) Returns true", example='"txid" 0.0 10000')
    def prioritisetransaction(
        self,
        txid: Annotated[bytes, Hash("The transaction id.")],
        dummy: Annotated[
            float | None, Fraction("API-Compatibility for previous API. Must be zero or null.", may_be_null=True)
        ],
        fee_delta: Annotated[
            int,
            Number(
                "The fee value (in satoshis) to add (or subtract, if negative). "
                "Note, that this value is not a fee rate. The fee is not actually paid, only the algorithm for "
                "selecting transactions into a block considers the transaction as it would have paid it.",
                wide=True,
            ),
        ],
    ) -> bool:
        """Accepts the transaction into mined blocks at a higher (or lower) priority."""
        if dummy:
            raise RpcError(
                INVALID_PARAMETER,
                "Priority is no longer supported, dummy argument to prioritisetransaction must be 0.",
            )
        self._mempool.prioritise(txid, fee_delta)
        return True

    @method(
        "Mining",
        result="An object with, for each txid: fee_delta (satoshis), in_mempool, and if it is there modified_fee",
    )
    def getprioritisedtransactions(self) -> Json:
        """Returns the fee deltas that prioritisetransaction made, by txid, and whether the tx is present in mempool."""
        answer: dict[str, Json] = {}
        for txid, delta in sorted(self._mempool.fee_deltas.items()):
            entry = self._mempool.get(txid)
            form: dict[str, Json] = {"fee_delta": delta, "in_mempool": entry is not None}
            if entry is not None:
                form["modified_fee"] = entry.modified_fee
            answer[display(txid)] = form
        return answer

    @method("Blockchain", result="An object: filename (where the mempool was saved)")
    async def savemempool(self) -> Json:
        """Dumps the mempool to disk. It will fail until the previous dump is fully loaded."""
        if not self._mempool.loaded:
            raise RpcError(MISC_ERROR, "The mempool was not loaded yet")
        path = self._folder / FILE_NAME
        try:
            await self._file.save(path)
        except OSError as error:
            log.warning("cannot save the mempool: %s", error)
            raise RpcError(MISC_ERROR, "Unable to dump mempool to disk") from error
        return {"filename": str(path)}

    @method("Blockchain", result="{}    (json object) An empty object", example="/path/to/mempool.dat")
    async def importmempool(
        self,
        filepath: Annotated[str, Text("The mempool file")],
        options: Annotated[
            dict[str, Json],
            Object(
                "How to take it up",
                details="""
                use_current_time (boolean, default=true): as if the transactions came now, not when the file says
                apply_fee_delta_priority (boolean, default=false): apply what prioritisetransaction said there
                apply_unbroadcast_set (boolean, default=false): announce again what no peer had taken there""",
                fields=("use_current_time", "apply_fee_delta_priority", "apply_unbroadcast_set"),
            ),
        ] = NO_OPTIONS,
    ) -> Json:
        """Import a mempool.dat file and attempt to add its contents to the mempool.

        Warning: Importing untrusted files is dangerous, especially if metadata from the file is taken over.
        """
        if self._chain.is_initial_block_download:
            raise RpcError(
                CLIENT_IN_INITIAL_DOWNLOAD,
                "Can only import the mempool after the block download and sync is done.",
            )

        def flag(name: str, default: bool) -> bool:
            return default if options.get(name) is None else bool(expect_type(options[name], "bool"))

        try:
            await self._file.load(
                Path(filepath),
                keep_times=not flag("use_current_time", True),
                take_deltas=flag("apply_fee_delta_priority", False),
                take_unbroadcast=flag("apply_unbroadcast_set", False),
            )
        except (OSError, ValueError) as error:  # no such file, or no such name of one, or not in that form
            log.warning("cannot import %s: %s", filepath, error)
            raise RpcError(MISC_ERROR, "Unable to import mempool file, see debug log for details.") from error
        return {}
