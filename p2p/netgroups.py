"""What an address says of where a node is: its network, its group, and whether the world can reach it."""

import base64
import binascii
import hashlib
import ipaddress
from functools import lru_cache

from altyn.p2p.addresses import Endpoint, NetworkAddress, NetworkId

NETWORK_NAMES = {
    NetworkId.IPV4: "ipv4",
    NetworkId.IPV6: "ipv6",
    NetworkId.TORV3: "onion",
    NetworkId.I2P: "i2p",
    NetworkId.CJDNS: "cjdns",
}
"""The networks that addresses are gossiped of, by Core's names, in Core's order."""
NOT_ROUTABLE = "not_publicly_routable"


_Ranges = dict[tuple[int, bytes], list[tuple[int, int]]]
"""By network and first byte of an address, for most have none there: bits to drop, and what then is left."""


def _ranges(*texts: str) -> _Ranges:
    ranges: _Ranges = {}
    for text in texts:
        net = ipaddress.ip_network(text)
        drop = net.max_prefixlen - net.prefixlen
        kind = NetworkId.IPV4 if net.version == 4 else NetworkId.IPV6
        for first in range(net.network_address.packed[0], net.broadcast_address.packed[0] + 1):
            ranges.setdefault((kind, bytes((first,))), []).append((drop, int(net.network_address) >> drop))
    return ranges


_LOCAL = _ranges("0.0.0.0/8", "127.0.0.0/8", "::1/128")
_INVALID = _ranges(
    "0.0.0.0/32", "255.255.255.255/32", "::/128", "2001:db8::/32", "fd87:d87e:eb43::/48", "fd6b:88c0:8724::/48"
)
"""Nowhere, for documentation, and what once stood for Tor v2 and for names."""
_PRIVATE = _ranges(
    "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.2.0/24",
    "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "::1/128", "fe80::/64", "fc00::/7",
    "2001:10::/28", "2001:20::/28",
)  # fmt: skip
_MAPPED, _TRANSLATED, _WELL_KNOWN = (
    int(ipaddress.IPv6Address(text)) >> 32 for text in ("::ffff:0:0", "::ffff:0:0:0", "64:ff9b::")
)
_HURRICANE = 0x20010470
_CJDNS_BYTE = 0xFC


def parse_address(text: str, port: int = 0) -> NetworkAddress:
    """Read the address of a host on any network: IP, `.onion` (v3) or `.b32.i2p`. Raises ValueError for a name."""
    lower = text.lower()
    try:
        if lower.endswith(".onion"):
            packed = base64.b32decode(lower.removesuffix(".onion").upper())
            address = NetworkAddress(NetworkId.TORV3, packed[:32], port)
            if len(packed) == 35 and address.text == lower:
                return address
        elif lower.endswith(".b32.i2p"):
            packed = base64.b32decode(lower.removesuffix(".b32.i2p").upper() + "====")
            if len(packed) == 32:
                return NetworkAddress(NetworkId.I2P, packed, port)
        else:
            ipaddress.ip_address(text.partition("%")[0])
            return NetworkAddress.from_endpoint(Endpoint(text, port))
    except (binascii.Error, ValueError):
        pass
    raise ValueError(f"not an address: {text}")


def address_of(endpoint: Endpoint) -> NetworkAddress | None:
    """Return the address that an endpoint names; None for a name that has to be resolved."""
    try:
        return parse_address(*endpoint)
    except ValueError:
        return None


def endpoint_of(address: NetworkAddress) -> Endpoint:
    """Return where to dial an address."""
    return Endpoint(address.text, address.port)


def is_valid(address: NetworkAddress) -> bool:
    """Whether this can be the address of anything (Core: IsValid)."""
    if address.network == NetworkId.CJDNS:
        return address.host[0] == _CJDNS_BYTE
    return address.network in NETWORK_NAMES and not _is_in(address, _INVALID)


def is_local(address: NetworkAddress) -> bool:
    """Whether it is this machine (Core: IsLocal)."""
    return _is_in(address, _LOCAL)


def is_routable(address: NetworkAddress) -> bool:
    """Whether others could reach it (Core: IsRoutable)."""
    return is_valid(address) and not _is_in(address, _PRIVATE)


def network_name(address: NetworkAddress) -> str:
    """Return the network, in Core's words."""
    return NETWORK_NAMES[NetworkId(address.network)] if is_routable(address) else NOT_ROUTABLE


@lru_cache(maxsize=4096)  # of a source it is asked again for each address that it gives
def net_group(address: NetworkAddress) -> bytes:
    """Return what all addresses share that one party probably has (Core: GetGroup): /16 of IPv4, /32 of IPv6, ..."""
    if is_local(address):
        return b"local"
    if not is_routable(address):
        return b"unroutable"
    ipv4 = _linked_ipv4(address)
    if ipv4 is not None:
        return bytes((NetworkId.IPV4,)) + ipv4[:2]
    bits = {NetworkId.TORV3: 4, NetworkId.I2P: 4, NetworkId.CJDNS: 12}.get(NetworkId(address.network), 32)
    number = int.from_bytes(address.host[:5], "big")
    if address.network == NetworkId.IPV6 and number >> 8 == _HURRICANE:
        bits = 36  # tunnels for everybody: one party has a smaller part
    return bytes((address.network,)) + (number >> 40 - bits).to_bytes(5, "big")


def address_key(address: NetworkAddress) -> bytes:
    """Return the bytes that tell an address, port included, from all others."""
    return bytes((address.network,)) + address.host + address.port.to_bytes(2, "big")


def keyed_number(key: bytes, *parts: bytes) -> int:
    """Return 64 bits that nobody can foretell who does not know `key`."""
    text = b"".join([part + len(part).to_bytes(2, "big") for part in parts])
    digest = hashlib.blake2b(text, digest_size=8, key=key)
    return int.from_bytes(digest.digest(), "big")


def _is_in(address: NetworkAddress, ranges: _Ranges) -> bool:
    near = ranges.get((address.network, address.host[:1]))
    if near is None:
        return False
    number = int.from_bytes(address.host, "big")
    return any(number >> drop == prefix for drop, prefix in near)


def _linked_ipv4(address: NetworkAddress) -> bytes | None:
    """Return the IPv4 address inside one (Core: GetLinkedIPv4): itself, translated, 6to4 or Teredo."""
    if address.network == NetworkId.IPV4:
        return address.host
    if address.network != NetworkId.IPV6:
        return None
    if int.from_bytes(address.host[:12], "big") in {_MAPPED, _TRANSLATED, _WELL_KNOWN}:
        return address.host[12:]
    if address.host.startswith(b"\x20\x02"):
        return address.host[2:6]
    if address.host.startswith(b"\x20\x01\0\0"):
        return bytes(byte ^ 0xFF for byte in address.host[12:])
    return None
