"""The wallet's addresses: four branches of keys, always derived a gap ahead of the last one used."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from altyn.consensus.networks import Network
from altyn.consensus.secp256k1 import Secp256k1
from altyn.wallet.errors import StoreError
from altyn.wallet.formats.descriptors import Descriptor, DescriptorError, add_checksum, parse
from altyn.wallet.formats.keys import HARDENED, ExtendedKey, format_path
from altyn.wallet.store import Branch, Store

GAP_LIMIT = 20
"""How many unused addresses in a row are watched (BIP44)."""


@dataclass(frozen=True, slots=True)
class AddressKind:
    """A kind of address: the first step of its path and the function of its descriptors."""

    name: str
    purpose: int
    function: str


KINDS = {
    "bech32": AddressKind("bech32", 84, "wpkh"),
    "bech32m": AddressKind("bech32m", 86, "tr"),
}
"""By Core's names of address types: BIP84 and BIP86."""


def account_path(kind: AddressKind, network: Network) -> tuple[int, ...]:
    """Return the path of the first account (BIP44): coin type 0 on the main network, else 1."""
    coin_type = 1 if network.is_test_chain else 0
    return (kind.purpose + HARDENED, coin_type + HARDENED, HARDENED)


def account_descriptors(master: ExtendedKey, network: Network, secp: Secp256k1) -> list[tuple[str, bool, str]]:
    """Return kind, whether it is for change, and public descriptor, of each branch."""
    descriptors = []
    for kind in KINDS.values():
        path = account_path(kind, network)
        account = master.derive(path, secp).neutered().encode(network)
        origin = f"[{master.fingerprint.hex()}{format_path(path)}]"
        for change in (0, 1):
            text = f"{kind.function}({origin}{account}/{change}/*)"
            descriptors.append((kind.name, bool(change), add_checksum(text)))
    return descriptors


class Keychain:
    """Output scripts of the wallet, by branch and index. Watches more as addresses are used."""

    def __init__(
        self, store: Store, branches: Mapping[int, tuple[Branch, Descriptor]], scripts: dict[bytes, tuple[int, int]]
    ) -> None:
        self._store = store
        self._branches = dict(branches)
        self._scripts = scripts
        self._derived = dict.fromkeys(branches, 0)
        for branch, index in scripts.values():
            self._derived[branch] = max(self._derived[branch], index + 1)

    @classmethod
    def load(cls, store: Store, network: Network, secp: Secp256k1) -> Self:
        """Read the branches of a wallet file. Raises StoreError."""
        branches = {}
        for branch in store.branches():
            try:
                branches[branch.id] = (branch, parse(branch.descriptor, network, secp, demand_checksum=True))
            except DescriptorError as error:
                raise StoreError(
                    f"the wallet file {store.path} is damaged (a descriptor: {error}): use a copy"
                ) from None
        scripts = store.scripts()
        if any(branch not in branches for branch, _ in scripts.values()):
            raise StoreError(f"the wallet file {store.path} is damaged (an address without descriptor): use a copy")
        keychain = cls(store, branches, scripts)
        keychain.fill()
        return keychain

    @property
    def scripts(self) -> Mapping[bytes, tuple[int, int]]:
        """Every watched output script, with its branch and index."""
        return self._scripts

    @property
    def branches(self) -> list[Branch]:
        return [branch for branch, _ in self._branches.values()]

    def branch(self, kind: str, is_change: bool) -> Branch:
        """Return a branch by address type, "bech32" or "bech32m"."""
        return next(b for b, _ in self._branches.values() if b.kind == kind and b.is_change == is_change)

    def script(self, branch: int, index: int) -> bytes:
        """Derive the output script at `index` of a branch."""
        return self._branches[branch][1].expand(index).scripts[0]

    def fill(self) -> bool:
        """Derive what lies within the gap and is not watched yet; tell whether there was any."""
        grown = False
        for number, (branch, _) in self._branches.items():
            end = branch.next_index + GAP_LIMIT
            fresh = [(index, self.script(number, index)) for index in range(self._derived[number], end)]
            if fresh:
                self._store.add_scripts(number, fresh)
                self._scripts.update({script: (number, index) for index, script in fresh})
                self._derived[number] = end
                grown = True
        return grown

    def take(self, kind: str, is_change: bool) -> bytes:
        """Return the next unused script of a branch, and count it as taken."""
        branch = self.branch(kind, is_change)
        script = self.script(branch.id, branch.next_index)
        self._advance(branch.id, branch.next_index + 1)
        return script

    def mark_used(self, script: bytes) -> bool:
        """Note that an output script was seen in a transaction; tell whether more are watched for it."""
        number, index = self._scripts[script]
        return self._advance(number, index + 1)

    def _advance(self, number: int, next_index: int) -> bool:
        branch, descriptor = self._branches[number]
        if next_index <= branch.next_index:
            return False
        self._store.set_next_index(number, next_index)
        fresh = Branch(branch.id, branch.kind, branch.is_change, branch.descriptor, next_index)
        self._branches[number] = (fresh, descriptor)
        return self.fill()
