import base64
import time

import pytest
from rpc_node import ADDRESS, Rpc, refusal
from turns import expect_steps_below

from altyn.consensus.encoding import var_bytes
from altyn.consensus.transaction import OutPoint, Transaction, TxIn, TxOut
from altyn.node.rpc.errors import RpcError
from altyn.node.rpc.json_text import parse
from altyn.wallet.formats.descriptors import add_checksum

XPUB = "tpubD6NzVbkrYhZ4WaWSyoBvQwbpLkojyoTZPRsgXELWz3Popb3qkjcJyJUGLnL4qHHoQvao8ESaAstxYSnhyswJ76uZPStJRJCTKvosUCJZL5B"


def multipath(count: int) -> str:
    return add_checksum(f"wpkh({XPUB}/<{';'.join(map(str, range(count)))}>/*)")


def fat_psbt(fields: int) -> str:
    """Return a PSBT whose one input has so many fields that nobody understands."""
    tx = Transaction(2, [TxIn(OutPoint(bytes(36)))], [TxOut(0, b"")])
    unknown = b"".join(var_bytes(b"\xf0" + number.to_bytes(4)) + b"\0" for number in range(fields))
    return base64.b64encode(b"psbt\xff\1\0" + var_bytes(tx.stripped) + b"\0" + unknown + b"\0\0").decode()


async def test_a_script_longer_than_a_block_is_refused(rpc: Rpc) -> None:
    code, message = await refusal(rpc, "decodescript", "51" * 4_000_001)
    assert (code, message) == (-8, "Script is longer than a block, 4000000 bytes")


@pytest.mark.parametrize(
    ("method", "argument"),
    [
        ("decodescript", "51" * 100_000),
        ("analyzepsbt", fat_psbt(100_000)),
        ("getdescriptorinfo", multipath(300)),
    ],
    ids=["script", "psbt", "descriptor"],
)
async def test_others_are_answered_while_a_long_argument_is_read(rpc: Rpc, method: str, argument: str) -> None:
    """In one go, each takes up to half a second."""
    await expect_steps_below(0.1, lambda: rpc.methods.call(method, [argument]))


async def test_a_descriptor_that_stands_for_too_many_is_refused(rpc: Rpc) -> None:
    """Forty kilobytes could stand for eight thousand descriptors, and cost half a minute."""
    code, message = await refusal(rpc, "getdescriptorinfo", multipath(8000))
    assert (code, message) == (-5, "Multipath descriptor stands for too many")
    code, message = await refusal(rpc, "getdescriptorinfo", "pk(" + "0" * 300_000 + ")")
    assert (code, message) == (-5, "Descriptor is longer than 300000 characters")


@pytest.mark.parametrize("text", [f"multi({'1' * 5000},{XPUB})", f"pk({XPUB}/{'1' * 5000})"])
async def test_numbers_longer_than_python_reads_are_no_part_of_a_descriptor(rpc: Rpc, text: str) -> None:
    code, message = await refusal(rpc, "getdescriptorinfo", text)
    assert code == -5
    assert "not valid" in message or "not a valid" in message


async def test_a_long_poll_id_may_end_in_any_number(rpc: Rpc) -> None:
    await rpc.call("generatetoaddress", 1, ADDRESS)
    request = {"rules": ["segwit"], "longpollid": "00" * 32 + "1" * 5000}
    assert (await rpc.call("getblocktemplate", request))["height"] == 2


async def test_a_name_that_comes_twice_among_many_is_found_in_time(rpc: Rpc) -> None:
    """By comparing each of 50,000 names with those before it, it would take half a minute."""
    names = ",".join(f'"{number}":0' for number in range(50_000))
    params = parse(f'{{{names},"49999":0}}')
    began = time.perf_counter()
    with pytest.raises(RpcError, match="Parameter 49999 specified multiple times"):
        await rpc.methods.call("getblockhash", params)
    assert time.perf_counter() - began < 1
