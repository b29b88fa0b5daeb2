"""A submission that enters the ledger in parts leaves what one entered at once leaves."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from small_session import STEPS, write_session
from sqlalchemy import select

from magellon.contracts.description import Description
from magellon.platform.pipeline.recipe import Recipe
from magellon.platform.server import entering
from magellon.platform.server.book import Book
from magellon.platform.server.publishing import take_due_tasks
from magellon.platform.server.submitting import Submission, add_part, find_session, submit_session
from magellon.platform.store.schema import items, jobs, tasks


@pytest.fixture
def submission(tmp_path: Path) -> Submission:
    recipe = Recipe.model_validate({"steps": {key: {"backend": "fake"} for key in STEPS}})
    return Submission(folder=str(write_session(tmp_path / "lot", 7)), recipe=recipe)


@pytest.fixture(autouse=True)
def two_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(entering, "_AT_A_TIME", 2)


def enter(book: Book, submission: Submission, catalogue: Mapping[str, Description]) -> int:
    return asyncio.run(entering.enter_session(book, submission, find_session(submission), catalogue))


def list_tasks(book: Book) -> list[tuple[Any, ...]]:
    query = select(items.c.name, items.c.movie, tasks.c.step, tasks.c.identity, tasks.c.state, tasks.c.backend, jobs.c.active)
    query = query.select_from(tasks.join(jobs).outerjoin(items, items.c.id == tasks.c.item_id))
    with book.ledger.transaction() as connection:
        return [tuple(row) for row in connection.execute(query.order_by(items.c.name, tasks.c.step))]


def test_parts_make_the_same_job_as_the_whole(book: Book, submission: Submission, catalogue: dict[str, Description]) -> None:
    enter(book, submission, catalogue)
    in_parts = list_tasks(book)
    assert len(in_parts) == 7 * 2 + 1
    assert {(row[2], row[4]) for row in in_parts} == {
        ("motion_correction", "pending"), ("fft", "waiting"), ("session_star", "waiting"),
    }  # fmt: skip
    with book.ledger.transaction() as connection:
        submit_session(book, connection, submission, find_session(submission), catalogue)
    assert list_tasks(book) == in_parts
    with book.ledger.transaction() as connection:
        assert len(take_due_tasks(book, connection)) == book.policy.window


def test_a_submission_that_broke_off_publishes_nothing_and_goes_on_when_it_is_repeated(
    book: Book, submission: Submission, catalogue: dict[str, Description], monkeypatch: pytest.MonkeyPatch
) -> None:
    entered: list[int] = []

    def break_off(*arguments: Any) -> list[int]:
        entered.append(1)
        if len(entered) == 2:
            raise RuntimeError("killed")
        return add_part(*arguments)

    monkeypatch.setattr(entering, "add_part", break_off)
    with pytest.raises(RuntimeError):
        enter(book, submission, catalogue)
    assert len(list_tasks(book)) == 4 * 2 + 1
    with book.ledger.transaction() as connection:
        assert take_due_tasks(book, connection) == []
    monkeypatch.setattr(entering, "add_part", add_part)
    enter(book, submission, catalogue)
    assert len(list_tasks(book)) == 7 * 2 + 1
    assert all(row[-1] for row in list_tasks(book))
    with book.ledger.transaction() as connection:
        assert {task.category for task in take_due_tasks(book, connection)} == {"motion_correction"}


def test_more_movies_join_a_job_at_work(
    book: Book, submission: Submission, catalogue: dict[str, Description], tmp_path: Path
) -> None:
    enter(book, submission, catalogue)
    for number in (8, 9, 10, 11, 12):
        (tmp_path / f"lot/movies/m{number}.mrc").write_bytes((tmp_path / "lot/movies/m1.mrc").read_bytes())
    enter(book, submission, catalogue)
    states = {(row[0], row[2]): row[4] for row in list_tasks(book)}
    assert len(states) == 12 * 2 + 1
    assert states["m12", "motion_correction"] == "pending"


def test_others_have_their_turn_between_the_parts(
    book: Book, submission: Submission, catalogue: dict[str, Description]
) -> None:
    async def scenario() -> int:
        turns = 0
        working = asyncio.create_task(entering.enter_session(book, submission, find_session(submission), catalogue))
        while not working.done():
            turns += 1
            await asyncio.sleep(0)
        return turns

    assert asyncio.run(scenario()) >= 6  # three parts come later, entered first and then moved on
