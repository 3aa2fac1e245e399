"""The wallet file: who may read it, what is in it, what happens when it is damaged, locked, old or new."""

import contextlib
import json
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from altyn.consensus.networks import MAINNET, REGTEST
from altyn.wallet import store as store_module
from altyn.wallet.encryption import KeyDerivation, seal, unseal
from altyn.wallet.errors import StoreError, WalletError, WrongPassphrase
from altyn.wallet.options import wallet_path
from altyn.wallet.store import ScannedBlock, Store
from altyn.wallet.wallet import Wallet
from tests.wallet.conftest import PASSPHRASE, QUICK, WORDS
from tests.wallet.fake_node import FakeNode


def test_only_the_owner_can_read_it(wallet: Wallet) -> None:
    path = Path(wallet.info()["path"])
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_the_words_are_not_in_it(wallet: Wallet) -> None:
    wallet.close()
    contents = Path(wallet._store.path).read_bytes()
    assert b"abandon" not in contents
    assert b"prv" not in contents


def test_the_words_come_back_with_the_passphrase_only(wallet: Wallet) -> None:
    assert wallet.words(PASSPHRASE) == WORDS
    with pytest.raises(WrongPassphrase):
        wallet.words(PASSPHRASE + " ")


def test_a_sealed_value_is_bound_to_its_place() -> None:
    key = QUICK.key("x")
    sealed = seal(b"secret", key, b"here")
    assert unseal(sealed, key, b"here") == b"secret"
    with pytest.raises(WrongPassphrase):
        unseal(sealed, key, b"there")
    with pytest.raises(WrongPassphrase):
        unseal(sealed[:-1] + bytes((sealed[-1] ^ 1,)), key, b"here")
    with pytest.raises(WrongPassphrase):
        unseal(b"", key, b"here")


def test_the_passphrase_costs_memory() -> None:
    derivation = KeyDerivation()
    assert 128 * derivation.cost * derivation.block_size == 128 * 2**20
    assert derivation.salt != KeyDerivation().salt


@pytest.mark.parametrize("cost", [0, 1, 3, 1 << 40])
def test_impossible_costs_of_a_damaged_file_are_refused(cost: int) -> None:
    with pytest.raises(StoreError, match="damaged"):
        KeyDerivation(cost=cost).key("x")


def test_an_empty_passphrase_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WalletError, match="passphrase is empty"):
        Wallet.restore(tmp_path / "w", REGTEST, "", WORDS)


def test_a_wallet_is_not_overwritten(tmp_path: Path, wallet: Wallet) -> None:
    with pytest.raises(StoreError, match=r"there is a wallet at .* already"):
        Wallet.restore(Path(wallet._store.path), REGTEST, PASSPHRASE, WORDS, key_derivation=QUICK)


def test_a_wallet_that_cannot_be_finished_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: object, height: int) -> None:
        raise WalletError("the node went away")

    monkeypatch.setattr("altyn.wallet.scan.Scanner.note_birth", fail)
    with pytest.raises(WalletError, match="went away"):
        Wallet.create(tmp_path / "w.sqlite", REGTEST, PASSPHRASE, FakeNode(), key_derivation=QUICK)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_wallet_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="altyn-wallet create"):
        Store.open(tmp_path / "none.sqlite")


@pytest.mark.parametrize("contents", [b"", b"no database at all", b"SQLite format 3\0" + bytes(4000)])
def test_a_file_that_is_no_wallet_is_refused(tmp_path: Path, contents: bytes) -> None:
    path = tmp_path / "w.sqlite"
    path.write_bytes(contents)
    with pytest.raises(StoreError, match="damaged"):
        Wallet.open(path, REGTEST)
    assert path.read_bytes() == contents


def test_a_database_of_another_program_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.sqlite"
    with sqlite3.connect(path) as other:
        other.execute("PRAGMA user_version = 3")
        other.execute("CREATE TABLE theirs (x)")
    other.close()
    with pytest.raises(StoreError, match="another program"):
        Store.open(path)


def test_every_torn_page_is_noticed(wallet: Wallet) -> None:
    wallet.sync()
    wallet.close()
    path = wallet._store.path
    whole = path.read_bytes()
    for start in range(0, len(whole), 4096):
        path.write_bytes(whole[:start] + b"\xa5" * 4096 + whole[start + 4096 :])
        with pytest.raises(StoreError, match="damaged"):
            Wallet.open(path, REGTEST)
    path.write_bytes(whole)
    Wallet.open(path, REGTEST).close()


def test_a_cut_file_is_noticed(wallet: Wallet) -> None:
    wallet.close()
    path = wallet._store.path
    path.write_bytes(path.read_bytes()[:-5000])
    with pytest.raises(StoreError, match="damaged"):
        Wallet.open(path, REGTEST)


def edit(path: Path, statement: str, *values: object) -> None:
    with sqlite3.connect(path) as database:
        database.execute(statement, values)
    database.close()


