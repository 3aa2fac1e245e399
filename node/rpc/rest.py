"""The REST interface of bitcoind: blocks, headers, transactions, coins and filters, without a password (`-rest`)."""

import re
import struct
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import parse_qs

from altyn.consensus.encoding import Cursor, EncodingError, compact_size, var_bytes
from altyn.consensus.filters import BASIC
from altyn.consensus.transaction import Coin, OutPoint
from altyn.node.chain.chain import Chain
from altyn.node.chain.tree import Entry
from altyn.node.mempool.pool import Mempool
from altyn.node.rpc.amounts import Amount
from altyn.node.rpc.blockchain import BlockSource
from altyn.node.rpc.errors import RpcError
from altyn.node.rpc.json_forms import Forms, display, header_form
from altyn.node.rpc.json_text import Lazy
from altyn.node.rpc.method import Json, MethodTable, decode_hex
from altyn.node.rpc.rawtransactions import TransactionLookup

_MOST_HEADERS, _MOST_OUTPOINTS = 2000, 15
_FORMATS = ("bin", "hex", "json")
_NUMBER = re.compile("[0-9]{1,20}", re.ASCII)
_OUTPOINT = re.compile("([0-9a-fA-F]{64})-([0-9]{1,10})", re.ASCII)
_U32 = struct.Struct("<I")
_MEMPOOL_URI = "Invalid URI format. Expected /rest/mempool/<info|contents>.json"


