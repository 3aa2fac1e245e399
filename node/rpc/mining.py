"""Methods of mining: templates for others (BIP22, BIP23, BIP145), and blocks from them."""

import asyncio
import logging
from collections.abc import Callable
from typing import Annotated

from altyn.consensus.block import HEADER_SIZE, Block, Header
from altyn.consensus.deployments import State, VersionBits, is_active
from altyn.consensus.encoding import EncodingError
from altyn.consensus.errors import ValidationError
from altyn.consensus.limits import (
    MAX_BLOCK_SERIALIZED_SIZE,
    MAX_BLOCK_SIGOPS_COST,
    MAX_BLOCK_WEIGHT,
    WITNESS_SCALE_FACTOR,
)
from altyn.consensus.merkle import witness_commitment
from altyn.consensus.pow import difficulty
from altyn.consensus.transaction import Transaction
from altyn.node.chain.chain import Chain
from altyn.node.events import TipChanged
from altyn.node.mempool.pool import Mempool
from altyn.node.mining.source import ChainTemplates
from altyn.node.mining.template import BlockTemplate
from altyn.node.rpc.errors import (
    CLIENT_IN_INITIAL_DOWNLOAD,
    CLIENT_NOT_CONNECTED,
    DESERIALIZATION_ERROR,
    INVALID_PARAMETER,
    TYPE_ERROR,
    VERIFY_ERROR,
    RpcError,
)
from altyn.node.rpc.json_forms import display
from altyn.node.rpc.json_text import Lazy
from altyn.node.rpc.method import Json, Number, Object, Text, decode_hex, expect_type, hash_from_json, method

log = logging.getLogger(__name__)

_LONG_POLL_PATIENCE, _LONG_POLL_STEP = 60.0, 10.0
"""Seconds until a long poll also answers for new transactions, and between two looks for them (Core)."""
_LONGEST_COUNTER = 20
"""Digits: Python reads no more than 4,300."""


