"""Ranges of addresses, as people write them: for bans and permissions."""

import ipaddress
from typing import NamedTuple, Self

from altyn.p2p.addresses import NetworkAddress, NetworkId
from altyn.p2p.netgroups import parse_address

_VERSIONS = {4: NetworkId.IPV4, 6: NetworkId.IPV6}


class Subnet(NamedTuple):
    """All addresses of a network whose first `bits` are those of `host`; other networks have single addresses only."""

    network: int
    host: bytes
    bits: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `1.2.3.4`, `1.2.3.0/24`, `1.2.3.0/255.255.255.0`, the same in IPv6, or one address elsewhere.

        Raises ValueError.
        """
        if "/" not in text:
            return cls.single(parse_address(text))
        if "%" in text or text.count("/") > 1 or not text.partition("/")[2]:
            raise ValueError(f"not a subnet: {text}")
        host, _, mask = text.partition("/")
        address = ipaddress.ip_address(host)
        if address.version == 6 and ":" in mask:
            ones = int(ipaddress.IPv6Address(mask))
            mask = str(ones.bit_count())
            if ones != (1 << 128) - (1 << 128 - ones.bit_count()):
                raise ValueError(f"not a subnet: {text}")
        elif "." in mask:
            ones = int(ipaddress.IPv4Address(mask))  # not what Python makes of the mirrored form 0.0.0.255
            if ones != (1 << 32) - (1 << 32 - ones.bit_count()):
                raise ValueError(f"not a subnet: {text}")
            mask = str(ones.bit_count())
        network = ipaddress.ip_network(f"{host}/{mask}", strict=False)
        return cls(_VERSIONS[network.version], network.network_address.packed, network.prefixlen)

    @classmethod
    def single(cls, address: NetworkAddress) -> Self:
        """Return the range that holds one address."""
        return cls(address.network, address.host, 8 * len(address.host))

    def holds(self, address: NetworkAddress) -> bool:
        """Whether an address lies in this range."""
        if address.network != self.network:
            return False
        drop = 8 * len(self.host) - self.bits
        return int.from_bytes(self.host, "big") >> drop == int.from_bytes(address.host, "big") >> drop

    def __str__(self) -> str:
        text = NetworkAddress(self.network, self.host, 0).text
        return f"{text}/{self.bits}" if self.network in _VERSIONS.values() else text