class Refusal(Exception):
    """An HTTP status other than 200, and the text that says why."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(status, text)
        self.status = status
        self.text = text


class Request(NamedTuple):
    """What is asked: the path behind the name of the resource, without its ending, which is `form`."""

    path: str
    form: str
    """"bin", "hex" or "json"; empty when the path has no such ending."""
    query: Mapping[str, Sequence[str]]
    body: bytes

    def parts(self) -> list[str]:
        return self.path.split("/")

    def parameter(self, name: str, default: str) -> str:
        return self.query.get(name, [default])[0]

    def flag(self, name: str, default: str) -> bool:
        """Return a query parameter that is "true" or "false". Raises Refusal."""
        text = self.parameter(name, default)
        if text not in {"true", "false"}:
            raise Refusal(400, f'The "{name}" query parameter must be either "true" or "false".')
        return text == "true"


class Answer(NamedTuple):
    """A resource: its bytes, and how it looks as JSON; either may be missing."""

    data: bytes | None
    json: Json = None


Resource = Callable[["Rest", Request], Awaitable[Answer]]


class Rest:
    """Answers for a full node."""

    def __init__(
        self,
        chain: Chain,
        mempool: Mempool,
        source: BlockSource,
        forms: Forms,
        index: TransactionLookup | None,
        methods: MethodTable,
    ) -> None:
        """`index` is None unless -txindex; what RPC methods say as well comes from `methods`."""
        self._chain = chain
        self._mempool = mempool
        self._source = source
        self._forms = forms
        self._index = index
        self._methods = methods

    async def answer(self, target: str, body: bytes) -> tuple[str, bytes | Json]:
        """Return format and content for what stands behind "/rest/" in the request; hex is bytes here too.

        Raises Refusal; with an empty text where there is no such resource.
        """
        path, _, query = target.partition("?")
        for name, resource in _RESOURCES.items():
            if path.startswith(name):
                stem, dot, form = path.rpartition(".")
                if not dot or form not in _FORMATS:
                    stem, form = path, ""
                request = Request(stem[len(name) :], form, parse_qs(query, keep_blank_values=True), body)
                try:
                    found = await resource(self, request)
                except RpcError as error:
                    raise Refusal(404, error.message) from error
                return form, _choose(found, form)
        raise Refusal(404, "")

    # The resources

    async def tx(self, request: Request) -> Answer:
        txid = _hash(request.path)
        _expect_format(request)
        entry = None
        waiting = self._mempool.get(txid)
        tx = waiting.tx if waiting is not None else None
        if tx is None and self._index is not None:
            found = await self._index.find(txid)
            tx, entry = found if found is not None else (None, None)
        if tx is None:
            raise _not_found(txid)
        form = self._forms.transaction(tx)
        if entry is not None:
            form["blockhash"] = display(entry.hash)
        return Answer(tx.raw, form)

    async def block(self, request: Request) -> Answer:
        return await self._block(request, verbosity=3)

    async def block_without_details(self, request: Request) -> Answer:
        return await self._block(request, verbosity=1)

    async def _block(self, request: Request, verbosity: int) -> Answer:
        entry = self._entry(request)
        if request.form != "json":
            return Answer(await self._source.block_bytes(entry))
        block = await self._source.block(entry)
        spent = await self._source.spent(entry) if verbosity > 1 else None
        return Answer(None, self._forms.block(block, entry, self._chain.tip, verbosity, spent))

    async def block_part(self, request: Request) -> Answer:
        entry = self._entry(request, _FORMATS[:2])
        data = await self._source.block_bytes(entry)
        offset, size = (request.parameter(name, "") for name in ("offset", "size"))
        is_number = _NUMBER.fullmatch(offset) and _NUMBER.fullmatch(size)
        if not (is_number and 0 < int(size) <= len(data) - int(offset)):
            raise Refusal(400, f"Bad block part offset/size {offset}/{size} for {display(entry.hash)}")
        return Answer(data[int(offset) : int(offset) + int(size)])

    async def spent_outputs(self, request: Request) -> Answer:
        entry = self._entry(request)
        spent = await self._source.spent(entry) if entry.height else [()]
        if spent is None:
            raise Refusal(404, f"{display(entry.hash)} undo not available")
        data = b"".join(
            compact_size(len(coins)) + b"".join(coin.output.serialize() for coin in coins) for coins in spent
        )
        forms = Lazy([self._output_form(coin) for coin in coins] for coins in spent)
        return Answer(compact_size(len(spent)) + data, forms)

    async def headers(self, request: Request) -> Answer:
        *count, text = request.parts()
        if len(count) > 1:
            raise Refusal(400, "Invalid URI format. Expected /rest/headers/<hash>.<ext>?count=<count>")
        entries = list(self._following(text, _count(count, request)))
        _expect_format(request)
        tip = self._chain.tip
        return Answer(
            b"".join(entry.header.raw for entry in entries), Lazy(header_form(entry, tip) for entry in entries)
        )

    def _following(self, text: str, count: int) -> Iterator[Entry]:
        """Yield up to `count` entries of the active chain from the one named on."""
        entry = self._chain.tree.get(_hash(text))
        while entry is not None and count and self._chain.is_active(entry):
            yield entry
            entry = self._chain.next_active(entry)
            count -= 1

    async def filter(self, request: Request) -> Answer:
        parts = request.parts()
        if len(parts) != 2:
            raise Refusal(400, "Invalid URI format. Expected /rest/blockfilter/<filtertype>/<blockhash>")
        block_hash = _hash(parts[1])
        self._expect_filters(parts[0])
        entry = self._chain.tree.get(block_hash)
        if entry is None:
            raise _not_found(block_hash)
        _expect_format(request)
        data, _ = await self._source.filter(lambda: entry)
        return Answer(bytes((BASIC,)) + entry.hash + var_bytes(data), {"filter": data.hex()})

    async def filter_headers(self, request: Request) -> Answer:
        name, *count, text = request.parts() if "/" in request.path else (request.path, "", "", "")
        if len(count) > 1:
            raise Refusal(
                400,
                "Invalid URI format. Expected /rest/blockfilterheaders/<filtertype>/<blockhash>.<ext>?count=<count>",
            )
        number = _count(count, request)
        block_hash = _hash(text)
        self._expect_filters(name)
        _expect_format(request)
        found = []
        for entry in self._following(display(block_hash), number):
            found.append((await self._source.filter(lambda entry=entry: entry))[1])  # type: ignore[misc]  # this round's
        return Answer(b"".join(found), [display(header) for header in found])

    def _expect_filters(self, name: str) -> None:
        if name != "basic":
            raise Refusal(400, f"Unknown filtertype {name}")
        if self._chain.filters is None:
            raise Refusal(400, "Index is not enabled for filtertype basic")

    async def block_hash(self, request: Request) -> Answer:
        if not _NUMBER.fullmatch(request.path) or int(request.path) >= 1 << 31:
            raise Refusal(400, f"Invalid height: {request.path}")
        entry = self._chain.active(int(request.path))
        if entry is None:
            raise Refusal(404, "Block height out of range")
        _expect_format(request)
        shown = display(entry.hash)
        return Answer(bytes.fromhex(shown) if request.form == "hex" else entry.hash, {"blockhash": shown})

    async def chain_info(self, request: Request) -> Answer:
        _expect_format(request, _FORMATS[2:])
        return Answer(None, await self._methods.call("getblockchaininfo", []))

    async def deployment_info(self, request: Request) -> Answer:
        _expect_format(request, _FORMATS[2:])
        params = []
        if request.path:
            text = request.path.removeprefix("/")
            if self._chain.tree.get(_hash(text)) is None:
                raise Refusal(400, "Block not found")
            params = [text]
        return Answer(None, await self._methods.call("getdeploymentinfo", params))

    async def mempool(self, request: Request) -> Answer:
        if request.path not in {"info", "contents"}:
            raise Refusal(400, _MEMPOOL_URI)
        _expect_format(request, _FORMATS[2:])
        if request.path == "info":
            return Answer(None, await self._methods.call("getmempoolinfo", []))
        verbose = request.flag("verbose", "true")
        sequence = request.flag("mempool_sequence", "false")
        if verbose and sequence:
            raise Refusal(400, 'Verbose results cannot contain mempool sequence values. (hint: set "verbose=false")')
        return Answer(None, await self._methods.call("getrawmempool", [verbose, sequence]))

    async def unspent(self, request: Request) -> Answer:
        """Which of some outputs are unspent (BIP64)."""
        with_mempool, outpoints = _read_outpoints(request)
        found = [self._coin(outpoint, with_mempool) for outpoint in outpoints]
        bits = "".join("1" if coin is not None else "0" for coin in found)
        coins = [coin for coin in found if coin is not None]
        tip = self._chain.tip
        size = (len(bits) + 7) // 8
        bitmap = int(bits[::-1] or "0", 2).to_bytes(size, "little")
        data = b"".join(bytes(4) + _U32.pack(coin.height) + coin.output.serialize() for coin in coins)
        return Answer(
            _U32.pack(tip.height) + tip.hash + var_bytes(bitmap) + compact_size(len(coins)) + data,
            {
                "chainHeight": tip.height,
                "chaintipHash": display(tip.hash),
                "bitmap": bits,
                "utxos": [{"height": coin.height, **self._output_form(coin)} for coin in coins],
            },
        )

    def _coin(self, outpoint: OutPoint, with_mempool: bool) -> Coin | None:
        if with_mempool:
            if self._mempool.spender(outpoint) is not None:
                return None
            waiting = self._mempool.coin(outpoint)
            if waiting is not None:
                return waiting
        return self._chain.coins.get(outpoint)

    def _output_form(self, coin: Coin) -> dict[str, Json]:
        return {
            "value": Amount(coin.output.value),
            "scriptPubKey": self._forms.script(coin.output.script_pubkey),
        }

    def _entry(self, request: Request, formats: Sequence[str] = _FORMATS) -> Entry:
        block_hash = _hash(request.path)
        _expect_format(request, formats)
        entry = self._chain.tree.get(block_hash)
        if entry is None:
            raise _not_found(block_hash)
        if not entry.has_block:
            lost = "not available (pruned data)" if entry.tx_count else "not available (not fully downloaded)"
            raise Refusal(404, f"{display(block_hash)} {lost}")
        return entry


_RESOURCES: dict[str, Resource] = {
    "tx/": Rest.tx,
    "block/notxdetails/": Rest.block_without_details,
    "block/": Rest.block,
    "blockpart/": Rest.block_part,
    "spenttxouts/": Rest.spent_outputs,
    "blockfilter/": Rest.filter,
    "blockfilterheaders/": Rest.filter_headers,
    "headers/": Rest.headers,
    "blockhashbyheight/": Rest.block_hash,
    "chaininfo": Rest.chain_info,
    "deploymentinfo": Rest.deployment_info,
    "mempool/": Rest.mempool,
    "getutxos": Rest.unspent,
}


def _choose(answer: Answer, form: str) -> Any:
    return answer.json if form == "json" else answer.data


def _expect_format(request: Request, formats: Sequence[str] = _FORMATS) -> None:
    if request.form not in formats:
        names = "json" if formats == ("json",) else ", ".join(f".{name}" for name in formats)
        raise Refusal(404, f"output format not found (available: {names})")


def _hash(text: str) -> bytes:
    data = decode_hex(text)
    if data is None or len(data) != 32:
        raise Refusal(400, f"Invalid hash: {text}")
    return data[::-1]


def _not_found(block_hash: bytes) -> Refusal:
    return Refusal(404, f"{display(block_hash)} not found")


def _count(before: Sequence[str], request: Request) -> int:
    """Return how many headers are asked for, in the path or as a parameter. Raises Refusal."""
    text = before[0] if before else request.parameter("count", "5")
    if not _NUMBER.fullmatch(text) or not 1 <= int(text) <= _MOST_HEADERS:
        raise Refusal(400, f"Header count is invalid or out of acceptable range (1-{_MOST_HEADERS}): {text}")
    return int(text)


def _read_outpoints(request: Request) -> tuple[bool, list[OutPoint]]:
    """Return whether the mempool counts, and the outputs asked for, from the path or the body. Raises Refusal."""
    parts = [part for part in request.path.removeprefix("/").split("/") if part]
    if not parts and not request.body:
        raise Refusal(400, "Error: empty request")
    with_mempool = parts[:1] == ["checkmempool"]
    outpoints = []
    for part in parts[with_mempool:]:
        match = _OUTPOINT.fullmatch(part)
        if match is None or int(match[2]) >= 1 << 32:
            raise Refusal(400, "Parse error")
        outpoints.append(OutPoint.make(bytes.fromhex(match[1])[::-1], int(match[2])))
    if request.body and request.form in {"bin", "hex"}:
        if outpoints:
            raise Refusal(400, "Combination of URI scheme inputs and raw post data is not allowed")
        data = decode_hex(request.body.decode("latin-1").strip()) if request.form == "hex" else request.body
        try:
            cursor = Cursor(data or b"")
            with_mempool = cursor.read(1) != b"\0"
            count = cursor.compact_size()
            if count > _MOST_OUTPOINTS:
                raise Refusal(400, f"Error: max outpoints exceeded (max: {_MOST_OUTPOINTS}, tried: {count})")
            outpoints = [OutPoint(cursor.read(36)) for _ in range(count)]
        except EncodingError:
            raise Refusal(400, "Parse error") from None
    elif not outpoints and request.form:
        raise Refusal(400, "Error: empty request")
    _expect_format(request)
    if len(outpoints) > _MOST_OUTPOINTS:
        raise Refusal(400, f"Error: max outpoints exceeded (max: {_MOST_OUTPOINTS}, tried: {len(outpoints)})")
    return with_mempool, outpoints