def test_a_file_whose_addresses_were_exchanged_does_not_pay(wallet: Wallet, open_wallet: Callable[..., Wallet]) -> None:
    other = open_wallet("other", "legal winner thank year wave sausage worth useful legal winner thank yellow")
    theirs = other.info()["descriptors"][1]["descriptor"]
    wallet.close()
    edit(wallet._store.path, "UPDATE branches SET descriptor = ? WHERE id = 2", theirs)
    with Wallet.open(wallet._store.path, REGTEST) as opened, pytest.raises(StoreError, match="was changed"):
        opened.words(PASSPHRASE)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE branches SET descriptor = replace(descriptor, '/0/', '/7/')",
        "DELETE FROM facts WHERE name = 'genesis'",
        "UPDATE facts SET value = 'x' WHERE name = 'network'",
    ],
)
def test_contents_that_make_no_sense_are_noticed(wallet: Wallet, statement: str) -> None:
    wallet.close()
    edit(wallet._store.path, statement)
    with pytest.raises(StoreError, match="damaged"):
        Wallet.open(wallet._store.path, REGTEST)


@pytest.mark.parametrize("value", ["null", "[1]", '["a", "b", "c", "d"]', '[16, 8, 1, "zz"]'])
def test_scrypt_parameters_that_make_no_sense_are_noticed(wallet: Wallet, value: str) -> None:
    wallet.close()
    edit(wallet._store.path, "UPDATE facts SET value = ? WHERE name = 'scrypt'", value)
    with Wallet.open(wallet._store.path, REGTEST) as opened, pytest.raises(StoreError, match="damaged"):
        opened.words(PASSPHRASE)


def test_a_wallet_of_another_network_is_refused(wallet: Wallet) -> None:
    wallet.close()
    with pytest.raises(StoreError, match="is a wallet of regtest: say --network regtest"):
        Wallet.open(wallet._store.path, MAINNET)


def test_two_programs_cannot_open_it_at_once(wallet: Wallet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "LOCK_PATIENCE", 0.1)
    with pytest.raises(StoreError, match="in use by another program"):
        Wallet.open(wallet._store.path, REGTEST)


def test_another_process_waits_until_it_is_closed(wallet: Wallet) -> None:
    code = (
        "import sys; from pathlib import Path; from altyn.wallet.store import Store\n"
        "print('opening', flush=True)\n"
        "with Store.open(Path(sys.argv[1])) as store: print(store.fact('network'))\n"
    )
    path = str(wallet._store.path)
    with subprocess.Popen([sys.executable, "-c", code, path], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "opening\n"
        wallet.close()
        assert process.stdout.read() == "regtest\n"


def test_an_older_schema_is_brought_up_and_a_newer_one_refused(wallet: Wallet, monkeypatch: pytest.MonkeyPatch) -> None:
    wallet.close()
    path = wallet._store.path
    with monkeypatch.context() as patch:
        patch.setattr(store_module, "STEPS", (*store_module.STEPS, "CREATE TABLE notes (text TEXT)"))
        with Store.open(path) as store:
            assert store._value("SELECT count(*) FROM notes") == 0
    with pytest.raises(StoreError, match="newer version"):
        Store.open(path)


def test_a_step_that_fails_changes_nothing(wallet: Wallet, monkeypatch: pytest.MonkeyPatch) -> None:
    wallet.close()
    path = wallet._store.path
    with monkeypatch.context() as patch:
        patch.setattr(store_module, "STEPS", (*store_module.STEPS, "CREATE TABLE notes (x); SELECT * FROM nothing"))
        with pytest.raises(StoreError):
            Store.open(path)
    with Store.open(path) as store:
        assert store._value("SELECT count(*) FROM sqlite_master WHERE name = 'notes'") == 0


def test_a_batch_is_kept_whole_or_not_at_all(tmp_path: Path) -> None:
    with Store.create(tmp_path / "s") as store:
        with contextlib.suppress(ZeroDivisionError), store.batch():
            store.set_fact("x", 1)
            raise ZeroDivisionError
        with pytest.raises(StoreError, match="x is missing"):
            store.fact("x")
        with store.batch():
            store.set_fact("x", 2)
        assert store.fact("x") == 2


def test_old_block_hashes_are_thinned_out(tmp_path: Path) -> None:
    with Store.create(tmp_path / "s") as store:
        for start in range(0, 6000, 500):
            with store.batch():
                heights = range(start, start + 500)
                store.add_blocks([ScannedBlock(height, height.to_bytes(32, "big"), None) for height in heights])
        kept = [block.height for block in store.blocks(10_000)]
    assert kept == [*range(5999, 3998, -1), 3000, 2000, 1000, 0]


@pytest.mark.parametrize("name", ["", "../x", "a/b", ".hidden", "a b", "x" * 65])
def test_a_name_that_is_a_path_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(WalletError, match="no name for a wallet"):
        wallet_path(tmp_path, REGTEST, name)


def test_info_has_no_secrets(wallet: Wallet) -> None:
    text = json.dumps(wallet.info())
    assert "prv" not in text
    assert "abandon" not in text
    assert wallet.info()["descriptors"][0]["descriptor"].startswith("wpkh([73c5da0a/84h/1h/0h]tpub")
