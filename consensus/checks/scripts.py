"""A script check as a value: made where a transaction is checked, run there or on any other thread."""

from altyn.consensus.script.sighash import SighashCache
from altyn.consensus.script.verify import TransactionChecker, verify_script
from altyn.consensus.secp256k1 import Secp256k1
from altyn.consensus.transaction import Transaction


class ScriptCheck:
    """That one input may spend its output under `flags` (Core: CScriptCheck). `cache` knows the outputs spent."""

    __slots__ = ("cache", "flags", "index", "tx")

    def __init__(self, tx: Transaction, index: int, cache: SighashCache, flags: int) -> None:
        self.tx = tx
        self.index = index
        self.cache = cache
        self.flags = flags

    def run(self, secp: Secp256k1) -> None:
        """Verify the input. Raises ScriptError."""
        index, cache = self.index, self.cache
        amount, script_pubkey = cache.spent_outputs[index]
        txin = self.tx.inputs[index]
        checker = TransactionChecker(self.tx, index, amount, cache, secp)
        verify_script(txin.script_sig, script_pubkey, txin.witness, self.flags, checker)

    def __repr__(self) -> str:
        return f"<ScriptCheck {self.tx.txid[::-1].hex()} input {self.index}>"


def script_checks(cache: SighashCache, flags: int) -> list[ScriptCheck]:
    """Return the checks of all inputs of a transaction."""
    tx = cache.tx
    return [ScriptCheck(tx, index, cache, flags) for index in range(len(tx.inputs))]
