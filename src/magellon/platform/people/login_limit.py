"""How often one may try to log in: per name and per address, in bounded memory."""

import ipaddress
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Allowance:
    """So many tries at once, and one more each `interval` seconds."""

    burst: int
    interval: float


@dataclass
class Buckets:
    """Tries left by key; those not heard of longest are forgotten first."""

    allowance: Allowance
    most: int = 10000
    _spent: "OrderedDict[str, tuple[float, float]]" = field(default_factory=OrderedDict)
    """Tries spent, and when that was counted."""

    def wait(self, key: str, at: float) -> float:
        """Seconds until a next try is allowed; 0 for now."""
        return max(0.0, (self._count(key, at) + 1 - self.allowance.burst) * self.allowance.interval)

    def spend(self, key: str, at: float) -> None:
        self._spent[key] = (self._count(key, at) + 1, at)
        self._spent.move_to_end(key)
        while len(self._spent) > self.most:
            self._spent.popitem(last=False)

    def forget(self, key: str) -> None:
        self._spent.pop(key, None)

    def _count(self, key: str, at: float) -> float:
        spent, since = self._spent.get(key, (0.0, at))
        return max(0.0, spent - (at - since) / self.allowance.interval)


@dataclass
class LoginLimit:
    """Asked before a password is looked at, so that a guess too many costs nothing."""

    by_name: Buckets = field(default_factory=lambda: Buckets(Allowance(10, 10.0)))
    by_address: Buckets = field(default_factory=lambda: Buckets(Allowance(30, 2.0)))
    now: Callable[[], float] = time.monotonic

    def admit(self, name: str, address: str) -> float:
        """Count a try and give 0, or give the seconds to wait and count none."""
        at, network = self.now(), _network(address)
        wait = max(self.by_name.wait(name, at), self.by_address.wait(network, at))
        if wait <= 0:
            self.by_name.spend(name, at)
            self.by_address.spend(network, at)
        return wait

    def forgive(self, name: str) -> None:
        """It was the right one. The address stays counted: one known password must not buy guesses of others."""
        self.by_name.forget(name)


def _network(address: str) -> str:
    """Whoever has one IPv6 address has 2^64 of them."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address[:64]
    if isinstance(parsed, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((parsed, 64), strict=False))
    return str(parsed)
