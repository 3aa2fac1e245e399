"""Methods that show transactions, scripts and addresses."""

from collections.abc import Sequence
from typing import Annotated, Protocol

from altyn.consensus.hashes import hash160
from altyn.consensus.limits import MAX_BLOCK_SERIALIZED_SIZE
from altyn.consensus.script.addresses import AddressError, decode_address, encode_address
from altyn.consensus.script.opcodes import OP_CHECKSIGADD, OP_SUCCESSES, script_operations
from altyn.consensus.script.templates import (
    Template,
    classify,
    is_unspendable,
    p2sh_of,
    p2wpkh,
    p2wsh_of,
    witness_program,
)
from altyn.consensus.transaction import Coin, Transaction
from altyn.node.chain.chain import Chain
from altyn.node.chain.tree import Entry
from altyn.node.mempool.pool import Mempool
from altyn.node.rpc.blockchain import BlockSource
from altyn.node.rpc.build import Inputs, LockTime, OutputsArgument, Replaceable, build_transaction
from altyn.node.rpc.errors import (
    DESERIALIZATION_ERROR,
    INTERNAL_ERROR,
    INVALID_ADDRESS_OR_KEY,
    INVALID_PARAMETER,
    MISC_ERROR,
    RpcError,
)
from altyn.node.rpc.json_forms import Forms, display
from altyn.node.rpc.method import Flag, Hash, Json, Text, Verbosity, hex_from_json, method
from altyn.node.rpc.transactions import decode_transaction, has_valid_operations
from altyn.wallet.formats.signing import Keyring

_WRAPPABLE = {
    "multisig",
    "nonstandard",
    "pubkey",
    "pubkeyhash",
    "witness_v0_keyhash",
    "witness_v0_scripthash",
}
_COMPRESSED_KEY_SIZE = 33
_UNDO_UNREADABLE = (
    "Undo data expected but can't be read. This could be due to disk corruption or a conflict with a pruning event."
)


class TransactionLookup(Protocol):
    """The index of all transactions (-txindex)."""

    async def find(self, txid: bytes) -> tuple[Transaction, Entry] | None:
        """Return a confirmed transaction and the block it is in."""
        ...


