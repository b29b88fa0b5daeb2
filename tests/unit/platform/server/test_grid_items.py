"""Pictures of the grid are items of their own kind: they get their steps, and nothing else of the session sees them."""

import json
from pathlib import Path
from typing import Any

from PIL import Image
from small_session import write_session
from sqlalchemy import Connection, select
from task_reports import finished, started

import fake_backends
from magellon.backends.describe import describe_backend
from magellon.contracts.description import Description
from magellon.platform.pipeline.recipe import Recipe
from magellon.platform.server.adding import recall_movies
from magellon.platform.server.advancing import advance_tasks
from magellon.platform.server.book import Book
from magellon.platform.server.events import enter_events
from magellon.platform.server.http.paging import Paging
from magellon.platform.server.http.views.micrographs import MicrographFilter, list_micrographs
from magellon.platform.server.http.views.sessions import get_session
from magellon.platform.server.publishing import take_due_tasks
from magellon.platform.server.report import make_summary
from magellon.platform.server.submitting import Submission, find_session, submit_session
from magellon.platform.store.schema import items, places, tasks

CLASSES = (
    fake_backends.FakeMotion, fake_backends.FakeFft, fake_backends.FakeSquares, fake_backends.FakeHoles, fake_backends.FakeStar,
)  # fmt: skip
CATALOGUE: dict[str, Description] = {description.key: description for description in map(describe_backend, CLASSES)}
STEPS: dict[str, Any] = {
    key: {"backend": "fake"} for key in ("square_detection", "hole_detection", "motion_correction", "fft", "session_star")
}


def write_grid(folder: Path, squares: int = 2) -> Path:
    """Two movies; an atlas, squares, and one whose picture is broken."""
    write_session(folder, 2)
    definition = json.loads((folder / "session.json").read_text())
    Image.new("L", (40, 30)).save(folder / "atlas.png")
    found: list[dict[str, Any]] = [{"kind": "atlas", "name": "Atlas", "image": "atlas.png"}]
    for number in range(squares):
        Image.new("L", (40, 30 + number)).save(folder / f"s{number}.png")
        found.append({"kind": "square", "name": f"m{number}", "parent": "Atlas", "image": f"s{number}.png"})
    (folder / "broken.png").write_bytes(b"no picture")
    found.append({"kind": "square", "name": "broken", "image": "broken.png"})
    (folder / "session.json").write_text(json.dumps({**definition, "places": found}))
    return folder


def submit(book: Book, folder: Path, steps: dict[str, Any]) -> int:
    submission = Submission(folder=str(folder), recipe=Recipe.model_validate({"steps": steps}))
    found = find_session(submission)
    assert len([problem for problem in found.problems if "broken.png" in problem]) == 1
    with book.ledger.transaction() as connection:
        return submit_session(book, connection, submission, found, CATALOGUE)


def work(book: Book) -> dict[str, list[str]]:
    """All that is due to its end: items by step."""
    done: dict[str, list[str]] = {}
    while True:
        with book.ledger.transaction() as connection:
            due = take_due_tasks(book, connection)
        for task in due:
            if task.category == "square_detection":
                assert task.input is not None
                assert task.input["image"]["path"] == "lot:atlas.png"
            done.setdefault(task.category, []).append(task.label.partition(" ")[2].partition(" ")[2])
            book.store.path(task.identity).mkdir(parents=True, exist_ok=True)
            with book.ledger.transaction() as connection:
                advance_tasks(book, connection, enter_events(book, connection, [started(task), finished(task)]))
        if not due:
            return done


def steps_of(connection: Connection, name: str) -> set[str]:
    query = select(tasks.c.step).join(items, items.c.id == tasks.c.item_id).where(items.c.name == name)
    return set(connection.execute(query).scalars())


def test_each_kind_of_item_gets_its_own_steps(book: Book, tmp_path: Path) -> None:
    job = submit(book, write_grid(tmp_path / "lot"), STEPS)
    with book.ledger.transaction() as connection:
        assert steps_of(connection, "atlas/Atlas") == {"square_detection"}
        assert steps_of(connection, "square/m0") == {"hole_detection"}
        assert steps_of(connection, "m0") == {"motion_correction", "fft"}
        shown = select(places.c.name).join(items, items.c.place_id == places.c.id).where(items.c.name == "square/m1")
        assert connection.execute(shown).scalar_one() == "m1"
    done = work(book)
    assert done["square_detection"] == ["atlas/Atlas"]
    assert sorted(done["hole_detection"]) == ["square/m0", "square/m1"]
    assert sorted(done["motion_correction"]) == ["m0", "m1"]
    with book.ledger.transaction() as connection:
        summary = make_summary(book, connection, job)
        assert summary.ok
        assert not summary.failures
        star = connection.execute(select(tasks).where(tasks.c.step == "session_star")).one()
        assert star.state == "completed"
        session = star.job_id
        page = list_micrographs(connection, session, Paging(limit=50, cursor=None), MicrographFilter(), "name")
        assert [each.name for each in page.items] == ["m0", "m1"]
        shown_session = get_session(connection, session)
        assert (shown_session.movies, shown_session.problems) == (2, 0)
        assert [movie.name for movie in recall_movies(connection, session)] == ["m0", "m1"]


def test_the_session_files_list_movies_alone(book: Book, tmp_path: Path) -> None:
    submit(book, write_grid(tmp_path / "lot"), STEPS)
    given = None
    while True:
        with book.ledger.transaction() as connection:
            due = take_due_tasks(book, connection)
        if not due:
            break
        for task in due:
            given = task.input if task.category == "session_star" else given
            with book.ledger.transaction() as connection:
                advance_tasks(book, connection, enter_events(book, connection, [started(task), finished(task)]))
    assert given is not None
    assert [item["name"] for item in given["items"]] == ["m0", "m1"]


def test_pictures_without_a_step_for_them_cost_nothing(book: Book, tmp_path: Path) -> None:
    only_movies = {key: STEPS[key] for key in ("motion_correction", "fft", "session_star")}
    job = submit(book, write_grid(tmp_path / "lot"), only_movies)
    done = work(book)
    assert set(done) == set(only_movies)
    with book.ledger.transaction() as connection:
        assert steps_of(connection, "atlas/Atlas") == set()
        assert make_summary(book, connection, job).ok


def test_a_picture_that_changes_or_comes_later_is_looked_at(book: Book, tmp_path: Path) -> None:
    folder = write_grid(tmp_path / "lot")
    submit(book, folder, STEPS)
    work(book)
    definition = json.loads((folder / "session.json").read_text())
    Image.new("L", (50, 50)).save(folder / "s1.png")
    Image.new("L", (40, 30)).save(folder / "late.png")
    definition["places"].append({"kind": "square", "name": "late", "image": "late.png"})
    (folder / "session.json").write_text(json.dumps(definition))
    submit(book, folder, STEPS)
    assert {step: sorted(done) for step, done in work(book).items()} == {"hole_detection": ["square/late", "square/m1"]}