class MiningMethods:
    """Work for miners."""

    def __init__(
        self,
        chain: Chain,
        mempool: Mempool,
        templates: ChainTemplates,
        connection_count: Callable[[], int],
        warnings: Callable[[], Json] = list,
    ) -> None:
        self._chain = chain
        self._mempool = mempool
        self._templates = templates
        self._connection_count = connection_count
        self._warnings = warnings
        self._version_bits = VersionBits(chain.network)

    @method(
        "Mining",
        result="""
        An object: blocks, currentblockweight and currentblocktx (of the last block assembled, if there was one),
          difficulty, networkhashps, pooledtx, chain, signet_challenge (of a signet), warnings""",
    )
    def getmininginfo(self) -> Json:
        """Returns a json object containing mining-related information."""
        tip, last, network = self._chain.tip, self._templates.last, self._chain.network
        form: dict[str, Json] = {"blocks": tip.height}
        if last is not None:
            form["currentblockweight"] = last.weight
            form["currentblocktx"] = len(last.transactions)
        form |= {
            "difficulty": difficulty(tip.header.bits),
            "networkhashps": network_hashes_per_second(self._chain, 120, -1),
            "pooledtx": len(self._mempool),
            "chain": network.chain,
        }
        if network.signet_challenge is not None:
            form["signet_challenge"] = network.signet_challenge.hex()
        return form | {"warnings": self._warnings()}

    @method("Mining", result="x    (numeric) Hashes per second estimated")
    def getnetworkhashps(
        self,
        nblocks: Annotated[
            int,
            Number(
                "The number of previous blocks to calculate estimate from, or -1 for blocks since last difficulty "
                "change."
            ),
        ] = 120,
        height: Annotated[int, Number("To estimate at the time of the given height.")] = -1,
    ) -> float:
        """Returns the estimated network hashes per second based on the last n blocks."""
        return network_hashes_per_second(self._chain, nblocks, height)

    @method(
        "Mining",
        result="""
        An object, see BIP22, BIP23 and BIP145: capabilities, version, rules, vbavailable, vbrequired,
          previousblockhash, transactions (data, txid, hash, depends, fee, sigops, weight), coinbaseaux, coinbasevalue,
          longpollid, target, mintime, mutable, noncerange, sigoplimit, sizelimit, weightlimit, curtime, bits, height,
          signet_challenge, default_witness_commitment
        For a proposal: null if it is valid, else the reason.""",
        example='\'{"rules": ["segwit"]}\'',
    )
    async def getblocktemplate(
        self,
        template_request: Annotated[
            dict[str, Json],
            Object(
                "Format of the template",
                shown='{"mode":"str","capabilities":["str",...],"rules":["segwit","str",...],"longpollid":"str",'
                '"data":"hex"}',
                details="""
                mode (string): "template", "proposal", or left out
                capabilities (array): what the client supports
                rules (array, required): deployments the client knows; must hold "segwit"
                longpollid (string): delay the answer until it would differ from the one with this id
                data (string): the proposed block in hex""",
            ),
        ],
    ) -> Json:
        """Returns data needed to construct a block to work on, or checks a proposed block."""
        request = template_request
        mode = request.get("mode")
        if mode == "proposal":
            return await self._test_proposal(request.get("data"))
        if mode is not None and mode != "template":
            raise RpcError(INVALID_PARAMETER, "Invalid mode")
        given = request.get("rules")
        rules = [expect_type(rule, "string") for rule in (given if isinstance(given, list) else [])]
        network = self._chain.network
        if not network.is_test_chain:
            if not self._connection_count():
                raise RpcError(CLIENT_NOT_CONNECTED, "Altyn is not connected!")
            if self._chain.is_initial_block_download:
                raise RpcError(CLIENT_IN_INITIAL_DOWNLOAD, "Altyn is in initial sync and waiting for blocks...")
        if request.get("longpollid") is not None:
            await self._wait_for_news(request["longpollid"])
        if network.signet_challenge is not None and "signet" not in rules:
            raise _rules_missing("signet", '["segwit", "signet"]')
        if "segwit" not in rules:
            raise _rules_missing("segwit", '["segwit"]')
        return self._template_form(await self._templates.template(b""))

    async def _test_proposal(self, data: Json) -> str | None:
        if not isinstance(data, str):
            raise RpcError(TYPE_ERROR, "Missing data String key for proposal")
        block = _parse_block(data)
        entry = self._chain.tree.get(block.hash)
        if entry is not None:
            return self._known(block.hash) or "duplicate-inconclusive"
        if block.header.prev_hash != self._chain.tip.hash:
            return "inconclusive-not-best-prevblk"
        try:
            await self._chain.test_block(block, check_pow=False)
        except ValidationError as error:
            return error.reason
        return None

    def _known(self, block_hash: bytes) -> str | None:
        """Return what BIP22 says of a block whose verdict is known."""
        entry = self._chain.tree.get(block_hash)
        if entry is None:
            return None
        if entry.is_failed:
            return "duplicate-invalid"
        return "duplicate" if entry.was_connected else None

    async def _wait_for_news(self, long_poll_id: Json) -> None:
        """Wait until the tip is another one than the id says, or after a minute the mempool."""
        if isinstance(long_poll_id, str):
            watched = hash_from_json(long_poll_id[:64], "longpollid")
            counter = long_poll_id[64:]
            changes = int(counter) if counter.isdecimal() and len(counter) <= _LONGEST_COUNTER else 0
        else:
            watched, changes = self._chain.tip.hash, self._mempool.changes
        news = asyncio.Event()

        def note(event: object) -> None:
            if isinstance(event, TipChanged):
                news.set()

        unsubscribe = self._chain.events.subscribe(note)
        try:
            patience = _LONG_POLL_PATIENCE
            while self._chain.tip.hash == watched:
                try:
                    async with asyncio.timeout(patience):
                        await news.wait()
                except TimeoutError:
                    if self._mempool.changes != changes:
                        return
                    patience = _LONG_POLL_STEP
                news.clear()
        finally:
            unsubscribe()

    def _template_form(self, template: BlockTemplate) -> dict[str, Json]:
        network, tip = self._chain.network, self._chain.tip
        has_segwit = is_active(network, "segwit", template.height)
        rules = ["csv"]
        rules += ["!segwit"] if has_segwit else []
        rules += ["!signet"] if network.signet_challenge is not None else []
        available = {}
        for deployment in network.version_bits:
            state = self._version_bits.state(deployment, tip)
            if state is State.ACTIVE:
                rules.append(deployment.name)
            elif state in {State.STARTED, State.LOCKED_IN}:
                available[deployment.name] = deployment.bit
        scale = 1 if has_segwit else WITNESS_SCALE_FACTOR
        form: dict[str, Json] = {
            "capabilities": ["proposal"],
            "version": template.version,
            "rules": rules,
            "vbavailable": available,
            "vbrequired": 0,
            "previousblockhash": display(template.previous_hash),
            "transactions": Lazy(
                {
                    "data": each.tx.raw.hex(),
                    "txid": display(each.tx.txid),
                    "hash": display(each.tx.wtxid),
                    "depends": list(each.depends),
                    "fee": each.fee,
                    "sigops": each.sigop_cost // scale,
                    "weight": each.weight,
                }
                for each in template.transactions
            ),
            "coinbaseaux": {},
            "coinbasevalue": template.coinbase_value,
            "longpollid": f"{display(template.previous_hash)}{template.mempool_changes}",
            "target": f"{template.target:064x}",
            "mintime": template.min_time,
            "mutable": ["time", "transactions", "prevblock"],
            "noncerange": "00000000ffffffff",
            "sigoplimit": MAX_BLOCK_SIGOPS_COST // scale,
            "sizelimit": MAX_BLOCK_SERIALIZED_SIZE // scale,
        }
        if has_segwit:
            form["weightlimit"] = MAX_BLOCK_WEIGHT
        form |= {"curtime": template.time, "bits": f"{template.bits:08x}", "height": template.height}
        if network.signet_challenge is not None:
            form["signet_challenge"] = network.signet_challenge.hex()
        if template.witness_commitment is not None:
            form["default_witness_commitment"] = template.witness_commitment.hex()
        return form

    @method("Mining", result="null if the block was accepted, else the reason (BIP22)", example='"mydata"')
    async def submitblock(
        self,
        hexdata: Annotated[str, Text("the hex-encoded block data to submit")],
        dummy: Annotated[str | None, Text("dummy value, for compatibility with BIP22. This value is ignored.")] = None,
    ) -> str | None:
        """Attempts to submit new block to network."""
        block = _parse_block(hexdata)
        if not block.transactions or not block.transactions[0].is_coinbase:
            raise RpcError(DESERIALIZATION_ERROR, "Block does not start with a coinbase")
        known = self._known(block.hash)
        if known:
            return known
        try:
            outcome = await self._chain.add_block(self._with_reserved_value(block))
        except ValidationError as error:
            log.info("submitblock: %s refused: %s", display(block.hash), error)
            return error.reason
        if not outcome.is_new:
            return "duplicate"
        return None if outcome.is_active else "inconclusive"

    @method("Mining", result="null", example='"aabbcc"')
    async def submitheader(self, hexdata: Annotated[str, Text("the hex-encoded block header data")]) -> None:
        """Decode the given hexdata as a header and submit it as a candidate chain tip if valid."""
        try:
            header = Header.parse((decode_hex(hexdata) or b"")[:HEADER_SIZE])  # what follows it is ignored
        except EncodingError:
            raise RpcError(DESERIALIZATION_ERROR, "Block header decode failed") from None
        if header.prev_hash not in self._chain.tree:
            raise RpcError(VERIFY_ERROR, f"Must submit previous header ({display(header.prev_hash)}) first")
        try:
            await self._chain.add_headers([header])
        except ValidationError as error:
            raise RpcError(VERIFY_ERROR, error.reason) from error

    def _with_reserved_value(self, block: Block) -> Block:
        """Give the coinbase the witness that its commitment asks for, if the miner left it out (BIP141)."""
        parent = self._chain.tree.get(block.header.prev_hash)
        coinbase = block.transactions[0]
        if (
            parent is None
            or coinbase.has_witness
            or witness_commitment(block) is None
            or not is_active(self._chain.network, "segwit", parent.height + 1)
        ):
            return block
        txin = coinbase.inputs[0]._replace(witness=(bytes(32),))
        whole = Transaction(coinbase.version, [txin], coinbase.outputs, coinbase.lock_time)
        return Block(block.header, [whole, *block.transactions[1:]])


