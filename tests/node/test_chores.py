"""What a node does every so often, and how mockscheduler brings it nearer."""

import asyncio
import json
from pathlib import Path

from wire import until

from altyn.node.chores import Chores
from altyn.node.events import SchedulerForwarded
from altyn.node.full import FEE_ESTIMATES, FEES_INTERVAL, FullNode
from altyn.node.load_settings import load
from altyn.node.peer_memory import ADDRESSES, SAVE_INTERVAL


async def test_each_is_done_at_its_times() -> None:
    done: list[str] = []
    chores = Chores((0.02, lambda: done.append("often")), (3600, lambda: done.append("seldom")))
    task = asyncio.create_task(chores.run())
    await until(lambda: done == ["often"] * 3)
    chores.event(SchedulerForwarded(3599))
    await until(lambda: done.count("often") > 5)
    assert "seldom" not in done
    chores.event(SchedulerForwarded(1))
    await until(lambda: "seldom" in done)
    task.cancel()


async def test_peers_and_fee_estimates_are_written_while_the_node_runs(tmp_path: Path) -> None:
    async with FullNode.open(load([f"-datadir={tmp_path}", "-regtest", "-listen=0"])) as node:
        await asyncio.sleep(0)
        files = [node.settings.folder / name for name in (ADDRESSES, FEE_ESTIMATES)]
        assert not any(file.exists() for file in files)
        node.events.publish(SchedulerForwarded(int(SAVE_INTERVAL)))
        await until(files[0].exists)
        assert not files[1].exists()
        node.events.publish(SchedulerForwarded(int(FEES_INTERVAL)))
        await until(files[1].exists)
        assert set(json.loads(files[1].read_text())) == {"saved", "best", "span", "stats"}
