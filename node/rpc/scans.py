"""Methods that look for the outputs of descriptors: in the set of unspent outputs, and in the blocks."""

import contextlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Annotated

from altyn.consensus.filters import match_any
from altyn.consensus.secp256k1 import Secp256k1
from altyn.consensus.siphash import SipHashItems
from altyn.consensus.transaction import Coin, OutPoint
from altyn.node.chain.chain import Chain
from altyn.node.chain.tree import Entry
from altyn.node.offload import Offload
from altyn.node.rpc.amounts import Amount
from altyn.node.rpc.descriptors import parse_scan_object
from altyn.node.rpc.errors import INTERNAL_ERROR, INVALID_ADDRESS_OR_KEY, INVALID_PARAMETER, MISC_ERROR, RpcError
from altyn.node.rpc.json_forms import Forms, display
from altyn.node.rpc.method import Array, Json, Number, Object, Text, expect_type, method
from altyn.node.rpc.sources import not_available
from altyn.node.storage.errors import BlockNotStored, StoreError
from altyn.node.storage.layout import decode_coin
from altyn.wallet.formats.descriptors import Descriptor, DescriptorError
from altyn.wallet.formats.signing import Keyring

_COINS_AT_ONCE, SCRIPTS_AT_ONCE, _FILTERS_AT_ONCE = 20_000, 200, 20
"""Steps of a thread, a few milliseconds each; between two of them a scan notices that it is to end."""
_SCRIPT_AT = 12
"""Where a coin's script begins in its stored form."""
_ACTION_HELP = (
    'The action to execute: "start" for starting a scan, "abort" for aborting the current scan (returns true when '
    'abort was successful), "status" for progress report (in %) of the current scan'
)
_OBJECTS_HELP = Array(
    'Array of scan objects. Required for "start" action',
    shown="[scanobjects,...]",
    details="""
    Every scan object is either a string descriptor or an object:
    desc (string, required): An output descriptor
    range (numeric or array, default=1000): The range of HD chain indexes to explore (either end or [begin,end])""",
)
Needles = dict[bytes, tuple[Descriptor, int]]
"""Scripts that are looked for, with the descriptor and the index that each comes from."""


class _Scan:
    """The one scan of a kind that may run."""

    def __init__(self) -> None:
        self.is_running = False
        self.is_aborted = False
        self.progress = 0
        """Per cent."""
        self.height = 0
        """Of the last block that was looked at."""

    @contextmanager
    def reserved(self) -> Iterator[None]:
        """Be the running scan. Raises RpcError if there is one."""
        if self.is_running:
            raise RpcError(INVALID_PARAMETER, 'Scan already in progress, use action "abort" or "status"')
        self.is_running, self.is_aborted, self.progress = True, False, 0
        try:
            yield
        finally:
            self.is_running = False

    def abort(self) -> bool:
        """End the running scan soon; return whether there is one."""
        self.is_aborted = self.is_running
        return self.is_running