def _parse_block(text: str) -> Block:
    """Read a block, whatever stands behind it (Core: DecodeHexBlk)."""
    data = decode_hex(text)
    try:
        return Block.parse_from(data or b"", 0)[0]
    except EncodingError:
        raise RpcError(DESERIALIZATION_ERROR, "Block decode failed") from None


def _rules_missing(name: str, rules: str) -> RpcError:
    return RpcError(
        INVALID_PARAMETER,
        f'getblocktemplate must be called with the {name} rule set (call with {{"rules": {rules}}})',
    )


def network_hashes_per_second(chain: Chain, blocks: int, height: int) -> float:
    """Estimate the work put into the last `blocks` up to `height` (Core: GetNetworkHashPS). Raises RpcError -8.

    `blocks` -1 takes those since the last retarget, `height` -1 the tip.
    """
    if blocks < -1 or blocks == 0:
        raise RpcError(INVALID_PARAMETER, "Invalid nblocks. Must be a positive number or -1.")
    end = chain.tip if height == -1 else chain.active(height)
    if end is None:
        raise RpcError(INVALID_PARAMETER, "Block does not exist at specified height")
    if blocks == -1:
        blocks = end.height % chain.network.retarget_interval + 1
    entry, times = end, [end.time]
    for _ in range(min(blocks, end.height)):
        assert entry.parent is not None  # the height says so
        entry = entry.parent
        times.append(entry.time)
    seconds = max(times) - min(times)
    return (end.chain_work - entry.chain_work) / seconds if seconds else 0
