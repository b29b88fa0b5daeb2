"""People before tasks: as long as pages take too long, fewer tasks are sent out.

A job of tasks that end at once keeps every processor of a small machine busy, the server's too, and whoever looks at a session
then waits for seconds. So the rate of publication gives way as a sender gives way on a crowded line: much less when answers
are late, a little more when they are not (Chiu and Jain, Computer Networks and ISDN Systems 17, 1989). It never falls below
what twenty microscopes need; tasks that compute for a second or longer are never held up.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field

LEAST_RATE = 60.0
"""Tasks a second: 20 microscopes of 1,000 movies an hour, ten steps each."""
PATIENCE = 0.05
"""Seconds until an answer begins; with more than one in ten above that, people wait."""
_LOOK = 1.0
_ENOUGH = 5
_FORGET = 5.0
_LESS, _MORE = 0.6, 1.15
_BURST = 0.25
"""Seconds: what was not sent in time is made up for within that, and no later."""


@dataclass
class Courtesy:
    """How many tasks may go out now."""

    clock: Callable[[], float] = time.monotonic
    rate: float = math.inf
    """Tasks a second."""
    _answers: list[float] = field(default_factory=list)
    _answered_at: float = -math.inf
    _sent: int = 0
    _looked_at: float = field(init=False)
    _credit: float = 0.0
    _credited_at: float = field(init=False)

    def __post_init__(self) -> None:
        self._looked_at = self._credited_at = self.clock()

    def note_answer(self, took: float) -> None:
        """An answer began so many seconds after its question had come."""
        self._answers.append(took)
        self._answered_at = self.clock()

    def note_sent(self, number: int) -> None:
        """So many tasks went out."""
        self._sent += number
        self._credit -= number

    def is_slowing(self) -> bool:
        return self.rate < math.inf

    def count_allowed(self) -> int | None:
        """Tasks that may go out now; None: any number."""
        now = self.clock()
        if now - self._looked_at >= _LOOK:
            self._decide(now - self._looked_at, now)
        if not self.is_slowing():
            return None
        self._credit = min(self._credit + self.rate * (now - self._credited_at), self.rate * _BURST)
        self._credited_at = now
        return max(int(self._credit), 0)

    def _decide(self, elapsed: float, now: float) -> None:
        pace = self._sent / elapsed
        if now - self._answered_at > _FORGET:
            self.rate = math.inf
        elif len(self._answers) >= _ENOUGH:
            late = sum(took > PATIENCE for took in self._answers)
            if 10 * late > len(self._answers):
                if not self.is_slowing():
                    self._credit, self._credited_at = 0.0, now
                self.rate = max(_LESS * min(self.rate, pace), LEAST_RATE)
            else:
                self.rate = _MORE * self.rate if pace > self.rate / 2 else math.inf
        else:
            return  # too few to tell: look at them together with the next
        self._answers.clear()
        self._sent, self._looked_at = 0, now
