"""Methods about partially signed transactions (BIP174)."""

import random
from collections.abc import Callable, Iterable
from typing import Annotated

from altyn.consensus.limits import MAX_MONEY
from altyn.consensus.script.addresses import base58check_encode
from altyn.consensus.script.sighash import SIGHASH_DEFAULT, SIGHASH_NAMES
from altyn.consensus.script.templates import classify
from altyn.consensus.script.text import to_asm
from altyn.consensus.secp256k1 import Secp256k1
from altyn.consensus.transaction import OutPoint, Transaction, TxOut
from altyn.node.mempool.policy import feerate_of
from altyn.node.offload import Offload
from altyn.node.rpc.amounts import Amount
from altyn.node.rpc.build import Inputs, LockTime, OutputsArgument, Replaceable, build_transaction
from altyn.node.rpc.descriptors import parse_scan_object
from altyn.node.rpc.errors import DESERIALIZATION_ERROR, INVALID_ADDRESS_OR_KEY, INVALID_PARAMETER, RpcError
from altyn.node.rpc.json_forms import Forms
from altyn.node.rpc.method import Array, Flag, Json, Text, expect_type, method
from altyn.node.rpc.rawtransactions import TransactionLookup
from altyn.node.rpc.signing import SighashType, hash_type_from_name
from altyn.node.rpc.transactions import decode_transaction
from altyn.wallet.formats.descriptors import Descriptor, DescriptorError
from altyn.wallet.formats.keys import format_path
from altyn.wallet.formats.psbt import Psbt, PsbtError, PsbtInput, PsbtOutput, split_proprietary
from altyn.wallet.formats.psbt_roles import (
    SighashMismatch,
    analyze,
    digests,
    drop_needless_transactions,
    pays_witness,
    sign_input,
    update_output,
)
from altyn.wallet.formats.psbt_roles import extract as extract_transaction
from altyn.wallet.formats.psbt_roles import finalize as finalize_psbt
from altyn.wallet.formats.signing import KeyPath, Keyring

_PSBT = '"psbt"    (string) The resulting partially signed transaction, in base64'
_KEYS_AT_ONCE = 200
FindTransaction = Callable[[bytes], Transaction | None]
"""Finds a transaction in the mempool."""
FindOutputs = Callable[[Iterable[OutPoint]], dict[OutPoint, TxOut]]
PsbtText = Annotated[str, Text("A base64 string of a PSBT")]
_DESCRIPTORS = Array(
    "An array of either strings or objects",
    shown='["",{"desc":"str","range":n or [n,n]},...]',
    details="""
    desc (string, required): An output descriptor
    range (numeric or array, default=1000): Up to what index HD chains should be explored""",
)
Descriptors = Annotated[list[Json], _DESCRIPTORS]
OptionalDescriptors = Annotated[list[Json] | None, _DESCRIPTORS]


