"""Signet blocks and their solutions (BIP325), on challenges of our own."""

from dataclasses import replace

import pytest
from builders import block_on, coinbase, solve

from altyn.consensus.block import Block
from altyn.consensus.checks.blocks import check_block
from altyn.consensus.encoding import compact_size, var_bytes
from altyn.consensus.errors import ValidationError
from altyn.consensus.hashes import sha256
from altyn.consensus.merkle import make_witness_commitment, witness_merkle_root
from altyn.consensus.networks import REGTEST, SIGNET, Network, custom_signet
from altyn.consensus.script.opcodes import push
from altyn.consensus.script.sighash import SighashCache
from altyn.consensus.secp256k1 import load
from altyn.consensus.signet import SIGNET_HEADER, check_signet_solution, signet_transactions
from altyn.consensus.transaction import Transaction, TxOut

SECP = load()
SECRET = sha256(b"signer")
PUBLIC_KEY = SECP.public_key(SECRET)
KEY_CHALLENGE = push(PUBLIC_KEY) + b"\xac"
"""P2PK, as single-signer signets have it."""
WITNESS_SCRIPT = KEY_CHALLENGE
WITNESS_CHALLENGE = b"\x00\x20" + sha256(WITNESS_SCRIPT)


def network(challenge: bytes) -> Network:
    """A signet that is as easy to mine as regtest."""
    return replace(custom_signet(challenge), pow_limit=REGTEST.pow_limit)


def carrying(data: bytes, *, time: int = 1_700_000_000) -> Block:
    """Make a block whose commitment is followed by `data`."""
    first = coinbase(1, commitment_root=bytes(32))
    script = make_witness_commitment(witness_merkle_root([first])) + data
    made = Transaction(first.version, first.inputs, [first.outputs[0], TxOut(0, script)])
    return block_on(SIGNET.genesis.header, 1, coinbase_tx=made, time=time, bits=0x207FFFFF)


def solution(script_sig: bytes, witness: tuple[bytes, ...] = ()) -> bytes:
    stack = compact_size(len(witness)) + b"".join(map(var_bytes, witness))
    return push(SIGNET_HEADER + var_bytes(script_sig) + stack)


def signed(challenge: bytes, *, time: int = 1_700_000_000) -> Block:
    """Make a block with a signature for KEY_CHALLENGE or WITNESS_CHALLENGE."""
    pair = signet_transactions(carrying(push(SIGNET_HEADER), time=time), challenge)
    assert pair is not None
    cache = SighashCache(pair.spending, pair.to_spend.outputs)
    if challenge == KEY_CHALLENGE:
        signature = SECP.sign_ecdsa(SECRET, cache.legacy(0, KEY_CHALLENGE, 1)) + b"\x01"
        return carrying(solution(push(signature)), time=time)
    signature = SECP.sign_ecdsa(SECRET, cache.witness_v0(0, WITNESS_SCRIPT, 0, 1)) + b"\x01"
    return carrying(solution(b"", (signature, WITNESS_SCRIPT)), time=time)


def refused(block: Block, challenge: bytes) -> None:
    with pytest.raises(ValidationError) as error:
        check_signet_solution(block, network(challenge), SECP)
    assert str(error.value) == "bad-signet-blksig, signet block signature validation failure"


@pytest.mark.parametrize("challenge", [KEY_CHALLENGE, WITNESS_CHALLENGE], ids=["P2PK", "P2WSH"])
def test_a_signed_block_passes(challenge: bytes) -> None:
    check_signet_solution(signed(challenge), network(challenge), SECP)
    check_block(signed(challenge), network(challenge), secp=SECP)


