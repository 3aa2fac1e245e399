"""Methods that sign and join transactions with keys that come with the call."""

from collections.abc import Callable, Iterable, Sequence
from typing import Annotated

from altyn.consensus.hashes import hash160
from altyn.consensus.limits import MAX_MONEY
from altyn.consensus.networks import Network
from altyn.consensus.script.addresses import AddressError, decode_wif
from altyn.consensus.script.errors import ScriptErrorCode
from altyn.consensus.script.sighash import SIGHASH_DEFAULT, SIGHASH_NAMES, SIGHASH_SINGLE, SighashCache
from altyn.consensus.script.templates import is_p2sh, p2sh_of, p2wpkh, p2wsh_of, witness_program
from altyn.consensus.script.text import to_asm
from altyn.consensus.secp256k1 import Secp256k1
from altyn.consensus.transaction import OutPoint, Transaction, TxIn, TxOut
from altyn.node.rpc.amounts import amount_from_json
from altyn.node.rpc.errors import (
    DESERIALIZATION_ERROR,
    INVALID_ADDRESS_OR_KEY,
    INVALID_PARAMETER,
    TYPE_ERROR,
    VERIFY_ERROR,
    RpcError,
)
from altyn.node.rpc.json_forms import display
from altyn.node.rpc.method import (
    Array,
    Json,
    Text,
    expect_fields,
    expect_type,
    hash_from_json,
    hex_from_json,
    integer,
    method,
)
from altyn.node.rpc.transactions import decode_transaction
from altyn.wallet.formats.signing import InputData, InputSigner, Keyring, Solution, data_from_input, solve

_HASH_TYPES = {"DEFAULT": SIGHASH_DEFAULT} | {name: number for number, name in SIGHASH_NAMES.items()}
_BETTER_ERRORS = {
    ScriptErrorCode.INVALID_STACK_OPERATION.value: "Unable to sign input, invalid stack size (possibly missing key)",
    ScriptErrorCode.NULLFAIL.value: ("CHECK(MULTI)SIG failing with non-zero signature (possibly need more signatures)"),
}
_NO_KEYS = Keyring()

FindOutputs = Callable[[Iterable[OutPoint]], dict[OutPoint, TxOut]]
"""Finds those of some outputs that are unspent, in the chain or in the mempool."""

SighashType = Annotated[
    str, Text(f"The signature hash type; for taproot DEFAULT, otherwise ALL: one of {', '.join(_HASH_TYPES)}")
]


def hash_type_from_name(name: str) -> int:
    """Return the number of a signature hash type (Core: SighashFromStr). Raises RpcError -8."""
    if name not in _HASH_TYPES:
        raise RpcError(INVALID_PARAMETER, f"'{name}' is not a valid sighash parameter.")
    return _HASH_TYPES[name]


