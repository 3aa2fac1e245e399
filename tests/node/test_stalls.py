"""A whole node goes on while a stranger sends it messages that take long to read and to judge."""

import asyncio
import contextlib
import itertools
import time
from pathlib import Path

import pytest
from builders import ANYONE
from large_messages import ATTACKS
from wire import Caller

from altyn.consensus.encoding import EncodingError
from altyn.consensus.networks import REGTEST
from altyn.node.full import FullNode
from altyn.node.load_settings import load
from altyn.node.testnet.processes import free_ports
from altyn.p2p.addresses import Endpoint
from altyn.p2p.framing.v1 import V1Framing
from altyn.p2p.messages import MESSAGES, Ping, Pong
from altyn.p2p.transport import dial_tcp


@pytest.mark.slow
@pytest.mark.parametrize("attack", ATTACKS)
async def test_a_message_of_tiny_parts_is_judged_while_others_go_on(attack: str, tmp_path: Path) -> None:
    command, payload = ATTACKS[attack]
    alone = time.perf_counter()
    with contextlib.suppress(EncodingError):
        MESSAGES[command].parse(payload)
    alone = time.perf_counter() - alone  # seconds; reading is not all that there is to do
    framed = V1Framing(REGTEST.magic).frame(command, payload)
    [port] = free_ports(1)
    settings = load([f"-datadir={tmp_path}", "-regtest", f"-bind=127.0.0.1:{port}"])
    async with FullNode.open(settings) as node:
        await node.miner.generate(1, ANYONE)  # transactions are judged only with a young tip
        stalls = []
        for _ in range(5):  # a busy machine may take the processor away from us: once without is enough
            stalls.append(await longest_stall(Endpoint("127.0.0.1", port), framed))
            if stalls[-1] < max(0.1, alone / 2):
                return
    pytest.fail(f"others waited {[f'{stall:.3f}' for stall in stalls]} s; parsing takes {alone:.3f} s")


async def longest_stall(endpoint: Endpoint, framed: bytes) -> float:
    """Return the longest time, in seconds, for which the event loop did not turn until the message was worked on."""
    turns = []

    async def turn() -> None:
        while True:
            turns.append(time.perf_counter())
            await asyncio.sleep(0.001)

    caller = Caller(await dial_tcp(endpoint))
    await caller.handshake()
    turning = asyncio.create_task(turn())
    await caller.transport.write(framed)
    await caller.send(Ping(7))
    async with asyncio.timeout(60):
        while (frame := await caller.next_frame()) is not None:
            if frame.command == "pong" and Pong.parse(frame.payload).nonce == 7:
                break
    turning.cancel()
    caller.transport.abort()
    return max(after - before for before, after in itertools.pairwise(turns))