def test_a_signature_binds_the_time_and_the_transactions_but_not_the_nonce() -> None:
    block = signed(KEY_CHALLENGE)
    commitment = block.transactions[0].outputs[1].script_pubkey
    refused(carrying(commitment[38:], time=block.header.time + 1), KEY_CHALLENGE)
    richer = Transaction(2, block.transactions[0].inputs, [TxOut(1, b""), block.transactions[0].outputs[1]])
    refused(solve(Block(block.header, [richer])), KEY_CHALLENGE)
    check_signet_solution(solve(block), network(KEY_CHALLENGE), SECP)


def test_an_unsigned_block_is_refused() -> None:
    refused(carrying(b""), KEY_CHALLENGE)
    refused(carrying(solution(b"")), KEY_CHALLENGE)


def test_another_key_is_refused() -> None:
    refused(signed(KEY_CHALLENGE), push(SECP.public_key(sha256(b"other"))) + b"\xac")


def test_a_block_without_commitment_is_refused() -> None:
    refused(block_on(SIGNET.genesis.header, 1, bits=0x207FFFFF), b"\x51")


def test_a_challenge_may_need_no_solution() -> None:
    check_signet_solution(carrying(b""), network(b"\x51"), SECP)


@pytest.mark.parametrize(
    "data", [b"\x05", var_bytes(b"\x51"), var_bytes(b"") + b"\0more", var_bytes(b"") + b"\x01\x05"]
)
def test_a_solution_that_cannot_be_read_is_refused(data: bytes) -> None:
    refused(carrying(push(SIGNET_HEADER + data)), b"\x51")


def test_what_follows_the_header_is_cut_from_what_is_signed() -> None:
    """Of the commitment's pushes the first with the header and more counts; the others are signed as they are."""
    pair = signet_transactions(carrying(solution(b"\x51")), b"\x51")
    bare = signet_transactions(carrying(push(SIGNET_HEADER)), b"\x51")
    assert pair is not None
    assert bare is not None
    assert pair.to_spend == bare.to_spend
    assert pair.spending.inputs[0].script_sig == b"\x51"
    second = signet_transactions(carrying(solution(b"\x51") + solution(b"\x52")), b"\x51")
    assert second is not None
    assert second.spending.inputs[0].script_sig == b"\x51"
    assert second.to_spend != bare.to_spend


def test_genesis_and_other_networks_need_no_solution() -> None:
    check_signet_solution(SIGNET.genesis, SIGNET, SECP)
    check_signet_solution(carrying(b""), REGTEST, SECP)


FIRST_BLOCK = (
    "00000020f61eee3b63a380a477a063af32b2bbc97c9ff9f01f2c4225e973988108000000f575c83235984e7dc4afc1f30944c170462e84437ab6"
    "f2d52e16878a79e4678bd1914d5fae77031eccf4070001010000000001010000000000000000000000000000000000000000000000000000000000"
    "000000ffffffff025151feffffff0200f2052a010000001600149243f727dd5343293eb83174324019ec16c2630f0000000000000000776a24aa21"
    "a9ede2f61c3f71d1defd3fa999dfa36953755c690689799962b48bebd836974e8cf94c4fecc7daa2490047304402205e423a8754336ca99dbe1650"
    "9b877ef1bf98d008836c725005b3c787c41ebe46022047246e4467ad7cc7f1ad98662afcaf14c115e0095a227c7b05c5182591c23e7e0100012000"
    "0000000000000000000000000000000000000000000000000000000000000000000000"
)
"""Block 1 of the public signet."""


def test_the_first_block_of_the_public_signet_passes() -> None:
    block = Block.parse(bytes.fromhex(FIRST_BLOCK))
    assert block.header.prev_hash == SIGNET.genesis.hash
    check_block(block, SIGNET, secp=SECP)
    refused(block, KEY_CHALLENGE)


def test_templates_are_checked_without_solution() -> None:
    check_block(carrying(b""), network(KEY_CHALLENGE), check_pow=False)
    with pytest.raises(ValidationError, match="bad-signet-blksig"):
        check_block(carrying(b""), network(KEY_CHALLENGE))
