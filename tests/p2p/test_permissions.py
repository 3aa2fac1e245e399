"""Permissions of peers, as texts grant them."""

import pytest

from altyn.p2p.kinds import Permission
from altyn.p2p.netgroups import parse_address
from altyn.p2p.permissions import Grant, Whitelisted, permission_names, permissions_of


def granted(*texts: str, host: str = "1.2.3.4", inbound: bool = True) -> list[str]:
    whitelist = [Whitelisted.parse(text, Permission.MEMPOOL) for text in texts]
    return permission_names(permissions_of(parse_address(host), whitelist, inbound=inbound))


def test_names_grant_what_core_lists_for_them() -> None:
    assert granted("noban@1.2.3.4") == ["noban", "download"]
    assert granted("forcerelay@1.2.3.4") == ["forcerelay", "relay"]
    assert granted("bloom,addr@1.2.3.0/24") == ["bloomfilter", "addr"]
    assert granted("all@1.2.3.4") == ["bloomfilter", "noban", "forcerelay", "relay", "mempool", "download", "addr"]
    assert granted("blockfilters@1.2.3.4") == ["blockfilters"]
    assert granted("@1.2.3.4") == []
    assert granted("1.2.3.4") == ["mempool"]
    assert granted("relay@1.2.3.4", "addr@1.2.0.0/16") == ["relay", "addr"]
    assert granted("all@1.2.3.5") == []


def test_a_direction_may_be_said() -> None:
    assert granted("relay,out@1.2.3.4") == []
    assert granted("relay,out@1.2.3.4", inbound=False) == ["relay"]
    assert granted("relay,in,out@1.2.3.4") == granted("relay,in,out@1.2.3.4", inbound=False) == ["relay"]
    with pytest.raises(ValueError, match=r"Only direction was set, no permissions: 'in@1.2.3.4'"):
        Grant.parse("in@1.2.3.4", may_be_outbound=True)