class PsbtMethods:
    """Partially signed transactions of a full node, which knows what their inputs spend."""

    def __init__(
        self,
        forms: Forms,
        secp: Secp256k1,
        offload: Offload,
        index: TransactionLookup | None,
        find_transaction: FindTransaction,
        find_outputs: FindOutputs,
    ) -> None:
        """`index` is None unless -txindex."""
        self._forms = forms
        self._secp = secp
        self._offload = offload
        self._index = index
        self._find_transaction = find_transaction
        self._find_outputs = find_outputs

    @method(
        "Rawtransactions", result=_PSBT, example='\'[{"txid":"myid","vout":0}]\' \'[{"data":"00010203"}]\'', pure=True
    )
    def createpsbt(
        self, inputs: Inputs, outputs: OutputsArgument, locktime: LockTime = 0, replaceable: Replaceable = None
    ) -> str:
        """Creates a transaction in the Partially Signed Transaction format. Implements the Creator role."""
        return Psbt.create(build_transaction(inputs, outputs, locktime, replaceable, self._forms.network)).to_base64()

    @method("Rawtransactions", result=_PSBT, example='"rawtransaction"', pure=True)
    def converttopsbt(
        self,
        hexstring: Annotated[str, Text("The hex string of a raw transaction")],
        permitsigdata: Annotated[
            bool, Flag("If true, any signatures in the input will be discarded; otherwise they are an error.")
        ] = False,
        iswitness: Annotated[
            bool | None, Flag("Whether the transaction hex is a serialized witness transaction (tried when left out).")
        ] = None,
    ) -> str:
        """Converts a network serialized transaction to a PSBT, for those that cannot be created as one."""
        tx = decode_transaction(hexstring, try_no_witness=iswitness is not True, try_witness=iswitness is not False)
        if tx is None:
            raise RpcError(DESERIALIZATION_ERROR, "TX decode failed")
        if not permitsigdata and any(txin.script_sig or txin.witness for txin in tx.inputs):
            raise RpcError(DESERIALIZATION_ERROR, "Inputs must not have scriptSigs and scriptWitnesses")
        return Psbt.create(tx).to_base64()

    @method(
        "Rawtransactions",
        result="""
        An object: tx (as decoderawtransaction shows it), global_xpubs, psbt_version, proprietary, unknown, inputs and
        outputs with their fields by the names of BIP174 and BIP371, and fee if all spent outputs are known""",
        example='"psbt"',
        pure=True,
    )
    def decodepsbt(self, psbt: PsbtText) -> Json:
        """Return a JSON object representing the serialized, base64-encoded partially signed transaction."""
        decoded = _decode(psbt)
        spent = [decoded.spent_output(index) for index in range(len(decoded.inputs))]
        form: dict[str, Json] = {
            "tx": self._forms.transaction(decoded.tx, with_hex=False),
            "global_xpubs": [
                {"xpub": base58check_encode(key), **_path_form(path)} for key, path in decoded.xpubs.items()
            ],
            "psbt_version": decoded.version or 0,
            "proprietary": _proprietary_form(decoded.proprietary),
            "unknown": {key.hex(): value.hex() for key, value in decoded.unknown.items()},
            "inputs": [self._input_form(each) for each in decoded.inputs],
            "outputs": [self._output_form(each) for each in decoded.outputs],
        }
        values = [output.value for output in spent if output is not None]
        if len(values) == len(spent) and all(0 <= value <= MAX_MONEY for value in values):
            form["fee"] = Amount(sum(values) - sum(output.value for output in decoded.tx.outputs))
        return form

    def _input_form(self, given: PsbtInput) -> dict[str, Json]:
        form: dict[str, Json] = {}
        if given.witness_utxo is not None:
            form["witness_utxo"] = {
                "amount": Amount(given.witness_utxo.value),
                "scriptPubKey": self._forms.script(given.witness_utxo.script_pubkey),
            }
        if given.non_witness_utxo is not None:
            form["non_witness_utxo"] = self._forms.transaction(given.non_witness_utxo, with_hex=False)
        if given.signatures:
            form["partial_signatures"] = {key.hex(): value.hex() for key, value in given.signatures.items()}
        if given.sighash_type is not None:
            form["sighash"] = SIGHASH_NAMES.get(given.sighash_type, "")
        form |= _script_forms(given)
        if given.origins:
            form["bip32_derivs"] = _origins_form(given.origins)
        if given.final_script_sig:
            form["final_scriptSig"] = {
                "asm": to_asm(given.final_script_sig, sighash_names=True),
                "hex": given.final_script_sig.hex(),
            }
        if given.final_witness:
            form["final_scriptwitness"] = [element.hex() for element in given.final_witness]
        for name in ("ripemd160", "sha256", "hash160", "hash256"):
            preimages = getattr(given, f"{name}_preimages")
            if preimages:
                form[f"{name}_preimages"] = {key.hex(): value.hex() for key, value in preimages.items()}
        if given.taproot_signature:
            form["taproot_key_path_sig"] = given.taproot_signature.hex()
        if given.leaf_signatures:
            form["taproot_script_path_sigs"] = [
                {"pubkey": key.hex(), "leaf_hash": leaf.hex(), "sig": signature.hex()}
                for (key, leaf), signature in given.leaf_signatures.items()
            ]
        if given.leaves:
            form["taproot_scripts"] = [
                {
                    "script": leaf.script.hex(),
                    "leaf_ver": leaf.version,
                    "control_blocks": sorted(control.hex() for control in controls),
                }
                for leaf, controls in given.leaves.items()
            ]
        if given.taproot_origins:
            form["taproot_bip32_derivs"] = _taproot_origins_form(given.taproot_origins)
        if given.internal_key:
            form["taproot_internal_key"] = given.internal_key.hex()
        if given.merkle_root:
            form["taproot_merkle_root"] = given.merkle_root.hex()
        return form | _kept_form(given)

    def _output_form(self, given: PsbtOutput) -> dict[str, Json]:
        form = _script_forms(given)
        if given.origins:
            form["bip32_derivs"] = _origins_form(given.origins)
        if given.internal_key:
            form["taproot_internal_key"] = given.internal_key.hex()
        if given.tree:
            form["taproot_tree"] = [
                {"depth": depth, "leaf_ver": version, "script": script.hex()} for depth, version, script in given.tree
            ]
        if given.taproot_origins:
            form["taproot_bip32_derivs"] = _taproot_origins_form(given.taproot_origins)
        return form | _kept_form(given)

    @method("Rawtransactions", result=_PSBT, example='\'["mybase64_1", "mybase64_2", "mybase64_3"]\'', pure=True)
    def combinepsbt(
        self,
        txs: Annotated[list[Json], Array("The base64 strings of partially signed transactions", shown='["psbt",...]')],
    ) -> str:
        """Combine multiple partially signed Bitcoin transactions into one. Implements the Combiner role."""
        if not txs:
            raise RpcError(INVALID_PARAMETER, "Parameter 'txs' cannot be empty")
        first, *others = [_decode(expect_type(each, "string")) for each in txs]
        for other in others:
            if other.tx != first.tx:
                raise RpcError(INVALID_PARAMETER, "PSBTs not compatible (different transactions)")
            first.merge(other)
        return first.to_base64()

    @method(
        "Rawtransactions",
        result="""
        {
          "psbt" : "str",             (string, optional) The partially signed transaction if not extracted
          "hex" : "hex",              (string, optional) The hex-encoded network transaction if extracted
          "complete" : true|false     (boolean) If the transaction has a complete set of signatures
        }""",
        example='"psbt"',
        pure=True,
    )
    def finalizepsbt(
        self,
        psbt: PsbtText,
        extract: Annotated[
            bool,
            Flag(
                "If true and the transaction is complete, extract and return the complete transaction in normal "
                "network serialization instead of the PSBT."
            ),
        ] = True,
    ) -> Json:
        """Finalize the inputs of a PSBT. Implements the Finalizer and Extractor roles."""
        decoded = _decode(psbt)
        complete = finalize_psbt(decoded, self._secp)
        if complete and extract:
            return {"hex": extract_transaction(decoded).raw.hex(), "complete": True}
        return {"psbt": decoded.to_base64(), "complete": complete}

    @method("Rawtransactions", result=_PSBT, example='\'["psbt1", "psbt2"]\'', pure=True)
    def joinpsbts(
        self,
        txs: Annotated[list[Json], Array("The base64 strings of partially signed transactions", shown='["psbt",...]')],
    ) -> str:
        """Joins multiple distinct PSBTs with different inputs and outputs into one with all of them, in any order."""
        if len(txs) < 2:
            raise RpcError(INVALID_PARAMETER, "At least two PSBTs are required to join PSBTs.")
        parts = [_decode(expect_type(each, "string")) for each in txs]
        inputs = [pair for part in parts for pair in zip(part.tx.inputs, part.inputs, strict=True)]
        outputs = [pair for part in parts for pair in zip(part.tx.outputs, part.outputs, strict=True)]
        seen: set[OutPoint] = set()
        for txin, _ in inputs:
            if txin.prevout in seen:
                raise RpcError(INVALID_PARAMETER, f"Input {txin.prevout} exists in multiple PSBTs")
            seen.add(txin.prevout)
        random.shuffle(inputs)
        random.shuffle(outputs)
        version = max(part.tx.version for part in parts)
        lock_time = min(part.tx.lock_time for part in parts)
        tx = Transaction(version, [txin for txin, _ in inputs], [output for output, _ in outputs], lock_time)
        joined = Psbt(tx, [each for _, each in inputs], [each for _, each in outputs])
        for part in parts:
            joined.xpubs |= part.xpubs
            joined.proprietary |= part.proprietary
            joined.unknown |= part.unknown
        return joined.to_base64()

    @method(
        "Rawtransactions",
        result="""
        {
          "inputs" : [
            {
              "has_utxo" : true|false, "is_final" : true|false,
              "missing" : { "pubkeys" : [...], "signatures" : [...], "redeemscript" : "hex", "witnessscript" : "hex" },
              "next" : "str"               (string) Role of the next person that this input needs to go to
            }, ...
          ],
          "estimated_vsize" : n,           (numeric) Estimated vsize of the final signed transaction
          "estimated_feerate" : n,         (numeric) Estimated feerate of it in coins/kvB
          "fee" : n,                       (numeric) The transaction fee paid
          "next" : "str",                  (string) Role of the next person that this psbt needs to go to
          "error" : "str"                  (string) Error message, if there is one
        }""",
        example='"psbt"',
        pure=True,
    )
    def analyzepsbt(self, psbt: PsbtText) -> Json:
        """Analyzes and provides information about the current status of a PSBT and its inputs."""
        found = analyze(_decode(psbt), self._secp)
        form: dict[str, Json] = {}
        inputs: list[Json] = []
        for each in found.inputs:
            shown: dict[str, Json] = {"has_utxo": each.has_utxo, "is_final": each.is_final, "next": each.next.value}
            missing: dict[str, Json] = {}
            if each.solution.missing_keys:
                missing["pubkeys"] = [key.hex() for key in each.solution.missing_keys]
            if each.solution.missing_redeem_script:
                missing["redeemscript"] = each.solution.missing_redeem_script.hex()
            if each.solution.missing_witness_script:
                missing["witnessscript"] = each.solution.missing_witness_script.hex()
            if each.solution.missing_signatures:
                missing["signatures"] = [key.hex() for key in each.solution.missing_signatures]
            if missing:
                shown["missing"] = missing
            inputs.append(shown)
        if inputs:
            form["inputs"] = inputs
        if found.vsize is not None:
            form["estimated_vsize"] = found.vsize
            form["estimated_feerate"] = Amount(feerate_of(found.fee or 0, found.vsize))
        if found.fee is not None:
            form["fee"] = Amount(found.fee)
        form["next"] = found.next.value
        return form | ({"error": found.error} if found.error else {})

    @method("Rawtransactions", result=_PSBT, example='"psbt"')
    async def utxoupdatepsbt(self, psbt: PsbtText, descriptors: OptionalDescriptors = None) -> str:
        """Updates all segwit inputs and outputs in a PSBT with data from descriptors, the UTXO set or the mempool."""
        decoded = await self._offload(_decode, psbt)
        keyring = await self._keyring(descriptors or ())
        keyring.secrets.clear()
        await self._process(decoded, keyring, SIGHASH_DEFAULT, may_sign=False, finish=False)
        return decoded.to_base64()

    @method(
        "Rawtransactions",
        result="""
        {
          "psbt" : "str",             (string) The base64-encoded partially signed transaction
          "complete" : true|false,    (boolean) If the transaction has a complete set of signatures
          "hex" : "hex"               (string, optional) The hex-encoded network transaction if complete
        }""",
        example=('"psbt" \'["descriptor1", "descriptor2"]\'', '"psbt" \'[{"desc":"mydescriptor", "range":21}]\''),
    )
    async def descriptorprocesspsbt(
        self,
        psbt: PsbtText,
        descriptors: Descriptors,
        sighashtype: SighashType = "DEFAULT",
        bip32derivs: Annotated[bool, Flag("Include BIP 32 derivation paths for public keys if we know them")] = True,
        finalize: Annotated[bool, Flag("Also finalize inputs if possible")] = True,
    ) -> Json:
        """Update all inputs of a PSBT with information from descriptors, and sign what they have the keys for."""
        decoded = await self._offload(_decode, psbt)
        hash_type = hash_type_from_name(sighashtype)
        keyring = await self._keyring(descriptors)
        if not bip32derivs:
            keyring.origins.clear()
        complete = await self._process(decoded, keyring, hash_type, may_sign=True, finish=finalize)
        answer: dict[str, Json] = {"psbt": decoded.to_base64(), "complete": complete}
        if complete:
            answer["hex"] = extract_transaction(decoded).raw.hex()
        return answer

    async def _keyring(self, objects: Iterable[Json]) -> Keyring:
        """Return what descriptors know, secrets included, worked out off the loop and in pieces. Raises RpcError."""
        keyring = Keyring()
        for value in objects:
            parsed = await self._offload(parse_scan_object, value, self._forms.network, self._secp)
            for descriptor, indexes in parsed:
                for start in range(0, len(indexes), _KEYS_AT_ONCE):
                    await self._offload(_expand, keyring, descriptor, indexes[start : start + _KEYS_AT_ONCE])
        return keyring

    async def _process(self, psbt: Psbt, keyring: Keyring, hash_type: int, *, may_sign: bool, finish: bool) -> bool:
        """Update and sign; return whether every input is final (Core: ProcessPSBT). Raises RpcError."""
        wanted = []
        for txin, each in zip(psbt.tx.inputs, psbt.inputs, strict=True):
            if each.non_witness_utxo is None:
                each.non_witness_utxo = await self._previous(txin.prevout)
            if each.non_witness_utxo is None:
                wanted.append(txin.prevout)
        found = self._find_outputs(wanted)
        for txin, each in zip(psbt.tx.inputs, psbt.inputs, strict=True):
            output = found.get(txin.prevout)
            if each.non_witness_utxo is None and output is not None and pays_witness(output.script_pubkey, keyring):
                each.witness_utxo = output
        cache = digests(psbt)
        for index in range(len(psbt.inputs)):
            try:
                sign_input(
                    psbt,
                    index,
                    keyring,
                    cache,
                    self._secp,
                    hash_type=hash_type,
                    finish=finish,
                    may_sign=may_sign,
                )
            except SighashMismatch as error:
                raise RpcError(DESERIALIZATION_ERROR, str(error)) from error
        for output, form in zip(psbt.tx.outputs, psbt.outputs, strict=True):
            update_output(form, output.script_pubkey, keyring, self._secp)
        drop_needless_transactions(psbt, hash_type)
        return all(each.is_final for each in psbt.inputs)

    async def _previous(self, outpoint: OutPoint) -> Transaction | None:
        tx = self._find_transaction(outpoint.txid)
        if tx is None and self._index is not None:
            found = await self._index.find(outpoint.txid)
            tx = found[0] if found is not None else None
        return tx if tx is not None and outpoint.vout < len(tx.outputs) else None


