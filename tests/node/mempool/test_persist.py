"""What is saved comes back: with its times, its priorities, and as much of it as still holds."""

import asyncio
from pathlib import Path
from random import Random
from typing import Any

import pytest
from builders import coin, spend

from altyn.consensus.encoding import EncodingError
from altyn.node.mempool.persist import MempoolFile, Saved, decode, encode, snapshot
from altyn.node.offload import Inline

KEY = bytes(range(1, 9))


def file_of(setup: Any, *, masked: bool = True) -> MempoolFile:
    return MempoolFile(setup.acceptance, Inline(), Random(1), masked=masked)


async def filled(setup: Any) -> Any:
    """A mempool with a family of two, one of which is preferred, and a preference for one that is not there."""
    parent = spend(setup.coin(1))
    child = spend(coin(parent))
    await setup.accept(parent)
    setup.clock.time += 100
    await setup.accept(child)
    setup.mempool.prioritise(child.txid, -500)
    setup.mempool.prioritise(bytes(32), 7)
    setup.mempool.unbroadcast.add(parent.txid)
    return setup


@pytest.mark.parametrize("key", [b"", KEY])
async def test_a_file_holds_what_was_put_in(setup: Any, key: bytes) -> None:
    saved = snapshot((await filled(setup)).mempool)
    assert decode(encode(saved, key)) == saved
    assert len(saved.transactions) == 2


def test_the_form_is_cores() -> None:
    plain = encode(Saved({}, {b"\1" * 32: -2}, frozenset()), b"")  # type: ignore[arg-type]
    assert plain == b"\1" + bytes(7) + bytes(8) + b"\1" + b"\1" * 32 + b"\xfe" + b"\xff" * 7 + b"\0"
    masked = encode(Saved(), KEY)
    assert masked[:17] == b"\2" + bytes(7) + b"\x08" + KEY
    assert masked[17:25] == KEY[1:] + KEY[:1]  # the count, eight zeros, where position 17 takes the key's second byte


@pytest.mark.parametrize("masked", [True, False])
async def test_a_saved_mempool_comes_back(make: Any, tmp_path: Path, masked: bool) -> None:
    before, after = await filled(make()), make()
    await file_of(before, masked=masked).save(tmp_path / "m.dat")
    after.clock.time += 5000
    await file_of(after).load(tmp_path / "m.dat")
    assert [(e.txid, e.time, e.modified_fee) for e in after.mempool] == [
        (e.txid, e.time, e.modified_fee) for e in before.mempool
    ]
    assert after.mempool.fee_deltas == before.mempool.fee_deltas
    assert after.mempool.unbroadcast == before.mempool.unbroadcast
    assert not (tmp_path / "m.dat.new").exists()


async def test_a_file_of_another_may_count_as_news(make: Any, tmp_path: Path) -> None:
    before, after = await filled(make()), make()
    await file_of(before).save(tmp_path / "m.dat")
    after.clock.time += 5000
    await file_of(after).load(tmp_path / "m.dat", keep_times=False, take_deltas=False, take_unbroadcast=False)
    assert {e.time for e in after.mempool} == {int(after.clock.time)}
    assert after.mempool.fee_deltas == {}
    assert after.mempool.unbroadcast == set()


async def test_what_is_too_old_or_spent_stays_away(make: Any, tmp_path: Path) -> None:
    before = await filled(make())
    await before.accept(spend(before.coin(2)))
    await file_of(before).save(tmp_path / "m.dat")
    late = make()
    late.clock.time += 336 * 3600 + 50  # the first is older than that, its child is not
    await file_of(late).load(tmp_path / "m.dat")
    assert {entry.txid for entry in late.mempool} == {spend(before.coin(2)).txid}
    other = make()
    rival = spend(other.coin(1), fee=90_000)
    await other.chain.add_block(other.block("a130 a131", rival, fees=90_000))
    await file_of(other).load(tmp_path / "m.dat")
    assert {entry.txid for entry in other.mempool} == {spend(before.coin(2)).txid}


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\3" + bytes(15),
        b"\2" + bytes(7) + b"\4abcd" + bytes(10),
        b"\1" + bytes(7) + b"\xff" * 8,
        b"\1" + bytes(15),
    ],
    ids=["empty", "unknown version", "short key", "huge count", "cut short"],
)
def test_damage_is_an_error_not_a_crash(data: bytes) -> None:
    with pytest.raises(EncodingError):
        decode(data)


async def test_every_cut_of_a_file_is_an_error(setup: Any) -> None:
    whole = encode(snapshot((await filled(setup)).mempool), KEY)
    for end in range(len(whole)):
        with pytest.raises(EncodingError):
            decode(whole[:end])
    await asyncio.sleep(0)
