"""Partially signed transactions: BIP174 and BIP371's vectors, and those of Core's RPC."""

import json
from typing import Any

import pytest

from altyn.consensus.networks import REGTEST, TESTNET3
from altyn.consensus.script.addresses import decode_wif
from altyn.consensus.secp256k1 import load as load_secp
from altyn.consensus.transaction import Transaction
from altyn.node.rpc.build import build_transaction
from altyn.node.rpc.json_text import parse
from altyn.wallet.formats.psbt import Psbt, PsbtError
from altyn.wallet.formats.psbt_roles import analyze, digests, extract, finalize, sign_input
from altyn.wallet.formats.signing import Keyring
from tests.vectors.conftest import load

RPC = load("wallet/rpc_psbt.json")
BIPS = load("wallet/psbt_bips.json")["cases"]
WORKFLOW = load("wallet/bip174_workflow.json")
UNDERSTOOD = {174, 371}
VERSION_2 = 370
secp = load_secp("coincurve")


def label(case: Any) -> str:
    return str(case.get("case") if isinstance(case, dict) else case)[:60]


@pytest.mark.parametrize(
    "case", [each for each in BIPS if each["category"] == "invalid" and each["bip"] in UNDERSTOOD], ids=label
)
def test_what_the_standards_call_invalid_is_refused(case: dict[str, Any]) -> None:
    with pytest.raises(PsbtError):
        Psbt.from_base64(case["base64"])


@pytest.mark.parametrize("text", RPC["invalid"])
def test_what_core_refuses_is_refused(text: str) -> None:
    with pytest.raises(PsbtError):
        Psbt.from_base64(text)


VALID = [each["base64"] for each in BIPS if each["category"] == "valid" and each["bip"] != VERSION_2]


@pytest.mark.parametrize("text", [*RPC["valid"], *VALID])
def test_what_is_valid_comes_back_as_it_was(text: str) -> None:
    parsed = Psbt.from_base64(text)
    again = Psbt.parse(parsed.serialize())
    assert again.to_base64() == parsed.to_base64()
    for each in (*parsed.inputs, *again.inputs):
        each.non_witness_utxo = None  # comes back without its witness, as from Core
    assert again == parsed


@pytest.mark.parametrize("case", RPC["creator"], ids=label)
def test_the_creator(case: dict[str, Any]) -> None:
    network = TESTNET3 if "tb1" in str(case["outputs"]) else REGTEST
    outputs = parse(json.dumps(case["outputs"]))
    tx = build_transaction(case["inputs"], outputs, 0, False, network)
    assert Psbt.create(tx).to_base64() == case["result"]


@pytest.mark.parametrize("case", RPC["signer"], ids=lambda case: case["psbt"][-20:])
def test_the_signer(case: dict[str, Any]) -> None:
    keyring = Keyring()
    for wif in case["privkeys"]:
        secret, compressed = decode_wif(wif, REGTEST)
        keyring.add_secret(secret, secp, compressed=compressed)
    psbt = Psbt.from_base64(case["psbt"])
    cache = digests(psbt)
    for index in range(len(psbt.inputs)):
        sign_input(psbt, index, keyring, cache, secp, finish=False)
    expected = Psbt.from_base64(case["result"])
    assert [each.signatures for each in psbt.inputs] == [each.signatures for each in expected.inputs]


@pytest.mark.parametrize("case", RPC["combiner"], ids=lambda case: case["result"][-20:])
def test_the_combiner(case: dict[str, Any]) -> None:
    first, *others = map(Psbt.from_base64, case["combine"])
    for other in others:
        first.merge(other)
    assert first.to_base64() == case["result"]


@pytest.mark.parametrize("case", RPC["finalizer"], ids=lambda case: case["result"][-20:])
def test_the_finalizer(case: dict[str, Any]) -> None:
    psbt = Psbt.from_base64(case["finalize"])
    assert finalize(psbt, secp)
    assert psbt.to_base64() == case["result"]


@pytest.mark.parametrize("case", RPC["extractor"], ids=lambda case: case["result"][-20:])
def test_the_extractor(case: dict[str, Any]) -> None:
    psbt = Psbt.from_base64(case["extract"])
    assert finalize(psbt, secp)
    assert extract(psbt) == Transaction.parse(bytes.fromhex(case["result"]))


def test_two_signers_and_a_combiner_make_the_transaction() -> None:
    psbt = Psbt.from_base64(WORKFLOW["updater_sighash_all"]["psbt"])
    given = [Psbt.from_base64(WORKFLOW[signer]["psbt"]) for signer in ("signer_1", "signer_2")]
    own = []
    for number, part in enumerate(given, 1):
        keyring = Keyring()
        for key in WORKFLOW[f"signer_{number}"]["keys"]:
            keyring.add_secret(decode_wif(key["wif"], REGTEST)[0], secp)
        signed = Psbt.parse(psbt.serialize())
        for index in range(len(signed.inputs)):
            sign_input(signed, index, keyring, digests(signed), secp, finish=False)
        # Core's signatures have a small R, those of the standard any
        assert [each.signatures.keys() for each in signed.inputs] == [each.signatures.keys() for each in part.inputs]
        own.append(signed)
    own[0].merge(own[1])
    assert finalize(own[0], secp)
    given[0].merge(given[1])
    assert given[0].to_base64() == Psbt.from_base64(WORKFLOW["combiner"]["psbt"]).to_base64()
    assert finalize(given[0], secp)
    assert given[0].to_base64() == Psbt.from_base64(WORKFLOW["finalizer"]["psbt"]).to_base64()
    assert extract(given[0]).raw.hex() == WORKFLOW["extractor"]["tx_hex"]


@pytest.mark.parametrize(
    ("start", "vsize", "role"),
    [
        ("PSBT with one P2SH-P2WSH input", 175, "signer"),
        ("PSBT with one P2TR key only output", 111, "updater"),  # Core names no signatures of taproot's as missing
        ("PSBT with one P2TR script path only input", 137, "finalizer"),  # its own signatures, not a shorter key path
    ],
)
def test_what_is_missing_and_the_size_are_cores(start: str, vsize: int, role: str) -> None:
    (text,) = (each["base64"] for each in BIPS if each["category"] == "valid" and each["case"].startswith(start))
    found = analyze(Psbt.from_base64(text), secp)
    assert (found.vsize, found.next.value) == (vsize, role)


def test_a_redeem_script_of_another_output_makes_no_witness() -> None:
    (text,) = (each["result"] for each in RPC["signer"][:1])
    psbt = Psbt.from_base64(text)
    psbt.inputs[1].redeem_script = psbt.inputs[1].redeem_script[:-1] + b"\xff"
    found = analyze(psbt, secp).inputs[1]
    assert (found.next.value, found.solution.missing_redeem_script) == ("updater", b"")


@pytest.mark.parametrize("cut", range(0, 700, 7))
def test_a_cut_or_changed_one_is_refused_or_read_but_nothing_else(cut: int) -> None:
    data = Psbt.from_base64(WORKFLOW["combiner"]["psbt"]).serialize()
    for broken in (data[:cut], data[:cut] + bytes((data[cut] ^ 1,)) + data[cut + 1 :], data + data[:cut]):
        try:
            Psbt.parse(broken)
        except PsbtError:
            pass
