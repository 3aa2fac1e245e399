"""Codecs: what each message looks like on the wire, and that nothing else comes out of a decoder than it says."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from message_examples import EXAMPLES, HASH, HEADER, IPV4, IPV6, PLAIN

from altyn.consensus.encoding import Cursor, EncodingError, compact_size
from altyn.p2p import messages
from altyn.p2p.addresses import Endpoint, NetworkAddress, NetworkId, TimedAddress
from altyn.p2p.errors import Disconnect, Misbehaving
from altyn.p2p.messages import MESSAGES, Message, Prefilled
from altyn.p2p.messages.codec import Fixed, ListOf

CORE_COMMANDS = """version verack addr addrv2 sendaddrv2 inv getdata merkleblock getblocks getheaders tx headers block
getaddr mempool ping pong notfound filterload filteradd filterclear sendheaders feefilter sendcmpct cmpctblock
getblocktxn blocktxn getcfilters cfilter getcfheaders cfheaders getcfcheckpt cfcheckpt wtxidrelay sendtxrcncl"""


def test_exactly_the_messages_of_core_are_declared_and_each_has_an_example() -> None:
    assert set(MESSAGES) == set(CORE_COMMANDS.split()) == {example.command for example in EXAMPLES}


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.command)
def test_a_message_reads_back_as_it_was_written(example: Message) -> None:
    assert type(example).parse(example.payload()) == example


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.command)
def test_bytes_behind_a_message_are_ignored(example: Message) -> None:
    if isinstance(example, messages.Pong) and example.nonce is None:
        return
    assert type(example).parse(example.payload() + b"\0") == example


def _may_be_shorter(example: Message, size: int) -> bool:
    if isinstance(example, messages.Version):
        return size in (46, 72, 80, 92, 96)  # behind receiver, sender, nonce, user agent, start height
    return isinstance(example, messages.Pong)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.command)
def test_a_truncated_message_is_refused_at_every_byte(example: Message) -> None:
    payload = example.payload()
    for size in range(0, len(payload), max(1, len(payload) // 200)):
        if not _may_be_shorter(example, size):
            with pytest.raises(EncodingError):
                type(example).parse(payload[:size])


@pytest.mark.parametrize("kind", MESSAGES.values(), ids=MESSAGES)
@given(data=st.data())
def test_from_any_bytes_come_a_message_or_the_errors_declared(kind: type[Message], data: Any) -> None:
    valid = st.sampled_from([example.payload() for example in EXAMPLES if type(example) is kind])
    payload = data.draw(st.binary(max_size=200) | valid)
    for position, value in data.draw(st.lists(st.tuples(st.integers(0, 150), st.integers(0, 255)), max_size=4)):
        payload = payload[:position] + bytes((value,)) + payload[position + 1 :]
    payload = payload[: data.draw(st.integers(0, len(payload)))] + data.draw(st.binary(max_size=9))
    try:
        read = kind.parse(payload)
    except (EncodingError, Disconnect):
        return
    assert kind.parse(read.payload()) == read


ITEM, ADDRESS = bytes(36), bytes(30)


@pytest.mark.parametrize(
    ("kind", "most", "item", "before"),
    [
        (messages.Inv, 50_000, ITEM, b""),
        (messages.GetData, 50_000, ITEM, b""),
        (messages.Headers, 2000, bytes(81), b""),
        (messages.Addr, 1000, ADDRESS, b""),
        (messages.AddrV2, 1000, b"\0\0\0\0\0\1\4\0\0\0\0\0\0", b""),
        (messages.GetHeaders, 101, HASH, bytes(4)),
        (messages.GetBlocks, 101, HASH, bytes(4)),
        (messages.CFHeaders, 2000, HASH, bytes(65)),
    ],
)
def test_one_more_than_core_takes_ends_the_connection(
    kind: type[Message], most: int, item: bytes, before: bytes
) -> None:
    kind.parse(before + compact_size(most) + item * most + bytes(32))
    with pytest.raises(Disconnect) as caught:
        kind.parse(before + compact_size(most + 1) + item * (most + 1) + bytes(32))
    locators = (messages.GetHeaders, messages.GetBlocks)
    assert isinstance(caught.value, Misbehaving) == (kind not in locators)


def test_the_reasons_are_those_of_core() -> None:
    with pytest.raises(Misbehaving, match=r"^headers message size = 2001$"):
        messages.Headers.parse(compact_size(2001))
    with pytest.raises(Misbehaving, match=r"^inv message size = 50001$"):
        messages.Inv.parse(compact_size(50001))
    with pytest.raises(Disconnect, match=r"^getheaders locator size 102 > 101$"):
        messages.GetHeaders.parse(bytes(4) + compact_size(102))


@pytest.mark.parametrize("count", [b"\xfe\xff\xff\xff\x01", b"\xff" + b"\xff" * 8, b"\xfd\x01\x00"])
def test_a_count_that_the_bytes_cannot_hold_is_refused_before_anything_is_built(count: bytes) -> None:
    for kind, before in [
        (messages.NotFound, b""),
        (messages.CFCheckpoint, bytes(33)),
        (messages.BlockTransactions, HASH),
        (messages.GetBlockTransactions, HASH),
        (messages.CompactBlock, bytes(88)),
        (messages.CompactBlock, bytes(89)),
        (messages.MerkleBlock, bytes(84)),
    ]:
        with pytest.raises(EncodingError):
            kind.parse(before + count)


def test_a_version_may_end_behind_any_field_since_the_first_four() -> None:
    whole = EXAMPLES[0].payload()
    short = messages.Version.parse(whole[:46])
    assert (short.nonce, short.user_agent, short.start_height, short.relay) == (0, "", -1, True)
    assert messages.Version.parse(whole[:-1]).relay is True
    assert messages.Version.parse(whole).relay is False


def test_a_user_agent_of_more_than_256_bytes_is_refused() -> None:
    def with_agent(size: int) -> bytes:
        return messages.Version(70016, 9, 0, user_agent="x" * size).payload()

    assert messages.Version.parse(with_agent(256)).user_agent == "x" * 256
    with pytest.raises(EncodingError, match="String length limit exceeded"):
        messages.Version.parse(with_agent(257))


def test_an_ipv4_address_goes_mapped_in_addr_and_bare_in_addrv2() -> None:
    entry = (TimedAddress(1, 9, IPV4),)
    assert messages.Addr(entry).payload().hex() == (
        "01" + "01000000" + "0900000000000000" + "00" * 10 + "ffff" + "01020304" + "208d"
    )
    assert messages.AddrV2(entry).payload().hex() == "01" + "01000000" + "09" + "01" + "04" + "01020304" + "208d"


def test_addresses_of_the_wrong_length_are_refused_with_cores_text() -> None:
    def entry(network: int, size: int) -> bytes:
        return b"\1" + bytes(4) + b"\0" + bytes((network,)) + compact_size(size) + bytes(size) + bytes(2)

    with pytest.raises(EncodingError, match=r"^BIP155 IPv4 address with length 5 \(should be 4\)$"):
        messages.AddrV2.parse(entry(1, 5))
    with pytest.raises(EncodingError, match=r"^Address too long: 513 > 512$"):
        messages.AddrV2.parse(entry(99, 513))
    assert messages.AddrV2.parse(entry(99, 512)).addresses[0].address.host == bytes(512)


def test_addresses_are_shown_as_people_write_them() -> None:
    # The example of Tor's rendezvous specification, version 3.
    onion = "pg6mmjiyjmcrsslvykfwnntlaru7p5svn6y2ymmju6nubxndf4pscryd.onion"
    key = bytes.fromhex("79bcc625184b05194975c28b66b66b0469f7f6556fb1ac3189a79b40dda32f1f")
    assert NetworkAddress(NetworkId.TORV3, key, 1).text == onion
    assert str(IPV4) == "1.2.3.4:8333"
    assert str(IPV6) == "[2001:db8::1]:8333"
    i2p = NetworkAddress(NetworkId.I2P, bytes(32), 0)
    assert i2p.text == "a" * 52 + ".b32.i2p"
    assert NetworkAddress(200, b"abc", 1).text == "616263"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1.2.3.4", Endpoint("1.2.3.4", 5)),
        ("1.2.3.4:6", Endpoint("1.2.3.4", 6)),
        ("::1", Endpoint("::1", 5)),
        ("[::1]", Endpoint("::1", 5)),
        ("[::1]:6", Endpoint("::1", 6)),
        ("node.example:6", Endpoint("node.example", 6)),
    ],
)
def test_endpoints_are_read_with_and_without_port(text: str, expected: Endpoint) -> None:
    assert Endpoint.parse(text, 5) == expected


@pytest.mark.parametrize("text", ["", ":5", "a:b", "a:0", "a:65536", "[::1", "[::1]x"])
def test_what_is_no_endpoint_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not an address"):
        Endpoint.parse(text, 5)


def test_indexes_of_blocktxn_are_differences_below_sixteen_bits() -> None:
    assert messages.GetBlockTransactions(HASH, (0, 1, 5)).payload()[32:].hex() == "03000003"
    with pytest.raises(EncodingError, match="differential value overflow"):
        messages.GetBlockTransactions.parse(HASH + b"\2\xfd\xff\xff\0")


def test_positions_in_a_compact_block_stay_below_sixteen_bits() -> None:
    first = b"\xfd\xff\xff" + PLAIN.raw  # position 65535
    one = HEADER.raw + bytes(8) + b"\0" + b"\1" + first
    assert messages.CompactBlock.parse(one).prefilled == (Prefilled(65535, PLAIN),)
    with pytest.raises(EncodingError, match="indexes overflowed 16 bits"):
        messages.CompactBlock.parse(HEADER.raw + bytes(8) + b"\0" + b"\2" + first + b"\0" + PLAIN.raw)


@pytest.mark.parametrize("services", [b"\xfd\xfc\x00", b"\xfe\xff\xff\0\0", b"\xff" + b"\xff" * 4 + bytes(4)])
def test_services_in_addrv2_have_one_encoding(services: bytes) -> None:
    with pytest.raises(EncodingError, match="non-canonical"):
        messages.AddrV2.parse(b"\1" + bytes(4) + services + b"\1\4" + bytes(6))


def test_a_list_is_not_begun_when_its_count_cannot_be_true() -> None:
    class Counting(Fixed):
        reads = 0

        def read(self, cursor: Cursor) -> bytes:
            self.reads += 1
            return super().read(cursor)

    codec = Counting(36)
    with pytest.raises(EncodingError, match="end of data"):
        ListOf(codec).read(Cursor(b"\5" + bytes(4 * 36)))
    assert codec.reads == 0
