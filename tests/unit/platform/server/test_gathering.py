"""Gathers that name their inputs: due when there is enough, again when there is much more, and afresh at the end."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from small_session import write_session
from sqlalchemy import select, update
from task_reports import failed, finished, row_of, started

import fake_backends
from magellon.backends.describe import describe_backend
from magellon.contracts.description import Description
from magellon.contracts.task import Task
from magellon.platform.pipeline.recipe import Recipe
from magellon.platform.server.advancing import advance_items, advance_tasks, list_items
from magellon.platform.server.book import Book
from magellon.platform.server.events import enter_events
from magellon.platform.server.publishing import take_due_tasks
from magellon.platform.server.report import make_summary
from magellon.platform.server.submitting import Submission, find_session, submit_session
from magellon.platform.store.schema import sessions, tasks

CLASSES = (
    fake_backends.FakeMotion,
    fake_backends.FakePicker,
    fake_backends.FakeExtraction,
    fake_backends.FakeClassifier,
    fake_backends.FakeTraining,
    fake_backends.FakeStar,
)
CATALOGUE: dict[str, Description] = {description.key: description for description in map(describe_backend, CLASSES)}
FIRST = {"motion_correction": {}, "particle_picking": {}, "particle_extraction": {}}
CLASSIFY = "two_d_classification"


class Session:
    """A session of some movies in a ledger, and a worker that does what it is given."""

    def __init__(self, book: Book, folder: Path, movies: int, steps: dict[str, Any]) -> None:
        self.book = book
        recipe = Recipe.model_validate({"steps": steps})
        self.submission = Submission(folder=str(write_session(folder, movies)), recipe=recipe)
        self.done: list[Task] = []
        self.submit()

    def submit(self) -> None:
        found = find_session(self.submission)
        with self.book.ledger.transaction() as connection:
            self.job = submit_session(self.book, connection, self.submission, found, CATALOGUE)

    def take(self) -> list[Task]:
        with self.book.ledger.transaction() as connection:
            return take_due_tasks(self.book, connection)

    def report(self, reports: Iterable[Any]) -> None:
        with self.book.ledger.transaction() as connection:
            advance_tasks(self.book, connection, enter_events(self.book, connection, list(reports)))

    def work(self, but: str = "") -> list[str]:
        """Compute all that is due, except one step; the steps in the order in which they were done."""
        steps = []
        while due := [task for task in self.take() if task.category != but]:
            for task in due:
                self.report([started(task), finished(task)])
                self.book.store.path(task.identity).mkdir(parents=True, exist_ok=True)
                self.done.append(task)
                steps.append(task.label.split()[1])
        return steps

    def row(self, step: str) -> Any:
        with self.book.ledger.transaction() as connection:
            return connection.execute(select(tasks).where(tasks.c.step == step)).one()

    def last(self, step: str) -> Task:
        return [task for task in self.done if task.label.split()[1] == step][-1]

    def advance(self) -> None:
        with self.book.ledger.transaction() as connection:
            advance_items(self.book, connection, self.job, list_items(connection, self.job))

    def set_live(self, live: bool) -> None:
        with self.book.ledger.transaction() as connection:
            connection.execute(update(sessions).values(live={} if live else None))
        self.book.forget_jobs()


@pytest.fixture
def book(book: Book) -> Book:
    book.policy = book.policy.model_copy(update={"window": 100, "gather_interval": 0.0, "gather_pause": 0.0})
    return book


def test_particles_of_all_micrographs_are_classified_and_the_summary_tells(book: Book, tmp_path: Path) -> None:
    session = Session(book, tmp_path / "lot", 3, {**FIRST, CLASSIFY: {"at_least": 9}, "session_star": {}})
    done = session.work()
    assert done[-3:] in (["session_star", CLASSIFY, "session_star"], [CLASSIFY, "session_star", "session_star"])
    task = session.last(CLASSIFY)
    assert task.input is not None
    assert [item["particles"]["count"] for item in task.input["items"]] == [3, 3, 3]
    assert task.input["start"] is None
    assert task.input["folders"]["particle_extraction"] == "particle_extraction"
    assert task.input["folders"][CLASSIFY] == CLASSIFY
    assert [name for name, _ in task.inputs["items"]] == ["m0", "m1", "m2"]
    star = session.last("session_star")
    assert star.input is not None
    assert star.input[CLASSIFY]["kept"] == 2
    assert star.inputs[CLASSIFY] == [task.identity, ""]
    assert session.take() == []
    with book.ledger.transaction() as connection:
        assert make_summary(book, connection, session.job).ok


def test_the_session_files_do_not_wait_for_the_classification(book: Book, tmp_path: Path) -> None:
    session = Session(book, tmp_path / "lot", 3, {**FIRST, CLASSIFY: {"at_least": 9}, "session_star": {}})
    assert session.work(but=CLASSIFY)[-1] == "session_star"
    assert session.row(CLASSIFY).state == "pending"
    first = session.last("session_star")
    assert first.input is not None
    assert first.input[CLASSIFY] is None


def test_too_few_particles_are_no_failure(book: Book, tmp_path: Path) -> None:
    session = Session(book, tmp_path / "lot", 3, {**FIRST, CLASSIFY: {"at_least": 10}, "session_star": {}})
    session.work()
    row = session.row(CLASSIFY)
    assert (row.state, row.reason) == (
        "skipped", "9 particles, at least 10 wanted: see two_d_classification.at_least",
    )  # fmt: skip
    with book.ledger.transaction() as connection:
        assert make_summary(book, connection, session.job).ok
    recipe = {"steps": {**FIRST, CLASSIFY: {"at_least": 5}, "session_star": {}}}
    session.submission = session.submission.model_copy(update={"recipe": Recipe.model_validate(recipe)})
    session.submit()
    assert session.work() == [CLASSIFY, "session_star"]


def test_a_failed_classification_leaves_the_session_files_and_can_be_tried_again(book: Book, tmp_path: Path) -> None:
    session = Session(book, tmp_path / "lot", 3, {**FIRST, CLASSIFY: {"at_least": 9}, "session_star": {}})
    session.work(but=CLASSIFY)
    row = session.row(CLASSIFY)
    task = Task.model_construct(id=row.id, attempt=row.attempt, category=CLASSIFY, identity=row.identity)
    session.report([started(task), failed(task, "bad_input")])
    assert session.work() == []
    assert session.row(CLASSIFY).state == "failed"
    assert session.row("session_star").state == "completed"
    session.submission = session.submission.model_copy(update={"retry": True})
    with book.ledger.transaction() as connection:
        connection.execute(update(tasks).where(tasks.c.step == CLASSIFY).values(state="waiting", reason=None, kind=None))
    session.advance()
    assert session.work() == [CLASSIFY, "session_star"]


def test_while_a_session_grows_classes_are_made_of_enough_and_again_of_much_more(book: Book, tmp_path: Path) -> None:
    wanted = {"at_least": 3, "live_at_least": 9, "live_again": 2.0}
    session = Session(book, tmp_path / "lot", 8, {**FIRST, CLASSIFY: wanted, "session_star": {}})
    session.set_live(True)
    made = []
    for count in range(1, 9):
        _let_through(session, count)
        if CLASSIFY in session.work(but="motion_correction"):
            made.append((count, session.last(CLASSIFY)))
    assert [count for count, _ in made] == [3, 6]
    first, second = (task for _, task in made)
    assert first.input is not None
    assert second.input is not None
    assert first.input["start"] is None
    assert second.inputs["start"] == [first.identity, "classes"]
    assert second.input["start"]["averages"].startswith(f"home:results/{first.identity[:2]}/{first.identity}/")
    session.set_live(False)
    session.advance()
    assert CLASSIFY in session.work()
    last = session.last(CLASSIFY)
    assert last.input is not None
    assert last.input["start"] is None
    assert len(last.input["items"]) == 8


def test_what_ends_after_growing_is_what_a_finished_session_gives(book: Book, tmp_path: Path) -> None:
    session = Session(book, tmp_path / "lot", 4, {**FIRST, CLASSIFY: {"at_least": 3, "live_at_least": 3}})
    session.set_live(True)
    _let_through(session, 2)
    session.work(but="motion_correction")
    session.set_live(False)
    _let_through(session, 4)
    session.work()
    grown = session.row(CLASSIFY).identity
    session.submit()
    assert session.work() == []
    assert session.row(CLASSIFY).identity == grown
    assert session.row(CLASSIFY).inputs["beside"] == {}


def test_other_settings_start_afresh(book: Book, tmp_path: Path) -> None:
    wanted = {"at_least": 3, "live_at_least": 3, "live_again": 1.5}
    session = Session(book, tmp_path / "lot", 4, {**FIRST, CLASSIFY: wanted})
    session.set_live(True)
    _let_through(session, 2)
    session.work(but="motion_correction")
    assert session.row(CLASSIFY).state == "completed"
    assert len([task for task in session.done if task.category == CLASSIFY]) == 1, "once for the same particles"
    recipe = {"steps": {**FIRST, CLASSIFY: {**wanted, "params": {"salt": 1}}}}
    session.submission = session.submission.model_copy(update={"recipe": Recipe.model_validate(recipe)})
    session.submit()
    session.advance()
    assert session.work(but="motion_correction") == [CLASSIFY]
    assert "start" not in session.last(CLASSIFY).inputs
    afresh = session.last(CLASSIFY).identity
    _let_through(session, 4)
    assert CLASSIFY in session.work(but="motion_correction")
    assert session.last(CLASSIFY).inputs["start"][0] == afresh


def _let_through(session: Session, count: int) -> None:
    """The first so many movies are corrected; the others are left lying."""
    known = {task.id: task for task in getattr(session, "waiting", [])} | {
        task.id: task for task in session.take() if task.category == "motion_correction"
    }
    session.waiting = list(known.values())  # type: ignore[attr-defined]
    with session.book.ledger.transaction() as connection:
        states = {number: row_of(connection, number).state for number in known}
    for task in [task for task in known.values() if int(task.label[-1]) < count and states[task.id] == "pending"]:
        session.report([started(task), finished(task)])
        session.book.store.path(task.identity).mkdir(parents=True, exist_ok=True)


FEEDBACK = {
    "motion_correction": {},
    "first_picking": {"category": "particle_picking"},
    "first_extraction": {"category": "particle_extraction"},
    "first_classes": {"category": CLASSIFY, "sample": 2, "at_least": 3},
    "picker_training": {"sample": 2},
    "particle_picking": {"params": {"salt": 1}},
    "particle_extraction": {},
    CLASSIFY: {"at_least": 3},
    "session_star": {},
}


def test_kept_particles_teach_the_picker_that_picks_again(book: Book, tmp_path: Path) -> None:
    session = Session(book, tmp_path / "lot", 4, FEEDBACK)
    done = session.work()
    assert done.index("first_classes") < done.index("picker_training") < done.index("particle_picking")
    assert done.count("particle_picking") == 4
    first, training, again = (session.last(step) for step in ("first_classes", "picker_training", "particle_picking"))
    assert first.input is not None
    assert training.input is not None
    assert again.input is not None
    assert len(first.input["items"]) == len(training.input["items"]) == 2
    assert first.input["folders"]["particle_extraction"] == "first_extraction"
    assert training.inputs["kept"] == [first.identity, "particles"]
    assert again.input["network"].endswith(f"{training.identity}/picker.onnx")
    assert len(session.last(CLASSIFY).inputs["items"]) == 4
    with book.ledger.transaction() as connection:
        assert make_summary(book, connection, session.job).ok


def test_what_cannot_be_taught_says_so_to_all_that_wait(book: Book, tmp_path: Path) -> None:
    few = {**FEEDBACK, "first_classes": {"category": CLASSIFY, "sample": 2, "at_least": 100}}
    session = Session(book, tmp_path / "lot", 4, few)
    session.work()
    assert "at least 100 wanted" in session.row("first_classes").reason
    assert session.row("picker_training").reason.startswith("first_classes skipped: 6 particles")
    with book.ledger.transaction() as connection:
        states = connection.execute(select(tasks.c.state, tasks.c.reason).where(tasks.c.step == "particle_picking")).all()
    assert {row.state for row in states} == {"skipped"}
    assert "picker_training" in states[0].reason


def test_in_a_growing_session_the_first_ones_teach_all_others(book: Book, tmp_path: Path) -> None:
    session = Session(book, tmp_path / "lot", 4, FEEDBACK)
    session.set_live(True)
    _let_through(session, 1)
    assert "picker_training" not in session.work(but="motion_correction")
    _let_through(session, 2)
    assert "picker_training" in session.work(but="motion_correction")
    _let_through(session, 4)
    done = session.work(but="motion_correction")
    assert done.count("particle_picking") == 2
    assert "picker_training" not in done
    assert json.dumps(session.row("picker_training").inputs)
