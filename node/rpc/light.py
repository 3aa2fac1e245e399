"""What only a light node answers, and its way to send transactions."""

from altyn.consensus.errors import ValidationError
from altyn.consensus.transaction import Transaction
from altyn.node.light.errors import LightError
from altyn.node.light.node import LightNode
from altyn.node.rpc.errors import CLIENT_NOT_CONNECTED, VERIFY_REJECTED, RpcError
from altyn.node.rpc.json_forms import display
from altyn.node.rpc.method import Json, method
from altyn.node.rpc.sources import PeerBlocks


class PeerGate:
    """Hands transactions to peers; whether they accept them is not told to a light node."""

    def __init__(self, node: LightNode) -> None:
        self._node = node

    async def send(self, tx: Transaction, max_feerate: int) -> None:
        """Offer `tx` to the peers, until one takes it; nobody here knows its feerate. Raises RpcError."""
        del max_feerate
        try:
            await self._node.broadcast(tx)
        except ValidationError as error:
            raise RpcError(VERIFY_REJECTED, str(error)) from error
        except LightError as error:
            raise RpcError(CLIENT_NOT_CONNECTED, str(error)) from error


class LightMethods:
    """What a light node checked by itself."""

    def __init__(self, node: LightNode, blocks: PeerBlocks) -> None:
        self._node = node
        self._blocks = blocks

    @method(
        "Blockchain",
        result="""
        {
          "headers" : n,            (numeric) height of the checked headers with the most work
          "bestblockhash" : "hex",  (string) the last of them
          "filter_headers" : n,     (numeric) height up to which the peers' filter headers agree
          "filters_checked" : n,    (numeric) filters whose hash matched the agreed chain, since the start
          "blocks_fetched" : n      (numeric) blocks that were fetched and checked, since the start
        }""",
    )
    def getlightinfo(self) -> Json:
        """Returns what this light node has checked."""
        node = self._node
        return {
            "headers": node.chain.tip.height,
            "bestblockhash": display(node.chain.tip.hash),
            "filter_headers": node.filters.header_height,
            "filters_checked": node.filters.checked,
            "blocks_fetched": self._blocks.fetched,
        }
