"""Work from another node, over a `getblocktemplate` that is passed in."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from altyn.consensus.block import Block
from altyn.consensus.errors import ValidationError
from altyn.consensus.networks import Network
from altyn.consensus.transaction import Transaction
from altyn.node.mining.template import BlockTemplate, TemplateTransaction

Call = Callable[[str, list[Any]], Awaitable[Any]]
"""Calls an RPC method of the node."""


class RemoteTemplates:
    """The templates of a node that is reached by RPC, ours or bitcoind (BIP22, BIP23)."""

    def __init__(self, network: Network, call: Call) -> None:
        self._network = network
        self._call = call
        self._tip = b""

    @property
    def network(self) -> Network:
        return self._network

    async def template(self, script_pubkey: bytes) -> BlockTemplate:
        """Return a template of the next block, which pays `script_pubkey`. Raises what the call raises."""
        rules = ["segwit", "signet"] if self._network.signet_challenge is not None else ["segwit"]
        template = parse_template(await self._call("getblocktemplate", [{"rules": rules}]), script_pubkey)
        self._tip = template.previous_hash
        return template

    async def refresh(self) -> None:
        """Learn the node's tip, so that `is_current` can tell outdated work."""
        self._tip = bytes.fromhex(await self._call("getbestblockhash", []))[::-1]

    def is_current(self, template: BlockTemplate) -> bool:
        """Tell whether the node still stood at the template's parent when it was last asked."""
        return self._tip == template.previous_hash

    def check(self, block: Block) -> None:
        """Leave the verdict to the node."""

    async def submit(self, block: Block) -> None:
        """Hand in a finished block. Raises ValidationError with the node's reason."""
        reason = await self._call("submitblock", [block.raw.hex()])
        if reason is not None:
            raise ValidationError(str(reason))


def parse_template(form: Mapping[str, Any], script_pubkey: bytes) -> BlockTemplate:
    """Read the answer of `getblocktemplate`. Raises KeyError, ValueError if it is none."""
    commitment = form.get("default_witness_commitment")
    return BlockTemplate(
        previous_hash=bytes.fromhex(form["previousblockhash"])[::-1],
        height=int(form["height"]),
        version=int(form["version"]),
        bits=int(form["bits"], 16),
        time=int(form["curtime"]),
        min_time=int(form["mintime"]),
        transactions=tuple(
            TemplateTransaction(
                Transaction.parse(bytes.fromhex(each["data"])),
                int(each["fee"]),
                int(each["sigops"]),
                int(each["weight"]),
                tuple(each["depends"]),
            )
            for each in form["transactions"]
        ),
        coinbase_value=int(form["coinbasevalue"]),
        script_pubkey=script_pubkey,
        witness_commitment=bytes.fromhex(commitment) if commitment else None,
    )
