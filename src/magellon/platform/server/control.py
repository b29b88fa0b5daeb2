"""What people ask of jobs and tasks that are in the ledger: try again, cancel, pause, change. Called by routes."""

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import Connection, Row, func, select, update

from magellon.errors import BadInput, NotThere
from magellon.platform.pipeline.advance import OPEN
from magellon.platform.pipeline.catalogue import read_catalogue
from magellon.platform.pipeline.recipe import Recipe, list_wanted
from magellon.platform.server import reconciling
from magellon.platform.server.advancing import advance_items, list_items
from magellon.platform.server.book import Book, split
from magellon.platform.server.dispatcher import Dispatcher
from magellon.platform.server.events import record_changes
from magellon.platform.server.links import link_tasks, relink_session
from magellon.platform.server.metrics import enter_metrics, renew_metrics
from magellon.platform.server.submitting import change_recipe_of_job
from magellon.platform.server.surveying import FRESH
from magellon.platform.store.schema import jobs, tasks

_AGAIN = ("failed", "cancelled")


class Control:
    """Each method is one transaction in the ledger; the bus and the workers follow, also when they are away now.

    All raise NotThere when there is no such job or task.
    """

    def __init__(self, dispatcher: Dispatcher) -> None:
        self._dispatcher = dispatcher
        self._book: Book = dispatcher.book

    async def retry_task(self, task: int) -> None:
        """Try a failed or cancelled task again, whatever the number of attempts it has had.

        Raises:
            BadInput: it is in another state.
        """
        with self._book.ledger.transaction() as connection:
            row = _find_task(connection, task)
            if row.state not in _AGAIN:
                raise BadInput(f"task {task} is {row.state}; only failed and cancelled tasks can be tried again")
            self._renew(connection, row.job_id, [row])
        self._go_on(row.job_id)

    async def retry_failed(self, job: int, cancelled: bool = False) -> int:
        """Try again all that failed, and what was `cancelled` if asked to; the number of tasks."""
        wanted = _AGAIN if cancelled else ("failed",)
        with self._book.ledger.transaction() as connection:
            _find_job(connection, job)
            rows = connection.execute(select(tasks).where(tasks.c.job_id == job, tasks.c.state.in_(wanted))).all()
            self._renew(connection, job, rows)
        self._go_on(job)
        return len(rows)

    async def cancel_task(self, task: int) -> None:
        """Cancel one task; what needs its result is skipped. A computation at work ends within seconds.

        Raises:
            BadInput: it has ended already.
        """
        with self._book.ledger.transaction() as connection:
            row = _find_task(connection, task)
            if row.state not in OPEN:
                raise BadInput(f"task {task} is {row.state}; there is nothing to cancel")
            _cancel(connection, [row])
            record_changes(connection, [(row.job_id, row.id, "cancelled", None)], self._book.now())
            self._advance(connection, row.job_id, [row])
        await self._dispatcher.withdraw([row])
        self._go_on(row.job_id)

    async def cancel_job(self, job: int) -> int:
        """Cancel all of a job that has not ended; the number of tasks."""
        with self._book.ledger.transaction() as connection:
            _find_job(connection, job)
            rows = connection.execute(select(tasks).where(tasks.c.job_id == job, tasks.c.state.in_(OPEN))).all()
            _cancel(connection, rows)
            record_changes(connection, [(job, None, "cancelled", f"{len(rows)} tasks")], self._book.now())
        await self._dispatcher.withdraw(rows)
        self._go_on(job)
        return len(rows)

    async def pause(self, job: int) -> None:
        """Begin nothing more of a job; what is being computed comes to its end."""
        await self._set_aside(job, {"paused": True}, ("paused", None))

    async def resume(self, job: int) -> None:
        """Go on with a paused job."""
        with self._book.ledger.transaction() as connection:
            _find_job(connection, job)
            connection.execute(update(jobs).where(jobs.c.id == job).values(paused=False, active=True))
            record_changes(connection, [(job, None, "resumed", None)], self._book.now())
        self._go_on(job)

    async def set_priority(self, job: int, priority: int) -> None:
        """Tasks of jobs with a higher priority are given to workers first; above 0, before those of all other jobs.

        Raises:
            BadInput: not between -1000 and 1000.
        """
        if not -1000 <= priority <= 1000:
            raise BadInput(f"priority {priority}: must lie between -1000 and 1000")
        await self._set_aside(job, {"priority": priority}, ("priority", str(priority)))

    async def change_parameters(self, job: int, recipe: Recipe) -> int:
        """Put another recipe in force; the number of results that it makes outdated. Everything else stays as it is.

        Raises:
            BadInput: the recipe does not fit; nothing has changed then.
        """
        with self._book.ledger.transaction() as connection:
            _find_job(connection, job)
        catalogue = await asyncio.to_thread(read_catalogue, self._book.home.catalogue, list_wanted(recipe))
        with self._book.changing(job), self._book.ledger.transaction() as connection:
            _find_job(connection, job)
            changed = change_recipe_of_job(self._book, connection, job, recipe, catalogue)
            advance_items(self._book, connection, job, list_items(connection, job), revised=True)
            relink_session(self._book, connection, job)
            renew_metrics(self._book, connection, job)
            outdated = _count_outdated(connection, job)
            record_changes(connection, [(job, None, "changed", f"{outdated} results outdated")], self._book.now())
        await self._dispatcher.withdraw(changed)
        self._go_on(job)
        return outdated

    async def _set_aside(self, job: int, values: dict[str, Any], told: tuple[str, str | None]) -> None:
        """Change a job and take back from the bus what of it has not begun; if it may go on, it is published anew."""
        with self._book.ledger.transaction() as connection:
            _find_job(connection, job)
            connection.execute(update(jobs).where(jobs.c.id == job).values(**values))
            query = select(tasks).where(tasks.c.job_id == job, tasks.c.state == "pending", tasks.c.published)
            mentioned = self._dispatcher.watch.list_mentioned()
            idle = [row for row in connection.execute(query) if (row.id, row.attempt) not in mentioned]
            reconciling.release_tasks(connection, [row.id for row in idle])
            record_changes(connection, [(job, None, *told)], self._book.now())
        await self._dispatcher.withdraw(idle)
        self._go_on(job)

    def _renew(self, connection: Connection, job: int, rows: Sequence[Row[Any]]) -> None:
        for part in split([row.id for row in rows]):
            connection.execute(update(tasks).where(tasks.c.id.in_(part)).values(**FRESH))
        connection.execute(update(jobs).where(jobs.c.id == job).values(active=True))
        self._advance(connection, job, rows)

    def _advance(self, connection: Connection, job: int, rows: Iterable[Row[Any]]) -> None:
        surveys = {step.key for step in self._book.job(connection, job).plan.surveys}
        everything = any(row.step in surveys for row in rows)
        numbers = list_items(connection, job) if everything else [row.item_id for row in rows if row.item_id is not None]
        completed = advance_items(self._book, connection, job, numbers)
        link_tasks(self._book, connection, completed)
        enter_metrics(self._book, connection, completed)

    def _go_on(self, job: int) -> None:
        self._dispatcher.note_change(job)
        self._dispatcher.ask_to_publish()


def _find_task(connection: Connection, number: int) -> Row[Any]:
    row = connection.execute(select(tasks).where(tasks.c.id == number)).one_or_none()
    if row is None:
        raise NotThere(f"there is no task {number}")
    return row


def _find_job(connection: Connection, number: int) -> None:
    if connection.execute(select(jobs.c.id).where(jobs.c.id == number)).one_or_none() is None:
        raise NotThere(f"there is no job {number}")


def _cancel(connection: Connection, rows: Iterable[Row[Any]]) -> None:
    values = {**FRESH, "state": "cancelled", "kind": "cancelled", "reason": "cancelled by a person"}
    for part in split([row.id for row in rows]):
        connection.execute(update(tasks).where(tasks.c.id.in_(part)).values(**values))


def _count_outdated(connection: Connection, job: int) -> int:
    query = select(func.count()).where(tasks.c.job_id == job, tasks.c.state.in_(OPEN), tasks.c.former.is_not(None))
    return int(connection.execute(query).scalar_one())
