"""Dialling through SOCKS5 proxies: a tiny one on this machine, real sockets."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest

from altyn.p2p.addresses import Endpoint
from altyn.p2p.proxy import Proxies, proxied_dialer
from altyn.p2p.transport import Dialer, Transport

ONION = "pg6mmjiyjmcrsslvykfwnntlaru7p5svn6y2ymmju6nubxndf4pscryd.onion"


@dataclass
class Socks5:
    """Answers as a proxy does, and is itself whoever was asked for: it echoes. `reply`: 0 for success."""

    reply: int = 0
    asked: list[tuple[str, int, str, str]] = field(default_factory=list)
    endpoint: Endpoint = field(init=False)
    tasks: list[asyncio.Task[None]] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.tasks.append(task)
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            _, count = await reader.readexactly(2)
            methods = await reader.readexactly(count)
            user = password = b""
            writer.write(b"\x05\x02" if 2 in methods else b"\x05\x00")
            if 2 in methods:
                _, size = await reader.readexactly(2)
                user = await reader.readexactly(size)
                [size] = await reader.readexactly(1)
                password = await reader.readexactly(size)
                writer.write(b"\x01\x00")
            _, command, _, kind = await reader.readexactly(4)
            assert command == 1
            if kind == 3:
                [size] = await reader.readexactly(1)
                host = (await reader.readexactly(size)).decode()
            else:
                host = ".".join(map(str, await reader.readexactly({1: 4, 4: 16}[kind])))
            port = int.from_bytes(await reader.readexactly(2), "big")
            self.asked.append((host, port, user.decode(), password.decode()))
            writer.write(bytes((5, self.reply, 0, 1)) + bytes(6))
            while not self.reply and (data := await reader.read(1000)):
                writer.write(data)
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


@contextlib.asynccontextmanager
async def socks5(reply: int = 0) -> AsyncIterator[Socks5]:
    proxy = Socks5(reply)
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    proxy.endpoint = Endpoint(*server.sockets[0].getsockname()[:2])
    async with server:
        yield proxy
    await asyncio.gather(*proxy.tasks)


async def refuses(endpoint: Endpoint) -> Transport:
    raise ConnectionRefusedError(f"dialled {endpoint} without a proxy")


def dialer(*proxies: Socks5 | None, randomize: bool = True, names: bool = True) -> Dialer:
    ip, onion = [proxy.endpoint if proxy else None for proxy in proxies]
    return proxied_dialer(Proxies(ip, onion, randomize), random.Random(1), names=names, direct=refuses)


async def test_addresses_and_names_go_through_the_proxy_unresolved() -> None:
    async with socks5() as proxy:
        dial = dialer(proxy, proxy)
        for endpoint in (Endpoint("8.8.8.8", 8333), Endpoint("seed.example", 1), Endpoint(ONION, 2)):
            transport = await dial(endpoint)
            assert transport.remote == endpoint
            await transport.write(b"hello")
            assert await transport.read() == b"hello"
            await transport.close()
        assert [asked[:2] for asked in proxy.asked] == [("8.8.8.8", 8333), ("seed.example", 1), (ONION, 2)]


async def test_each_connection_has_credentials_of_its_own_if_that_is_wanted() -> None:
    async with socks5() as proxy:
        for randomize, count in ((True, 3), (False, 1)):
            proxy.asked.clear()
            dial = dialer(proxy, None, randomize=randomize)
            for _ in range(3):
                await (await dial(Endpoint("8.8.8.8", 8333))).close()
            assert len({asked[2:] for asked in proxy.asked}) == count
        assert proxy.asked[0][2:] == ("", "")


async def test_onion_services_have_a_proxy_of_their_own() -> None:
    async with socks5() as internet, socks5() as tor:
        dial = dialer(internet, tor)
        await (await dial(Endpoint(ONION, 1))).close()
        await (await dial(Endpoint("8.8.8.8", 1))).close()
        assert len(internet.asked) == len(tor.asked) == 1
        assert tor.asked[0][0] == ONION


async def test_the_local_network_is_dialled_directly_and_what_has_no_way_not_at_all() -> None:
    async with socks5() as proxy:
        with pytest.raises(ConnectionRefusedError, match="without a proxy"):
            await dialer(proxy, proxy)(Endpoint("127.0.0.1", 1))
        with pytest.raises(OSError, match="no proxy for onion"):
            await dialer(proxy, None)(Endpoint(ONION, 1))
        with pytest.raises(OSError, match="no way"):
            await dialer(proxy, proxy)(Endpoint("udhdrtrcetjm5sxzskjyr5ztpeszydbh4dpl3pl4utgqqw2v4jna.b32.i2p", 0))
        with pytest.raises(OSError, match="names are not looked up"):
            await dialer(None, None, names=False)(Endpoint("seed.example", 1))
        assert proxy.asked == []


async def test_what_the_proxy_cannot_reach_is_an_os_error() -> None:
    async with socks5(reply=5) as proxy:
        with pytest.raises(OSError, match="proxy"):
            await dialer(proxy, proxy)(Endpoint("8.8.8.8", 1))
    with pytest.raises(OSError, match="proxy"):
        await dialer(proxy, proxy)(Endpoint("8.8.8.8", 1))  # the proxy itself is gone


@pytest.mark.parametrize("host", ["127.0.0..1", "x" * 300, "\udce4"])
async def test_what_is_no_name_of_a_host_is_an_os_error(host: str) -> None:
    async with socks5() as proxy:
        with pytest.raises(OSError, match="proxy"):
            await dialer(proxy, proxy)(Endpoint(host, 1))