class ScanMethods:
    """Scans of a full node; two kinds, one of each at a time."""

    def __init__(self, chain: Chain, forms: Forms, secp: Secp256k1, offload: Offload) -> None:
        self._chain = chain
        self._forms = forms
        self._secp = secp
        self._offload = offload
        self._coins = _Scan()
        self._blocks = _Scan()

    @method(
        "Blockchain",
        result="""
        start: {
          "success" : true|false,         (boolean) Whether the scan was completed
          "txouts" : n,                   (numeric) The number of unspent transaction outputs scanned
          "height" : n,                   (numeric) The block height at which the scan was done
          "bestblock" : "hex",            (string) The hash of the block at the tip of the chain
          "unspents" : [
            {
              "txid" : "hex", "vout" : n, "scriptPubKey" : "hex",
              "desc" : "str",             (string) A specialized descriptor for the matched output script
              "amount" : n, "coinbase" : true|false, "height" : n, "blockhash" : "hex", "confirmations" : n
            }, ...
          ],
          "total_amount" : n              (numeric) The total amount of all found unspent outputs
        }
        abort: true|false, whether there was a scan to abort
        status: { "progress" : n } in per cent, or null if no scan is in progress""",
        example=("start '[\"raw(76a91411b366edfc0a8b66feebae5c2e25a7b6a5d1cf3188ac)#fm24fxxy\"]'", "status", "abort"),
    )
    async def scantxoutset(
        self,
        action: Annotated[str, Text(_ACTION_HELP)],
        scanobjects: Annotated[Json, _OBJECTS_HELP] = None,
    ) -> Json:
        """Scans the unspent transaction output set for entries that match certain output descriptors."""
        if action == "status":
            return {"progress": self._coins.progress} if self._coins.is_running else None
        if action == "abort":
            return self._coins.abort()
        if action != "start":
            raise RpcError(INVALID_PARAMETER, f"Invalid action '{action}'")
        with self._coins.reserved():
            if scanobjects is None:
                raise RpcError(MISC_ERROR, "scanobjects argument is required for the start action")
            needles = await self._expand(expect_type(scanobjects, "array"), self._coins)
            return await self._scan_coins(needles)

    async def _expand(self, objects: list[Json], scan: _Scan) -> Needles:
        wanted = ((each, index, value) for value in objects for each, indexes in self._read(value) for index in indexes)
        needles: Needles = {}
        while not scan.is_aborted and await self._offload(_take, needles, wanted):
            pass
        return needles

    def _read(self, value: Json) -> list[tuple[Descriptor, range]]:
        return parse_scan_object(value, self._forms.network, self._secp)

    async def _scan_coins(self, needles: Needles) -> dict[str, Json]:
        await self._chain.flush()
        best_block, coins = await self._offload(self._chain.coins.stored)
        with contextlib.closing(coins):
            entry = self._chain.tree.get(best_block) if best_block is not None else None
            if entry is None:
                raise RpcError(INTERNAL_ERROR, "Unable to read UTXO set")
            found: list[tuple[OutPoint, Coin]] = []
            count, more = 0, True
            while more and not self._coins.is_aborted:
                taken, last = await self._offload(_match_coins, coins, needles, found)
                count += taken
                more = taken == _COINS_AT_ONCE
                self._coins.progress = int.from_bytes(last[:2], "big") * 100 >> 16
        return {
            "success": not more,
            "txouts": count,
            "height": entry.height,
            "bestblock": display(entry.hash),
            "unspents": [self._unspent_form(outpoint, coin, needles, entry) for outpoint, coin in found],
            "total_amount": Amount(sum(coin.output.value for _, coin in found)),
        }

    def _unspent_form(self, outpoint: OutPoint, coin: Coin, needles: Needles, tip: Entry) -> dict[str, Json]:
        script = coin.output.script_pubkey
        keyring = Keyring()
        keyring.add_descriptor(*needles[script])
        return {
            "txid": display(outpoint.txid),
            "vout": outpoint.vout,
            "scriptPubKey": script.hex(),
            "desc": self._forms.infer(script, keyring),
            "amount": Amount(coin.output.value),
            "coinbase": coin.is_coinbase,
            "height": coin.height,
            "blockhash": display(tip.ancestor(coin.height).hash),
            "confirmations": tip.height - coin.height + 1,
        }

    @method(
        "Blockchain",
        result="""
        start: {
          "from_height" : n,                     (numeric) The height we started the scan from
          "to_height" : n,                       (numeric) The height we ended the scan at
          "relevant_blocks" : [ "hex", ... ],    (json array) Blocks that may have matched a scanobject
          "completed" : true|false               (boolean) true if the scan process was not aborted
        }
        abort: true|false, whether there was a scan to abort
        status: { "progress" : n, "current_height" : n }, or null if no scan is in progress""",
        example=(
            "start '[\"addr(bcrt1q4u4nsgk6ug0sqz7r3rj9tykjxrsl0yy4d0wwte)\"]' 300000",
            "status",
            "abort",
        ),
    )
    async def scanblocks(
        self,
        action: Annotated[str, Text(_ACTION_HELP)],
        scanobjects: Annotated[Json, _OBJECTS_HELP] = None,
        start_height: Annotated[int, Number("Height to start to scan from")] = 0,
        stop_height: Annotated[int | None, Number("Height to stop to scan (the tip when left out)")] = None,
        filtertype: Annotated[str, Text("The type name of the filter")] = "basic",
        options: Annotated[
            dict[str, Json] | None,
            Object(
                "What else is asked",
                details="filter_false_positives (boolean): Look into the blocks too (slower, may fail on pruned nodes)",
                fields=("filter_false_positives",),
            ),
        ] = None,
    ) -> Json:
        """Return relevant blockhashes for given descriptors (requires blockfilterindex)."""
        if action == "status":
            scan = self._blocks
            return {"progress": scan.progress, "current_height": scan.height} if scan.is_running else None
        if action == "abort":
            return self._blocks.abort()
        if action != "start":
            raise RpcError(INVALID_PARAMETER, f"Invalid action '{action}'")
        with self._blocks.reserved():
            if filtertype != "basic":
                raise RpcError(INVALID_ADDRESS_OR_KEY, "Unknown filtertype")
            if self._chain.filters is None:
                raise RpcError(MISC_ERROR, "Index is not enabled for filtertype basic")
            first = self._chain.active(start_height)
            if first is None:
                raise RpcError(MISC_ERROR, "Invalid start_height")
            last = self._chain.tip if stop_height is None else self._chain.active(stop_height)
            if last is None or last.height < start_height:
                raise RpcError(MISC_ERROR, "Invalid stop_height")
            sure = bool(expect_type((options or {}).get("filter_false_positives", False), "bool"))
            needles = await self._expand(expect_type(scanobjects, "array"), self._blocks)
            return await self._scan_blocks(first, last, needles, sure=sure)

    async def _scan_blocks(self, first: Entry, last: Entry, needles: Needles, *, sure: bool) -> dict[str, Json]:
        items, relevant = SipHashItems(needles), []
        height, end = first.height, last.height + 1
        while height < end and not self._blocks.is_aborted:
            entries = [last.ancestor(each) for each in range(height, min(height + _FILTERS_AT_ONCE, end))]
            for entry in await self._offload(self._match_filters, entries, items):
                try:
                    if not sure or await self._offload(self._has_any, entry, needles):
                        relevant.append(display(entry.hash))
                except (BlockNotStored, StoreError) as error:
                    raise not_available(entry, error) from error
            height += len(entries)
            self._blocks.height = height - 1
            self._blocks.progress = (height - first.height) * 100 // (end - first.height)
        return {
            "from_height": first.height,
            "to_height": max(height - 1, first.height),
            "relevant_blocks": relevant,
            "completed": height == end,
        }

    def _match_filters(self, entries: list[Entry], items: SipHashItems) -> list[Entry]:
        index = self._chain.filters
        assert index is not None  # looked at before
        matches = []
        for entry in entries:
            record = index.get(entry.height, entry.hash)
            if record is not None and match_any(record.filter, entry.hash, items):
                matches.append(entry)
        return matches

    def _has_any(self, entry: Entry, needles: Needles) -> bool:
        """Tell whether a block pays or spends one of the scripts; blocking."""
        made = (out.script_pubkey for tx in self._chain.read_block(entry).transactions for out in tx.outputs)
        if any(script in needles for script in made):
            return True
        spent = self._chain.read_spent(entry) if entry.height else []
        return any(coin.output.script_pubkey in needles for coins in spent for coin in coins)


def _take(needles: Needles, wanted: Iterator[tuple[Descriptor, int, Json]]) -> bool:
    """Expand some more descriptors; return whether there may be others. Raises RpcError."""
    for count, (descriptor, index, value) in enumerate(wanted, start=1):
        try:
            scripts = descriptor.expand(index).scripts
        except DescriptorError as error:
            given = value["desc"] if isinstance(value, dict) else value
            raise RpcError(INVALID_ADDRESS_OR_KEY, f"{error}: '{given}'") from error
        for script in scripts:
            needles[script] = descriptor, index
        if count == SCRIPTS_AT_ONCE:
            return True
    return False


def _match_coins(
    coins: Iterable[tuple[bytes, bytes]], needles: Needles, found: list[tuple[OutPoint, Coin]]
) -> tuple[int, bytes]:
    """Look at some more coins; return how many there were and the last outpoint."""
    count, outpoint = 0, b"\xff\xff"
    for outpoint, data in coins:
        if data[_SCRIPT_AT:] in needles:
            found.append((OutPoint(outpoint), decode_coin(data)))
        count += 1
        if count == _COINS_AT_ONCE:
            break
    return count, outpoint
