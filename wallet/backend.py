"""The wallet's only door to a node: what it asks, and asking it by JSON-RPC."""

import base64
import http.client
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple, Protocol, Self
from urllib.parse import unquote, urlsplit

from altyn.consensus.block import Block, Header
from altyn.consensus.encoding import EncodingError
from altyn.consensus.limits import COIN
from altyn.wallet.errors import NodeError, NodeUnreachable, Rejected

_METHOD_NOT_FOUND, _MISC_ERROR, _INVALID_PARAMETER, _IN_WARMUP = -32601, -1, -8, -28
_REJECTIONS = {-25, -26, -27}
_INDEX_PATIENCE = 60.0
"""Seconds to wait for a node that is still indexing the block it just told of."""


class ChainInfo(NamedTuple):
    """Where the node stands. `chain` is Core's name of the network; `headers` may be ahead of `blocks`."""

    chain: str
    blocks: int
    headers: int
    best_hash: bytes


class BlockFilter(NamedTuple):
    """A basic filter and its header in the filter chain (BIP157, BIP158)."""

    filter: bytes
    header: bytes


class Backend(Protocol):
    """A node, as the wallet needs it. Everything raises NodeError; hashes are 32 bytes in internal order."""

    @property
    def name(self) -> str:
        """What messages call it."""
        ...

    def chain_info(self) -> ChainInfo: ...

    def block_hashes(self, heights: Sequence[int]) -> list[bytes] | None:
        """Return the hashes at these heights; None if the chain has become too short for one of them."""
        ...

    def headers(self, hashes: Sequence[bytes]) -> list[Header]: ...

    def filters(self, hashes: Sequence[bytes]) -> list[BlockFilter]: ...

    def block(self, block_hash: bytes) -> Block: ...

    def broadcast(self, raw: bytes) -> None:
        """Hand over a transaction. Raises Rejected with the node's reason and code."""
        ...

    def estimate_feerate(self, blocks: int) -> int | None:
        """Return satoshis per 1000 vbytes to confirm within `blocks`, None if the node cannot tell."""
        ...

    def min_feerate(self) -> int:
        """Return the least feerate that the node relays, satoshis per 1000 vbytes."""
        ...


@dataclass(frozen=True, slots=True)
class Credentials:
    """A cookie file, or a user and password; the file wins, for a node writes a new one at each start."""

    cookie_file: Path | None = None
    user: str = ""
    password: str = ""

    def __repr__(self) -> str:
        return f"<Credentials {self.cookie_file or self.user}>"

    def token(self) -> str:
        """Return the value of the Authorization header. Raises NodeUnreachable."""
        text = f"{self.user}:{self.password}"
        if self.cookie_file:
            try:
                text = self.cookie_file.read_text().strip()
            except OSError as error:
                raise NodeUnreachable(
                    f"cannot read the cookie file {self.cookie_file} ({error.strerror}): is the node running? "
                    "Name the file with --rpc-cookie, or give --rpc-user"
                ) from None
        return "Basic " + base64.b64encode(text.encode()).decode()


