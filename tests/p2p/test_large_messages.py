"""Messages of many tiny parts, as large as allowed, do not keep anybody else waiting: on real threads."""

import asyncio
import itertools
import threading
import time

import pytest
from large_messages import ATTACKS
from wire import MAGIC, Caller, Recorder, running, settings, until

from altyn.p2p.clock import SystemClock
from altyn.p2p.connections import Connections
from altyn.p2p.framing.v1 import V1Framing
from altyn.p2p.messages import MESSAGES, FeeFilter, GetData, Inventory, InventoryType, Tx
from altyn.p2p.transport import dial_tcp

QUICK = ("transactions of a block",)


@pytest.mark.parametrize(
    "attack", [*QUICK, *(pytest.param(attack, marks=pytest.mark.slow) for attack in ATTACKS if attack not in QUICK)]
)
async def test_a_message_of_tiny_parts_is_parsed_while_others_go_on(attack: str) -> None:
    command, payload = ATTACKS[attack]
    alone = time.perf_counter()
    try:
        MESSAGES[command].parse(payload)
    except ValueError:
        assert attack == "a part missing"
    alone = time.perf_counter() - alone  # seconds that everybody would wait if it were parsed in between
    framed = V1Framing(MAGIC).frame(command, payload)
    stalls = []
    for _ in range(5):  # a busy machine may take the processor away from us: once without is enough
        stalls.append(await longest_stall(framed))
        if stalls[-1] < alone / 2:
            return
    pytest.fail(f"others waited {[f'{stall:.3f}' for stall in stalls]} s; parsing takes {alone:.3f} s")


async def longest_stall(framed: bytes) -> float:
    """Send a message to a node; return the longest time, in seconds, for which its event loop did not turn."""
    recorder = Recorder()
    called = Connections(settings(), recorder, SystemClock())
    endpoint = await called.listen("127.0.0.1", 0)
    turns = []

    async def turn() -> None:
        while True:
            turns.append(time.perf_counter())
            await asyncio.sleep(0.001)

    async with running(called):
        caller = Caller(await dial_tcp(endpoint))
        await caller.handshake()
        await caller.sync()
        turning = asyncio.create_task(turn())
        await caller.transport.write(framed)
        await until(lambda: recorder.messages or recorder.disconnected)
        turning.cancel()
        recorder.messages.clear()
        caller.transport.abort()
    return max(after - before for before, after in itertools.pairwise(turns))


async def test_only_large_messages_go_to_a_thread_and_none_overtakes_another() -> None:
    parsed_by: dict[int, int] = {}
    large = GetData(tuple(Inventory(InventoryType.TX, bytes(32)) for _ in range(1000)))

    class Watched(GetData):
        @classmethod
        def parse(cls, payload: bytes) -> GetData:
            parsed_by[len(payload)] = threading.get_ident()
            return GetData.parse(payload)

    recorder = Recorder()
    called = Connections(settings(), recorder, SystemClock())
    endpoint = await called.listen("127.0.0.1", 0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(MESSAGES, "getdata", Watched)
        async with running(called):
            caller = Caller(await dial_tcp(endpoint))
            await caller.handshake()
            small = GetData(large.items[:1])
            sent = [FeeFilter(1), large, small, FeeFilter(2), large, FeeFilter(3)]
            await caller.send(*sent)
            await caller.sync()
            assert recorder.messages == sent
            caller.transport.abort()
    assert parsed_by[len(small.payload())] == threading.get_ident() != parsed_by[len(large.payload())]


async def test_a_peer_that_leaves_while_its_message_is_parsed_leaves_nothing_behind() -> None:
    recorder = Recorder()
    called = Connections(settings(), recorder, SystemClock())
    endpoint = await called.listen("127.0.0.1", 0)
    async with running(called):
        caller = Caller(await dial_tcp(endpoint))
        await caller.handshake()
        await caller.send_raw(*ATTACKS["witness items"])
        await until(lambda: called._budget.taken)
        called.disconnect(0)
        await until(lambda: not called.peers)
        assert called._budget.taken == 0
        caller.transport.abort()
        assert not any(isinstance(message, Tx) for message in recorder.messages)
