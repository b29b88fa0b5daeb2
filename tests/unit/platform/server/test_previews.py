"""A preview is made when somebody asks, whatever the job does, and again when the micrograph is another one."""

from typing import Any

import pytest
from sqlalchemy import select, update
from task_reports import finished

from magellon.contracts.description import Description
from magellon.contracts.task import Finished, Task
from magellon.errors import NotThere
from magellon.platform.server.advancing import advance_tasks
from magellon.platform.server.book import Book
from magellon.platform.server.events import enter_events
from magellon.platform.server.previews import enter_preview, find_preview
from magellon.platform.server.publishing import take_due_tasks
from magellon.platform.server.report import is_settled
from magellon.platform.store.schema import items, jobs, tasks

PYRAMID = Description(category="preview", name="pyramid", version=1, parameters={"properties": {}}, defaults={})
OUTPUT = {"tiles": "m_tiles", "width": 4, "height": 4, "tile_size": 512, "levels": 1, "percentiles": [0.5, 99.5]}


def _finish(task: Task) -> Finished:
    return finished(task).model_copy(update={"output": OUTPUT}) if task.category == "preview" else finished(task)


def _work(book: Book, connection: Any) -> None:
    due = take_due_tasks(book, connection)
    while due:
        found = [_finish(task) for task in due]
        advance_tasks(book, connection, enter_events(book, connection, found))
        due = take_due_tasks(book, connection)


def test_a_preview_is_made_on_request_even_when_the_job_is_paused(book: Book, job: int) -> None:
    with book.ledger.transaction() as connection:
        item = connection.execute(select(items.c.id).order_by(items.c.id).limit(1)).scalar_one()
        with pytest.raises(NotThere, match="not made yet"):
            find_preview(connection, item)
        _work(book, connection)
        assert is_settled(connection, job)
        connection.execute(update(jobs).values(paused=True, active=False))
        assert find_preview(connection, item).state == "missing"
        number = enter_preview(connection, item, PYRAMID)
        assert find_preview(connection, item).state == "pending"
        assert enter_preview(connection, item, PYRAMID) is None, "asked for already"
        assert is_settled(connection, job), "a preview is no part of the job"
        (task,) = take_due_tasks(book, connection)
        assert (task.id, task.category, task.urgent) == (number, "preview", True)
        assert task.input is not None
        assert task.input["micrograph"]["path"].endswith("/m.mrc")
        assert advance_tasks(book, connection, enter_events(book, connection, [_finish(task)])) == []
        assert find_preview(connection, item).state == "completed"


def test_another_micrograph_has_another_preview(book: Book, job: int) -> None:
    with book.ledger.transaction() as connection:
        item = connection.execute(select(items.c.id).order_by(items.c.id).limit(1)).scalar_one()
        _work(book, connection)
        enter_preview(connection, item, PYRAMID)
        _work(book, connection)
        made = find_preview(connection, item)
        of_item = (tasks.c.item_id == item) & (tasks.c.step == "motion_correction")
        connection.execute(update(tasks).where(of_item).values(identity="f" * 64))
        assert find_preview(connection, item).state == "missing"
        enter_preview(connection, item, PYRAMID)
        again = find_preview(connection, item)
        assert (again.state, again.task) == ("pending", made.task)
        assert again.identity != made.identity
