"""Tasks go out more slowly while people wait for pages, and as fast as ever afterwards."""

import math
from dataclasses import dataclass, field

from magellon.platform.server.courtesy import LEAST_RATE, PATIENCE, Courtesy


@dataclass
class Server:
    """One that could send out 600 tasks a second, asked twenty times a second how many may go."""

    now: float = 0.0
    due: float = 0.0
    sent: list[tuple[float, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.courtesy = Courtesy(lambda: self.now)

    def live(self, seconds: float, took: float | None = None, capacity: float = 600.0) -> float:
        """Tasks a second in the last second of so many; each answer began after `took` seconds, None: nobody asks."""
        end = self.now + seconds
        while self.now < end:
            self.now += 0.05
            self.due += 0.05 * capacity
            allowed = self.courtesy.count_allowed()
            number = int(self.due) if allowed is None else min(int(self.due), allowed)
            self.due = min(self.due - number, capacity)
            self.courtesy.note_sent(number)
            self.sent.append((self.now, number))
            if took is not None:
                self.courtesy.note_answer(took)
        return sum(number for moment, number in self.sent if moment > self.now - 1.0)


def test_nobody_who_waits_nothing_held_back() -> None:
    server = Server()
    assert server.live(10.0) > 590
    assert server.live(10.0, took=PATIENCE / 2) > 590


def test_late_answers_slow_it_down_to_the_least_rate_and_not_below() -> None:
    server = Server()
    server.live(5.0, took=2 * PATIENCE)
    rates = [server.live(1.0, took=2 * PATIENCE) for _ in range(20)]
    assert max(rates) <= LEAST_RATE * 1.1
    assert min(rates) >= LEAST_RATE * 0.9


def test_it_gives_way_within_three_seconds_and_comes_back_in_half_a_minute() -> None:
    server = Server()
    server.live(5.0)
    assert server.live(3.0, took=2 * PATIENCE) < 300
    server.live(10.0, took=2 * PATIENCE)
    assert server.live(30.0, took=PATIENCE / 2) > 590


def test_tasks_that_take_their_time_are_never_held_up() -> None:
    server = Server()
    for _ in range(30):
        assert server.live(1.0, took=1.0, capacity=0.8 * LEAST_RATE) >= 0.7 * LEAST_RATE


def test_when_everybody_has_left_it_goes_on_at_full_speed() -> None:
    server = Server()
    server.live(10.0, took=1.0)
    assert server.courtesy.is_slowing()
    assert server.live(7.0) > 590
    assert server.courtesy.rate == math.inf


def test_one_late_answer_among_many_slows_nothing() -> None:
    server = Server()
    for _ in range(10):
        server.live(1.0, took=0.9 * PATIENCE)
        server.courtesy.note_answer(5.0)
        assert not server.courtesy.is_slowing()
