from pathlib import Path
from typing import Any

from builders import ANYONE, coin, spend
from rpc_node import ADDRESS, Rpc, refusal, rpc_node

from altyn.consensus.block import Block
from altyn.consensus.transaction import Transaction, TxOut

RAW_TRUE = "bcrt1qft5p2uhsdcdc3l2ua4ap5qqfg4pjaqlp250x7us7a8qqhrxrxfsqseac85"


def shown(tx: Transaction) -> str:
    return tx.txid[::-1].hex()


def plain(entry: Any) -> Any:
    return {**entry, "fees": {name: str(value) for name, value in entry["fees"].items()}}


async def family(rpc: Rpc) -> tuple[Transaction, Transaction, Transaction]:
    """Put a parent, its child and its grandchild into the mempool."""
    first = (await rpc.call("generatetoaddress", 1, RAW_TRUE))[0]
    await rpc.call("generatetoaddress", 100, ADDRESS)
    reward = Block.parse(bytes.fromhex(await rpc.call("getblock", first, 0)))
    parent = spend(coin(reward), [TxOut(10**9, ANYONE), TxOut(39 * 10**8, ANYONE)])
    child = spend(coin(parent))
    grandchild = spend([coin(child), coin(parent, 1)])
    for tx in (parent, child, grandchild):
        await rpc.call("sendrawtransaction", tx.raw.hex(), 0)
    return parent, child, grandchild


async def test_relatives_are_told(rpc: Rpc) -> None:
    parent, child, grandchild = await family(rpc)
    entry = await rpc.call("getmempoolentry", shown(child))
    assert plain(entry) == plain((await rpc.call("getrawmempool", True))[shown(child)])
    assert (entry["depends"], entry["spentby"]) == ([shown(parent)], [shown(grandchild)])
    assert entry["unbroadcast"] is True
    assert set(await rpc.call("getmempoolancestors", shown(grandchild))) == {shown(parent), shown(child)}
    assert set(await rpc.call("getmempooldescendants", shown(parent))) == {shown(child), shown(grandchild)}
    assert await rpc.call("getmempooldescendants", shown(grandchild)) == []
    verbose = await rpc.call("getmempoolancestors", shown(child), True)
    assert list(verbose) == [shown(parent)]
    assert plain(verbose[shown(parent)]) == plain(await rpc.call("getmempoolentry", shown(parent)))
    for method in ("getmempoolentry", "getmempoolancestors", "getmempooldescendants"):
        assert await refusal(rpc, method, "00" * 32) == (-5, "Transaction not in mempool")


async def test_preferences_are_kept_and_shown(rpc: Rpc) -> None:
    parent, _, _ = await family(rpc)
    assert await rpc.call("prioritisetransaction", shown(parent), 0, 5000) is True
    assert await rpc.call("prioritisetransaction", "11" * 32, None, -3) is True
    fee = rpc.node.mempool[parent.txid].fee
    assert await rpc.call("getprioritisedtransactions") == {
        "11" * 32: {"fee_delta": -3, "in_mempool": False},
        shown(parent): {"fee_delta": 5000, "in_mempool": True, "modified_fee": fee + 5000},
    }
    fees = (await rpc.call("getmempoolentry", shown(parent)))["fees"]
    assert str(fees["modified"]) == f"{(fee + 5000) / 10**8:.8f}"
    assert await refusal(rpc, "prioritisetransaction", shown(parent), 1, 5000) == (
        -8,
        "Priority is no longer supported, dummy argument to prioritisetransaction must be 0.",
    )


async def test_the_mempool_is_saved_and_imported(tmp_path: Path) -> None:
    async with rpc_node(tmp_path) as rpc:
        (tmp_path / "regtest").mkdir()
        parent, child, _ = await family(rpc)
        path = str(tmp_path / "regtest" / "mempool.dat")
        assert await rpc.call("savemempool") == {"filename": path}
        rpc.node.mempool.prioritise(parent.txid, 100)
        listed = await rpc.call("getrawmempool")
        (block,) = await rpc.call("generatetoaddress", 1, ADDRESS)
        assert (await rpc.call("getmempoolinfo"))["size"] == 0
        assert await rpc.call("importmempool", path) == {}
        assert await rpc.call("getrawmempool") == []
        await rpc.call("invalidateblock", block)
        assert set(await rpc.call("getrawmempool")) == set(listed)
        assert await refusal(rpc, "importmempool", str(tmp_path / "nothing")) == (
            -1,
            "Unable to import mempool file, see debug log for details.",
        )
        rpc.node.mempool.loaded = False
        assert await refusal(rpc, "savemempool") == (-1, "The mempool was not loaded yet")
        assert (await rpc.call("getmempoolinfo"))["loaded"] is False
        assert child.txid in rpc.node.mempool


async def test_what_no_peer_took_is_counted(rpc: Rpc) -> None:
    await family(rpc)
    assert (await rpc.call("getmempoolinfo"))["unbroadcastcount"] == 3
    await rpc.call("generatetoaddress", 1, ADDRESS)
    assert (await rpc.call("getmempoolinfo"))["unbroadcastcount"] == 0


async def test_double_spends_are_told(rpc: Rpc) -> None:
    parent, child, grandchild = await family(rpc)
    rival = spend(coin(parent), fee=999)
    assert (await refusal(rpc, "sendrawtransaction", rival.raw.hex()))[0] == -26
    (seen,) = await rpc.call("getdoublespends")
    assert seen.pop("time") > 0
    assert seen == {
        "outpoint": {"txid": shown(parent), "vout": 0},
        "txid": shown(child),
        "rival": shown(rival),
        "peers": 0,
        "replaced": False,
        "in_mempool": True,
    }
    assert (await rpc.call("getmempoolentry", shown(child)))["doublespends"] == [shown(rival)]
    assert "doublespends" not in await rpc.call("getmempoolentry", shown(grandchild))
    assert len(await rpc.call("getdoublespends", shown(rival))) == 1
    assert await rpc.call("getdoublespends", shown(parent)) == []