def _decode(text: str) -> Psbt:
    try:
        return Psbt.from_base64(text)
    except PsbtError as error:
        # Core reads from a stream, whose errors end like this
        ending = "" if str(error) in {"invalid base64", "extra data after PSBT"} else ": iostream error"
        raise RpcError(DESERIALIZATION_ERROR, f"TX decode failed {error}{ending}") from error


def _expand(keyring: Keyring, descriptor: Descriptor, indexes: Iterable[int]) -> None:
    for index in indexes:
        try:
            keyring.add_descriptor(descriptor, index)
        except DescriptorError as error:
            raise RpcError(INVALID_ADDRESS_OR_KEY, f"{error}: '{str(descriptor).partition('#')[0]}'") from error


def _script_forms(given: PsbtInput | PsbtOutput) -> dict[str, Json]:
    return {
        name: {"asm": to_asm(script), "hex": script.hex(), "type": classify(script).kind}
        for name, script in (("redeem_script", given.redeem_script), ("witness_script", given.witness_script))
        if script
    }


def _path_form(path: KeyPath) -> dict[str, Json]:
    return {"master_fingerprint": path.fingerprint.hex(), "path": f"m{format_path(path.path)}"}


def _origins_form(origins: dict[bytes, KeyPath]) -> Json:
    return [{"pubkey": key.hex(), **_path_form(path)} for key, path in sorted(origins.items())]


def _taproot_origins_form(origins: dict[bytes, tuple[frozenset[bytes], KeyPath]]) -> Json:
    return [
        {"pubkey": key.hex(), **_path_form(path), "leaf_hashes": sorted(leaf.hex() for leaf in leaves)}
        for key, (leaves, path) in sorted(origins.items())
    ]


def _kept_form(given: PsbtInput | PsbtOutput) -> dict[str, Json]:
    form: dict[str, Json] = {}
    if given.proprietary:
        form["proprietary"] = _proprietary_form(given.proprietary)
    if given.unknown:
        form["unknown"] = {key.hex(): value.hex() for key, value in sorted(given.unknown.items())}
    return form


def _proprietary_form(kept: dict[bytes, bytes]) -> Json:
    """Show fields whose key is 0xfc, an identifier, a type and further bytes (BIP174)."""
    forms = []
    for key, value in sorted(kept.items()):
        identifier, subtype, rest = split_proprietary(key)
        forms.append({"identifier": identifier.hex(), "subtype": subtype, "key": rest.hex(), "value": value.hex()})
    return forms