class SigningMethods:
    """Signatures for transactions in hex."""

    def __init__(self, network: Network, secp: Secp256k1, find_outputs: FindOutputs) -> None:
        self._network = network
        self._secp = secp
        self._find_outputs = find_outputs

    @method(
        "Rawtransactions",
        result="""
        {
          "hex" : "hex",              (string) The hex-encoded raw transaction with signature(s)
          "complete" : true|false,    (boolean) If the transaction has a complete set of signatures
          "errors" : [                (json array, optional) Script verification errors (if there are any)
            {
              "txid" : "hex",         (string) The hash of the referenced, previous transaction
              "vout" : n,             (numeric) The index of the output to spent and used as input
              "witness" : [ "hex", ... ],
              "scriptSig" : "hex",    (string) The hex-encoded signature script
              "sequence" : n,         (numeric) Script sequence number
              "error" : "str"         (string) Verification or signing error related to the input
            }, ...
          ]
        }""",
        example='"myhex" \'["key1","key2"]\'',
    )
    def signrawtransactionwithkey(
        self,
        hexstring: Annotated[str, Text("The transaction hex string")],
        privkeys: Annotated[
            list[Json], Array("The base58-encoded private keys for signing", shown='["privatekey",...]')
        ],
        prevtxs: Annotated[
            list[Json] | None,
            Array(
                "The previous dependent transaction outputs",
                shown='[{"txid":"hex","vout":n,"scriptPubKey":"hex","redeemScript":"hex","witnessScript":"hex",'
                '"amount":amount},...]',
                details="""
                txid (string, required): The transaction id
                vout (numeric, required): The output number
                scriptPubKey (string, required): output script
                redeemScript (string): redeem script (required for P2SH)
                witnessScript (string): witness script (required for P2WSH or P2SH-P2WSH)
                amount (numeric or string): the amount spent (required for Segwit inputs)""",
            ),
        ] = None,
        sighashtype: SighashType = "DEFAULT",
    ) -> Json:
        """Sign inputs for raw transaction (serialized, hex-encoded) with the given keys, and no others."""
        tx = decode_transaction(hexstring, try_no_witness=True)
        if tx is None:
            raise RpcError(DESERIALIZATION_ERROR, "TX decode failed. Make sure the tx has at least one input.")
        keyring = Keyring()
        for each in privkeys:
            try:
                secret, compressed = decode_wif(expect_type(each, "string"), self._network)
            except AddressError:
                raise RpcError(INVALID_ADDRESS_OR_KEY, "Invalid private key") from None
            keyring.add_secret(secret, self._secp, compressed=compressed)
            if compressed:  # P2SH may wrap its P2WPKH script
                keyring.add_script(p2wpkh(hash160(self._secp.public_key(secret))))
        spent = self._find_outputs(txin.prevout for txin in tx.inputs)
        for each in prevtxs or []:
            _add_previous_output(each, spent, keyring)
        signed, errors = _sign_all(tx, spent, keyring, hash_type_from_name(sighashtype), self._secp)
        answer: dict[str, Json] = {"hex": signed.raw.hex(), "complete": not errors}
        if errors:
            answer["errors"] = [_error_form(signed.inputs[index], error) for index, error in errors]
        return answer

    @method(
        "Rawtransactions",
        result='"hex"    (string) The hex-encoded raw transaction with signature(s)',
        example='\'["myhex1", "myhex2", "myhex3"]\'',
    )
    def combinerawtransaction(
        self,
        txs: Annotated[
            list[Json], Array("The hex strings of partially signed transactions", shown='["hexstring",...]')
        ],
    ) -> str:
        """Combine multiple partially signed transactions into one transaction."""
        variants = []
        for number, text in enumerate(txs):
            tx = decode_transaction(expect_type(text, "string"), try_no_witness=True)
            if tx is None:
                raise RpcError(
                    DESERIALIZATION_ERROR,
                    f"TX decode failed for tx {number}. Make sure the tx has at least one input.",
                )
            variants.append(tx)
        if not variants:
            raise RpcError(DESERIALIZATION_ERROR, "Missing transactions")
        first = variants[0]
        spent = self._find_outputs(txin.prevout for txin in first.inputs)
        if any(txin.prevout not in spent for txin in first.inputs):
            raise RpcError(VERIFY_ERROR, "Input not found or already spent")
        outputs = [spent[txin.prevout] for txin in first.inputs]
        cache = SighashCache(first, outputs)
        inputs = []
        for index, txin in enumerate(first.inputs):
            signer = InputSigner(cache, index, outputs[index], self._secp)
            others = [tx.inputs[index] for tx in variants if index < len(tx.inputs)]
            solution = _joined(others, outputs[index].script_pubkey, signer)
            inputs.append(txin._replace(script_sig=solution.script_sig, witness=solution.witness))
        return Transaction(first.version, inputs, first.outputs, first.lock_time).raw.hex()


