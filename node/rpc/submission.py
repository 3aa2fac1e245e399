"""Methods that bring transactions in: alone, together, or only to see what would become of them."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Protocol

from altyn.consensus.errors import Fault, ValidationError
from altyn.consensus.limits import COIN
from altyn.consensus.script.templates import is_unspendable
from altyn.consensus.transaction import Transaction
from altyn.node.chain.chain import Chain
from altyn.node.mempool.accept import Acceptance
from altyn.node.mempool.packages import MAX_PACKAGE_COUNT, PackageAcceptance, PackageResult, Verdict, is_tree
from altyn.node.mempool.policy import fee_of_size
from altyn.node.mempool.pool import Mempool
from altyn.node.rpc.amounts import Amount
from altyn.node.rpc.errors import (
    DESERIALIZATION_ERROR,
    INVALID_PARAMETER,
    VERIFY_ALREADY_IN_UTXO_SET,
    VERIFY_ERROR,
    VERIFY_REJECTED,
    RpcError,
)
from altyn.node.rpc.json_forms import display
from altyn.node.rpc.method import Array, Coins, Json, Text, expect_type, method
from altyn.node.rpc.transactions import decode_transaction, has_valid_operations

log = logging.getLogger(__name__)

DEFAULT_MAX_FEERATE = Amount(COIN // 10)
NOTHING_BURNT = Amount(0)
_BURNED = "Unspendable output exceeds maximum configured by user (maxburnamount)"
_TOO_EXPENSIVE = "Fee exceeds maximum configured by user (e.g. -maxtxfee, maxfeerate)"


@dataclass(frozen=True, kw_only=True)
class FeerateLimit(Coins):
    """The highest feerate; or a boolean for whether any is right, as before Core 0.19.

    LND, through btcd's client, sends it to every node whose name is not Satoshi's.
    """

    def convert(self, value: Json, name: str) -> int:
        if isinstance(value, bool):
            return 0 if value else DEFAULT_MAX_FEERATE
        return super().convert(value, name)


MaxFeerate = Annotated[
    int,
    FeerateLimit(
        "Reject transactions whose fee rate is higher than the specified value, expressed in BTC/kvB. "
        "Fee rates larger than 1BTC/kvB are rejected. Set to 0 to accept any fee rate."
    ),
]
MaxBurn = Annotated[
    int,
    Coins(
        "Reject transactions with provably unspendable outputs (e.g. 'datacarrier' outputs that use the "
        "OP_RETURN opcode) greater than the specified value, expressed in BTC."
    ),
]


class Gate(Protocol):
    """Where transactions enter the network: the mempool of a full node, the peers of a light one."""

    async def send(self, tx: Transaction, max_feerate: int) -> None:
        """Let the network have `tx`; `max_feerate` in satoshis per kvB, 0 for any. Raises RpcError."""
        ...


class SendMethods:
    """The way into the network."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate

    @method("Rawtransactions", result='"hex"    (string) The transaction hash in hex', example='"signedhex"')
    async def sendrawtransaction(
        self,
        hexstring: Annotated[str, Text("The hex string of the raw transaction")],
        maxfeerate: MaxFeerate = DEFAULT_MAX_FEERATE,
        maxburnamount: MaxBurn = NOTHING_BURNT,
    ) -> str:
        """Submit a raw transaction (serialized, hex-encoded) to local node and network."""
        tx = _parse(hexstring)
        _check_burn(tx, maxburnamount)
        _check_feerate(maxfeerate)
        await self._gate.send(tx, maxfeerate)
        return display(tx.txid)


class MempoolGate:
    """Into the mempool of a full node, and from there to its peers (Core: BroadcastTransaction)."""

    def __init__(
        self, chain: Chain, mempool: Mempool, acceptance: Acceptance, offer: Callable[[Transaction], None]
    ) -> None:
        """`offer` announces a transaction of the mempool to peers."""
        self._chain = chain
        self._mempool = mempool
        self._acceptance = acceptance
        self._offer = offer

    async def send(self, tx: Transaction, max_feerate: int) -> None:
        """Let `tx` into the mempool, if it is not there, and announce it. Raises RpcError."""
        if any(self._chain.coins.get(tx.outpoint(index)) is not None for index in range(len(tx.outputs))):
            raise RpcError(VERIFY_ALREADY_IN_UTXO_SET, "Transaction outputs already in utxo set")
        waiting = self._mempool.get(tx.txid)
        if waiting is None:
            try:
                waiting = (await self._acceptance.accept(tx, max_feerate=max_feerate)).entry
            except ValidationError as error:
                log.debug("%s was not accepted: %s", display(tx.txid), error)
                raise _refusal(error) from error
        self._offer(waiting.tx)


