"""The indexes of compact filters and of transactions."""

from pathlib import Path
from typing import Any

import builders
from builders import coin, spend
from node_chain_tools import caught_up

from altyn.consensus.filters import build_filter, filter_header, match_any
from altyn.consensus.networks import REGTEST


async def test_filters_follow_the_chain_through_reorganisations(open_chain: Any, add_all: Any) -> None:
    drawing = builders.chain("g a1..a103; a101 b102..b104")
    payment = spend(coin(drawing["a1"]), to=b"\x51\x20" + bytes(32))
    drawing.extend("a103 a104", [payment])
    async with open_chain(filter_index=True) as chain:
        await add_all(chain, drawing.line("a1..a104"))
        assert chain.filters.best is chain.tip
        record = chain.filters.get(104, drawing["a104"].hash)
        assert match_any(record.filter, drawing["a104"].hash, [builders.ANYONE])
        assert match_any(record.filter, drawing["a104"].hash, [b"\x51\x20" + bytes(32)])
        await add_all(chain, drawing.line("b102..b104"))
        await add_all(chain, drawing.extend("b104 b105"))
        assert chain.filters.best is chain.tip
        header = bytes(32)
        for height, block in enumerate([REGTEST.genesis, *drawing.line("a1..a101 b102..b105")]):
            data = build_filter(block, [])
            header = filter_header(header, data)
            assert chain.filters.get(height, block.hash) == (header, data)
        assert chain.filters.get(104, drawing["a104"].hash) == record


async def test_indexes_switched_on_later_catch_up(open_chain: Any, add_all: Any, tmp_path: Path) -> None:
    drawing = builders.chain("g a1..a104")
    payment = spend(coin(drawing["a2"]))
    drawing.extend("a104 a105", [payment])
    async with open_chain(tmp_path) as chain:
        await add_all(chain, drawing.line("a1..a105"))
        assert chain.filters is None
    async with open_chain(tmp_path, filter_index=True, transaction_index=True) as chain:
        await caught_up(chain, chain.filters)
        await caught_up(chain, chain.transactions)
        await add_all(chain, drawing.extend("a105 a106"))
        assert chain.filters.best is chain.tip
    async with open_chain(tmp_path, filter_index=True, transaction_index=True) as chain:
        assert chain.filters.best is chain.tip
        assert chain.filters.get(106, drawing["a106"].hash) is not None
        assert chain.transactions.find(payment.txid) == (payment, drawing["a105"].hash)
        genesis = REGTEST.genesis
        assert chain.transactions.find(genesis.transactions[0].txid) == (genesis.transactions[0], genesis.hash)
        assert chain.transactions.find(bytes(32)) is None


async def test_the_transaction_index_follows_a_reorganisation(open_chain: Any, add_all: Any) -> None:
    drawing = builders.chain("g a1..a101")
    payment = spend(coin(drawing["a1"]))
    drawing.extend("a101 a102", [payment])
    drawing.extend("a101 b102")
    drawing.extend("b102 b103", [payment])
    async with open_chain(transaction_index=True) as chain:
        await add_all(chain, drawing.line("a1..a102"))
        assert chain.transactions.find(payment.txid) == (payment, drawing["a102"].hash)
        await add_all(chain, drawing.line("b102..b103"))
        assert chain.transactions.find(payment.txid) == (payment, drawing["b103"].hash)
