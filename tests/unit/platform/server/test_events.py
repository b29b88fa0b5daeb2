"""Reports enter the ledger in batches; the same report twice, or one of an attempt that no longer counts, changes nothing."""

import pytest
from sqlalchemy import Connection, select, update
from task_reports import failed, finished, row_of, started

from magellon.contracts.task import Beat, FailureKind, Reports, Running, Task
from magellon.platform.server.advancing import advance_tasks
from magellon.platform.server.book import Book
from magellon.platform.server.events import enter_events, enter_lost, read_events
from magellon.platform.server.publishing import enter_sequences, take_due_tasks
from magellon.platform.server.report import is_settled, make_summary
from magellon.platform.server.watch import Watch
from magellon.platform.store.schema import tasks


def take(book: Book, connection: Connection) -> list[Task]:
    return take_due_tasks(book, connection)


def test_the_bus_holds_a_window_and_a_job_comes_to_its_end(book: Book, job: int) -> None:
    with book.ledger.transaction() as connection:
        first = take(book, connection)
        assert [task.category for task in first] == ["motion_correction"] * 3
        assert take(book, connection) == []
        enter_sequences(connection, [(task, 7) for task in first])
        assert row_of(connection, first[0].id).sequence == 7
        seen: list[str] = []
        while first:
            seen += [task.category for task in first]
            batch = [started(task) for task in first] + [finished(task) for task in first]
            touched = enter_events(book, connection, batch)
            assert enter_events(book, connection, batch) == []
            advance_tasks(book, connection, touched)
            first = take(book, connection)
        assert sorted(seen) == ["fft"] * 5 + ["motion_correction"] * 5 + ["session_star"]
        assert seen[-1] == "session_star"
        assert is_settled(connection, job)
        assert make_summary(book, connection, job).ok


def test_tasks_carry_rooted_paths_only(book: Book, job: int) -> None:
    with book.ledger.transaction() as connection:
        task = take(book, connection)[0]
        assert task.input is not None
        assert task.input["movie"]["path"] == "lot:movies/m0.mrc"
        assert "mtime=" in task.inputs["movie"]["path"]
        advance_tasks(book, connection, enter_events(book, connection, [finished(task)]))
        fft = next(task for task in take(book, connection) if task.category == "fft")
        assert fft.input is not None
        assert fft.input["micrograph"]["path"] == f"home:results/{task.identity[:2]}/{task.identity}/m.mrc"
        assert fft.inputs == {"micrograph": [task.identity, "unweighted"]}
        assert str(book.home.root) not in fft.model_dump_json()


@pytest.mark.parametrize(("kind", "attempts"), [("bad_input", 1), ("transient", 5), ("defect", 2)])
def test_each_kind_of_failure_has_its_number_of_attempts(book: Book, job: int, kind: FailureKind, attempts: int) -> None:
    with book.ledger.transaction() as connection:
        number = take(book, connection)[0].id
        for attempt in range(1, attempts + 1):
            task = Task.model_construct(id=number, attempt=attempt)
            assert enter_events(book, connection, [started(task), failed(task, kind)]) == [number]
            assert enter_events(book, connection, [failed(task, kind)]) == [], "an old attempt counts once"
            row = row_of(connection, number)
            assert row.state == ("failed" if attempt == attempts else "pending")
            assert (row.kind, row.reason) == (kind, "why")
            if attempt < attempts:
                assert (row.not_before > book.now()) == (kind == "transient")
                connection.execute(update(tasks).where(tasks.c.id == number).values(not_before=0))
                take(book, connection)
        advance_tasks(book, connection, [number])
        skipped = connection.execute(select(tasks.c.reason).where(tasks.c.state == "skipped")).scalars().all()
        assert skipped == ["motion_correction failed"]


def test_a_stopped_worker_costs_no_attempt(book: Book, job: int) -> None:
    with book.ledger.transaction() as connection:
        task = take(book, connection)[0]
        enter_events(book, connection, [started(task), failed(task, "cancelled")])
        row = row_of(connection, task.id)
        assert (row.state, row.failures) == ("pending", 0)


def test_the_third_lost_worker_is_the_last(book: Book, job: int) -> None:
    with book.ledger.transaction() as connection:
        number = take(book, connection)[0].id
        for attempt in (1, 2, 3):
            enter_events(book, connection, [started(Task.model_construct(id=number, attempt=attempt))])
            enter_lost(book.policy, connection, number, "w", 0.0)
            row = row_of(connection, number)
            assert row.state == ("failed" if attempt == 3 else "pending")
            take(book, connection)
        assert row.kind == "lost"
        assert "3 times" in row.reason


def test_workers_that_went_away_without_a_word_count(book: Book, job: int) -> None:
    with book.ledger.transaction() as connection:
        task = take(book, connection)[0]
        report = started(task).model_copy(update={"lost": 2})
        enter_events(book, connection, [report, report])
        assert row_of(connection, task.id).lost == 2, "told twice, it counts once"
        enter_lost(book.policy, connection, task.id, "w", 0.0)
        assert row_of(connection, task.id).state == "failed"


def test_a_result_completes_its_task_whatever_the_attempt(book: Book, job: int) -> None:
    with book.ledger.transaction() as connection:
        task = take(book, connection)[0]
        enter_events(book, connection, [started(task), failed(task, "defect"), finished(task)])
        assert row_of(connection, task.id).state == "completed"


def test_a_task_of_which_only_the_end_is_told_began_then(book: Book, job: int) -> None:
    with book.ledger.transaction() as connection:
        short, long, *_ = take(book, connection)
        enter_events(book, connection, [started(long)])
        connection.execute(update(tasks).where(tasks.c.id == long.id).values(started_at=5.0))
        enter_events(book, connection, [finished(short), finished(long)])
        row = row_of(connection, short.id)
        assert (row.state, row.worker, row.started_at) == ("completed", "w", row.finished_at)
        row = row_of(connection, long.id)
        assert (row.state, row.worker, row.started_at) == ("completed", "w", 5.0)


def test_events_are_told_apart_by_their_word() -> None:
    task = Task.model_construct(id=1, attempt=1)
    told = Reports(reports=(started(task), failed(task, "defect")))
    assert read_events(told.model_dump_json().encode()) == told.reports
    with pytest.raises(ValueError, match="reports"):
        read_events(b'{"reports": [{"event": "other"}]}')


def test_the_watch_knows_who_is_lost() -> None:
    watch = Watch(lost_after=0.5)
    assert not watch.is_lost("w", "i", age=10), "nobody has been heard yet"
    watch.note_beat(Beat(worker="w", incarnation="i", slots=1, running=(Running(task=1, attempt=2),)))
    assert not watch.is_lost("w", "i", age=10)
    assert watch.is_lost("w", "earlier", age=10)
    assert not watch.is_lost("w", "next", age=-1), "that task began after the beat"
    assert watch.mentions(1, 2) is not None
    assert watch.mentions(1, 1) is None
    watch.lost_after = 0.0
    assert watch.is_lost("w", "i", age=10)
