"""Dialling through SOCKS5 proxies: one for the internet, one for onion services. An adapter over python-socks."""

import asyncio
import itertools
import random
from typing import NamedTuple

from python_socks import ProxyError, ProxyType
from python_socks.async_.asyncio import Proxy

from altyn.p2p.addresses import Endpoint, NetworkId
from altyn.p2p.netgroups import address_of, is_routable
from altyn.p2p.transport import READ_SIZE, Dialer, TcpTransport, Transport, dial_tcp

PROXY_TIMEOUT = 20.0
"""Seconds for the proxy to be reached, and to reach the other side (Core: g_socks5_recv_timeout)."""


class Proxies(NamedTuple):
    """Where the proxies are, if anywhere. `randomize`: other credentials each time, so that Tor keeps streams apart."""

    ip: Endpoint | None = None
    onion: Endpoint | None = None
    randomize: bool = True

    def way_to(self, endpoint: Endpoint) -> Endpoint | None:
        """Return the proxy for an endpoint, or None to dial it directly, as the local network is. Raises OSError."""
        address = address_of(endpoint)
        if address is None:
            return self.ip  # a name: the proxy looks it up, nobody else learns of it
        if address.network == NetworkId.TORV3:
            if self.onion is None:
                raise OSError("there is no proxy for onion services")
            return self.onion
        if address.network not in (NetworkId.IPV4, NetworkId.IPV6):
            raise OSError("no way to that network")
        return self.ip if is_routable(address) else None


def proxied_dialer(proxies: Proxies, rng: random.Random, *, names: bool = True, direct: Dialer = dial_tcp) -> Dialer:
    """Return a dialer that takes the right way; without `names`, nothing is looked up by us."""
    numbers = itertools.count(rng.getrandbits(64))

    async def dial(endpoint: Endpoint) -> Transport:
        way = proxies.way_to(endpoint)
        if way is None:
            if not names and address_of(endpoint) is None:
                raise OSError(f"names are not looked up: {endpoint}")
            return await direct(endpoint)
        credentials = str(next(numbers)) if proxies.randomize else None
        loop = asyncio.get_running_loop()
        proxy = Proxy(ProxyType.SOCKS5, *way, username=credentials, password=credentials, rdns=True, loop=loop)
        try:
            sock = await proxy.connect(*endpoint, timeout=PROXY_TIMEOUT)
        except (ProxyError, ValueError) as error:  # the latter for what is no name of a host, as 127.0.0..1
            raise OSError(f"proxy {way}: {error}") from None
        reader, writer = await asyncio.open_connection(sock=sock, limit=READ_SIZE // 2)
        return TcpTransport(reader, writer, remote=endpoint)

    return dial
