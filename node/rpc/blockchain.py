"""Methods about headers, blocks and the active chain."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated, Protocol

from altyn.consensus.block import Block
from altyn.consensus.deployments import VersionBits
from altyn.consensus.errors import ValidationError
from altyn.consensus.networks import Network
from altyn.consensus.pow import difficulty
from altyn.consensus.transaction import Coin, OutPoint
from altyn.node.chain.chain import Chain
from altyn.node.chain.tree import Entry, HeaderTree
from altyn.node.mempool.pool import MEMPOOL_HEIGHT, Mempool
from altyn.node.rpc.amounts import Amount
from altyn.node.rpc.errors import (
    DATABASE_ERROR,
    INVALID_ADDRESS_OR_KEY,
    INVALID_PARAMETER,
    RpcError,
)
from altyn.node.rpc.json_forms import Forms, display, header_form
from altyn.node.rpc.method import (
    HIDDEN,
    Flag,
    Hash,
    Json,
    Number,
    Parameter,
    Text,
    Verbosity,
    hash_from_json,
    integer,
    json_type,
    method,
)
from altyn.node.storage.errors import BlockNotStored
from altyn.node.writer import Writer

EXAMPLE_HASH = '"00000000c937983704a73af28acdec37b049d214adbda81d7e2a3dd146f6ed09"'


Audit = Callable[[int, int], Awaitable[bool]]
"""Looks at the last blocks again, with a level and a depth (altyn.node.chain.audit)."""


class HeaderView(Protocol):
    """The headers of a node and which of them are active; full and light nodes have one."""

    @property
    def network(self) -> Network: ...
    @property
    def tree(self) -> HeaderTree: ...
    @property
    def tip(self) -> Entry: ...
    @property
    def is_initial_block_download(self) -> bool: ...
    @property
    def verification_progress(self) -> float: ...
    def active(self, height: int) -> Entry | None: ...


class BlockSource(Protocol):
    """Where blocks and filters come from: the disk of a full node, the peers of a light one.

    Each raises RpcError, with Core's text where Core has one.
    """

    async def block_bytes(self, entry: Entry) -> bytes: ...
    async def block(self, entry: Entry) -> Block: ...
    async def spent(self, entry: Entry) -> Sequence[Sequence[Coin]] | None:
        """Return the coins that each transaction of the block spent; None if they are not known."""
        ...

    async def filter(self, find: Callable[[], Entry]) -> tuple[bytes, bytes]:
        """Return the basic filter (BIP158) of the block that `find` returns, and its filter header."""
        ...


def find_entry(tree: HeaderTree, block_hash: bytes) -> Entry:
    """Return the entry of a block. Raises RpcError -5."""
    entry = tree.get(block_hash)
    if entry is None:
        raise RpcError(INVALID_ADDRESS_OR_KEY, "Block not found")
    return entry


class HashOrHeight(Parameter):
    """A block, by its hash or by its height in the active chain; the method looks at it."""

    type_name = "string or numeric"


def find_by_hash_or_height(chain: Chain, value: Json) -> Entry:
    """Return the entry that is meant (Core: ParseHashOrHeight). Raises RpcError."""
    if json_type(value) == "number":
        height, tip = integer(value), chain.tip.height
        if height < 0:
            raise RpcError(INVALID_PARAMETER, f"Target block height {height} is negative")
        if height > tip:
            raise RpcError(INVALID_PARAMETER, f"Target block height {height} after current tip {tip}")
        return chain.tip.ancestor(height)
    return find_entry(chain.tree, hash_from_json(value, "hash_or_height"))


class HeaderMethods:
    """What headers alone can answer."""

    def __init__(self, chain: HeaderView) -> None:
        self._headers = chain

    @method("Blockchain", result='"hex"    (string) the block hash, hex-encoded')
    def getbestblockhash(self) -> str:
        """Returns the hash of the best (tip) block in the most-work fully-validated chain."""
        return display(self._headers.tip.hash)

    @method("Blockchain", result="n    (numeric) The current block count")
    def getblockcount(self) -> int:
        """Returns the height of the most-work fully-validated chain; the genesis block has height 0."""
        return self._headers.tip.height

    @method("Blockchain", result="n    (numeric) the proof-of-work difficulty as a multiple of the minimum difficulty")
    def getdifficulty(self) -> float:
        """Returns the proof-of-work difficulty as a multiple of the minimum difficulty."""
        return difficulty(self._headers.tip.header.bits)

    @method("Blockchain", result='"hex"    (string) The block hash', example="1000")
    def getblockhash(self, height: Annotated[int, Number("The height index")]) -> str:
        """Returns hash of block in best-block-chain at height provided."""
        entry = self._headers.active(height) if height >= 0 else None
        if entry is None:
            raise RpcError(INVALID_PARAMETER, "Block height out of range")
        return display(entry.hash)

    @method(
        "Blockchain",
        result="""
        With verbose = true, an object:
          hash, confirmations (-1 off the main chain), height, version, versionHex, merkleroot, time, mediantime,
          nonce, bits, difficulty, chainwork, nTx, previousblockhash, nextblockhash
        With verbose = false, the header as 80 bytes in hex.""",
        example=EXAMPLE_HASH,
    )
    def getblockheader(
        self,
        blockhash: Annotated[bytes, Hash("The block hash", called="hash")],
        verbose: Annotated[bool, Flag("true for a json object, false for the hex-encoded data")] = True,
    ) -> Json:
        """Returns a block's header and its place in the chain."""
        entry = find_entry(self._headers.tree, blockhash)
        return header_form(entry, self._headers.tip) if verbose else entry.header.raw.hex()


