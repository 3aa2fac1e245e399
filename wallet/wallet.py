"""The wallet: what a person can do with it. Amounts are satoshis, feerates satoshis per 1000 vbytes."""

import secrets
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random, SystemRandom
from typing import Any, Self

from altyn.consensus.networks import Network
from altyn.consensus.script.addresses import AddressError, decode_address, encode_address
from altyn.consensus.secp256k1 import Secp256k1, load
from altyn.consensus.transaction import Transaction
from altyn.wallet import words as recovery
from altyn.wallet.backend import Backend
from altyn.wallet.builder import Draft, Recipient, build, fee_for, input_weight, signed_weight
from altyn.wallet.coins import Candidate
from altyn.wallet.encryption import KeyDerivation, seal, unseal
from altyn.wallet.errors import NodeError, Rejected, StoreError, WalletError
from altyn.wallet.formats.keys import ExtendedKey, KeyFormatError
from altyn.wallet.formats.signing import SigningError, check_signatures, sign
from altyn.wallet.keychain import GAP_LIMIT, KINDS, Keychain, account_descriptors, account_path
from altyn.wallet.scan import Progress, Scanner, ScanResult
from altyn.wallet.statement import Balance, Feerate, HistoryEntry, Payment
from altyn.wallet.store import State, Store, StoredCoin, StoredTransaction

FALLBACK_FEERATE = 5_000
"""Satoshis per 1000 vbytes where the node has no estimate, or the node's minimum if that is higher."""
MAX_FEERATE = 10_000_000
"""More is taken for a mistake (Core: -maxfeerate of sendrawtransaction)."""
CONFIRM_WITHIN = 6
"""Blocks within which a payment should be confirmed, when its feerate is estimated."""
_MOST_SIGNINGS = 20
_CONTEXT = b"altyn-wallet"