class PackageMethods:
    """Transactions that are tried, and several that come together."""

    def __init__(self, packages: PackageAcceptance, mempool: Mempool, offer: Callable[[Transaction], None]) -> None:
        """`offer` announces a transaction of the mempool to peers."""
        self._packages = packages
        self._mempool = mempool
        self._offer = offer

    @method(
        "Rawtransactions",
        result="""
        A list with an object for each transaction: txid, wtxid, allowed, and
          vsize and fees {base, effective-feerate, effective-includes} if it is allowed, else reject-reason""",
        example="'[\"signedhex\"]'",
    )
    async def testmempoolaccept(
        self,
        rawtxs: Annotated[list[Json], Array("An array of hex strings of raw transactions.", shown='["rawtx",...]')],
        maxfeerate: MaxFeerate = DEFAULT_MAX_FEERATE,
    ) -> Json:
        """Returns result of mempool acceptance tests indicating if raw transactions would be accepted by mempool."""
        if not 1 <= len(rawtxs) <= MAX_PACKAGE_COUNT:
            raise RpcError(INVALID_PARAMETER, f"Array must contain between 1 and {MAX_PACKAGE_COUNT} transactions.")
        _check_feerate(maxfeerate)
        transactions = _parse_package(rawtxs)
        result = PackageResult()
        if len(transactions) > 1:
            result = await self._packages.test(transactions)
        else:
            result.verdicts[transactions[0].wtxid] = await self._packages.test_alone(transactions[0])
        answer: list[Json] = []
        too_expensive = False
        for tx in transactions:
            form: dict[str, Json] = {"txid": display(tx.txid), "wtxid": display(tx.wtxid)}
            if result.refusal is not None and result.refusal.is_policy:
                form["package-error"] = str(result.refusal)
            verdict = result.verdicts.get(tx.wtxid)
            if verdict is not None and not too_expensive:
                too_expensive = verdict.error is None and 0 < fee_of_size(maxfeerate, verdict.vsize) < verdict.fee
                form |= {"allowed": False, "reject-reason": "max-fee-exceeded"} if too_expensive else _tested(verdict)
            answer.append(form)
        return answer

    @method(
        "Rawtransactions",
        result="""
        An object: package_msg ("success", or what the package was refused for), replaced-transactions (txids), and
        tx-results, an object with, for each wtxid: txid, and
          vsize and fees {base, effective-feerate, effective-includes}, or other-wtxid, or error""",
        example='\'["rawtx1", "rawtx2"]\'',
    )
    async def submitpackage(
        self,
        package: Annotated[
            list[Json],
            Array(
                "An array of raw transactions. The package must solely consist of a child and its parents. "
                "None of the parents may depend on each other. The package must be topologically sorted, with the "
                "child being the last element in the array.",
                shown='["rawtx",...]',
            ),
        ],
        maxfeerate: MaxFeerate = DEFAULT_MAX_FEERATE,
        maxburnamount: MaxBurn = NOTHING_BURNT,
    ) -> Json:
        """Submit a package of raw transactions (serialized, hex-encoded) to local node."""
        if not 2 <= len(package) <= MAX_PACKAGE_COUNT:
            raise RpcError(INVALID_PARAMETER, f"Array must contain between 2 and {MAX_PACKAGE_COUNT} transactions.")
        _check_feerate(maxfeerate)
        transactions = _parse_package(package)
        for tx in transactions:
            _check_burn(tx, maxburnamount)
        if not is_tree(transactions):
            raise RpcError(
                VERIFY_ERROR, "package topology disallowed. not child-with-parents or parents depend on each other."
            )
        result = await self._packages.accept(transactions, maxfeerate)
        log.debug("package of %s: %s", display(transactions[-1].txid), result.message)
        for tx in transactions:
            entry = self._mempool.get(tx.txid)
            if entry is not None:
                self._offer(entry.tx)
        replaced = {txid for verdict in result.verdicts.values() for txid in verdict.replaced}
        return {
            "package_msg": result.message,
            "tx-results": {
                display(tx.wtxid): {"txid": display(tx.txid)} | _submitted(result.verdicts[tx.wtxid])
                for tx in transactions
                if tx.wtxid in result.verdicts
            },
            "replaced-transactions": [display(txid) for txid in sorted(replaced)],
        }


def _tested(verdict: Verdict) -> dict[str, Json]:
    if verdict.error is not None:
        missing = verdict.error.fault is Fault.MISSING_INPUTS
        return {"allowed": False, "reject-reason": "missing-inputs" if missing else verdict.error.reason}
    return {"allowed": True} | _accepted(verdict)


def _submitted(verdict: Verdict) -> dict[str, Json]:
    if verdict.error is not None:
        return {"error": str(verdict.error)}
    if verdict.other_wtxid is not None:
        return {"other-wtxid": display(verdict.other_wtxid)}
    return _accepted(verdict)


def _accepted(verdict: Verdict) -> dict[str, Json]:
    fees: dict[str, Json] = {"base": Amount(verdict.fee)}
    if verdict.feerate is not None:
        fees["effective-feerate"] = Amount(verdict.feerate)
        fees["effective-includes"] = [display(wtxid) for wtxid in verdict.includes]
    return {"vsize": verdict.vsize, "fees": fees}


def _refusal(error: ValidationError) -> RpcError:
    if error.reason == "max-fee-exceeded":
        return RpcError(VERIFY_ERROR, _TOO_EXPENSIVE)
    if error.fault is Fault.MISSING_INPUTS:
        return RpcError(VERIFY_ERROR, str(error))
    return RpcError(VERIFY_REJECTED, str(error))


def _parse(text: str, refusal: str = "TX decode failed. Make sure the tx has at least one input.") -> Transaction:
    tx = decode_transaction(text)
    if tx is None:
        raise RpcError(DESERIALIZATION_ERROR, refusal)
    return tx


def _parse_package(texts: list[Json]) -> list[Transaction]:
    return [
        _parse(text, f"TX decode failed: {text} Make sure the tx has at least one input.")
        for text in (expect_type(value, "string") for value in texts)
    ]


def _check_burn(tx: Transaction, most: int) -> None:
    """Refuse an output that nobody can spend with more than `most` satoshis."""
    for output in tx.outputs:
        script = output.script_pubkey
        if output.value > most and (is_unspendable(script) or not has_valid_operations(script)):
            raise RpcError(VERIFY_ERROR, _BURNED)


def _check_feerate(feerate: int) -> None:
    """Refuse a limit on feerates that limits nothing."""
    if feerate >= COIN:
        raise RpcError(INVALID_PARAMETER, "Fee rates larger than or equal to 1BTC/kvB are not accepted")
