"""Which request a process may begin: what it has not begun can be taken back.

Requests are written ahead, so that a process that ends one finds the next and need not be woken for it. Each also has a turn, a
number on a socket that process and parent both read: whoever reads it first has it.
"""

import socket
from dataclasses import dataclass, field

_BYTES = 8


def _make_pair() -> tuple[socket.socket, socket.socket]:
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


@dataclass
class Turns:
    """The parent's side."""

    _ends: tuple[socket.socket, socket.socket] = field(default_factory=_make_pair)

    @property
    def descriptor(self) -> int:
        """What the process inherits."""
        return self._ends[1].fileno()

    def give(self, number: int) -> None:
        """The process may begin this request, after those it may begin already."""
        self._ends[0].send(number.to_bytes(_BYTES))

    def take_back(self) -> list[int]:
        """The requests that it has not begun, and will not begin now."""
        numbers = []
        while True:
            try:
                numbers.append(int.from_bytes(self._ends[1].recv(_BYTES, socket.MSG_DONTWAIT)))
            except BlockingIOError:
                return numbers

    def close(self) -> None:
        for end in self._ends:
            end.close()
