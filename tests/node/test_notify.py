from pathlib import Path

import pytest

from altyn.consensus.networks import REGTEST
from altyn.node.chain.tree import Entry
from altyn.node.events import BestHeaderChanged, TipChanged
from altyn.node.notify import Commands, notify_of_blocks


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


class Chain:
    is_initial_block_download = False


async def test_a_command_gets_the_hash_of_each_new_block(tmp_path: Path) -> None:
    commands, chain = Commands(), Chain()
    note = notify_of_blocks(chain, f"echo x > {tmp_path}/%s", commands)
    entry = Entry(REGTEST.genesis.header, None)
    note(BestHeaderChanged(entry))
    chain.is_initial_block_download = True
    note(TipChanged(entry, entry))
    await commands.finish()
    assert names(tmp_path) == []
    chain.is_initial_block_download = False
    note(TipChanged(entry, entry))
    await commands.finish()
    assert names(tmp_path) == [entry.hash[::-1].hex()]


async def test_what_is_put_into_a_command_cannot_end_it_and_start_another(tmp_path: Path) -> None:
    commands = Commands()
    commands.start(
        f"echo '%s' > {tmp_path}/said",
        f"'; touch {tmp_path}/bad1; `touch {tmp_path}/bad2` $(touch {tmp_path}/bad3) \n&",
    )
    await commands.finish()
    assert names(tmp_path) == ["said"]


async def test_a_command_that_fails_is_logged_and_no_more(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    commands = Commands()
    commands.start("exit 3")
    commands.start("")
    await commands.finish()
    assert [record.getMessage() for record in caplog.records] == [
        'runCommand error: system("exit 3") returned 3',
    ]
