"""BIP324: ElligatorSwift keys, key schedule and packets."""

from typing import Any

import pytest

from altyn.consensus.secp256k1.libsecp import LibSecp256k1
from altyn.p2p.framing.bip324 import Session
from tests.vectors.conftest import load

SECP = LibSecp256k1()
MAINNET_MAGIC = bytes.fromhex("f9beb4d9")
PACKETS = load("p2p/bip324_packet_encoding.csv")


@pytest.mark.parametrize("row", load("p2p/bip324_ellswift_decode.csv"), ids=lambda row: row["comment"])
def test_an_encoded_key_decodes_to_its_x(row: dict[str, str]) -> None:
    assert SECP.ellswift_decode(bytes.fromhex(row["ellswift"]))[1:].hex() == row["x"]


@pytest.mark.parametrize("row", load("p2p/bip324_xswiftec_inv.csv"), ids=lambda row: row["u"][:16])
def test_every_encoding_of_an_x_decodes_to_it(row: dict[str, str]) -> None:
    encodings = [row["u"] + t for name, t in row.items() if name.endswith("_t") and t]
    assert {SECP.ellswift_decode(bytes.fromhex(encoded))[1:].hex() for encoded in encodings} <= {row["x"]}


@pytest.mark.parametrize("row", PACKETS, ids=lambda row: f"packet {row['in_idx']}")
def test_a_packet_is_sealed_as_documented_and_the_other_side_opens_it(row: dict[str, Any]) -> None:
    values = {
        name: bytes.fromhex(text)
        for name, text in row.items()
        if name.startswith(("in_priv", "in_ell", "in_con", "in_aad", "mid", "out"))
    }
    initiating, ignore = row["in_initiating"] == "1", row["in_ignore"] == "1"
    ours, theirs = values["in_ellswift_ours"], values["in_ellswift_theirs"]
    shared = SECP.ellswift_agree(values["in_priv_ours"], ours, theirs, initiating=initiating)
    assert SECP.public_key(values["in_priv_ours"])[1:] == values["mid_x_ours"] == SECP.ellswift_decode(ours)[1:]
    assert SECP.ellswift_decode(theirs)[1:] == values["mid_x_theirs"]
    assert shared == values["mid_shared_secret"]

    session = Session.derive(shared, MAINNET_MAGIC, initiating=initiating)
    other = Session.derive(shared, MAINNET_MAGIC, initiating=not initiating)
    assert session.id == values["out_session_id"]
    assert session.sending_terminator == values["mid_send_garbage_terminator"] == other.receiving_terminator
    assert session.receiving_terminator == values["mid_recv_garbage_terminator"] == other.sending_terminator
    for _ in range(int(row["in_idx"])):
        before = session.sending.seal(b"")
        assert other.receiving.open_length(before[:3]) == 0
        assert other.receiving.open(before[3:]) == (False, b"")
    contents = values["in_contents"] * int(row["in_multiply"])
    packet = session.sending.seal(contents, aad=values["in_aad"], ignore=ignore)
    if row["out_ciphertext"]:
        assert packet == values["out_ciphertext"]
    assert packet.endswith(values["out_ciphertext_endswith"])
    assert other.receiving.open_length(packet[:3]) == len(contents)
    assert other.receiving.open(packet[3:], aad=values["in_aad"]) == (ignore, contents)
