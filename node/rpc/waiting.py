"""Methods that answer when the chain has moved."""

import asyncio
from collections.abc import Callable
from typing import Annotated

from altyn.node.chain.chain import Chain
from altyn.node.chain.tree import Entry
from altyn.node.events import TipChanged
from altyn.node.rpc.blockchain import EXAMPLE_HASH
from altyn.node.rpc.errors import MISC_ERROR, RpcError
from altyn.node.rpc.json_forms import display
from altyn.node.rpc.method import HIDDEN, Hash, Json, Number, method

_RESULT = '{ "hash" : "hex", "height" : n }    the tip of the active chain'
Timeout = Annotated[int, Number("Time in milliseconds to wait for a response. 0 indicates no timeout.")]


class WaitingMethods:
    """Waits for tips of the active chain."""

    def __init__(self, chain: Chain) -> None:
        self._chain = chain

    @method(HIDDEN, result=_RESULT, example=("", "1000"))
    async def waitfornewblock(self, timeout: Timeout = 0) -> Json:  # noqa: ASYNC109 - Core's argument
        """Waits for any new block and returns useful info about it, or the current tip on timeout."""
        before = self._chain.tip
        return await self._wait(lambda tip: tip is not before, timeout)

    @method(HIDDEN, result=_RESULT, example=f"{EXAMPLE_HASH} 1000")
    async def waitforblock(
        self,
        blockhash: Annotated[bytes, Hash("Block hash to wait for.")],
        timeout: Timeout = 0,  # noqa: ASYNC109 - as above
    ) -> Json:
        """Waits for a specific new block and returns useful info about it, or the current tip on timeout."""
        return await self._wait(lambda tip: tip.hash == blockhash, timeout)

    @method(HIDDEN, result=_RESULT, example="100 1000")
    async def waitforblockheight(
        self,
        height: Annotated[int, Number("Block height to wait for.")],
        timeout: Timeout = 0,  # noqa: ASYNC109 - as above
    ) -> Json:
        """Waits for (at least) block height and returns the height and hash of the current tip."""
        return await self._wait(lambda tip: tip.height >= height, timeout)

    async def _wait(self, is_awaited: Callable[[Entry], bool], milliseconds: int) -> Json:
        if milliseconds < 0:
            raise RpcError(MISC_ERROR, "Negative timeout")
        moved = asyncio.Event()

        def note(event: object) -> None:
            if isinstance(event, TipChanged):
                moved.set()

        unsubscribe = self._chain.events.subscribe(note)
        try:
            async with asyncio.timeout(milliseconds / 1000 if milliseconds else None):
                while not is_awaited(self._chain.tip):
                    await moved.wait()
                    moved.clear()
        except TimeoutError:
            pass  # then it is the tip there is
        finally:
            unsubscribe()
        return {"hash": display(self._chain.tip.hash), "height": self._chain.tip.height}