def _add_previous_output(value: Json, spent: dict[OutPoint, TxOut], keyring: Keyring) -> None:
    """Read one of `prevtxs` (Core: ParsePrevouts). Raises RpcError."""
    if not isinstance(value, dict):
        raise RpcError(DESERIALIZATION_ERROR, 'expected object with {"txid\'","vout","scriptPubKey"}')
    expect_fields(value, txid="string", vout="number", scriptPubKey="string")
    txid = hash_from_json(value["txid"], "txid")
    vout = integer(value["vout"])
    if vout < 0:
        raise RpcError(DESERIALIZATION_ERROR, "vout cannot be negative")
    outpoint = OutPoint.make(txid, vout)
    script_pubkey = hex_from_json(value["scriptPubKey"], "scriptPubKey")
    known = spent.get(outpoint)
    if known is not None and known.script_pubkey != script_pubkey:
        raise RpcError(
            DESERIALIZATION_ERROR,
            f"Previous output scriptPubKey mismatch:\n{to_asm(known.script_pubkey)}\nvs:\n{to_asm(script_pubkey)}",
        )
    amount = amount_from_json(value["amount"]) if "amount" in value else MAX_MONEY  # stands for an unknown one
    spent[outpoint] = TxOut(amount, script_pubkey)
    is_witness_script_hash = (witness_program(script_pubkey) or (1, b""))[0] == 0 and len(script_pubkey) == 34
    if not (is_p2sh(script_pubkey) or is_witness_script_hash):
        return
    expect_fields(value, optional=True, redeemScript="string", witnessScript="string")
    redeem_script, witness_script = (
        hex_from_json(value[name], name) if value.get(name) is not None else None
        for name in ("redeemScript", "witnessScript")
    )
    script = redeem_script if witness_script is None else witness_script
    if script is None:
        raise RpcError(INVALID_PARAMETER, "Missing redeemScript/witnessScript")
    wrapped = p2wsh_of(script)
    if redeem_script not in {None, script, wrapped}:
        raise RpcError(INVALID_PARAMETER, "redeemScript does not correspond to witnessScript")
    if script_pubkey not in {p2sh_of(script), p2sh_of(wrapped), wrapped}:
        raise RpcError(INVALID_PARAMETER, "redeemScript/witnessScript does not match scriptPubKey")
    keyring.add_script(script)
    keyring.add_script(wrapped)


def _sign_all(
    tx: Transaction, spent: dict[OutPoint, TxOut], keyring: Keyring, hash_type: int, secp: Secp256k1
) -> tuple[Transaction, list[tuple[int, str]]]:
    """Return the transaction with what could be signed, and what is wrong with inputs (Core: SignTransaction)."""
    found = [spent.get(txin.prevout) for txin in tx.inputs]
    cache = SighashCache(tx, [output for output in found if output is not None])
    inputs: list[TxIn] = []
    errors: list[tuple[int, str]] = []
    for index, (txin, output) in enumerate(zip(tx.inputs, found, strict=True)):
        if output is None:
            errors.append((index, "Input not found or already spent"))
            inputs.append(txin)
            continue
        signer = InputSigner(cache, index, output, secp, hash_type)
        data, solution = data_from_input(txin, output.script_pubkey, signer)
        if not solution.is_complete:
            may_sign = hash_type & 0x1F != SIGHASH_SINGLE or index < len(tx.outputs)
            solution = solve(output.script_pubkey, data, keyring, signer, may_sign=may_sign)
        inputs.append(txin._replace(script_sig=solution.script_sig, witness=solution.witness))
        if output.value == MAX_MONEY and solution.witness:
            shown = f"CTxOut(nValue=21000000.00000000, scriptPubKey={output.script_pubkey.hex()[:30]})"
            raise RpcError(TYPE_ERROR, f"Missing amount for {shown}")
        error = "" if solution.is_complete else signer.error(solution.script_sig, solution.witness)
        if error:
            errors.append((index, _BETTER_ERRORS.get(error, error)))
    return Transaction(tx.version, inputs, tx.outputs, tx.lock_time), errors


def _joined(inputs: Sequence[TxIn], script_pubkey: bytes, signer: InputSigner) -> Solution:
    """Return what the inputs of several transactions make together (Core: combinerawtransaction)."""
    together = InputData()
    for txin in inputs:
        data, solution = data_from_input(txin, script_pubkey, signer)
        if solution.is_complete:
            return solution
        together.signatures |= data.signatures
        together.redeem_script = together.redeem_script or data.redeem_script
        together.witness_script = together.witness_script or data.witness_script
    return solve(script_pubkey, together, _NO_KEYS, signer)


def _error_form(txin: TxIn, error: str) -> dict[str, Json]:
    return {
        "txid": display(txin.prevout.txid),
        "vout": txin.prevout.vout,
        "witness": [element.hex() for element in txin.witness],
        "scriptSig": txin.script_sig.hex(),
        "sequence": txin.sequence,
        "error": error,
    }
