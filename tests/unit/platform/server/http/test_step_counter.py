"""Counts of a large job are kept for a while, and nobody waits while they are counted again."""

import time
from contextlib import nullcontext
from threading import Event
from typing import Any

import pytest

from magellon.platform.server.http.views import jobs as views
from magellon.platform.server.http.views.jobs import StepCounter, StepCounts

PLAN: dict[str, Any] = {"steps": []}


class Counted:
    """Stands for the database: counting takes a second of the clock, and as long as `open` is not set."""

    def __init__(self) -> None:
        self.now, self.times, self.open = 0.0, 0, Event()
        self.open.set()

    def count(self, *_: Any) -> tuple[StepCounts, ...]:
        assert self.open.wait(10)
        self.now += 1.0
        self.times += 1
        return (StepCounts(step="fft", backend="fft", completed=self.times),)


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Counted:
    counted = Counted()
    monkeypatch.setattr(views, "count_steps", counted.count)
    return counted


def make_counter(counted: Counted) -> StepCounter:
    return StepCounter(lambda: nullcontext(None), clock=lambda: counted.now)  # type: ignore[arg-type,return-value]


def ask(counter: StepCounter) -> int:
    return counter.count(None, 1, PLAN)[0].completed  # type: ignore[arg-type]


def wait_until(counter: StepCounter, answer: int) -> None:
    deadline = time.monotonic() + 10
    while ask(counter) != answer:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_an_answer_serves_for_a_while_and_then_until_the_next_is_there(counted: Counted) -> None:
    counter = make_counter(counted)
    assert ask(counter) == ask(counter) == 1
    counted.now += 2.5
    counted.open.clear()
    assert ask(counter) == ask(counter) == 1, "it is being counted again, which nobody waits for"
    counted.open.set()
    wait_until(counter, 2)
    assert counted.times == 2


def test_an_old_answer_serves_nobody(counted: Counted) -> None:
    counter = make_counter(counted)
    assert ask(counter) == 1
    counted.now += 60
    assert ask(counter) == 2


def test_what_a_person_changed_is_seen_at_once(counted: Counted) -> None:
    counter = make_counter(counted)
    assert ask(counter) == 1
    counter.forget()
    assert ask(counter) == 2
