"""What people ask of jobs and tasks, while the bus is away: the ledger decides, the rest follows when it can."""

import asyncio
import json
from collections import Counter
from pathlib import Path

import pytest
from nats.aio.client import Client
from sqlalchemy import select, update
from task_reports import failed, finished, started

from magellon.contracts.description import Description
from magellon.contracts.task import Beat, Running, Task
from magellon.errors import BadInput, NotThere
from magellon.platform.pipeline.recipe import Recipe, change_recipe
from magellon.platform.server.advancing import advance_tasks
from magellon.platform.server.book import Book
from magellon.platform.server.control import Control
from magellon.platform.server.dispatcher import Dispatcher
from magellon.platform.server.events import enter_events
from magellon.platform.server.publishing import take_due_tasks
from magellon.platform.server.submitting import Submission, find_session, submit_session
from magellon.platform.store.schema import events, jobs, tasks


class Desk:
    """A person at work on one job."""

    def __init__(self, book: Book, job: int) -> None:
        self.book, self.job = book, job
        self.dispatcher = Dispatcher(book, Client())  # never connected: the bus is away
        self.control = Control(self.dispatcher)

    def take(self) -> list[Task]:
        with self.book.ledger.transaction() as connection:
            return take_due_tasks(self.book, connection)

    def report(self, *reports: object) -> None:
        with self.book.ledger.transaction() as connection:
            advance_tasks(self.book, connection, enter_events(self.book, connection, reports))  # type: ignore[arg-type]

    def work_off(self) -> list[str]:
        """Compute all there is; the categories of what was computed."""
        seen = []
        while due := self.take():
            seen += [task.category for task in due]
            self.report(*(started(task) for task in due), *(finished(task) for task in due))
        return sorted(seen)

    def count(self, step: str | None = None) -> Counter[str]:
        with self.book.ledger.transaction() as connection:
            query = select(tasks.c.state).where(tasks.c.job_id == self.job)
            query = query.where(tasks.c.step == step) if step else query
            return Counter(connection.execute(query).scalars())

    def state(self, task: int) -> tuple[str, bool]:
        with self.book.ledger.transaction() as connection:
            row = connection.execute(select(tasks).where(tasks.c.id == task)).one()
            return row.state, row.published

    def recipe(self) -> Recipe:
        with self.book.ledger.transaction() as connection:
            return Recipe.model_validate(connection.execute(select(jobs.c.recipe).where(jobs.c.id == self.job)).scalar_one())

    def outdated(self) -> Counter[str]:
        with self.book.ledger.transaction() as connection:
            return Counter(connection.execute(select(tasks.c.step).where(tasks.c.former.is_not(None))).scalars())


@pytest.fixture
def desk(book: Book, job: int, catalogue: dict[str, Description], monkeypatch: pytest.MonkeyPatch) -> Desk:
    monkeypatch.setattr("magellon.platform.server.control.read_catalogue", lambda *_: catalogue)
    return Desk(book, job)


def test_a_failed_task_is_tried_again_and_what_needs_it_waits(desk: Desk) -> None:
    first, *others = desk.take()
    desk.report(failed(first, "bad_input"))
    assert desk.count("fft") == {"waiting": 4, "skipped": 1}
    asyncio.run(desk.control.retry_task(first.id))
    assert desk.count() == {"pending": 5, "waiting": 6}
    with pytest.raises(BadInput, match="is pending"):
        asyncio.run(desk.control.retry_task(first.id))
    again = next(task for task in desk.take() if task.id == first.id)
    assert again.attempt > first.attempt
    desk.report(failed(first, "bad_input"))
    assert desk.state(first.id) == ("pending", True), "a late report of the attempt before says nothing"
    desk.report(finished(again), *(finished(task) for task in others))
    assert desk.work_off().count("session_star") == 1
    assert desk.count() == {"completed": 11}


def test_all_failed_are_tried_again(desk: Desk) -> None:
    due = desk.take()
    desk.report(*(failed(task, "bad_input") for task in due))
    assert asyncio.run(desk.control.retry_failed(desk.job)) == 3
    assert desk.count() == {"pending": 5, "waiting": 6}


def test_a_cancelled_task_stays_cancelled_whatever_is_reported(desk: Desk) -> None:
    first, *others = desk.take()
    desk.report(started(first), *(finished(task) for task in others))
    asyncio.run(desk.control.cancel_task(first.id))
    assert desk.count("fft") == {"pending": 2, "waiting": 2, "skipped": 1}
    said = Beat(worker="w", incarnation="i", slots=1, running=(Running(task=first.id, attempt=first.attempt),))
    assert [running.task for running in desk.dispatcher.take_beat(said.model_dump_json().encode())] == [first.id]
    desk.report(failed(first, "cancelled"))
    assert desk.state(first.id) == ("cancelled", False)
    desk.report(finished(first))
    assert desk.state(first.id) == ("cancelled", False)
    assert "session_star" in desk.work_off(), "the others go on without it"
    with pytest.raises(BadInput, match="is cancelled"):
        asyncio.run(desk.control.cancel_task(first.id))
    asyncio.run(desk.control.retry_task(first.id))
    assert desk.state(first.id) == ("completed", False), "its result is there"


