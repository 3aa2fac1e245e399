"""Scripts, transactions, headers and blocks as Core shows them in JSON."""

from collections.abc import Iterator, Sequence

from altyn.consensus.block import Block
from altyn.consensus.networks import Network
from altyn.consensus.pow import difficulty
from altyn.consensus.script.addresses import encode_address
from altyn.consensus.script.templates import classify
from altyn.consensus.script.text import to_asm
from altyn.consensus.secp256k1 import Secp256k1
from altyn.consensus.transaction import Coin, Transaction
from altyn.node.chain.tree import Entry
from altyn.node.rpc.amounts import Amount
from altyn.node.rpc.inference import Inference
from altyn.node.rpc.json_text import Lazy
from altyn.node.rpc.method import Json
from altyn.wallet.formats.signing import Keyring


def display(hash32: bytes) -> str:
    """Return a hash as it is shown: hexadecimal, in reversed order."""
    return hash32[::-1].hex()


class Forms:
    """JSON forms on one network."""

    def __init__(self, network: Network, secp: Secp256k1) -> None:
        self.network = network
        self.infer = Inference(network, secp)

    def script(self, script_pubkey: bytes, *, with_hex: bool = True, keyring: Keyring | None = None) -> dict[str, Json]:
        """Show an output script (Core: ScriptToUniv); `keyring` has what is known of keys and scripts behind it."""
        kind = classify(script_pubkey).kind
        form: dict[str, Json] = {
            "asm": to_asm(script_pubkey),
            "desc": self.infer(script_pubkey, keyring or Keyring()),
        }
        if with_hex:
            form["hex"] = script_pubkey.hex()
        address = encode_address(script_pubkey, self.network)
        if address is not None:
            form["address"] = address
        form["type"] = kind
        return form

    def transaction(
        self,
        tx: Transaction,
        *,
        spent: Sequence[Coin] | None = None,
        with_prevouts: bool = False,
        with_hex: bool = True,
    ) -> dict[str, Json]:
        """Show a transaction (Core: TxToUniv); with the coins it `spent`, also its fee, and those coins if asked.

        To be written once: its lists are made while they are written, for there are transactions as large as blocks.
        """
        form: dict[str, Json] = {
            "txid": display(tx.txid),
            "hash": display(tx.wtxid),
            "version": tx.version,
            "size": len(tx.raw),
            "vsize": tx.vsize,
            "weight": tx.weight,
            "locktime": tx.lock_time,
            "vin": Lazy(self._inputs(tx, spent if with_prevouts else None)),
            "vout": Lazy(
                {"value": Amount(output.value), "n": index, "scriptPubKey": self.script(output.script_pubkey)}
                for index, output in enumerate(tx.outputs)
            ),
        }
        if spent:
            paid_in = sum(coin.output.value for coin in spent)
            form["fee"] = Amount(paid_in - sum(output.value for output in tx.outputs))
        if with_hex:
            form["hex"] = tx.raw.hex()
        return form

    def _inputs(self, tx: Transaction, spent: Sequence[Coin] | None) -> Iterator[Json]:
        is_coinbase = tx.is_coinbase
        for index, txin in enumerate(tx.inputs):
            shown: dict[str, Json] = {}
            if is_coinbase:
                shown["coinbase"] = txin.script_sig.hex()
            else:
                shown["txid"] = display(txin.prevout.txid)
                shown["vout"] = txin.prevout.vout
                shown["scriptSig"] = {
                    "asm": to_asm(txin.script_sig, sighash_names=True),
                    "hex": txin.script_sig.hex(),
                }
            if txin.witness:
                shown["txinwitness"] = [element.hex() for element in txin.witness]
            if spent:
                coin = spent[index]
                shown["prevout"] = {
                    "generated": coin.is_coinbase,
                    "height": coin.height,
                    "value": Amount(coin.output.value),
                    "scriptPubKey": self.script(coin.output.script_pubkey),
                }
            shown["sequence"] = txin.sequence
            yield shown

    def block(
        self, block: Block, entry: Entry, tip: Entry, verbosity: int, spent: Sequence[Sequence[Coin]] | None
    ) -> dict[str, Json]:
        """Show a block (Core: blockToJSON): 1 with txids, 2 with transactions, 3 also with what they spent.

        The transactions of a long block are shown while the answer is written.
        """
        form = header_form(entry, tip, len(block.transactions))
        form["strippedsize"] = block.stripped_size
        form["size"] = len(block.raw)
        form["weight"] = block.weight
        if verbosity == 1:
            form["tx"] = [display(tx.txid) for tx in block.transactions]
        else:
            form["tx"] = Lazy(
                self.transaction(tx, spent=spent[index] if spent else None, with_prevouts=verbosity > 2)
                for index, tx in enumerate(block.transactions)
            )
        return form


def header_form(entry: Entry, tip: Entry, tx_count: int | None = None) -> dict[str, Json]:
    """Show a header and its place in the chain that ends at `tip` (Core: blockheaderToJSON)."""
    header = entry.header
    is_active = entry.height <= tip.height and tip.ancestor(entry.height) is entry
    following = tip.ancestor(entry.height + 1) if is_active and entry is not tip else None
    form: dict[str, Json] = {
        "hash": display(entry.hash),
        "confirmations": tip.height - entry.height + 1 if is_active else -1,
        "height": entry.height,
        "version": header.version,
        "versionHex": f"{header.version & 0xFFFFFFFF:08x}",
        "merkleroot": display(header.merkle_root),
        "time": header.time,
        "mediantime": entry.median_time_past,
        "nonce": header.nonce,
        "bits": f"{header.bits:08x}",
        "difficulty": difficulty(header.bits),
        "chainwork": f"{entry.chain_work:064x}",
        "nTx": entry.tx_count if tx_count is None else tx_count,
    }
    if entry.parent is not None:
        form["previousblockhash"] = display(entry.parent.hash)
    if following is not None:
        form["nextblockhash"] = display(following.hash)
    return form