class RawTransactionMethods:
    """Transactions by id and by their hex; scripts and addresses."""

    def __init__(
        self,
        chain: Chain,
        mempool: Mempool,
        source: BlockSource,
        forms: Forms,
        index: TransactionLookup | None,
    ) -> None:
        """`index` is None unless -txindex."""
        self._chain = chain
        self._mempool = mempool
        self._source = source
        self._forms = forms
        self._index = index

    @method(
        "Rawtransactions",
        result="""
        verbosity 0: the serialized transaction in hex
        verbosity 1: an object: in_active_chain (if blockhash was given), txid, hash, version, size, vsize, weight,
          locktime, vin, vout, hex, and if it is in a block: blockhash, confirmations, time, blocktime
        verbosity 2: and fee, and each input has the output it spends (prevout)""",
        example=('"mytxid"', '"mytxid" 1 "myblockhash"'),
    )
    async def getrawtransaction(
        self,
        txid: Annotated[bytes, Hash("The transaction id", called="parameter 1")],
        verbosity: Annotated[
            int,
            Verbosity(
                "0 for hex-encoded data, 1 for a JSON object, and 2 for JSON object with fee and prevout",
                alias="verbose",
            ),
        ] = 0,
        blockhash: Annotated[
            bytes | None, Hash("The block in which to look for the transaction", called="parameter 3")
        ] = None,
    ) -> Json:
        """Returns a transaction of the mempool, of the given block, or with -txindex of any block."""
        chain = self._chain
        if txid == chain.network.genesis.header.merkle_root:
            raise RpcError(
                INVALID_ADDRESS_OR_KEY,
                "The genesis block coinbase is not considered an ordinary transaction and cannot be retrieved",
            )
        given = None
        if blockhash is not None:
            given = chain.tree.get(blockhash)
            if given is None:
                raise RpcError(INVALID_ADDRESS_OR_KEY, "Block hash not found")
        tx, entry = await self._find(txid, given)
        if verbosity <= 0:
            return tx.raw.hex()
        answer: dict[str, Json] = {}
        if given is not None:
            answer["in_active_chain"] = chain.is_active(given)
        spent = await self._spent_by(tx, entry) if verbosity > 1 else None
        answer |= self._forms.transaction(tx, spent=spent, with_prevouts=True)
        if entry is not None:
            answer["blockhash"] = display(entry.hash)
            if chain.is_active(entry):
                answer["confirmations"] = chain.tip.height - entry.height + 1
                answer["time"] = answer["blocktime"] = entry.time
            else:
                answer["confirmations"] = 0
        return answer

    async def _find(self, txid: bytes, given: Entry | None) -> tuple[Transaction, Entry | None]:
        if given is not None:
            if not given.has_block:
                raise RpcError(MISC_ERROR, "Block not available")
            for tx in (await self._source.block(given)).transactions:
                if tx.txid == txid:
                    return tx, given
            missing = "No such transaction found in the provided block"
        else:
            waiting = self._mempool.get(txid)
            if waiting is not None:
                return waiting.tx, None
            found = await self._index.find(txid) if self._index is not None else None
            if found is not None:
                return found
            missing = (
                "No such mempool transaction. Use -txindex or provide a block hash to enable blockchain transaction "
                "queries"
                if self._index is None
                else "No such mempool or blockchain transaction"
            )
        raise RpcError(INVALID_ADDRESS_OR_KEY, f"{missing}. Use gettransaction for wallet transactions.")

    async def _spent_by(self, tx: Transaction, entry: Entry | None) -> Sequence[Coin] | None:
        """Return the coins that a transaction of a block spent."""
        if entry is None or tx.is_coinbase:
            return None
        spent = await self._source.spent(entry)
        if spent is None and entry.undo_position is not None:
            raise RpcError(INTERNAL_ERROR, _UNDO_UNREADABLE)
        if spent is None:
            return None
        block = await self._source.block(entry)
        return next(coins for each, coins in zip(block.transactions, spent, strict=True) if each.txid == tx.txid)

    @method(
        "Rawtransactions",
        result='"hex"    (string) hex string of the transaction',
        example=(
            '\'[{"txid":"myid","vout":0}]\' \'[{"address":0.01}]\'',
            '\'[{"txid":"myid","vout":0}]\' \'[{"data":"00010203"}]\'',
        ),
        pure=True,
    )
    def createrawtransaction(
        self, inputs: Inputs, outputs: OutputsArgument, locktime: LockTime = 0, replaceable: Replaceable = None
    ) -> str:
        """Create a transaction spending the given inputs and creating new outputs; it is neither signed nor sent."""
        return build_transaction(inputs, outputs, locktime, replaceable, self._forms.network).raw.hex()

    @method(
        "Rawtransactions",
        result="An object: txid, hash, version, size, vsize, weight, locktime, vin, vout",
        example='"hexstring"',
        pure=True,
    )
    def decoderawtransaction(
        self,
        hexstring: Annotated[str, Text("The transaction hex string")],
        iswitness: Annotated[
            bool | None,
            Flag(
                "Whether the transaction hex is a serialized witness transaction. "
                "If iswitness is not present, heuristic tests will be used in decoding."
            ),
        ] = None,
    ) -> Json:
        """Return a JSON object representing the serialized, hex-encoded transaction."""
        tx = decode_transaction(hexstring, try_no_witness=iswitness is not True, try_witness=iswitness is not False)
        if tx is None:
            raise RpcError(DESERIALIZATION_ERROR, "TX decode failed")
        return self._forms.transaction(tx, with_hex=False)

    @method(
        "Rawtransactions",
        result="""
        An object: asm, desc, address, type, p2sh (address of a P2SH script wrapping this one) and
        segwit (the witness script wrapping this one: asm, hex, type, address, desc, p2sh-segwit)""",
        example='"hexstring"',
        pure=True,
    )
    def decodescript(self, hexstring: Annotated[str, Text("the hex-encoded script")]) -> Json:
        """Decode a hex-encoded script, which may be as long as a block can hold."""
        script = hex_from_json(hexstring, "argument")
        if len(script) > MAX_BLOCK_SERIALIZED_SIZE:
            raise RpcError(INVALID_PARAMETER, f"Script is longer than a block, {MAX_BLOCK_SERIALIZED_SIZE} bytes")
        return decode_script(script, self._forms)

    @method(
        "Util",
        result="""
        An object: isvalid, and if it is: address, scriptPubKey, isscript, iswitness, witness_version,
        witness_program; if it is not: error, error_locations (places of wrong characters)""",
        example='"bc1q09vm5lfy0j5reeulh4x5752q25uqqvz34hufdl"',
    )
    def validateaddress(self, address: Annotated[str, Text("The bitcoin address to validate")]) -> Json:
        """Return information about the given bitcoin address."""
        try:
            script = decode_address(address, self._forms.network)
        except AddressError as error:
            return {"isvalid": False, "error_locations": list(error.locations), "error": str(error)}
        answer: dict[str, Json] = {
            "isvalid": True,
            "address": encode_address(script, self._forms.network),
            "scriptPubKey": script.hex(),
        }
        return answer | describe_address(script)


def decode_script(script: bytes, forms: Forms) -> dict[str, Json]:
    """Show a script, and the addresses that it would have inside P2SH and P2WSH (Core: decodescript)."""
    answer = forms.script(script, with_hex=False)
    template = classify(script)
    if not _can_wrap(script, template):
        return answer
    answer["p2sh"] = encode_address(p2sh_of(script), forms.network)
    wrapped = _witness_form(script, template)
    if wrapped is not None:
        keyring = Keyring()
        keyring.add_script(script)
        segwit = forms.script(wrapped, keyring=keyring)
        segwit["p2sh-segwit"] = encode_address(p2sh_of(wrapped), forms.network)
        answer["segwit"] = segwit
    return answer


def describe_address(script: bytes) -> dict[str, Json]:
    """Return what an address says of its script (Core: DescribeAddress)."""
    kind = classify(script).kind
    answer: dict[str, Json] = {}
    if kind != "witness_unknown":
        answer["isscript"] = kind not in {"pubkeyhash", "witness_v0_keyhash"}
    program = witness_program(script)
    answer["iswitness"] = program is not None
    if program is not None and kind != "anchor":
        answer["witness_version"], answer["witness_program"] = program[0], program[1].hex()
    return answer


def _can_wrap(script: bytes, template: Template) -> bool:
    """Whether a script makes sense inside P2SH (Core: decodescript)."""
    if template.kind not in _WRAPPABLE or is_unspendable(script) or not has_valid_operations(script):
        return False
    return not any(opcode == OP_CHECKSIGADD or opcode in OP_SUCCESSES for opcode, _, _ in script_operations(script))


def _witness_form(script: bytes, template: Template) -> bytes | None:
    """Return the witness output that a script can be wrapped in, None if it cannot."""
    match template.kind:
        case "multisig" | "pubkey" if any(len(key) != _COMPRESSED_KEY_SIZE for key in template.data):
            return None
        case "pubkey":
            return p2wpkh(hash160(template.data[0]))
        case "pubkeyhash":
            return p2wpkh(template.data[0])
        case "multisig" | "nonstandard":
            return p2wsh_of(script)
    return None
