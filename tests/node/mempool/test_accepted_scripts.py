"""What the mempool has verified a block does not verify again."""

from typing import Any

from builders import coin, spend

from altyn.consensus.deployments import script_flags
from altyn.node.chain.caches import ScriptCache
from altyn.node.mempool.accept import Acceptance
from altyn.node.offload import Inline


def acceptance_with(setup: Any, scripts: ScriptCache) -> Acceptance:
    return Acceptance(setup.chain, setup.mempool, setup.writer, Inline(), setup.chain.secp, scripts)


async def test_scripts_of_what_was_let_in_are_known_under_the_flags_of_the_next_block(setup: Any) -> None:
    scripts = ScriptCache(bytes(32), 1 << 20)
    acceptance = acceptance_with(setup, scripts)
    tx = spend(setup.coin(1), fee=2000)
    flags = script_flags(setup.chain.network, setup.chain.tip.height + 1, setup.block("a130 a131", tx, fees=2000).hash)
    assert not scripts.has_passed(tx.wtxid, flags)
    await acceptance.accept(tx)
    assert scripts.has_passed(tx.wtxid, flags)
    other = spend(setup.coin(2), fee=2000)
    await acceptance.accept(other, test_only=True)
    assert scripts.has_passed(other.wtxid, flags)


async def test_what_was_not_let_in_is_not_known(setup: Any) -> None:
    scripts = ScriptCache(bytes(32), 1 << 20)
    tx = spend(setup.coin(1), fee=2000)
    await acceptance_with(setup, scripts).accept(tx)
    child = spend(coin(tx))
    assert not scripts.has_passed(child.wtxid, script_flags(setup.chain.network, 131, b""))
