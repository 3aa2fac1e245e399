"""Methods that have this node find blocks itself, for test chains."""

from typing import Annotated

from altyn.consensus.errors import ValidationError
from altyn.consensus.script.addresses import AddressError, decode_address
from altyn.consensus.secp256k1 import Secp256k1
from altyn.consensus.transaction import Transaction
from altyn.node.mempool.pool import Mempool
from altyn.node.mining.miner import DEFAULT_MAX_TRIES, Miner
from altyn.node.mining.source import ChainTemplates
from altyn.node.rpc.errors import (
    DESERIALIZATION_ERROR,
    INTERNAL_ERROR,
    INVALID_ADDRESS_OR_KEY,
    INVALID_PARAMETER,
    METHOD_NOT_FOUND,
    MISC_ERROR,
    VERIFY_ERROR,
    RpcError,
)
from altyn.node.rpc.json_forms import display
from altyn.node.rpc.method import HIDDEN, Array, Flag, Json, Number, Text, decode_hex, expect_type, method
from altyn.node.rpc.transactions import decode_transaction
from altyn.wallet.formats.descriptors import Descriptor, DescriptorError, parse_all

_GENERATE_IS_GONE = "generate\n\nhas been replaced by the -generate cli option. Refer to -help for more information.\n"
_HASHES = '[ "hex", ... ]    (json array) hashes of blocks generated'


class GenerateMethods:
    """The miner of a full node."""

    def __init__(self, mempool: Mempool, templates: ChainTemplates, miner: Miner, secp: Secp256k1) -> None:
        self._mempool = mempool
        self._templates = templates
        self._miner = miner
        self._secp = secp
        self._network = templates.network

    @method(HIDDEN, result="")
    def generate(self) -> None:
        """has been replaced by the -generate cli option. Refer to -help for more information."""
        raise RpcError(METHOD_NOT_FOUND, _GENERATE_IS_GONE)

    @method(HIDDEN, result=_HASHES, example='11 "myaddress"')
    async def generatetoaddress(
        self,
        nblocks: Annotated[int, Number("How many blocks are generated.")],
        address: Annotated[str, Text("The address to send the newly generated bitcoin to.")],
        maxtries: Annotated[int, Number("How many iterations to try.", wide=True)] = DEFAULT_MAX_TRIES,
    ) -> list[str]:
        """Mine to a specified address and return the block hashes."""
        try:
            script_pubkey = decode_address(address, self._network)
        except AddressError as error:
            raise RpcError(INVALID_ADDRESS_OR_KEY, "Error: Invalid address") from error
        return await self._generate(nblocks, script_pubkey, maxtries)

    @method(HIDDEN, result=_HASHES, example='11 "mydesc"')
    async def generatetodescriptor(
        self,
        num_blocks: Annotated[int, Number("How many blocks are generated.")],
        descriptor: Annotated[str, Text("The descriptor to send the newly generated bitcoin to.")],
        maxtries: Annotated[int, Number("How many iterations to try.", wide=True)] = DEFAULT_MAX_TRIES,
    ) -> list[str]:
        """Mine to a specified descriptor and return the block hashes."""
        try:
            parsed = parse_all(descriptor, self._network, self._secp)
        except DescriptorError as error:
            raise RpcError(INVALID_ADDRESS_OR_KEY, str(error)) from error
        return await self._generate(num_blocks, _single_script(parsed), maxtries)

    async def _generate(self, count: int, script_pubkey: bytes, max_tries: int) -> list[str]:
        try:
            found = await self._miner.generate(count, script_pubkey, max_tries)
        except ValidationError as error:
            raise RpcError(INTERNAL_ERROR, f"ProcessNewBlock, block not accepted: {error}") from error
        return [display(block_hash) for block_hash in found]

    @method(
        HIDDEN,
        result="""
        {
          "hash" : "hex",    (string) hash of generated block
          "hex" : "hex"      (string, optional) hex of generated block, only present when submit=false
        }""",
        example='"myaddress" \'["rawtx", "mempool_txid"]\'',
    )
    async def generateblock(
        self,
        output: Annotated[str, Text("The address or descriptor to send the newly generated bitcoin to.")],
        transactions: Annotated[
            list[Json],
            Array(
                "An array of hex strings which are either txids or raw transactions.",
                shown='["rawtx/txid",...]',
                details="""
                Txids must reference transactions currently in the mempool.
                All transactions must be valid and in valid order, otherwise the block will be rejected.""",
            ),
        ],
        submit: Annotated[
            bool, Flag("Whether to submit the block before the RPC call returns or to return it as hex.")
        ] = True,
    ) -> Json:
        """Mine a set of ordered transactions to a specified address or descriptor and return the block hash."""
        script_pubkey = self._output_script(output)
        chosen = [self._transaction(expect_type(each, "string")) for each in transactions]
        try:
            template = await self._templates.template_of(script_pubkey, chosen)
        except ValidationError as error:
            raise RpcError(VERIFY_ERROR, f"TestBlockValidity failed: {error}") from error
        block, _ = await self._miner.solve(template, DEFAULT_MAX_TRIES)
        if block is None:
            raise RpcError(MISC_ERROR, "Failed to make block.")
        if not submit:
            return {"hash": display(block.hash), "hex": block.raw.hex()}
        try:
            await self._templates.submit(block)
        except ValidationError as error:
            raise RpcError(INTERNAL_ERROR, f"ProcessNewBlock, block not accepted: {error}") from error
        return {"hash": display(block.hash)}

    def _output_script(self, output: str) -> bytes:
        try:
            return _single_script(parse_all(output, self._network, self._secp))
        except DescriptorError:
            pass  # then it is an address
        try:
            return decode_address(output, self._network)
        except AddressError as error:
            raise RpcError(INVALID_ADDRESS_OR_KEY, "Error: Invalid address or descriptor") from error

    def _transaction(self, text: str) -> Transaction:
        txid = decode_hex(text)
        if txid is not None and len(txid) == 32:
            waiting = self._mempool.get(txid[::-1])
            if waiting is None:
                raise RpcError(INVALID_ADDRESS_OR_KEY, f"Transaction {text} not in mempool.")
            return waiting.tx
        tx = decode_transaction(text)
        if tx is None:
            raise RpcError(
                DESERIALIZATION_ERROR,
                f"Transaction decode failed for {text}. Make sure the tx has at least one input.",
            )
        return tx


def _single_script(descriptors: tuple[Descriptor, ...]) -> bytes:
    """Return the output script that a descriptor stands for (Core: getScriptFromDescriptor). Raises RpcError."""
    descriptor, *others = descriptors
    if others:
        raise RpcError(INVALID_PARAMETER, "Multipath descriptor not accepted")
    if descriptor.is_range:
        raise RpcError(INVALID_PARAMETER, "Ranged descriptor not accepted. Maybe pass through deriveaddresses first?")
    try:
        scripts = descriptor.expand().scripts
    except DescriptorError as error:
        raise RpcError(INVALID_ADDRESS_OR_KEY, str(error)) from error
    return scripts[len(scripts) // 2]  # of combo: P2WPKH of four, P2PKH of two
