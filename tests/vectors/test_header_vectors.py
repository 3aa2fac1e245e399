"""Header chains and checkpoints: work, links and retargets; the parameters of the built-in networks."""

from itertools import pairwise
from typing import Any

import pytest
from ancestors import Ancestor, entry
from builders import push_number
from ledger import FAR_FUTURE

from altyn.consensus.block import Header
from altyn.consensus.checks.headers import check_header, check_header_in_context
from altyn.consensus.difficulty import permitted_transition, required_bits
from altyn.consensus.errors import ValidationError
from altyn.consensus.limits import COIN
from altyn.consensus.merkle import merkle_root
from altyn.consensus.networks import MAINNET, NETWORKS, TESTNET3
from altyn.consensus.pow import target_to_bits
from altyn.consensus.script.flags import FLAGS
from altyn.consensus.transaction import NULL_OUTPOINT, Transaction, TxIn, TxOut
from tests.vectors.conftest import load, vectors_path

PARAMETERS: dict[str, dict[str, Any]] = load("headers/chainparams.json")
CORE_28 = {"regtest": {"enforce_BIP94": True}}
"""Where Core 28.1, which we follow, differs from the version these facts are from."""


@pytest.mark.parametrize("name", PARAMETERS)
def test_a_network_has_cores_parameters(name: str) -> None:
    network, facts = NETWORKS[name], PARAMETERS[name] | CORE_28.get(name, {})
    assert network.magic.hex() == facts["magic"]
    assert network.port == facts["port"]
    heights = (network.bip34_height, network.bip65_height, network.bip66_height, network.csv_height)
    assert heights == tuple(facts[key] for key in ("BIP34Height", "BIP65Height", "BIP66Height", "CSVHeight"))
    assert network.segwit_height == facts["SegwitHeight"]
    assert network.halving_interval == facts["nSubsidyHalvingInterval"]
    assert (network.bip34_hash or b"")[::-1].hex() == (facts["BIP34Hash"] or "")
    assert f"{network.pow_limit:064x}" == facts["powLimit"]
    assert network.target_timespan == facts["nPowTargetTimespan"]
    assert network.target_spacing == facts["nPowTargetSpacing"]
    assert network.allow_min_difficulty_blocks == facts["fPowAllowMinDifficultyBlocks"]
    assert network.no_retargeting == facts["fPowNoRetargeting"]
    assert network.enforce_bip94 == facts["enforce_BIP94"]
    assert network.minimum_chain_work == int(facts["nMinimumChainWork"] or "0", 16)
    assert (network.assume_valid or b"")[::-1].hex() == (facts["defaultAssumeValid"] or "")
    assert {block[::-1].hex(): flags for block, flags in network.script_flag_exceptions.items()} == {
        block: sum(FLAGS[flag.removeprefix("SCRIPT_VERIFY_")] for flag in names.split(" | ") if flag[-4:] != "NONE")
        for block, names in facts["script_flag_exceptions"].items()
    }
    assert network.genesis.raw.hex() == facts["genesis_block_hex"]
    assert network.genesis.hash[::-1].hex() == facts["genesis_hash"]
    assert (network.signet_challenge or b"").hex() == facts.get("signet_challenge", "")
    base58 = facts["base58"]
    assert (network.pubkey_prefix, network.script_prefix) == (base58["pubkey_address"], base58["script_address"])
    assert network.secret_prefix == base58["secret_key"]
    assert network.ext_public_prefix.hex() == base58["ext_public_key"]
    assert network.ext_secret_prefix.hex() == base58["ext_secret_key"]
    assert network.bech32_hrp == facts["bech32_hrp"]
    assert list(network.dns_seeds) == facts["dns_seeds"]


class Line(list[Ancestor]):
    """Headers checked one after another; entries know each other by index."""

    def __init__(self, first: Ancestor) -> None:
        super().__init__([first])

    def add(self, header: Header, network: Any) -> None:
        line, parent = self, self[-1]

        class Entry(Ancestor):
            def ancestor(self, height: int) -> Ancestor:
                return line[height]

        assert header.prev_hash == parent.hash
        check_header(header, network)
        check_header_in_context(header, parent, network, FAR_FUTURE)
        self.append(Entry(header, parent))


def test_the_first_headers_of_testnet3_are_valid() -> None:
    lines = vectors_path("headers/blockheader_testnet3.hex").read_text().split()
    headers = [Header.parse(bytes.fromhex(line)) for line in lines if not line.startswith("fork:")]
    chain = Line(Ancestor(TESTNET3.genesis.header))
    for header in headers:
        chain.add(header, TESTNET3)
    assert chain[-1].height == len(headers)
    forks = [Header.parse(bytes.fromhex(line.removeprefix("fork:"))) for line in lines if line.startswith("fork:")]
    branch = Line(Ancestor(TESTNET3.genesis.header))
    for header in forks:
        branch.add(header, TESTNET3)


def alternate_mainnet() -> Line:
    """Rebuild the 2,016 blocks that Core's miner test made on mainnet's genesis."""
    made = load("headers/mainnet_alt.json")
    script = bytes.fromhex("76a914" + "eadbac7f36c37e39361168b7aaee3cb24a25312d" + "88ac")
    chain = Line(Ancestor(MAINNET.genesis.header))
    for height, (time, nonce) in enumerate(zip(made["timestamps"], made["nonces"], strict=True), 1):
        script_sig = push_number(height)
        if len(script_sig) == 1:
            script_sig += b"\0"
        coinbase = Transaction(2, [TxIn(NULL_OUTPOINT, script_sig)], [TxOut(50 * COIN, script)])
        bits = required_bits(chain[-1], time, MAINNET)
        header = Header(0x20000000, chain[-1].hash, merkle_root([coinbase.txid]), time, bits, nonce)
        chain.add(header, MAINNET)
    return chain


CHECKPOINTS = [name for name in PARAMETERS if name != "regtest"]


@pytest.mark.parametrize("name", [name for name in CHECKPOINTS if name != "signet"])
def test_the_targets_of_checkpoints_are_transitions_that_the_rules_permit(name: str) -> None:
    checkpoints = load(f"headers/checkpoints_{name}.json")
    targets = [target for _, target in checkpoints if target]
    bits = [target_to_bits(target) for target in targets]
    network = NETWORKS[name]
    for period, (old, new) in enumerate(pairwise(bits), 1):
        assert permitted_transition(network, 2016 * period, old, new)


def test_a_mainnet_target_that_jumps_is_no_permitted_transition() -> None:
    assert not permitted_transition(MAINNET, 2016 * 100, 0x1B04864C, 0x1C04864C)


def test_a_header_one_bit_off_is_refused() -> None:
    chain = Line(Ancestor(MAINNET.genesis.header))
    header = Header.parse(vectors_path("blocks/mainnet-1.raw").read_bytes()[:80])
    wrong = Header(header.version, header.prev_hash, header.merkle_root, header.time, header.bits, header.nonce ^ 1)
    with pytest.raises(ValidationError, match="high-hash"):
        chain.add(wrong, MAINNET)
    chain.add(header, MAINNET)
    assert entry(chain[-1]).height == 2


def test_an_alternate_mainnet_reaches_its_first_retarget() -> None:
    chain = alternate_mainnet()
    tip = chain[-1]
    if tip.height >= 2016:
        assert tip.header.bits == 0x1C3FFFC0, "four times harder"
