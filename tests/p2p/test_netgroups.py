"""Networks and groups of addresses."""

import pytest

from altyn.p2p.netgroups import is_local, is_routable, net_group, network_name, parse_address

ONION = "pg6mmjiyjmcrsslvykfwnntlaru7p5svn6y2ymmju6nubxndf4pscryd.onion"
I2P = "udhdrtrcetjm5sxzskjyr5ztpeszydbh4dpl3pl4utgqqw2v4jna.b32.i2p"


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("8.8.8.8", "ipv4"),
        ("::ffff:8.8.8.8", "ipv4"),
        ("2a00:1450::1", "ipv6"),
        (ONION, "onion"),
        (ONION.upper(), "onion"),
        (I2P, "i2p"),
        *((text, "not_publicly_routable") for text in (
            "0.0.0.0", "0.1.2.3", "10.1.2.3", "100.64.0.1", "127.0.0.1", "169.254.1.1", "172.31.0.1", "192.0.2.9",
            "192.168.1.1", "198.18.0.1", "198.51.100.1", "203.0.113.1", "255.255.255.255", "::", "::1", "2001:db8::1",
            "fc00::1", "fe80::1", "2001:10::1", "2001:20::1", "fd87:d87e:eb43::1",
        )),
    ],
)  # fmt: skip
def test_the_network_of_an_address(text: str, name: str) -> None:
    address = parse_address(text)
    assert network_name(address) == name
    assert is_routable(address) is (name != "not_publicly_routable")
    assert parse_address(address.text) == address


@pytest.mark.parametrize("text", ["", "localhost", "a.onion", I2P[1:], f"x{ONION[1:]}", "1.2.3.4:5"])
def test_names_are_no_addresses(text: str) -> None:
    with pytest.raises(ValueError, match="not an address"):
        parse_address(text)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("8.8.8.8", "8.8.255.1", True),
        ("8.8.8.8", "8.9.8.8", False),
        ("8.8.8.8", "64:ff9b::808:1", True),
        ("8.8.8.8", "2002:808:1::", True),
        ("8.8.8.8", "2001:0:1:2:3:4:f7f7:f7f7", True),
        ("2a00:1450::1", "2a00:1450:9999::1", True),
        ("2a00:1450::1", "2a00:1451::1", False),
        ("2001:470:1000::", "2001:470:2000::", False),
        ("2001:470:1000::", "2001:470:1f00::", True),
        ("127.0.0.1", "127.9.9.9", True),
        ("127.0.0.1", "10.0.0.1", False),
        ("10.0.0.1", "192.168.0.1", True),
        (ONION, I2P, False),
    ],
)
def test_groups_are_what_one_party_probably_has(one: str, other: str, same: bool) -> None:
    assert (net_group(parse_address(one)) == net_group(parse_address(other))) is same


def test_only_this_machine_is_local() -> None:
    assert is_local(parse_address("127.1.2.3"))
    assert is_local(parse_address("::1"))
    assert not is_local(parse_address("10.0.0.1"))