def test_a_cancelled_job_rests_until_it_is_retried(desk: Desk) -> None:
    first = desk.take()[0]
    desk.report(finished(first))
    assert asyncio.run(desk.control.cancel_job(desk.job)) == 10
    assert desk.count() == {"completed": 1, "cancelled": 10}
    assert desk.take() == []
    desk.report(failed(first, "defect"))
    assert desk.count() == {"completed": 1, "cancelled": 10}
    assert asyncio.run(desk.control.retry_failed(desk.job, cancelled=True)) == 10
    assert desk.work_off() == ["fft"] * 5 + ["motion_correction"] * 4 + ["session_star"]


def test_a_paused_job_begins_nothing_and_goes_on_where_it_was(desk: Desk) -> None:
    first, second, _ = desk.take()
    desk.report(started(first))
    asyncio.run(desk.control.pause(desk.job))
    assert desk.state(first.id) == ("running", True)
    assert desk.state(second.id) == ("pending", False)
    assert desk.take() == []
    desk.report(finished(first))
    assert desk.take() == []
    assert desk.state(first.id) == ("completed", False)
    asyncio.run(desk.control.resume(desk.job))
    assert desk.work_off() == ["fft"] * 5 + ["motion_correction"] * 4 + ["session_star"]


def test_jobs_with_a_higher_priority_go_first(
    desk: Desk, book: Book, catalogue: dict[str, Description], tmp_path: Path
) -> None:
    folder = tmp_path / "live"
    (folder / "movies").mkdir(parents=True)
    for movie in (tmp_path / "lot/movies").iterdir():
        (folder / "movies" / f"live_{movie.name}").write_bytes(movie.read_bytes())
    (folder / "session.json").write_text(json.dumps({"name": "live", "movies": "movies/*.mrc", "pixel_size": 1}))
    submission = Submission(folder=str(folder), recipe=desk.recipe(), alone=False)
    with book.ledger.transaction() as connection:
        number = submit_session(book, connection, submission, find_session(submission), catalogue)
        connection.execute(update(jobs).where(jobs.c.id == number).values(priority=10))
    due = desk.take()
    assert [(task.label.split()[0], task.urgent) for task in due] == [("live", True)] * 3 + [("lot", False)] * 3
    asyncio.run(desk.control.set_priority(desk.job, 20))
    assert desk.state(due[-1].id) == ("pending", False), "taken back, to be given out before others"
    desk.report(*(finished(task) for task in due[:3]))
    again = [task for task in desk.take() if task.category == "motion_correction"]
    assert [(task.label.split()[0], task.urgent) for task in again] == [("lot", True)] * 3
    with pytest.raises(BadInput, match="1001"):
        asyncio.run(desk.control.set_priority(desk.job, 1001))


def test_a_changed_parameter_redoes_what_depends_on_it(desk: Desk) -> None:
    before = desk.recipe()
    assert desk.work_off() == ["fft"] * 5 + ["motion_correction"] * 5 + ["session_star"]
    assert desk.outdated() == {}
    assert asyncio.run(desk.control.change_parameters(desk.job, change_recipe(before, ["fft.salt=3"]))) == 6
    assert desk.outdated() == {"fft": 5, "session_star": 1}
    assert desk.recipe().steps["fft"].params == {"salt": 3}
    assert desk.work_off() == ["fft"] * 5, "the session's files do not depend on power spectra"
    assert desk.outdated() == {}
    assert asyncio.run(desk.control.change_parameters(desk.job, before)) == 0
    assert desk.work_off() == []
    assert desk.count() == {"completed": 11}


def test_a_recipe_that_does_not_fit_changes_nothing(desk: Desk) -> None:
    before = desk.recipe()
    for wrong in ("fft.salt=much", "fft.backend=none"):
        with pytest.raises(BadInput, match="fft"):
            asyncio.run(desk.control.change_parameters(desk.job, change_recipe(before, [wrong])))
    assert desk.recipe() == before
    assert desk.work_off() == ["fft"] * 5 + ["motion_correction"] * 5 + ["session_star"]


def test_what_is_not_there_is_said(desk: Desk) -> None:
    control = desk.control
    for call in (control.retry_task(999), control.cancel_task(999)):
        with pytest.raises(NotThere, match="task 999"):
            asyncio.run(call)
    for call in (control.pause(9), control.resume(9), control.cancel_job(9), control.change_parameters(9, desk.recipe())):
        with pytest.raises(NotThere, match="job 9"):
            asyncio.run(call)


def test_what_people_did_is_seen_by_those_who_watch(desk: Desk, book: Book) -> None:
    asyncio.run(desk.control.pause(desk.job))
    asyncio.run(desk.control.set_priority(desk.job, 3))
    asyncio.run(desk.control.resume(desk.job))
    with book.ledger.transaction() as connection:
        told = [(row.kind, row.text) for row in connection.execute(select(events).order_by(events.c.id))]
    assert told == [("paused", None), ("priority", "3"), ("resumed", None)]
