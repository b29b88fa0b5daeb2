"""Two hosts as network namespaces with a cable between them that can be pulled."""

import ctypes
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

_NEW_NETWORK = 0x40000000
"""CLONE_NEWNET of setns(2)."""


def run_ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


def explain_absence() -> str | None:
    """Why there can be no namespaces here; None if there can."""
    if not shutil.which("ip"):
        return "no ip program (Debian: iproute2)"
    name = f"mg{os.getpid()}t"
    tried = subprocess.run(["ip", "netns", "add", name], capture_output=True, text=True, check=False)
    if tried.returncode:
        return f"no network namespaces here: {tried.stderr.strip()}"
    run_ip("netns", "del", name)
    return None


@dataclass(frozen=True)
class Hosts:
    """`near` has the server, `far` the workers."""

    near: str
    far: str
    near_address: str = "10.77.0.1"
    far_address: str = "10.77.0.2"

    @classmethod
    def create(cls) -> "Hosts":
        number = os.getpid()
        hosts = cls(f"mg{number}n", f"mg{number}f")
        for host in (hosts.near, hosts.far):
            run_ip("netns", "add", host)
            run_ip("-n", host, "link", "set", "lo", "up")
        run_ip("link", "add", "cable", "netns", hosts.near, "type", "veth", "peer", "name", "cable", "netns", hosts.far)
        for host, address in ((hosts.near, hosts.near_address), (hosts.far, hosts.far_address)):
            run_ip("-n", host, "address", "add", f"{address}/24", "dev", "cable")
            run_ip("-n", host, "link", "set", "cable", "up")
        return hosts

    @staticmethod
    def enter(host: str) -> tuple[str, ...]:
        """What a command line begins with to run there."""
        return ("ip", "netns", "exec", host)

    @staticmethod
    @contextmanager
    def staying(host: str) -> Iterator[None]:
        """This thread, and the threads and processes that it starts, are on that host meanwhile."""
        with open("/proc/thread-self/ns/net") as home, open(f"/run/netns/{host}") as place:
            _move_thread(place.fileno())
            try:
                yield
            finally:
                _move_thread(home.fileno())

    def set_cable(self, plugged: bool) -> None:
        run_ip("-n", self.far, "link", "set", "cable", "up" if plugged else "down")

    def remove(self) -> None:
        for host in (self.near, self.far):
            subprocess.run(["ip", "netns", "del", host], capture_output=True, check=False)


def _move_thread(namespace: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(namespace, _NEW_NETWORK):
        raise OSError(ctypes.get_errno(), "setns")