class Wallet:
    """An open wallet. Reading needs no passphrase; paying does. Use it in a `with` block, or close it.

    `backend` may be None: then only what the file holds is known. Every verb raises WalletError.
    """

    def __init__(
        self,
        store: Store,
        network: Network,
        backend: Backend | None,
        *,
        secp: Secp256k1 | None = None,
        random: Random | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self.network = network
        self._backend = backend
        self._secp = secp or load()
        self._random = random or SystemRandom()
        self._now = now
        self._keychain = Keychain.load(store, network, self._secp)

    # Making and opening

    @classmethod
    def create(
        cls,
        path: Path,
        network: Network,
        passphrase: str,
        backend: Backend | None = None,
        *,
        word_count: int = 12,
        language: str = "english",
        extension: str = "",
        birthday: int | None = None,
        key_derivation: KeyDerivation | None = None,
        secp: Secp256k1 | None = None,
    ) -> tuple[Self, str]:
        """Make a new wallet; return it and its recovery words, to be shown once.

        Blocks before `birthday` are never looked at; left out, it is the node's tip. `extension` is BIP39's extra
        passphrase, needed again to restore.
        """
        words = recovery.from_entropy(secrets.token_bytes(recovery.entropy_size(word_count)), language)
        if birthday is None and backend is None:
            raise WalletError("without a node the wallet's birthday is not known: give one")
        wallet = cls._make(path, network, passphrase, backend, words, extension, birthday, key_derivation, secp)
        return wallet, words

    @classmethod
    def restore(
        cls,
        path: Path,
        network: Network,
        passphrase: str,
        words: str,
        backend: Backend | None = None,
        *,
        extension: str = "",
        birthday: int = 0,
        key_derivation: KeyDerivation | None = None,
        secp: Secp256k1 | None = None,
    ) -> Self:
        """Make a wallet from recovery words; `sync` then looks for its money from block `birthday` on."""
        recovery.to_entropy(words)
        return cls._make(path, network, passphrase, backend, words, extension, birthday, key_derivation, secp)

    @classmethod
    def _make(
        cls,
        path: Path,
        network: Network,
        passphrase: str,
        backend: Backend | None,
        words: str,
        extension: str,
        birthday: int | None,
        key_derivation: KeyDerivation | None,
        secp: Secp256k1 | None,
    ) -> Self:
        if not passphrase:
            raise WalletError("the passphrase is empty: the wallet's secrets need one")
        secp = secp or load()
        tip = None
        if birthday is None and backend is not None:
            tip = backend.chain_info().blocks
        derivation = key_derivation or KeyDerivation()
        seed = recovery.to_seed(words, extension)
        master = ExtendedKey.from_seed(seed, secp)
        key = derivation.key(passphrase)
        store = Store.create(path)
        try:
            with store.batch():
                store.set_fact("network", network.name)
                store.set_fact("genesis", network.genesis.hash[::-1].hex())
                store.set_fact("birthday", tip + 1 if tip is not None else birthday or 0)
                store.set_fact(
                    "scrypt", [derivation.cost, derivation.block_size, derivation.parallelism, derivation.salt.hex()]
                )
                store.set_sealed("words", seal(recovery.normalize(words).encode(), key, _context(network, "words")))
                store.set_sealed("extension", seal(extension.encode(), key, _context(network, "extension")))
                for kind, is_change, descriptor in account_descriptors(master, network, secp):
                    store.add_branch(kind, is_change, descriptor)
            wallet = cls(store, network, backend, secp=secp)
            if tip is not None:
                wallet._scanner().note_birth(tip)
        except BaseException:
            store.close()
            path.unlink()  # nothing is in it yet that could be lost
            raise
        return wallet

    @classmethod
    def open(
        cls,
        path: Path,
        network: Network,
        backend: Backend | None = None,
        *,
        secp: Secp256k1 | None = None,
        random: Random | None = None,
        now: Callable[[], float] = time.time,
    ) -> Self:
        """Open an existing wallet of the network."""
        store = Store.open(path)
        try:
            name, genesis = store.fact("network"), store.fact("genesis")
            if genesis != network.genesis.hash[::-1].hex():
                raise StoreError(f"{path} is a wallet of {name}: say --network {name}")
            return cls(store, network, backend, secp=secp, random=random, now=now)
        except BaseException:
            store.close()
            raise

    def close(self) -> None:
        self._store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # Following the chain

    def sync(self, progress: Progress | None = None) -> ScanResult:
        """Follow the node to its tip, then remind it of pending payments."""
        try:
            scanner = self._scanner(progress)
            result = scanner.run()
            scanner.rebroadcast()
        except BaseException:
            # The file went back to its last whole state; so must what is kept in memory.
            self._keychain = Keychain.load(self._store, self.network, self._secp)
            raise
        return result

    def _scanner(self, progress: Progress | None = None) -> Scanner:
        return Scanner(self._store, self._keychain, self._node(), self.network, progress)

    def _node(self) -> Backend:
        if self._backend is None:
            raise WalletError("this needs a node: say where it is with --rpc-url")
        return self._backend

    @property
    def height(self) -> int:
        """The last block looked at; -1 if none."""
        tip = self._store.tip()
        return tip.height if tip else -1

    # Reading

    def address(self, kind: str = "bech32") -> str:
        """Hand out a fresh address, "bech32" (BIP84) or "bech32m" (BIP86, taproot)."""
        if kind not in KINDS:
            raise WalletError(f"no address type {kind!r}: use {' or '.join(KINDS)}")
        with self._store.batch():
            script = self._keychain.take(kind, is_change=False)
        return self._show(script)

    def unused_addresses(self, kind: str = "bech32") -> int:
        """Return how many addresses were handed out since the last one that was paid.

        Beyond GAP_LIMIT of them, a restored wallet does not look.
        """
        branch = self._keychain.branch(kind, is_change=False)
        return branch.next_index - 1 - self._store.last_used(branch.id)

    def balance(self) -> Balance:
        """Add up the coins, as of the last block looked at."""
        confirmed = pending = immature = spendable = 0
        for coin in self._store.unspent():
            value = coin.output.value
            if not self._is_mature(coin):
                immature += value
            elif coin.height is None:
                pending += value
            else:
                confirmed += value
            spendable += value if self._is_spendable(coin) else 0
        return Balance(confirmed, pending, immature, spendable, self.height)

    def history(self) -> list[HistoryEntry]:
        """Return every transaction of the wallet, oldest first."""
        return [self._describe(entry) for entry in self._store.transactions()]

    def info(self) -> dict[str, Any]:
        """Return facts about the wallet that are no secrets, fit for JSON."""
        return {
            "path": str(self._store.path),
            "network": self.network.name,
            "height": self.height,
            "birthday": self._store.fact("birthday"),
            "gap_limit": GAP_LIMIT,
            "transactions": len(self._store.transactions()),
            "coins": len(self._store.unspent()),
            "descriptors": [
                {
                    "type": branch.kind,
                    "change": branch.is_change,
                    "descriptor": branch.descriptor,
                    "next_index": branch.next_index,
                }
                for branch in self._keychain.branches
            ],
        }

    def words(self, passphrase: str) -> str:
        """Return the recovery words. Raises WrongPassphrase."""
        return self._unseal(passphrase)[0]

    def _is_mature(self, coin: StoredCoin) -> bool:
        # One block more than the rule demands, as Core's wallet: a coin of the youngest age could be lost to a fork.
        return (
            not coin.is_coinbase
            or coin.height is None
            or self.height - coin.height + 1 > self.network.coinbase_maturity
        )

    def _is_spendable(self, coin: StoredCoin) -> bool:
        return self._is_mature(coin) and (coin.height is not None or coin.made_by_us)

    def _describe(self, entry: StoredTransaction) -> HistoryEntry:
        tx = entry.transaction
        scripts = self._keychain.scripts
        spent = self._store.values(txin.prevout for txin in tx.inputs)
        ours = [output for output in tx.outputs if output.script_pubkey in scripts]
        others = [output for output in tx.outputs if output.script_pubkey not in scripts]
        fee = None
        if entry.is_ours and None not in spent:
            fee = sum(value or 0 for value in spent) - sum(output.value for output in tx.outputs)
        shown = others if any(value is not None for value in spent) else ours
        addresses = [encode_address(output.script_pubkey, self.network) for output in shown]
        return HistoryEntry(
            txid=tx.txid[::-1].hex(),
            state=entry.state,
            reason=entry.reason,
            amount=sum(output.value for output in ours) - sum(value or 0 for value in spent),
            fee=fee,
            height=entry.height,
            confirmations=0 if entry.height is None else self.height - entry.height + 1,
            time=entry.time,
            is_coinbase=tx.is_coinbase,
            addresses=tuple(address for address in addresses if address),
        )

    def _show(self, script: bytes) -> str:
        address = encode_address(script, self.network)
        assert address is not None  # all our forms have one
        return address

    # Paying

    def feerate(self, blocks: int = CONFIRM_WITHIN) -> Feerate:
        """Ask the node for a feerate; without an estimate it is FALLBACK_FEERATE. Never below what the node relays."""
        node = self._node()
        least = node.min_feerate()
        estimate = node.estimate_feerate(blocks)
        if estimate is None:
            return Feerate(max(FALLBACK_FEERATE, least), "fallback")
        return Feerate(max(estimate, least), "estimate")

    def send(
        self,
        payments: Sequence[tuple[str, int | None]],
        passphrase: str,
        *,
        feerate: int | None = None,
        change_kind: str = "bech32",
        replaceable: bool = True,
        dry_run: bool = False,
    ) -> Payment:
        """Pay addresses; an amount of None sends all there is. Call `sync` before.

        `feerate` is in satoshis per 1000 vbytes, asked of the node if left out. A dry run signs, but does not send.
        """
        recipients = [Recipient(self._read_address(address), amount) for address, amount in payments]
        secret_words, extension = self._unseal(passphrase)
        rate = Feerate(feerate, "chosen") if feerate is not None else self.feerate()
        if rate.per_kvb > MAX_FEERATE:
            raise WalletError(
                f"a feerate of {rate.per_kvb / 1000:g} sat/vB is a mistake, most likely: choose a lower one"
            )
        branch = self._keychain.branch(change_kind, is_change=True)
        draft = build(
            recipients,
            self._candidates(),
            feerate=rate.per_kvb,
            change_script=self._keychain.script(branch.id, branch.next_index),
            lock_time=max(0, self.height),  # of no use to miners who would rather mine the last block again
            replaceable=replaceable,
            random=self._random,
        )
        master = ExtendedKey.from_seed(recovery.to_seed(secret_words, extension), self._secp)
        tx = self._sign(draft, master, rate.per_kvb)
        paid = {recipient.script_pubkey for recipient in recipients}
        change = 0 if draft.change is None else tx.outputs[draft.change].value
        amount = sum(output.value for output in tx.outputs) - change
        payment = Payment(tx, amount, draft.fee, rate, change, not dry_run)
        if not dry_run:
            self._hand_over(tx, draft, branch.kind, paid)
        return payment

    def _read_address(self, text: str) -> bytes:
        try:
            return decode_address(text, self.network)
        except AddressError as error:
            raise WalletError(f"{text!r} is no address of {self.network.name}: {error}") from None

    def _candidates(self) -> list[Candidate]:
        candidates = []
        for coin in self._store.unspent():
            if not self._is_spendable(coin):
                continue
            made = self._store.transaction(coin.outpoint.txid)
            if made is None or made.transaction.outputs[coin.outpoint.vout] != coin.output:
                raise StoreError(
                    f"the wallet file {self._store.path} is damaged (a coin is not what it was): use a copy"
                )
            weight = input_weight(coin.output.script_pubkey)
            candidates.append(Candidate(coin.outpoint, coin.output, weight, coin.height is not None))
        return candidates

    def _sign(self, draft: Draft, master: ExtendedKey, feerate: int) -> Transaction:
        """Sign and check.

        A rare signature is a byte shorter than the fee allows for; then a lower lock time, harmless as it is, gives
        other signatures, and the fee stays exact.
        """
        keys = self._secrets(draft, master)
        aux = self._random.randbytes(32)
        expected = fee_for(signed_weight(draft.coins, draft.transaction.outputs), feerate)
        latest = draft.transaction.lock_time
        try:
            for lock_time in range(latest, max(-1, latest - _MOST_SIGNINGS), -1):
                draft = draft.with_lock_time(lock_time)
                tx = sign(draft.transaction, draft.spent_outputs, keys, self._secp, aux)
                if fee_for(tx.weight, feerate) == expected:
                    break
            check_signatures(tx, draft.spent_outputs, self._secp)
        except SigningError as error:
            raise WalletError(f"the payment could not be signed: {error}") from None
        return tx

    def _secrets(self, draft: Draft, master: ExtendedKey) -> dict[bytes, bytes]:
        """Derive the secrets of the coins, by output script."""
        branches = {branch.id: branch for branch in self._keychain.branches}
        parents: dict[int, ExtendedKey] = {}
        keys = {}
        for output in draft.spent_outputs:
            number, index = self._keychain.scripts[output.script_pubkey]
            if number not in parents:
                branch = branches[number]
                path = (*account_path(KINDS[branch.kind], self.network), int(branch.is_change))
                parents[number] = master.derive(path, self._secp)
            secret = parents[number].child(index, self._secp).secret
            if secret is not None:
                keys[output.script_pubkey] = secret
        return keys

    def _hand_over(self, tx: Transaction, draft: Draft, change_kind: str, paid: set[bytes]) -> None:
        """Record the payment, then broadcast it: if the program dies in between, the next sync sends it."""
        scripts = self._keychain.scripts
        with self._store.batch():
            if draft.change is not None:
                self._keychain.take(change_kind, is_change=True)
            for script in paid & scripts.keys():
                self._keychain.mark_used(script)
            coins = [(index, out) for index, out in enumerate(tx.outputs) if out.script_pubkey in scripts]
            entry = StoredTransaction(tx, State.PENDING, "", True, None, None, int(self._now()))
            self._store.put_transaction(entry, coins)
        try:
            self._node().broadcast(tx.raw)
        except Rejected as error:
            with self._store.batch():
                self._store.set_state(tx.txid, State.FAILED, f"the node refused it: {error}")
            raise Rejected(f"the node refused the payment, nothing was sent: {error}", error.code) from None
        except NodeError as error:
            raise NodeError(f"{error}. The payment is kept and goes out when the wallet next reaches a node") from None

    # Secrets

    def _unseal(self, passphrase: str) -> tuple[str, str]:
        """Return the recovery words and their extension. Raises WrongPassphrase, StoreError."""
        try:
            cost, block_size, parallelism, salt = self._store.fact("scrypt")
            derivation = KeyDerivation(int(cost), int(block_size), int(parallelism), bytes.fromhex(salt))
        except (TypeError, ValueError):
            raise StoreError(f"the wallet file {self._store.path} is damaged (scrypt): use a copy") from None
        key = derivation.key(passphrase)
        words = unseal(self._store.sealed("words"), key, _context(self.network, "words")).decode()
        extension = unseal(self._store.sealed("extension"), key, _context(self.network, "extension")).decode()
        self._check_descriptors(words, extension)
        return words, extension

    def _check_descriptors(self, words: str, extension: str) -> None:
        """Refuse a file whose addresses are not those of its words: somebody else would be paid."""
        try:
            master = ExtendedKey.from_seed(recovery.to_seed(words, extension), self._secp)
            expected = {text for _, _, text in account_descriptors(master, self.network, self._secp)}
        except KeyFormatError as error:
            raise StoreError(f"the wallet file {self._store.path} is damaged ({error}): use a copy") from None
        if expected != {branch.descriptor for branch in self._keychain.branches}:
            raise StoreError(
                f"the wallet file {self._store.path} was changed: its addresses are not those of its words. "
                "Do not use them; restore from the recovery words"
            )


def _context(network: Network, name: str) -> bytes:
    """What a sealed value is bound to, so that it cannot be moved to another place."""
    return b"/".join((_CONTEXT, network.genesis.hash, name.encode()))
