"""Methods about snapshots of the unspent outputs: written, and begun with."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Protocol

from altyn.consensus.pow import difficulty
from altyn.node.chain.chain import Chain
from altyn.node.chain.snapshot import dump, load, read_head
from altyn.node.chain.stores import DATABASE_CACHE
from altyn.node.chain.tree import Entry
from altyn.node.mempool.pool import Mempool
from altyn.node.offload import Offload
from altyn.node.rpc.blockchain import find_by_hash_or_height
from altyn.node.rpc.errors import DESERIALIZATION_ERROR, INTERNAL_ERROR, INVALID_PARAMETER, MISC_ERROR, RpcError
from altyn.node.rpc.json_forms import display
from altyn.node.rpc.method import Json, Object, Text, method
from altyn.node.settings import Settings
from altyn.node.storage.errors import BlockNotStored
from altyn.node.storage.snapshot import SnapshotError


class NetworkSwitch(Protocol):
    """Whether there may be connections to peers."""

    network_active: bool

    def set_network_active(self, active: bool) -> None: ...


class SnapshotMethods:
    """How a node begins with the coins of others, and gives its own."""

    def __init__(
        self, chain: Chain, mempool: Mempool, offload: Offload, settings: Settings, switch: NetworkSwitch
    ) -> None:
        self._chain = chain
        self._mempool = mempool
        self._offload = offload
        self._settings = settings
        self._switch = switch

    @method(
        "Blockchain",
        result="""
        {
          "coins_written" : n,       (numeric) the number of coins written in the snapshot
          "base_hash" : "hex",       (string) the hash of the base of the snapshot
          "base_height" : n,         (numeric) the height of the base of the snapshot
          "path" : "str",            (string) the absolute path that the snapshot was written to
          "txoutset_hash" : "hex",   (string) the hash of the UTXO set contents
          "nchaintx" : n             (numeric) the number of transactions in the chain up to the base block
        }""",
        example=("utxo.dat latest", "utxo.dat rollback", "utxo.dat rollback '{\"rollback\": 853456}'"),
    )
    async def dumptxoutset(
        self,
        path: Annotated[str, Text("Path to the output file. If relative, will be prefixed by datadir.")],
        type: Annotated[  # noqa: A002 - Core's name
            str,
            Text(
                'The type of snapshot to create. "latest" for the current UTXO set; "rollback" to temporarily roll '
                "back the state of the node to a historical block: that of the rollback option, else the latest "
                "valid snapshot block that can currently be loaded with loadtxoutset."
            ),
        ] = "",
        options: Annotated[
            Json,
            Object(
                "Options that may be given as named arguments.",
                details="rollback: (string or numeric) Height or hash of the block to roll back to",
                fields=("rollback",),
            ),
        ] = None,
    ) -> Json:
        """Write the serialized UTXO set to a file.

        It can be used in loadtxoutset afterwards if the network lists the snapshot. A rollback suspends network
        activity; no blocks may be handed in meanwhile."""
        target = self._target(type, (options or {}).get("rollback"))
        place = self._settings.path(path)
        if await self._offload(place.exists):
            raise RpcError(
                INVALID_PARAMETER,
                f"{place} already exists. If you are sure this is what you want, move it out of the way first",
            )
        pruner = self._chain.pruner
        if pruner is not None and target.height < pruner.height:
            raise RpcError(
                MISC_ERROR,
                f"Block height {target.height} not available (pruned data). Use a height after {pruner.height}.",
            )
        try:
            with self._suspended(target):
                dumped = await dump(self._chain, self._offload, place, target)
        except BlockNotStored as error:
            raise RpcError(MISC_ERROR, str(error)) from error
        except (OSError, ValueError) as error:  # no name of a file has a null in it
            raise RpcError(INVALID_PARAMETER, f"Couldn't open file {place} for writing.") from error
        if dumped is None:
            raise RpcError(MISC_ERROR, "Could not roll back to requested height.")
        return {
            "coins_written": dumped.coins,
            "base_hash": display(target.hash),
            "base_height": target.height,
            "path": str(place),
            "txoutset_hash": display(dumped.digest),
            "nchaintx": target.chain_tx_count,
        }

    def _target(self, kind: str, rollback: Json) -> Entry:
        """Return the block that is meant. Raises RpcError."""
        chain = self._chain
        if rollback is not None:
            if kind not in {"", "rollback"}:
                raise RpcError(INVALID_PARAMETER, f'Invalid snapshot type "{kind}" specified with rollback option')
            return self._active(find_by_hash_or_height(chain, rollback))
        if kind == "rollback":
            heights = [snapshot.height for snapshot in chain.network.snapshots]
            return self._active(find_by_hash_or_height(chain, max(heights, default=0)))
        if kind == "latest":
            return chain.tip
        raise RpcError(
            INVALID_PARAMETER, f'Invalid snapshot type "{kind}" specified. Please specify "rollback" or "latest"'
        )

    def _active(self, entry: Entry) -> Entry:
        if not self._chain.is_active(entry):
            raise RpcError(INVALID_PARAMETER, "Block is not in the active chain")
        return entry

    @contextmanager
    def _suspended(self, target: Entry) -> Iterator[None]:
        """Let no peer disturb a chain that goes back to `target` (Core: NetworkDisable)."""
        was_active = self._switch.network_active and target is not self._chain.tip
        if was_active:
            self._switch.set_network_active(False)
        try:
            yield
        finally:
            if was_active:
                self._switch.set_network_active(True)

    @method(
        "Blockchain",
        result="""
        {
          "coins_loaded" : n,   (numeric) the number of coins loaded from the snapshot
          "tip_hash" : "hex",   (string) the hash of the base of the snapshot
          "base_height" : n,    (numeric) the height of the base of the snapshot
          "path" : "str"        (string) the absolute path that the snapshot was loaded from
        }""",
        example="utxo.dat",
    )
    async def loadtxoutset(
        self, path: Annotated[str, Text("Path to the snapshot file. If relative, will be prefixed by datadir.")]
    ) -> Json:
        """Load the serialized UTXO set from a file.

        The node goes on from there to the network's tip at once. Meanwhile the chain from genesis is validated in the
        background, up to the block that the snapshot was made at. Only snapshots that the network lists are loaded."""
        place = self._settings.path(path)
        try:
            file = await self._offload(place.open, "rb")
        except (OSError, ValueError) as error:  # no name of a file has a null in it
            raise RpcError(INVALID_PARAMETER, f"Couldn't open file {place} for reading.") from error
        with file:
            try:
                head = await self._offload(read_head, file, self._chain.network)
            except SnapshotError as error:
                raise RpcError(DESERIALIZATION_ERROR, f"Unable to parse metadata: {error}") from error
            try:
                listed = await load(
                    self._chain, self._offload, file, head, mempool_is_empty=lambda: not len(self._mempool)
                )
            except SnapshotError as error:
                raise RpcError(INTERNAL_ERROR, f"Unable to load UTXO snapshot: {error}. ({place})") from error
        return {
            "coins_loaded": head.coins,
            "tip_hash": display(listed.block_hash),
            "base_height": listed.height,
            "path": str(place),
        }

    @method(
        "Blockchain",
        result="""
        {
          "headers" : n,                      (numeric) the number of headers seen so far
          "chainstates" : [                   ordered by work, with the most-work (active) chainstate last
            {
              "blocks" : n,                   (numeric) number of blocks in this chainstate
              "bestblockhash" : "hex",        (string) blockhash of the tip
              "difficulty" : n,               (numeric) difficulty of the tip
              "verificationprogress" : n,     (numeric) progress towards the network tip
              "snapshot_blockhash" : "hex",   (string, optional) the base block of the snapshot it is based on, if any
              "coins_db_cache_bytes" : n,     (numeric) size of the coinsdb cache
              "coins_tip_cache_bytes" : n,    (numeric) size of the coinstip cache
              "validated" : true|false        (boolean) whether the chainstate is fully validated
            }, ...
          ]
        }""",
    )
    def getchainstates(self) -> Json:
        """Return information about chainstates."""
        chain = self._chain
        below = chain.background
        if below is None:
            return {"headers": chain.tree.best_header.height, "chainstates": [self._state(chain.tip)]}
        snapshot = {"snapshot_blockhash": display(below.base.hash), "validated": False}
        states = [self._state(below.tip), self._state(chain.tip) | snapshot]
        return {"headers": chain.tree.best_header.height, "chainstates": states}

    def _state(self, tip: Entry) -> dict[str, Json]:
        chain = self._chain
        return {
            "blocks": tip.height,
            "bestblockhash": display(tip.hash),
            "difficulty": difficulty(tip.header.bits),
            "verificationprogress": chain.progress_at(tip),
            "coins_db_cache_bytes": DATABASE_CACHE,
            "coins_tip_cache_bytes": chain.options.cache_size,
            "validated": True,
        }
