"""The address book through RPC; what getnetworkinfo says of the ways to other nodes."""

from pathlib import Path

from rpc_node import refusal, rpc_node

from altyn.p2p.netgroups import NETWORK_NAMES


async def test_addresses_can_be_added_and_seen(tmp_path: Path) -> None:
    async with rpc_node(tmp_path) as rpc:
        await rpc.call("setmocktime", 1_700_000_000)
        assert await rpc.call("addpeeraddress", "1.2.3.4", 8333) == {"success": True}
        again = await rpc.call("addpeeraddress", "1.2.3.4", 8333)
        assert again == {"success": False, "error": "failed-adding-to-new"}
        assert await rpc.call("addpeeraddress", "2a00:1450::1", 8333, True) == {"success": True}
        assert await rpc.call("addpeeraddress", "here", 8333) == {"success": False}
        assert await refusal(rpc, "addpeeraddress", "1.2.3.4", -1) == (-1, "JSON integer out of range")
        entry = {"time": 1_700_000_000, "services": 9, "address": "1.2.3.4", "port": 8333, "network": "ipv4"}
        assert await rpc.call("getnodeaddresses", 0, "ipv4") == [entry]
        assert len(await rpc.call("getnodeaddresses")) == 1
        assert len(await rpc.call("getnodeaddresses", 0)) == 2
        assert await rpc.call("getnodeaddresses", 0, "i2p") == []
        assert await refusal(rpc, "getnodeaddresses", -1) == (-8, "Address count out of range")
        assert await refusal(rpc, "getnodeaddresses", 1, "foo") == (-8, "Network not recognized: foo")
        info = await rpc.call("getaddrmaninfo")
        assert list(info) == [*NETWORK_NAMES.values(), "all_networks"]
        assert info["ipv4"] == {"new": 1, "tried": 0, "total": 1}
        assert info["ipv6"] == {"new": 0, "tried": 1, "total": 1}
        assert info["all_networks"] == {"new": 1, "tried": 1, "total": 2}
        raw = await rpc.call("getrawaddrman")
        [(place, row)] = raw["new"].items()
        bucket, position = map(int, place.split("/"))
        assert 0 <= bucket < 1024
        assert 0 <= position < 64
        assert row == entry | {"source": "1.2.3.4", "source_network": "ipv4"}
        assert len(raw["tried"]) == 1


async def test_a_full_place_in_tried_is_said(tmp_path: Path) -> None:
    async with rpc_node(tmp_path) as rpc:
        for number in range(2000):
            answer = await rpc.call("addpeeraddress", f"8.8.{number >> 8}.{number & 255}", 8333, True)
            if answer == {"success": False, "error": "failed-adding-to-tried"}:
                return
        raise AssertionError("nobody had to wait for a place")


async def test_added_nodes_are_listed_by_their_names(tmp_path: Path) -> None:
    async with rpc_node(tmp_path, "-addnode=1.2.3.4") as rpc:
        await rpc.call("addnode", "somewhere.example:1", "add")
        assert await rpc.call("getaddednodeinfo") == [
            {"addednode": "1.2.3.4", "connected": False, "addresses": []},
            {"addednode": "somewhere.example:1", "connected": False, "addresses": []},
        ]
        assert len(await rpc.call("getaddednodeinfo", "1.2.3.4")) == 1
        assert await refusal(rpc, "getaddednodeinfo", "1.2.3.5") == (-24, "Error: Node has not been added.")


async def test_the_ways_to_other_networks_are_shown(tmp_path: Path) -> None:
    options = ("-onion=127.0.0.1:9050", "-onlynet=onion", "-onlynet=ipv4", "-externalip=8.8.8.8")
    async with rpc_node(tmp_path, *options) as rpc:
        info = await rpc.call("getnetworkinfo")
        assert info["localaddresses"] == [{"address": "8.8.8.8", "port": 18444, "score": 4}]
        ways = {each.pop("name"): each for each in info["networks"]}
        assert ways["onion"] == {
            "limited": False,
            "reachable": True,
            "proxy": "127.0.0.1:9050",
            "proxy_randomize_credentials": True,
        }
        assert [name for name, way in ways.items() if way["reachable"]] == ["ipv4", "onion"]
        assert ways["ipv6"]["limited"]
    async with rpc_node(tmp_path, "-proxy=127.0.0.1:9050", "-noonion") as rpc:
        ways = {each["name"]: each["proxy"] for each in (await rpc.call("getnetworkinfo"))["networks"]}
        assert {name for name, proxy in ways.items() if proxy} == {"ipv4", "ipv6", "cjdns"}
