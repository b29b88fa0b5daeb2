"""Tasks that end at once share a few children; nobody waits long for one that turns out to be longer."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from typing import cast

import pytest

from magellon.platform.worker import lanes as module
from magellon.platform.worker.children import Children
from magellon.platform.worker.lanes import Lanes

KIND, OTHER, PLUGIN = ("fft", "fake"), ("ctf_estimation", "fake"), ("fft", "acme")
SHORT = 0.05


class _Children:
    """Says how long it has been at a task."""

    def __init__(self, name: int) -> None:
        self.name = name
        self.seconds_at_work = 0.0
        self.displaced = 0

    def put_off_waiting(self) -> None:
        self.displaced += 1


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SHORT", SHORT)


def work(act: Callable[[Lanes], Awaitable[None]], slots: int = 8) -> None:
    """Lanes with two places; one kind is known to be short."""

    async def run() -> None:
        lanes = Lanes(lambda category, backend: backend, places=2)
        for number in range(slots):
            lanes.add(cast(Children, _Children(number)))
        for kind in (KIND, OTHER, PLUGIN):
            lanes.note_end(kind, 0.0)
        await act(lanes)

    asyncio.run(run())


def enter(lanes: Lanes, stack: ExitStack, kind: tuple[str, str], alone: bool = False) -> _Children:
    return cast(_Children, stack.enter_context(lanes.take_turn(kind, alone)))


def test_what_ends_at_once_shares_a_few_children() -> None:
    async def act(lanes: Lanes) -> None:
        with ExitStack() as stack:
            taken = [enter(lanes, stack, KIND).name for _ in range(4)] + [enter(lanes, stack, OTHER).name for _ in range(2)]
            assert [taken.count(name) for name in dict.fromkeys(taken)] == [3, 3]
        with ExitStack() as stack:
            taken = [enter(lanes, stack, ("fft", "unknown")).name for _ in range(8)]
            assert len(set(taken)) == 8, "nothing is known of it yet"
        lanes.note_end(KIND, 2 * SHORT)
        assert not lanes.is_short(KIND)
        assert lanes.is_short(OTHER)
        with ExitStack() as stack:
            assert len({enter(lanes, stack, KIND).name for _ in range(8)}) == 8

    work(act)


def test_two_environments_never_compute_in_the_same_children() -> None:
    async def act(lanes: Lanes) -> None:
        with ExitStack() as stack:
            ours = {enter(lanes, stack, KIND).name for _ in range(3)}
            theirs = {enter(lanes, stack, PLUGIN).name for _ in range(3)}
            assert len(ours) == len(theirs) == 2
            assert not ours & theirs

    work(act)


def test_what_waits_for_a_long_task_is_displaced_and_nothing_joins_it() -> None:
    async def act(lanes: Lanes) -> None:
        with ExitStack() as stack:
            first, second = enter(lanes, stack, KIND), enter(lanes, stack, KIND)
            assert enter(lanes, stack, KIND) is first
            await asyncio.sleep(2 * SHORT)
            assert first.displaced == second.displaced == 0, "one task ends after another"
            first.seconds_at_work = 2 * SHORT
            await asyncio.sleep(2 * SHORT)
            assert (first.displaced, second.displaced) == (1, 0)
            assert first not in [enter(lanes, stack, KIND) for _ in range(4)]
            await asyncio.sleep(2 * SHORT)
            assert first.displaced == 1
        first.seconds_at_work = 0.0
        with ExitStack() as stack:
            assert first in [enter(lanes, stack, KIND, alone=True) for _ in range(8)], "it is free again"

    work(act)


def test_a_task_can_have_children_for_itself() -> None:
    async def act(lanes: Lanes) -> None:
        with ExitStack() as stack:
            alone = enter(lanes, stack, KIND, alone=True)
            assert alone not in [enter(lanes, stack, KIND) for _ in range(5)]

    work(act)


def test_the_children_that_worked_last_are_the_first_to_work_again() -> None:
    async def act(lanes: Lanes) -> None:
        with lanes.take_turn(KIND) as last, lanes.take_turn(KIND):
            pass
        with lanes.take_turn(("fft", "unknown")) as again:
            assert again is last

    work(act)
