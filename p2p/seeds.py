"""Where a node that knows nobody begins: names to look up, and addresses that were good when this was written."""

import asyncio
import hashlib
import random
import socket
from collections.abc import Awaitable, Callable, Iterable, Mapping
from types import MappingProxyType

from altyn.p2p.addresses import Endpoint, NetworkAddress, NetworkId, TimedAddress
from altyn.p2p.netgroups import address_of, parse_address

_MAIN = """
2.39.163.191 3.9.188.44 5.45.72.11 8.209.70.77 14.203.57.50 15.235.82.178 18.183.87.240 20.89.243.139 23.134.94.82
24.36.96.14 27.148.206.140 31.30.59.201 35.208.62.130 37.157.192.94 38.102.85.36 40.160.13.7 43.225.143.17 45.88.106.107
46.28.205.68 47.254.178.44 50.45.128.28 51.154.26.11 58.229.105.38 59.188.108.150 62.168.65.42 64.187.168.198
66.18.13.162 67.217.61.213 69.4.94.226 70.35.98.12 72.50.220.5 74.213.251.233 77.109.112.223 78.30.57.78 80.90.4.178
81.7.17.202 82.195.237.251 83.150.2.128 84.246.200.122 85.195.83.50 86.109.12.60 88.99.71.213 89.207.131.19
91.228.45.130 92.42.110.214 94.131.0.73 95.211.152.100 101.100.139.249 103.99.169.110 104.221.34.226 107.191.33.82
109.235.247.122 116.86.195.192 121.98.22.147 128.2.12.38 129.10.85.103 133.5.165.199 141.0.155.19 147.32.95.62
154.65.14.19 160.80.12.16 185.70.43.193 193.84.116.22 195.189.97.38 200.122.181.26
"""
FIXED_SEEDS: Mapping[str, tuple[NetworkAddress, ...]] = MappingProxyType(
    {"main": tuple(parse_address(host, 8333) for host in _MAIN.split())}
)
"""Nodes in many networks, from Core's list of 2025, by the name of the chain; the other chains have DNS seeds alone."""

Resolve = Callable[[str], Awaitable[Iterable[str]]]
"""Looks a name up and returns IP addresses as text. Raises OSError."""
_DAY = 86400


def real_names(seeds: Iterable[str]) -> list[str]:
    """Return the names of seeds without those that nobody has, as regtest's is (RFC 6761)."""
    return [name for seed in seeds if not (name := seed.rstrip(".")).endswith(".invalid")]


async def resolve_by_dns(name: str) -> list[str]:
    """Ask the system's resolver (a Resolve)."""
    found = await asyncio.get_running_loop().getaddrinfo(name, None, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(sockaddr[0]) for *_, sockaddr in found))


def source_of(name: str) -> NetworkAddress:
    """Return what stands for a seed as the source of addresses: an IPv6 address that can be nobody's."""
    return NetworkAddress(
        NetworkId.IPV6, bytes.fromhex("fd6b88c08724") + hashlib.sha256(name.encode()).digest()[:10], 0
    )


def fixed_seeds(chain: str, services: int, now: float, rng: random.Random) -> list[TimedAddress]:
    """Return the built-in addresses, one to two weeks old by assumption."""
    return [
        TimedAddress(int(now - rng.uniform(7 * _DAY, 14 * _DAY)), services, address)
        for address in FIXED_SEEDS.get(chain, ())
    ]


def seeded(hosts: Iterable[str], port: int, services: int, now: float, rng: random.Random) -> list[TimedAddress]:
    """Return what a seed answered as addresses, three to seven days old by assumption."""
    found = (address_of(Endpoint(host, port)) for host in hosts)
    return [
        TimedAddress(int(now - rng.uniform(3 * _DAY, 7 * _DAY)), services, address)
        for address in found
        if address is not None
    ]
