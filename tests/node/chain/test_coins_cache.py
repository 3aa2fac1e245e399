"""The layers of coins: whatever the order of changes and flushes, they say what a plain dictionary says."""

import tracemalloc

from hypothesis import given, settings
from hypothesis import strategies as st

from altyn.consensus.transaction import Coin, OutPoint, TxOut
from altyn.node.chain.coins import CoinsCache
from altyn.node.storage.coins import CoinStore
from altyn.node.storage.kv import Memory
from altyn.node.storage.layout import encode_coin

OUTPOINTS = [OutPoint.make(bytes([number]) * 32, number) for number in range(6)]


def some_coin(height: int) -> Coin:
    return Coin(TxOut(height * 1000, b"\x51" * (height % 7)), height, height % 2 == 0)


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("toggle"), st.sampled_from(OUTPOINTS)),
        st.tuples(st.just("overwrite"), st.sampled_from(OUTPOINTS)),
        st.tuples(st.sampled_from(["freeze", "write", "thaw"]), st.none()),
    ),
    max_size=40,
)


@given(STEPS)
@settings(max_examples=300)
def test_layers_say_what_a_dictionary_says(steps: list[tuple[str, OutPoint | None]]) -> None:
    store = CoinStore(Memory())
    cache = CoinsCache(store)
    model: dict[OutPoint, Coin] = {}
    frozen = None
    for number, (step, outpoint) in enumerate(steps, 1):
        if outpoint is not None:
            if step == "overwrite":
                model[outpoint] = some_coin(number)
                cache.apply({outpoint: encode_coin(some_coin(number))}, [], 1)
            elif outpoint in model:
                del model[outpoint]
                cache.apply({}, [outpoint])
            else:
                model[outpoint] = some_coin(number)
                cache.apply({outpoint: encode_coin(some_coin(number))}, [])
        elif step == "freeze" and not cache.is_frozen:
            frozen = cache.freeze()
        elif step == "write" and frozen is not None:
            store.write(bytes(32), frozen.changes())
        elif step == "thaw" and frozen is not None:
            store.write(bytes(32), frozen.changes())
            cache.thaw()
            frozen = None
        assert {one: cache.get(one) for one in OUTPOINTS} == {one: model.get(one) for one in OUTPOINTS}
        assert cache.many(OUTPOINTS) == model
        assert [one for one in OUTPOINTS if one in cache] == [one for one in OUTPOINTS if one in model]
        assert list(cache) == sorted(model.items())
        assert cache.size >= 0
    if frozen is not None:
        store.write(bytes(32), frozen.changes())
        cache.thaw()
    store.write(bytes(32), cache.freeze().changes())
    assert dict(store) == model


def test_a_coin_made_and_spent_between_flushes_never_reaches_the_disk() -> None:
    cache = CoinsCache(CoinStore(Memory()))
    cache.apply({OUTPOINTS[0]: encode_coin(some_coin(1))}, [])
    cache.apply({}, [OUTPOINTS[0]])
    assert cache.size == 0
    assert list(cache.freeze().changes()) == []


def test_the_cache_counts_real_bytes_of_python() -> None:
    cache = CoinsCache(CoinStore(Memory()))
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for number in range(50_000):
        outpoint = OutPoint.make(number.to_bytes(32, "big"), 0)
        cache.apply({outpoint: encode_coin(Coin(TxOut(number, b"\0" * 22), 1, False))}, [])
    taken = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert 0.75 < cache.size / taken < 1.33, (cache.size, taken)
