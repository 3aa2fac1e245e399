"""Nodes on hosts of their own: network namespaces joined by a switch, with delay and loss where the kernel has netem.

Nothing leaves the namespaces, which are removed again, with everything in them, whatever happens.
"""

import contextlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

ADDRESS = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080"


def run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=90)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()}")
    return done.stdout.strip()


@dataclass
class Host:
    """A namespace with one node. Its addresses are 20.N.0.1 and 2a01:N::1, each host in a network group of its own."""

    name: str
    number: int
    datadir: Path
    process: subprocess.Popen[bytes] | None = None

    @property
    def inside(self) -> tuple[str, ...]:
        return ("ip", "netns", "exec", self.name)

    def start(self, *options: str) -> None:
        self.datadir.mkdir()
        command = [*self.inside, sys.executable, "-m", "altyn.node.cli.altynd", "-regtest", f"-datadir={self.datadir}"]
        with (self.datadir / "out").open("wb") as out:
            self.process = subprocess.Popen([*command, "-printtoconsole=0", *options], stdout=out, stderr=out)
        until(lambda: self.call("getblockcount") == "0", f"{self.name} answers")

    def call(self, *words: str) -> str:
        """Return what altyn-cli prints, "" if it fails."""
        program = (sys.executable, "-m", "altyn.node.cli.altyn_cli", "-regtest", f"-datadir={self.datadir}")
        done = subprocess.run([*self.inside, *program, *words], capture_output=True, text=True, check=False, timeout=90)
        return done.stdout.strip()

    def link(self, state: str) -> None:
        run("ip", "-n", self.name, "link", "set", "eth0", state)
        if state == "up":
            self.address()

    def address(self) -> None:
        run("ip", "-n", self.name, "-6", "addr", "replace", f"2a01:{self.number}::1/16", "dev", "eth0", "nodad")


def until(condition: object, what: str, within: float = 120.0) -> float:
    """Wait, and return the seconds that it took."""
    started = time.monotonic()
    while not condition():  # type: ignore[operator]
        if time.monotonic() - started > within:
            raise AssertionError(f"not within {within:.0f} s: {what}")
        time.sleep(0.3)
    return time.monotonic() - started


@contextlib.contextmanager
def hosts(folder: Path, count: int, netem: str) -> Iterator[list[Host]]:
    """Make namespaces around a switch; `netem`: what tc is told of each link, "" for nothing. Skips where it cannot."""
    if os.geteuid() or not shutil.which("ip") or not shutil.which("tc"):
        pytest.skip("network namespaces need root, ip and tc")
    mark = f"altyn{os.getpid()}"
    made = [Host(f"{mark}n{number}", number, folder / str(number)) for number in range(1, count + 1)]
    switch = f"{mark}s"
    with contextlib.ExitStack() as cleanup:
        for name in (switch, *(host.name for host in made)):
            try:
                run("ip", "netns", "add", name)
            except RuntimeError as error:
                pytest.skip(f"network namespaces cannot be made: {error}")
            cleanup.callback(run, "ip", "netns", "del", name)
            run("ip", "-n", name, "link", "set", "lo", "up")
        run("ip", "-n", switch, "link", "add", "br0", "type", "bridge")
        run("ip", "-n", switch, "link", "set", "br0", "up")
        for host in made:
            port = f"port{host.number}"
            run("ip", "-n", host.name, "link", "add", "eth0", "type", "veth", "peer", "name", port, "netns", switch)
            run("ip", "-n", switch, "link", "set", port, "master", "br0", "up")
            run("ip", "-n", host.name, "addr", "add", f"20.{host.number}.0.1/8", "dev", "eth0")
            host.link("up")
            if netem:
                try:
                    run("tc", "-n", host.name, "qdisc", "add", "dev", "eth0", "root", "netem", *netem.split())
                except RuntimeError as error:
                    pytest.skip(f"network namespaces are there, but no netem: {error}")
        try:
            yield made
        finally:
            for host in made:
                if host.process is not None:
                    host.process.terminate()
            for host in made:
                if host.process is not None:
                    host.process.wait(60)


@pytest.mark.parametrize("netem", ["", "delay 100ms 20ms loss 2%"], ids=["plain", "delay-and-loss"])
def test_nodes_on_three_hosts_agree_find_each_other_and_survive_an_outage(tmp_path: Path, netem: str) -> None:
    """60 blocks over IPv4 and IPv6 within 2 minutes; a host that was cut off for 10 s has the rest within 2 more."""
    with hosts(tmp_path, 3, netem) as (first, second, third):
        first.start()
        second.start("-addnode=20.1.0.1")
        third.start("-addnode=[2a01:2::1]")
        first.call("generatetoaddress", "60", ADDRESS)
        took = until(lambda: {h.call("getblockcount") for h in (first, second, third)} == {"60"}, "all at height 60")
        assert '"network": "ipv6"' in third.call("getpeerinfo")
        third.link("down")
        first.call("generatetoaddress", "5", ADDRESS)
        until(lambda: second.call("getblockcount") == "65", "the second at height 65")
        time.sleep(10)
        assert third.call("getblockcount") == "60"
        third.link("up")
        caught_up = until(lambda: third.call("getblockcount") == "65", "the third at height 65")
        print(f"{netem or 'plain'}: 60 blocks on three hosts in {took:.1f} s, after an outage {caught_up:.1f} s")
        for host in (first, second, third):
            assert host.call("stop")
            assert host.process is not None
            assert host.process.wait(60) == 0
