"""What a computing process says comes in pieces of any size; one that never ends its line is not listened to for ever."""

from typing import cast

import pytest

from magellon.platform.worker import life as module
from magellon.platform.worker.life import Life, _Replies


class _Life:
    """Writes down what it is told."""

    def __init__(self) -> None:
        self.heard: list[bytes] = []
        self.why: list[str] = []

    def hear(self, line: bytes) -> None:
        self.heard.append(line)

    def condemn(self, why: str) -> None:
        self.why.append(why)


@pytest.mark.parametrize("size", [1, 3, 7, 100])
def test_lines_are_put_together(size: int) -> None:
    said = b'{"event": "ready"}\n{}\n' + b"x" * 50 + b"\nrest"
    life = _Life()
    replies = _Replies(cast(Life, life))
    for start in range(0, len(said), size):
        replies.data_received(said[start : start + size])
    assert life.heard == [b'{"event": "ready"}', b"{}", b"x" * 50]
    assert not life.why


def test_a_line_without_end_ends_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_LONGEST_LINE", 3 << 20)
    life = _Life()
    replies = _Replies(cast(Life, life))
    for _ in range(7):
        replies.data_received(b"x" * (1 << 19))
    assert life.why == ["said more than 3 MiB at once"]
    assert not life.heard
