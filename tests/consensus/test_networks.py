"""The built-in networks and signets of one's own."""

from dataclasses import replace

import pytest

from altyn.consensus.networks import MAINNET, NETWORKS, REGTEST, SIGNET, TESTNET3, TESTNET4, Network, custom_signet


def test_networks_are_found_by_both_names() -> None:
    assert NETWORKS["mainnet"] is NETWORKS["main"] is MAINNET
    assert NETWORKS["testnet3"] is NETWORKS["test"] is TESTNET3
    assert {network.name for network in NETWORKS.values()} == {"mainnet", "testnet3", "testnet4", "signet", "regtest"}


@pytest.mark.parametrize(
    ("network", "displayed"),
    [
        (MAINNET, "000000000019d6689c085ae165831e934ff763ae46a2a6c172b3f1b60a8ce26f"),
        (TESTNET3, "000000000933ea01ad0ee984209779baaec3ced90fa3f408719526f8d77f4943"),
        (TESTNET4, "00000000da84f2bafbbc53dee25a72ae507ff4914b867c565be350b0da8bf043"),
        (SIGNET, "00000008819873e925422c1ff0f99f7cc9bbb232af63a077a480a3633bee1ef6"),
        (REGTEST, "0f9188f13cb7b2c71f2a335e3a4fc328bf5beb436012afca590b1a11466e2206"),
    ],
    ids=lambda value: value.name if isinstance(value, Network) else "",
)
def test_each_network_starts_at_its_genesis(network: Network, displayed: str) -> None:
    assert network.genesis.hash[::-1].hex() == displayed
    assert network.genesis.header.merkle_root == network.genesis.transactions[0].txid


def test_the_default_signet_has_the_magic_of_its_challenge() -> None:
    assert SIGNET.magic.hex() == "0a03cf40"


def test_a_custom_signet_has_its_own_magic_and_no_assumed_history() -> None:
    network = custom_signet(b"\x51")
    assert network.signet_challenge == b"\x51"
    assert network.magic.hex() == "54d26fbd"
    assert network.genesis == SIGNET.genesis
    assert (network.minimum_chain_work, network.assume_valid, network.dns_seeds) == (0, None, ())


def test_networks_are_values() -> None:
    moved = replace(REGTEST, segwit_height=100)
    assert moved != REGTEST
    assert replace(moved, segwit_height=0) == REGTEST
    assert len({REGTEST, replace(moved, segwit_height=0), moved}) == 2
    assert REGTEST.retarget_interval == 144
    assert MAINNET.retarget_interval == 2016


def test_only_regtest_lets_its_clock_be_set() -> None:
    assert [network.name for network in set(NETWORKS.values()) if network.is_mockable] == ["regtest"]
    assert [network.name for network in set(NETWORKS.values()) if not network.is_test_chain] == ["mainnet"]