class RpcBackend:
    """A node reached by JSON-RPC over HTTP: Altyn, full or light, or bitcoind with -blockfilterindex=1.

    `timeout` is in seconds, for one request: a light node may download hundreds of filters to answer one.
    """

    def __init__(
        self,
        url: str,
        credentials: Credentials,
        *,
        timeout: float = 300.0,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        parts = urlsplit(url if "//" in url else f"http://{url}")
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise NodeUnreachable(f"{url!r} is no address of a node: use http://HOST:PORT")
        if parts.username is not None:
            credentials = Credentials(None, unquote(parts.username), unquote(parts.password or ""))
        self._secure = parts.scheme == "https"
        self._host = parts.hostname
        try:
            self._port = parts.port
        except ValueError:
            raise NodeUnreachable(f"{url!r} has no valid port: use http://HOST:PORT") from None
        self._path = parts.path or "/"
        self._credentials = credentials
        self._timeout = timeout
        self._monotonic, self._sleep = monotonic, sleep
        self._connection: http.client.HTTPConnection | None = None
        self._token: str | None = None

    @property
    def name(self) -> str:
        port = f":{self._port}" if self._port else ""
        return f"http{'s' if self._secure else ''}://{self._host}{port}"

    def close(self) -> None:
        """Drop the connection; the next call opens another."""
        if self._connection:
            self._connection.close()
            self._connection = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # JSON-RPC

    def call(self, method: str, *params: Any) -> Any:
        """Call one method; numbers with a decimal point come back as Decimal. Raises NodeError."""
        reply = self._exchange({"jsonrpc": "1.0", "id": 0, "method": method, "params": params})
        if not isinstance(reply, dict):
            raise NodeError(f"{self.name} does not answer like a node")
        return self._result(reply)

    def batch(self, method: str, params: Sequence[Sequence[Any]]) -> list[Any]:
        """Call one method many times in one request. Raises NodeError for the first call that failed."""
        if not params:
            return []
        requests = [
            {"jsonrpc": "1.0", "id": number, "method": method, "params": each} for number, each in enumerate(params)
        ]
        replies = self._exchange(requests)
        if isinstance(replies, dict):  # an error that concerns the whole batch
            self._result(replies)
        try:
            by_id = {reply["id"]: reply for reply in replies}
            ordered = [by_id[number] for number in range(len(params))]
        except (TypeError, KeyError):
            raise NodeError(f"{self.name} answers a batch with something else") from None
        return [self._result(reply) for reply in ordered]

    def _result(self, reply: dict[str, Any]) -> Any:
        error = reply.get("error")
        if error is None:
            return reply.get("result")
        if not isinstance(error, dict):
            raise NodeError(f"{self.name} answers with an error: {error}")
        code, message = error.get("code"), str(error.get("message", "")).splitlines() or [""]
        if code == _IN_WARMUP:
            raise NodeUnreachable(f"the node at {self.name} is still starting ({message[0]}): try again shortly", code)
        raise NodeError(message[0], code if isinstance(code, int) else None)

    def _exchange(self, request: Any) -> Any:
        body = json.dumps(request).encode()
        status, answer = self._post(body)
        if status == 401 and self._credentials.cookie_file:  # the node was started anew, and its cookie with it
            self._token = None
            status, answer = self._post(body)
        if status == 401:
            raise NodeUnreachable(
                f"the node at {self.name} refuses the credentials: check --rpc-cookie, or --rpc-user and its password"
            )
        if status == 403:
            raise NodeUnreachable(f"the node at {self.name} does not let this machine in (its -rpcallowip)")
        try:
            return json.loads(answer, parse_float=Decimal)
        except ValueError:
            raise NodeUnreachable(f"{self.name} does not answer like a node (HTTP status {status})") from None

    def _post(self, body: bytes) -> tuple[int, bytes]:
        if self._token is None:
            self._token = self._credentials.token()
        headers = {"Authorization": self._token, "Content-Type": "application/json"}
        fresh = self._connection is None
        try:
            if self._connection is None:
                kind = http.client.HTTPSConnection if self._secure else http.client.HTTPConnection
                self._connection = kind(self._host, self._port, timeout=self._timeout)
            self._connection.request("POST", self._path, body, headers)
            response = self._connection.getresponse()
            return response.status, response.read()
        except TimeoutError:
            self.close()
            raise NodeUnreachable(
                f"the node at {self.name} did not answer within {self._timeout:.0f} s: try again later"
            ) from None
        except (OSError, http.client.HTTPException) as error:
            self.close()
            if not fresh and not isinstance(error, ConnectionRefusedError):
                return self._post(body)  # the node closed a connection that was idle for long
            if isinstance(error, http.client.HTTPException) and not isinstance(error, http.client.RemoteDisconnected):
                # What it said is kept from the terminal.
                raise NodeUnreachable(
                    f"what answers at {self.name} is no RPC server: say where one is with --rpc-url"
                ) from None
            reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
            raise NodeUnreachable(
                f"no node answers at {self.name} ({reason}): start one, or say where it is with --rpc-url"
            ) from None

    # What the wallet asks

    def chain_info(self) -> ChainInfo:
        info = self.call("getblockchaininfo")
        try:
            return ChainInfo(
                str(info["chain"]), int(info["blocks"]), int(info["headers"]), _hash(info["bestblockhash"])
            )
        except (TypeError, KeyError, ValueError):
            raise NodeError(f"{self.name} answers getblockchaininfo with something else") from None

    def block_hashes(self, heights: Sequence[int]) -> list[bytes] | None:
        try:
            return [_hash(text) for text in self.batch("getblockhash", [(height,) for height in heights])]
        except NodeError as error:
            if error.code == _INVALID_PARAMETER:  # "Block height out of range"
                return None
            raise

    def headers(self, hashes: Sequence[bytes]) -> list[Header]:
        answers = self.batch("getblockheader", [(each[::-1].hex(), False) for each in hashes])
        headers = []
        for block_hash, text in zip(hashes, answers, strict=True):
            try:
                header = Header.parse(_bytes(text))
            except EncodingError:
                raise NodeError(f"{self.name} answers getblockheader with something else") from None
            if header.hash != block_hash:
                raise NodeError(f"{self.name} gives another header than that of block {block_hash[::-1].hex()}")
            headers.append(header)
        return headers

    def filters(self, hashes: Sequence[bytes]) -> list[BlockFilter]:
        deadline = self._monotonic() + _INDEX_PATIENCE
        pause = 0.05
        while True:
            try:
                answers = self.batch("getblockfilter", [(each[::-1].hex(), "basic") for each in hashes])
                return [BlockFilter(_bytes(answer["filter"]), _hash(answer["header"])) for answer in answers]
            except NodeError as error:
                if error.code == _MISC_ERROR and "not enabled" in str(error):
                    raise NodeError(
                        f"the node at {self.name} keeps no compact filters: start bitcoind with -blockfilterindex=1"
                    ) from None
                if "being indexed" not in str(error) or self._monotonic() > deadline:
                    raise
            except (TypeError, KeyError):
                raise NodeError(f"{self.name} answers getblockfilter with something else") from None
            self._sleep(pause)
            pause = min(2 * pause, 2.0)

    def block(self, block_hash: bytes) -> Block:
        text = self.call("getblock", block_hash[::-1].hex(), 0)
        try:
            block = Block.parse(_bytes(text))
        except EncodingError:
            raise NodeError(f"{self.name} answers getblock with something else") from None
        if block.hash != block_hash:
            raise NodeError(f"{self.name} gives another block than {block_hash[::-1].hex()}")
        return block

    def broadcast(self, raw: bytes) -> None:
        try:
            self.call("sendrawtransaction", raw.hex())
        except NodeError as error:
            if error.code in _REJECTIONS:
                raise Rejected(str(error), error.code) from None
            raise

    def estimate_feerate(self, blocks: int) -> int | None:
        try:
            estimate = self.call("estimatesmartfee", blocks)
        except NodeError as error:
            if error.code == _METHOD_NOT_FOUND:
                return None
            raise
        feerate = estimate.get("feerate") if isinstance(estimate, dict) else None
        return None if feerate is None else int(Decimal(feerate) * COIN)

    def min_feerate(self) -> int:
        info = self.call("getnetworkinfo")
        try:
            return int(Decimal(info["relayfee"]) * COIN)
        except (TypeError, KeyError, ArithmeticError):
            raise NodeError(f"{self.name} answers getnetworkinfo with something else") from None


def _bytes(text: Any) -> bytes:
    try:
        return bytes.fromhex(text)
    except (TypeError, ValueError):
        raise NodeError("the node answers with something that is not hex") from None


def _hash(text: Any) -> bytes:
    data = _bytes(text)
    if len(data) != 32:
        raise NodeError("the node answers with something that is no hash")
    return data[::-1]
