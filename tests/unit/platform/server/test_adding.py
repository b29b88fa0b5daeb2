"""Movies of a live session enter the ledger as they come, at the cost of what is new; survey and STAR files keep up."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import Connection, event, select
from task_reports import finished

import fake_backends
from magellon.backends.describe import describe_backend
from magellon.contracts.description import Description
from magellon.contracts.task import Finished, Task
from magellon.platform.pipeline.recipe import Recipe
from magellon.platform.server.adding import add_movies
from magellon.platform.server.advancing import advance_items, advance_tasks
from magellon.platform.server.book import Book
from magellon.platform.server.events import enter_events
from magellon.platform.server.looking import open_reader
from magellon.platform.server.policy import Policy
from magellon.platform.server.publishing import take_due_tasks
from magellon.platform.server.submitting import Submission, find_session, submit_session
from magellon.platform.server.watching import Watching
from magellon.platform.sessions.watch_settings import WatchSettings
from magellon.platform.store.home import Home
from magellon.platform.store.ledger import Ledger
from magellon.platform.store.results import ResultStore
from magellon.platform.store.schema import events, items, jobs, sessions, tasks
from session_files import make_epu, make_serialem
from session_files import write_movie as write_whole_movie

CLASSES = (fake_backends.FakeMotion, fake_backends.FakeSurvey, fake_backends.FakePicker, fake_backends.FakeStar)
STEPS = ("motion_correction", "particle_survey", "particle_picking", "session_star")
SETTINGS = WatchSettings(settle=10, recheck=1)


def write_movie(path: Path, fill: int = 1) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    words = [8, 8, 2, 0, 0, 0, 0, 8, 8, 2]
    header = b"".join(word.to_bytes(4, "little") for word in words).ljust(64, b"\0")
    header = header + b"".join(word.to_bytes(4, "little") for word in (1, 2, 3))
    path.write_bytes((header.ljust(208, b"\0") + b"MAP DD").ljust(1024, b"\0") + bytes([fill]) * 128)


@pytest.fixture(scope="module")
def catalogue() -> dict[str, Description]:
    return {description.key: description for description in map(describe_backend, CLASSES)}


@dataclass
class Live:
    """A live session with its watch; workers are played."""

    folder: Path
    book: Book
    submission: Submission
    catalogue: dict[str, Description]
    now: float = 0.0

    def submit(self) -> None:
        with self.book.ledger.transaction() as connection:
            found = find_session(self.submission)
            self.job = submit_session(self.book, connection, self.submission, found, self.catalogue)
            session = connection.execute(select(jobs.c.session_id).where(jobs.c.id == self.job)).scalar_one()
            self.reader = open_reader(self.book, connection, session)

    def look(self) -> int:
        """Poll until what is there has settled; the number of tasks to withdraw."""
        withdrawn = 0
        for _ in range(3):
            self.now += 10
            arrivals = self.reader.look(self.now)
            with self.book.ledger.transaction() as connection:
                withdrawn += len(add_movies(self.book, connection, self.reader.session, arrivals))
            self.reader.confirm(arrivals)
        return withdrawn

    def work(self, most: int = 10**6) -> list[str]:
        """Complete what is due; which steps were done."""
        done: list[str] = []
        with self.book.ledger.transaction() as connection:
            while len(done) < most and (due := take_due_tasks(self.book, connection)):
                done += [task.category for task in due]
                for task in due:
                    self.book.store.path(task.identity).mkdir(parents=True, exist_ok=True)
                advance_tasks(self.book, connection, enter_events(self.book, connection, [report(task) for task in due]))
        return done

    def rows(self, connection: Connection, step: str) -> list[Any]:
        query = select(tasks, items.c.name).outerjoin(items, items.c.id == tasks.c.item_id).where(tasks.c.step == step)
        return list(connection.execute(query.order_by(tasks.c.id)).all())


def report(task: Task) -> Finished:
    output: dict[str, Any] | None = {
        "particle_survey": {"diameter": 100, "confidence": 1, "picture": "survey.png"},
        "particle_picking": {"picks": {"path": "a.star", "count": 3, "diameter": 100}, "picture": "a.png"},
    }.get(task.category)
    if output is None:
        return finished(task)
    return Finished(task=task.id, attempt=task.attempt, identity=task.identity, worker="w", output=output)


@pytest.fixture
def make_live(tmp_path: Path, catalogue: dict[str, Description]) -> Iterator[Callable[[Path], Live]]:
    home = Home.at(tmp_path / "home")
    home.prepare()
    ledger = Ledger.at(home.ledger)
    ledger.migrate()
    policy = Policy(gather_interval=0, gather_pause=0)

    def make(folder: Path) -> Live:
        recipe = Recipe.model_validate({"steps": {key: {"backend": "fake"} for key in STEPS}})
        submission = Submission(folder=str(folder), recipe=recipe, live=True, alone=False, watch=SETTINGS)
        made = Live(folder, Book(ledger, home, policy, ResultStore(home.results)), submission, catalogue)
        made.submit()
        return made

    yield make
    ledger.close()


@pytest.fixture
def live(tmp_path: Path, make_live: Callable[[Path], Live]) -> Live:
    (tmp_path / "lot").mkdir()
    (tmp_path / "lot/session.json").write_text(json.dumps({"name": "lot", "movies": "**/*.mrc", "pixel_size": 1}))
    return make_live(tmp_path / "lot")


def test_a_session_that_is_empty_at_first_goes_before_others(live: Live) -> None:
    with live.book.ledger.transaction() as connection:
        assert connection.execute(select(jobs.c.priority)).scalar_one() == 10
        assert connection.execute(select(sessions.c.live)).scalar_one() == live.submission.watch.model_dump(mode="json")
        assert connection.execute(select(items)).all() == []
    assert live.work() == []
    write_movie(live.folder / "a.mrc")
    live.look()
    assert live.work() == ["motion_correction"], "the survey waits for a full sample"
    assert (live.book.home.sessions / "lot/movies/a.mrc").samefile(live.folder / "a.mrc")


def test_the_survey_takes_the_first_eight_that_came_and_keeps_them(live: Live) -> None:
    for number in range(7):
        write_movie(live.folder / f"m{9 - number}.mrc")
        live.look()
    assert set(live.work()) == {"motion_correction"}
    write_movie(live.folder / "a.mrc")
    live.look()
    work = live.work()
    assert work.count("particle_survey") == 1
    assert work.count("particle_picking") == 8
    with live.book.ledger.transaction() as connection:
        (survey,) = live.rows(connection, "particle_survey")
        assert [name for name, _ in survey.inputs["items"]] == ["m9", "m8", "m7", "m6", "m5", "m4", "m3", "a"]
    write_movie(live.folder / "0.mrc")
    live.look()
    assert sorted(live.work()) == ["motion_correction", "particle_picking", "session_star"]
    live.submit()  # as when the same is asked for again
    assert live.work() == []
    with live.book.ledger.transaction() as connection:
        assert live.rows(connection, "particle_survey")[0].identity == survey.identity
        assert {row.state for row in connection.execute(select(tasks))} == {"completed"}


def test_a_watch_that_ends_before_the_sample_is_full_is_finished_with_what_is_there(live: Live) -> None:
    for name in "abc":
        write_movie(live.folder / f"{name}.mrc")
    live.look()
    assert live.work() == ["motion_correction"] * 3
    assert live.work() == []
    dispatcher: Any = SimpleNamespace(book=live.book, take_in=lambda job: None)
    Watching(dispatcher).stop(live.reader.session.id)
    assert live.work() == ["particle_survey", *["particle_picking"] * 3, "session_star"]


def test_a_watch_that_ends_without_any_movie_leaves_nothing_waiting(live: Live) -> None:
    dispatcher: Any = SimpleNamespace(book=live.book, take_in=lambda job: None)
    Watching(dispatcher).stop(live.reader.session.id)
    assert live.work() == ["session_star"]
    with live.book.ledger.transaction() as connection:
        states = {row.step: (row.state, row.reason) for row in connection.execute(select(tasks))}
    assert states == {"particle_survey": ("skipped", "no movie got as far as that"), "session_star": ("completed", None)}


def test_metadata_that_come_damaged_are_kept_among_the_problems_of_the_session(
    tmp_path: Path, make_live: Callable[[Path], Live]
) -> None:
    folder = make_epu(tmp_path / "lot", 2)
    live = make_live(folder)
    live.look()
    damaged = folder / "Images-Disc1/GridSquare_7/Data/FoilHole_101_Data_0_2_20250101_000002.xml"
    damaged.write_text("<Microscope")
    write_whole_movie(damaged.with_name(f"{damaged.stem}_fractions.mrc"))
    live.look()
    with live.book.ledger.transaction() as connection:
        problems = connection.execute(select(sessions.c.problems)).scalar_one()
        assert len(connection.execute(select(items)).all()) == 3
    assert sum(str(damaged) in problem for problem in problems) == 1


def test_a_movie_written_again_is_done_again_and_nothing_else(live: Live) -> None:
    for name in "abcdefgh":
        write_movie(live.folder / f"{name}.mrc")
    live.look()
    live.work()
    write_movie(live.folder / "c.mrc", fill=2)
    live.look()
    work = [step for step in live.work() if step != "session_star"]
    assert sorted(work) == ["motion_correction", "particle_picking"]
    with live.book.ledger.transaction() as connection:
        row = connection.execute(select(items).where(items.c.name == "c")).one()
        assert f"mtime={(live.folder / 'c.mrc').stat().st_mtime_ns}" in row.identity["path"]


def test_a_renamed_movie_is_not_done_again_and_one_on_its_way_is_sent_anew(live: Live) -> None:
    for name in "abcdefgh":
        write_movie(live.folder / f"{name}.mrc")
    live.look()
    live.work()
    (live.folder / "sorted").mkdir()
    (live.folder / "c.mrc").rename(live.folder / "sorted/c.mrc")
    assert live.look() == 0
    assert live.work() == []
    with live.book.ledger.transaction() as connection:
        row = connection.execute(select(items).where(items.c.name == "c")).one()
        assert (row.movie["path"], row.problem) == ("lot:sorted/c.mrc", None)
    assert (live.book.home.sessions / "lot/movies/c.mrc").samefile(live.folder / "sorted/c.mrc")
    write_movie(live.folder / "i.mrc")
    live.look()
    with live.book.ledger.transaction() as connection:
        (sent,) = take_due_tasks(live.book, connection)
    (live.folder / "i.mrc").rename(live.folder / "j.mrc")
    assert live.look() == 1
    with live.book.ledger.transaction() as connection:
        (again,) = take_due_tasks(live.book, connection)
    assert sent.input is not None
    assert again.input is not None
    assert (sent.input["movie"]["path"], again.input["movie"]["path"]) == ("lot:i.mrc", "lot:j.mrc")
    assert (sent.id, sent.identity, sent.attempt + 1) == (again.id, again.identity, again.attempt)


def test_a_movie_that_went_fails_alone_and_goes_on_when_it_is_back(live: Live) -> None:
    for name in "ab":
        write_movie(live.folder / f"{name}.mrc")
    live.look()
    (live.folder / "a.mrc").rename(live.folder / "a.away")
    live.look()
    with live.book.ledger.transaction() as connection:
        states = {row.name: (row.state, row.reason) for row in live.rows(connection, "motion_correction")}
    assert states["a"] == ("failed", f"a: the movie is no longer in {live.folder}")
    assert states["b"][0] == "pending"
    (live.folder / "a.away").rename(live.folder / "a.mrc")
    live.look()
    assert live.work() == ["motion_correction"] * 2


def test_a_damaged_movie_is_told_and_repaired(live: Live) -> None:
    write_movie(live.folder / "a.mrc")
    content = (live.folder / "a.mrc").read_bytes()
    (live.folder / "a.mrc").write_bytes(content[:-1])
    for _ in range(5):
        live.look()
    with live.book.ledger.transaction() as connection:
        assert "truncated" in live.rows(connection, "motion_correction")[0].reason
        told = connection.execute(select(events.c.text).where(events.c.kind == "movies")).scalars().all()
        assert any("a.mrc: truncated" in str(line) for line in told)
    (live.folder / "a.mrc").write_bytes(content)
    live.look()
    assert live.work() == ["motion_correction"]


def test_star_files_are_made_anew_now_and_then_and_at_the_end(live: Live) -> None:
    live.book.policy = live.book.policy.model_copy(update={"gather_interval": 3600, "gather_pause": 3600})
    for name in "abcdefgh":
        write_movie(live.folder / f"{name}.mrc")
    live.look()
    assert live.work().count("session_star") == 1
    write_movie(live.folder / "i.mrc")
    live.look()
    assert "session_star" not in live.work()
    assert live.book.late_gathers == {live.job}
    with live.book.ledger.transaction() as connection:
        (star,) = live.rows(connection, "session_star")
        assert star.state == "completed", "the version of before is still there"
        connection.execute(sessions.update().values(live=None))
        live.book.forget_job(live.job)
        advance_items(live.book, connection, live.job, [])
    assert live.work() == ["session_star"]


def test_star_files_hold_settled_movies_while_others_are_at_work(live: Live) -> None:
    for name in "abcdefgh":
        write_movie(live.folder / f"{name}.mrc")
    live.look()
    live.work()
    for name in "ij":
        write_movie(live.folder / f"{name}.mrc")
    live.look()
    with live.book.ledger.transaction() as connection:
        due = {task.label: task for task in take_due_tasks(live.book, connection)}
        advance_tasks(live.book, connection, enter_events(live.book, connection, [report(due["lot motion_correction i"])]))
        (picking,) = take_due_tasks(live.book, connection)
        advance_tasks(live.book, connection, enter_events(live.book, connection, [report(picking)]))
        (star,) = take_due_tasks(live.book, connection)
    assert star.category == "session_star"
    assert star.input is not None
    assert [item["name"] for item in star.input["items"]] == list("abcdefghi")


@pytest.mark.slow
def test_the_cost_is_that_of_what_is_new(live: Live) -> None:
    live.book.policy = live.book.policy.model_copy(update={"gather_interval": 3600, "gather_pause": 3600})
    statements: list[str] = []

    @event.listens_for(live.book.ledger.engine, "before_cursor_execute")
    def note(connection: Any, cursor: Any, statement: str, *rest: Any) -> None:
        statements.append(statement)

    def cost_of_one_more(name: str) -> int:
        write_movie(live.folder / f"{name}.mrc")
        live.look()
        live.work()
        write_movie(live.folder / f"{name}{name}.mrc")
        statements.clear()
        live.look()
        return len(statements)

    for number in range(20):
        write_movie(live.folder / f"m{number:03}.mrc")
    first = cost_of_one_more("x")
    for number in range(20, 320):
        write_movie(live.folder / f"m{number:03}.mrc")
    assert cost_of_one_more("y") == first
    assert len(live.reader.watch.taken) == 324


@pytest.mark.parametrize("make_folder", [make_epu, make_serialem])
def test_movies_come_with_their_metadata(
    tmp_path: Path, make_live: Callable[[Path], Live], make_folder: Callable[[Path, int], Path]
) -> None:
    live = make_live(make_folder(tmp_path / "grid", 3))
    live.look()
    make_folder(tmp_path / "whole", 5)
    for path in sorted((tmp_path / "whole").rglob("*")):
        target = tmp_path / "grid" / path.relative_to(tmp_path / "whole")
        if path.is_file() and not target.exists():
            target.write_bytes(path.read_bytes())
    live.look()
    with live.book.ledger.transaction() as connection:
        rows = connection.execute(select(items).order_by(items.c.id)).all()
    assert len(rows) == 5
    assert {row.problem for row in rows} == {None}
    assert all(row.place_id is not None and row.seen["metadata"] for row in rows)
    assert len({row.movie["optics"]["group"] for row in rows}) == 2, "two beam shifts"
    assert {row.movie["exposure_per_frame"] is not None for row in rows} == {True}