class BlockMethods(HeaderMethods):
    """Blocks and their filters, wherever they come from."""

    def __init__(
        self,
        chain: HeaderView,
        source: BlockSource,
        forms: Forms,
        warnings: Callable[[], Json] = list,
    ) -> None:
        super().__init__(chain)
        self._warnings = warnings
        self._source = source
        self._forms = forms

    @method(
        "Blockchain",
        result="""
        An object: chain, blocks, headers, bestblockhash, difficulty, time, mediantime, verificationprogress (0 to 1),
        initialblockdownload, chainwork, size_on_disk (bytes), pruned, warnings;
        if pruned also pruneheight (of the first block from which on all are here), automatic_pruning,
        prune_target_size (bytes, if that is automatic)""",
    )
    def getblockchaininfo(self) -> Json:
        """Returns an object containing various state info regarding blockchain processing."""
        chain = self._headers
        tip = chain.tip
        return {
            "chain": chain.network.chain,
            "blocks": tip.height,
            "headers": chain.tree.best_header.height,
            "bestblockhash": display(tip.hash),
            "difficulty": difficulty(tip.header.bits),
            "time": tip.time,
            "mediantime": tip.median_time_past,
            "verificationprogress": chain.verification_progress,
            "initialblockdownload": chain.is_initial_block_download,
            "chainwork": f"{tip.chain_work:064x}",
            **self._storage(),
            "warnings": self._warnings(),
        }

    def _storage(self) -> dict[str, Json]:
        """Return what getblockchaininfo says of the blocks on disk."""
        return {"size_on_disk": 0, "pruned": False}

    @method(
        "Blockchain",
        result="""
        verbosity 0: the serialized block in hex
        verbosity 1: an object: what getblockheader says, and strippedsize, size, weight, tx (a list of txids)
        verbosity 2: tx is a list of transactions as getrawtransaction shows them, with their fee
        verbosity 3: and each input has the output it spends (prevout)""",
        example=EXAMPLE_HASH,
    )
    async def getblock(
        self,
        blockhash: Annotated[bytes, Hash("The block hash")],
        verbosity: Annotated[
            int,
            Verbosity(
                "0 for hex-encoded data, 1 for a JSON object, 2 for JSON object with transaction data, and 3 for JSON "
                "object with transaction data including prevout information for inputs",
                alias="verbose",
            ),
        ] = 1,
    ) -> Json:
        """Returns a block, as hex or as an object."""
        entry = find_entry(self._headers.tree, blockhash)
        if verbosity <= 0:
            return (await self._source.block_bytes(entry)).hex()
        block = await self._source.block(entry)
        spent = await self._source.spent(entry) if verbosity > 1 else None
        return self._forms.block(block, entry, self._headers.tip, verbosity, spent)

    @method(
        "Blockchain",
        result="""
        {
          "filter" : "hex",    (string) the hex-encoded filter data
          "header" : "hex"     (string) the hex-encoded filter header
        }""",
        example=EXAMPLE_HASH + " basic",
    )
    async def getblockfilter(
        self,
        blockhash: Annotated[bytes, Hash("The hash of the block")],
        filtertype: Annotated[str, Text("The type name of the filter")] = "basic",
    ) -> Json:
        """Retrieve a BIP 157 content filter for a particular block."""
        if filtertype != "basic":
            raise RpcError(INVALID_ADDRESS_OR_KEY, "Unknown filtertype")
        data, header = await self._source.filter(lambda: find_entry(self._headers.tree, blockhash))
        return {"filter": data.hex(), "header": display(header)}


