"""Subnets, bans and discouragement."""

import pytest

from altyn.p2p.addresses import NetworkAddress, NetworkId
from altyn.p2p.bans import MAX_DISCOURAGED, Bans
from altyn.p2p.netgroups import parse_address
from altyn.p2p.subnets import Subnet

ONION = "pg6mmjiyjmcrsslvykfwnntlaru7p5svn6y2ymmju6nubxndf4pscryd.onion"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("1.2.3.4", "1.2.3.4/32"),
        ("1.2.3.4/24", "1.2.3.0/24"),
        ("1.2.3.4/255.255.0.0", "1.2.0.0/16"),
        ("::ffff:1.2.3.4", "1.2.3.4/32"),
        ("2001:db8:85a3::1/32", "2001:db8::/32"),
        ("1:2:3:4:5:6:7:8/ffff:ffff::", "1:2::/32"),
        ("::1", "::1/128"),
        (ONION, ONION),
    ],
)
def test_subnets_read_as_people_write_them(text: str, shown: str) -> None:
    assert str(Subnet.parse(text)) == shown


@pytest.mark.parametrize(
    "text", ["", "x", "1.2.3", "1.2.3.4/33", "1.2.3.4/", "1.2.3.4/255.0.255.0", "::/129", "1.2.3.4/a", "a/b/c",
             "1.2.3.4/0.0.0.255", "::/ff:ff::", f"{ONION}/8", "not.onion"]
)  # fmt: skip
def test_what_is_no_subnet_is_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - of several wordings
        Subnet.parse(text)


def test_a_subnet_holds_what_begins_like_it() -> None:
    subnet = Subnet.parse("1.2.0.0/17")
    assert subnet.holds(parse_address("1.2.127.255"))
    assert not subnet.holds(parse_address("1.2.128.0"))
    assert not subnet.holds(parse_address("::1"))
    assert Subnet.parse(ONION).holds(parse_address(ONION, 99))


def test_bans_end_and_the_longer_one_counts() -> None:
    bans, subnet = Bans(), Subnet.parse("1.2.3.0/24")
    bans.ban(subnet, now=100, until=200)
    bans.ban(subnet, now=110, until=150)
    address = parse_address("1.2.3.4", 8333)
    assert bans.is_banned(address, 199)
    assert not bans.is_banned(address, 200)
    assert list(bans.banned(200)) == [subnet]
    assert bans.banned(201) == {}
    assert not bans.unban(subnet)


def test_bans_and_discouragement_survive_a_restart() -> None:
    changes: list[None] = []
    bans = Bans(lambda: changes.append(None))
    bans.ban(Subnet.parse("1.2.3.0/24"), 100, 200)
    bans.ban(Subnet.parse(ONION), 100, 150)
    bans.discourage(parse_address("6.6.6.6", 1))
    again = Bans()
    again.load(bans.as_json(120))
    assert again.banned(120) == bans.banned(120)
    assert len(again.banned(120)) == 2
    assert again.is_discouraged(parse_address("6.6.6.6", 2))
    assert bans.unban(Subnet.parse("1.2.3.0/24"))
    bans.clear()
    assert len(changes) == 4
    assert bans.banned(120) == {}
    assert bans.is_discouraged(parse_address("6.6.6.6"))


def test_a_million_misbehaving_addresses_do_not_fill_the_memory() -> None:
    bans = Bans()
    for number in range(MAX_DISCOURAGED + 1000):
        bans.discourage(NetworkAddress(NetworkId.IPV6, number.to_bytes(16, "big"), 0))
    assert len(bans.as_json(0)["discouraged"]) == MAX_DISCOURAGED
    assert not bans.is_discouraged(NetworkAddress(NetworkId.IPV6, (999).to_bytes(16, "big"), 0))
    assert bans.is_discouraged(NetworkAddress(NetworkId.IPV6, (1000).to_bytes(16, "big"), 0))
