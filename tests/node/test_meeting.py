"""Where a node looks for others, by its settings."""

from pathlib import Path

import pytest

from altyn.consensus.networks import MAINNET
from altyn.node.load_settings import load
from altyn.node.meeting import outbound_settings
from altyn.p2p.kinds import Services
from altyn.p2p.seeds import real_names

FOR_A_LIGHT_NODE = int(Services.NETWORK | Services.WITNESS | Services.COMPACT_FILTERS)


@pytest.mark.parametrize(
    ("words", "names"),
    [
        ([], [name.rstrip(".") for name in MAINNET.dns_seeds]),
        (["-nodnsseed"], []),
        (["-connect=127.0.0.1"], []),
        (["-regtest"], []),  # where all tests are
    ],
)
def test_names_are_looked_up_on_public_networks_alone(tmp_path: Path, words: list[str], names: list[str]) -> None:
    asked = outbound_settings(load([f"-datadir={tmp_path}", *words]), FOR_A_LIGHT_NODE)
    assert real_names(asked.dns_seeds) == names
    assert f"x{asked.services:x}" == "x49"  # the name under which seeds give those that serve filters