class BlockchainMethods(BlockMethods):
    """The chain of a full node: its state, its coins, its branches."""

    def __init__(
        self,
        chain: Chain,
        mempool: Mempool,
        writer: Writer,
        source: BlockSource,
        forms: Forms,
        audit: Audit,
        warnings: Callable[[], Json] = list,
    ) -> None:
        super().__init__(chain, source, forms, warnings)
        self._audit = audit
        self._chain = chain
        self._mempool = mempool
        self._writer = writer
        self._version_bits = VersionBits(chain.network)

    def _storage(self) -> dict[str, Json]:
        chain = self._chain
        pruner = chain.pruner
        answer: dict[str, Json] = {"size_on_disk": chain.size_on_disk, "pruned": pruner is not None}
        if pruner is not None:
            answer["pruneheight"] = pruner.height + 1 if pruner.height else 0
            answer["automatic_pruning"] = pruner.is_automatic
            if pruner.is_automatic:
                answer["prune_target_size"] = pruner.options.target
        return answer

    @method(
        "Blockchain",
        result="""
        A list of objects: height, hash, branchlen (0 for the main chain), status: one of
          "active", "invalid", "headers-only", "valid-headers", "valid-fork" """,
    )
    def getchaintips(self) -> Json:
        """Return information about all known tips in the block tree, those of orphaned branches included."""
        chain = self._chain
        tips = chain.tree.tips()
        if chain.tip not in tips:
            tips.append(chain.tip)
        return [
            {
                "height": entry.height,
                "hash": display(entry.hash),
                "branchlen": entry.height - self._fork_height(entry),
                "status": self._tip_status(entry),
            }
            for entry in sorted(tips, key=lambda entry: -entry.height)
        ]

    def _fork_height(self, entry: Entry) -> int:
        return HeaderTree.fork_point(self._chain.tip, entry).height

    def _tip_status(self, entry: Entry) -> str:
        if entry is self._chain.tip:
            return "active"
        if entry.is_failed:
            return "invalid"
        if entry.was_connected:
            return "valid-fork"
        return "valid-headers" if entry.chain_tx_count else "headers-only"

    @method(
        "Blockchain",
        result="""
        null if the output is not there; else an object:
          bestblock, confirmations, value, scriptPubKey {asm, desc, hex, address, type}, coinbase""",
        example='"txid" 1',
    )
    def gettxout(
        self,
        txid: Annotated[bytes, Hash("The transaction id")],
        n: Annotated[int, Number("vout number", unsigned=True)],
        include_mempool: Annotated[
            bool,
            Flag(
                "Whether to include the mempool. Note that an unspent output that is spent in the mempool won't appear."
            ),
        ] = True,
    ) -> Json:
        """Returns details about an unspent transaction output."""
        outpoint = OutPoint.make(txid, n)
        tip = self._chain.tip
        coin = None
        if include_mempool:
            if self._mempool.spender(outpoint) is not None:
                return None
            coin = self._mempool.coin(outpoint)
        coin = coin or self._chain.coins.get(outpoint)
        if coin is None:
            return None
        return {
            "bestblock": display(tip.hash),
            "confirmations": 0 if coin.height == MEMPOOL_HEIGHT else tip.height - coin.height + 1,
            "value": Amount(coin.output.value),
            "scriptPubKey": self._forms.script(coin.output.script_pubkey),
            "coinbase": coin.is_coinbase,
        }

    @method(
        "Blockchain",
        result="""
        An object: hash, height, deployments: an object with, for each name,
          type ("buried" or "bip9"), height (of activation), active, and for bip9 its state""",
    )
    def getdeploymentinfo(
        self,
        blockhash: Annotated[bytes | None, Hash("The block hash at which to query deployment state")] = None,
    ) -> Json:
        """Returns an object containing various state info regarding deployments of consensus changes."""
        entry = self._chain.tip if blockhash is None else find_entry(self._chain.tree, blockhash)
        return {
            "hash": display(entry.hash),
            "height": entry.height,
            "deployments": self._version_bits.describe(entry),
        }

    @method(HIDDEN, result="null", example='"blockhash"')
    async def invalidateblock(
        self, blockhash: Annotated[bytes, Hash("the hash of the block to mark as invalid")]
    ) -> None:
        """Permanently marks a block as invalid, as if it violated a consensus rule."""
        entry = find_entry(self._chain.tree, blockhash)
        if entry.parent is None:
            raise RpcError(INVALID_PARAMETER, "The genesis block cannot be marked as invalid")
        await self._change(self._chain.invalidate(entry))

    @method(HIDDEN, result="null", example='"blockhash"')
    async def reconsiderblock(self, blockhash: Annotated[bytes, Hash("the hash of the block to reconsider")]) -> None:
        """Removes invalidity status of a block, its ancestors and its descendants; undoes invalidateblock."""
        entry = find_entry(self._chain.tree, blockhash)
        await self._change(self._chain.reconsider(entry))

    @method("Blockchain", result="null", example='"blockhash"')
    async def preciousblock(
        self, blockhash: Annotated[bytes, Hash("the hash of the block to mark as precious")]
    ) -> None:
        """Prefers a block over others of the same work, as if it had come first; forgotten at a restart."""
        await self._change(self._chain.prefer(find_entry(self._chain.tree, blockhash)))

    @staticmethod
    async def _change(change: Awaitable[None]) -> None:
        try:
            await change
        except (ValidationError, BlockNotStored) as error:
            raise RpcError(DATABASE_ERROR, str(error)) from error

    @method(
        "Blockchain",
        result="true|false    (boolean) Verification finished successfully. If false, check debug log for reason.",
        example=("", "4 100"),
    )
    async def verifychain(
        self,
        checklevel: Annotated[
            int,
            Number(
                "How thorough the block verification is",
                details="""
                0 reads the blocks, 1 checks them, 2 reads what they spent,
                3 takes them back from the coins in memory, 4 connects them again, scripts included""",
            ),
        ] = 3,
        nblocks: Annotated[int, Number("The number of blocks to check, 0 for all.")] = 6,
    ) -> bool:
        """Verifies blockchain database."""
        return await self._audit(checklevel, nblocks)

    @method(HIDDEN, result="null")
    async def syncwithvalidationinterfacequeue(self) -> None:
        """Waits until everything that was there when the call came is processed."""

        async def nothing() -> None:
            pass

        await self._writer.do(nothing)
