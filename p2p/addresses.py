"""Addresses of peers: as the socket knows them, and as they go over the wire (BIP155)."""

import base64
import hashlib
import ipaddress
from enum import IntEnum
from typing import NamedTuple, Self

from altyn.consensus.encoding import Cursor, EncodingError, compact_size, var_bytes
from altyn.p2p.limits import MAX_ADDRESS_SIZE


class Endpoint(NamedTuple):
    """Where to dial: a host as text, numeric or a name, and a port."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str, default_port: int) -> Self:
        """Read `host`, `host:port`, `[ipv6]`, `[ipv6]:port` or a bare IPv6 address. Raises ValueError."""
        host, port = text, ""
        if text.startswith("["):
            host, bracket, rest = text[1:].partition("]")
            if not bracket or (rest and not rest.startswith(":")):
                raise ValueError(f"not an address: {text}")
            port = rest[1:]
        elif text.count(":") == 1:
            host, _, port = text.partition(":")
        if not host or (port and not (port.isascii() and port.isdigit() and 0 < int(port) < 1 << 16)):
            raise ValueError(f"not an address: {text}")
        return cls(host, int(port) if port else default_port)

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class NetworkId(IntEnum):
    """Kinds of address, with their numbers in addrv2."""

    IPV4 = 1
    IPV6 = 2
    TORV3 = 4
    I2P = 5
    CJDNS = 6


ADDRESS_SIZES = {
    NetworkId.IPV4: 4,
    NetworkId.IPV6: 16,
    NetworkId.TORV3: 32,
    NetworkId.I2P: 32,
    NetworkId.CJDNS: 16,
}
_CORE_NAMES = {1: "IPv4", 2: "IPv6", 4: "TORv3", 5: "I2P", 6: "CJDNS"}
_MAPPED_IPV4 = bytes(10) + b"\xff\xff"


class NetworkAddress(NamedTuple):
    """An address on one of the networks. `network` may be a number that we do not know; `host` are its bytes."""

    network: int
    host: bytes
    port: int

    @classmethod
    def unspecified(cls) -> Self:
        """The address `::`, port 0, that stands for none."""
        return cls(NetworkId.IPV6, bytes(16), 0)

    @classmethod
    def from_endpoint(cls, endpoint: Endpoint) -> Self:
        """Read a numeric IP address; a name gives the unspecified address with the port."""
        try:
            ip = ipaddress.ip_address(endpoint.host.partition("%")[0])
        except ValueError:
            return cls(NetworkId.IPV6, bytes(16), endpoint.port)
        if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped is not None:
            ip = ip.ipv4_mapped
        return cls(NetworkId.IPV4 if ip.version == 4 else NetworkId.IPV6, ip.packed, endpoint.port)

    @property
    def text(self) -> str:
        """The host as people write it; of an unknown network, hexadecimal."""
        if self.network == NetworkId.IPV4:
            return str(ipaddress.IPv4Address(self.host))
        if self.network in (NetworkId.IPV6, NetworkId.CJDNS):
            return str(ipaddress.IPv6Address(self.host))
        if self.network == NetworkId.TORV3:
            checksum = hashlib.sha3_256(b".onion checksum" + self.host + b"\3").digest()[:2]
            return base64.b32encode(self.host + checksum + b"\3").decode().lower() + ".onion"
        if self.network == NetworkId.I2P:
            return base64.b32encode(self.host).decode().lower().rstrip("=") + ".b32.i2p"
        return self.host.hex()

    def __str__(self) -> str:
        return str(Endpoint(self.text, self.port))


class AddressV1:
    """16 bytes and a port, big-endian, 18 bytes. IPv4 is mapped; what does not fit is written as zeros."""

    smallest = 18

    def read(self, cursor: Cursor) -> NetworkAddress:
        packed = cursor.read(16)
        port = int.from_bytes(cursor.read(2), "big")
        if packed.startswith(_MAPPED_IPV4):
            return NetworkAddress(NetworkId.IPV4, packed[12:], port)
        return NetworkAddress(NetworkId.IPV6, packed, port)

    def write(self, value: NetworkAddress) -> bytes:
        if value.network == NetworkId.IPV4:
            packed = _MAPPED_IPV4 + value.host
        elif value.network in (NetworkId.IPV6, NetworkId.CJDNS):
            packed = value.host
        else:
            packed = bytes(16)
        return packed + value.port.to_bytes(2, "big")


class AddressV2:
    """Network number, counted bytes, port (BIP155). Unknown networks are kept as they are."""

    smallest = 4

    def read(self, cursor: Cursor) -> NetworkAddress:
        network = cursor.u8()
        size = cursor.compact_size()
        if size > MAX_ADDRESS_SIZE:
            raise EncodingError(f"Address too long: {size} > {MAX_ADDRESS_SIZE}")
        if network in _CORE_NAMES and size != (expected := ADDRESS_SIZES[NetworkId(network)]):
            name = _CORE_NAMES[network]
            raise EncodingError(f"BIP155 {name} address with length {size} (should be {expected})")
        host = cursor.read(size)
        return NetworkAddress(network, host, int.from_bytes(cursor.read(2), "big"))

    def write(self, value: NetworkAddress) -> bytes:
        return bytes((value.network,)) + var_bytes(value.host) + value.port.to_bytes(2, "big")


class TimedAddress(NamedTuple):
    """An address with its services and when it was last seen, in seconds since 1970."""

    time: int
    services: int
    address: NetworkAddress


class TimedAddressV1:
    """An entry of `addr`, 30 bytes."""

    smallest = 30

    def read(self, cursor: Cursor) -> TimedAddress:
        return TimedAddress(cursor.u32(), cursor.u64(), ADDRESS_V1.read(cursor))

    def write(self, value: TimedAddress) -> bytes:
        head = value.time.to_bytes(4, "little") + value.services.to_bytes(8, "little")
        return head + ADDRESS_V1.write(value.address)


class TimedAddressV2:
    """An entry of `addrv2`. Its services are a compact size of any magnitude."""

    smallest = 9

    def read(self, cursor: Cursor) -> TimedAddress:
        return TimedAddress(cursor.u32(), _read_services(cursor), ADDRESS_V2.read(cursor))

    def write(self, value: TimedAddress) -> bytes:
        return value.time.to_bytes(4, "little") + compact_size(value.services) + ADDRESS_V2.write(value.address)


def _read_services(cursor: Cursor) -> int:
    first = cursor.u8()
    if first < 0xFD:
        return first
    size = 1 << (first - 0xFC)
    number = int.from_bytes(cursor.read(size), "little")
    if len(compact_size(number)) != size + 1:
        raise EncodingError("non-canonical ReadCompactSize()")
    return number


ADDRESS_V1, ADDRESS_V2 = AddressV1(), AddressV2()
TIMED_ADDRESS_V1, TIMED_ADDRESS_V2 = TimedAddressV1(), TimedAddressV2()
