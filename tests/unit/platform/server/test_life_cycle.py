"""The life of tasks as a state machine: whatever is reported, asked for or lost, in whatever order, the ledger stays in order.

A real ledger on SQLite; workers are imagined: they know the messages they were given, now or long ago.
"""

import asyncio
import json
import shutil
import struct
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from nats.aio.client import Client
from sqlalchemy import Row, select, update
from task_reports import failed, finished, started

import fake_backends
from magellon.backends.describe import describe_backend
from magellon.contracts.task import Task
from magellon.errors import BadInput
from magellon.platform.pipeline.advance import OPEN, STATES
from magellon.platform.pipeline.recipe import Recipe, change_recipe
from magellon.platform.server import control as control_module
from magellon.platform.server.advancing import advance_tasks
from magellon.platform.server.book import Book
from magellon.platform.server.control import Control
from magellon.platform.server.dispatcher import Dispatcher
from magellon.platform.server.events import enter_events, enter_lost
from magellon.platform.server.policy import Policy
from magellon.platform.server.publishing import take_due_tasks
from magellon.platform.server.reconciling import release_tasks
from magellon.platform.server.submitting import Submission, find_session, submit_session
from magellon.platform.store.home import Home
from magellon.platform.store.ledger import Ledger
from magellon.platform.store.results import ResultStore
from magellon.platform.store.schema import jobs, results, tasks

MOVIES = 2
STEPS = ("motion_correction", "fft", "session_star")
TASKS = 2 * MOVIES + 1
CATALOGUE = {
    description.key: description
    for description in map(describe_backend, (fake_backends.FakeMotion, fake_backends.FakeFft, fake_backends.FakeStar))
}
KINDS = ("bad_input", "transient", "defect", "cancelled")
SALTS = ("fft.salt=0", "fft.salt=1", "motion_correction.salt=0", "motion_correction.salt=1")


def write_session(folder: Path) -> Path:
    (folder / "movies").mkdir(parents=True)
    header = struct.pack("<10i", 8, 8, 2, 0, 0, 0, 0, 8, 8, 2) + struct.pack("<3f", 8, 8, 2) + bytes(12)
    header = (header + struct.pack("<3i", 1, 2, 3)).ljust(208, b"\0") + b"MAP " + bytes([0x44, 0x44, 0, 0])
    for number in range(MOVIES):
        (folder / f"movies/m{number}.mrc").write_bytes(header.ljust(1024, b"\0") + bytes(128))
    (folder / "session.json").write_text(json.dumps({"name": "lot", "movies": "movies/*.mrc", "pixel_size": 1}))
    return folder


class LifeCycle(RuleBasedStateMachine):
    """Rules are what can happen; invariants are what must always hold."""

    template: Path

    @initialize()
    def begin(self) -> None:
        self.folder = Path(tempfile.mkdtemp(dir=self.template.parent))
        home = Home.at(self.folder / "home")
        home.prepare()
        shutil.copy(self.template, home.ledger)
        self.book = Book(Ledger.at(home.ledger), home, Policy(window=3), ResultStore(home.results))
        recipe = Recipe.model_validate({"steps": {key: {"backend": "fake"} for key in STEPS}})
        submission = Submission(folder=str(write_session(self.folder / "lot")), recipe=recipe)
        with self.book.ledger.transaction() as connection:
            self.job = submit_session(self.book, connection, submission, find_session(submission), CATALOGUE)
        self.control = Control(Dispatcher(self.book, Client()))
        self.known: list[Task] = []
        self.failures_allowed = True

    def teardown(self) -> None:
        if hasattr(self, "book"):
            self.book.ledger.close()
            shutil.rmtree(self.folder)

    def rows(self) -> list[Row[Any]]:
        with self.book.ledger.transaction() as connection:
            return list(connection.execute(select(tasks).order_by(tasks.c.id)))

    def publish(self) -> list[Task]:
        with self.book.ledger.transaction() as connection:
            due = take_due_tasks(self.book, connection)
        self.known += due
        return due

    def report(self, *reports: Any) -> None:
        with self.book.ledger.transaction() as connection:
            advance_tasks(self.book, connection, enter_events(self.book, connection, reports))

    # What can happen

    @rule()
    def tasks_are_published(self) -> None:
        before = {row.id: row.attempt for row in self.rows()}
        for task in self.publish():
            assert task.attempt == before[task.id] + 1, "an attempt has one number, never used before"

    @precondition(lambda self: self.known)
    @rule(data=st.data())
    def a_worker_begins(self, data: st.DataObject) -> None:
        self.report(started(data.draw(st.sampled_from(self.known))))

    @precondition(lambda self: self.known)
    @rule(data=st.data(), twice=st.booleans())
    def a_worker_has_finished(self, data: st.DataObject, twice: bool) -> None:
        task = data.draw(st.sampled_from(self.known))
        before = {row.id: row.state for row in self.rows()}
        self.report(*[finished(task)] * (2 if twice else 1))
        for row in self.rows():
            if row.identity == task.identity and before[row.id] in ("pending", "running"):
                assert row.state == "completed", "a result completes whatever waits for it"
            elif before[row.id] in ("failed", "cancelled"):
                assert row.state == before[row.id], "only a person revives these"

    @precondition(lambda self: self.known)
    @rule(data=st.data(), kind=st.sampled_from(KINDS))
    def a_worker_fails(self, data: st.DataObject, kind: Any) -> None:
        task = data.draw(st.sampled_from(self.known))
        before = next((row for row in self.rows() if row.id == task.id), None)
        self.report(failed(task, kind))
        after = next((row for row in self.rows() if row.id == task.id), None)
        if before is not None and after is not None and before.attempt != task.attempt:
            assert (after.state, after.failures) == (before.state, before.failures), "an earlier attempt says nothing"

    def list_stale(self) -> list[Task]:
        """Earlier attempts at what is on the bus or at work now."""
        current = {row.id: row.attempt for row in self.rows() if row.published}
        return [task for task in self.known if task.attempt < current.get(task.id, 0)]

    @rule()
    def the_bus_loses_all_and_it_is_published_again(self) -> None:
        with self.book.ledger.transaction() as connection:
            release_tasks(connection, [row.id for row in self.rows() if row.published])
        self.publish()

    @precondition(lambda self: self.list_stale())
    @rule(data=st.data(), kind=st.sampled_from(KINDS))
    def an_earlier_attempt_speaks_up(self, data: st.DataObject, kind: Any) -> None:
        task = data.draw(st.sampled_from(self.list_stale()))
        before = self.rows()
        self.report(started(task), failed(task, kind))
        assert self.rows() == before, "it says nothing of the present one"

    @precondition(lambda self: any(row.state == "running" for row in self.rows()))
    @rule(data=st.data())
    def a_worker_is_lost(self, data: st.DataObject) -> None:
        row = data.draw(st.sampled_from([row for row in self.rows() if row.state == "running"]))
        with self.book.ledger.transaction() as connection:
            enter_lost(self.book.policy, connection, row.id, row.worker, 0.0)
            advance_tasks(self.book, connection, [row.id])

    @rule(data=st.data())
    def the_bus_loses_messages(self, data: st.DataObject) -> None:
        published = [row.id for row in self.rows() if row.published]
        if published:
            lost = data.draw(st.lists(st.sampled_from(published), unique=True, min_size=1))
            with self.book.ledger.transaction() as connection:
                release_tasks(connection, lost)

    @rule()
    def time_passes(self) -> None:
        with self.book.ledger.transaction() as connection:
            connection.execute(update(tasks).values(not_before=0.0))

    @rule(data=st.data())
    def a_person_retries_one(self, data: st.DataObject) -> None:
        row = data.draw(st.sampled_from(self.rows()))
        if row.state in ("failed", "cancelled"):
            asyncio.run(self.control.retry_task(row.id))
            assert next(r for r in self.rows() if r.id == row.id).state not in ("failed", "cancelled")
        else:
            with pytest.raises(BadInput, match=row.state):
                asyncio.run(self.control.retry_task(row.id))

    @rule()
    def a_person_retries_all(self) -> None:
        asyncio.run(self.control.retry_failed(self.job))
        assert not [row for row in self.rows() if row.state == "failed"]

    @rule(data=st.data())
    def a_person_cancels_one(self, data: st.DataObject) -> None:
        row = data.draw(st.sampled_from(self.rows()))
        if row.state in OPEN:
            asyncio.run(self.control.cancel_task(row.id))
            assert next(r for r in self.rows() if r.id == row.id).state == "cancelled"

    @rule()
    def a_person_cancels_all(self) -> None:
        asyncio.run(self.control.cancel_job(self.job))
        assert not [row for row in self.rows() if row.state in OPEN]

    @rule()
    def a_person_pauses(self) -> None:
        asyncio.run(self.control.pause(self.job))
        assert self.publish() == []
        assert not [row for row in self.rows() if row.state == "pending" and row.published]

    @rule()
    def a_person_lets_it_go_on(self) -> None:
        asyncio.run(self.control.resume(self.job))

    @rule(setting=st.sampled_from(SALTS))
    def a_person_changes_a_parameter(self, setting: str) -> None:
        with self.book.ledger.transaction() as connection:
            recipe = Recipe.model_validate(connection.execute(select(jobs.c.recipe)).scalar_one())
        before = {row.id: row for row in self.rows()}
        asyncio.run(self.control.change_parameters(self.job, change_recipe(recipe, [setting])))
        for row in self.rows():
            old = before[row.id]
            if row.identity == old.identity and old.state in ("completed", "failed") and row.step != "session_star":
                assert row.state == old.state, "what does not depend on the change stays"
            if row.identity != old.identity and old.state == "completed" and row.state in OPEN:
                assert row.former == old.identity, "the outdated result is remembered"

    # What must always hold

    @invariant()
    def each_task_has_one_known_state(self) -> None:
        if not hasattr(self, "book"):
            return
        rows = self.rows()
        assert len({(row.item_id, row.step) for row in rows}) == len(rows) == TASKS
        with self.book.ledger.transaction() as connection:
            there = set(connection.execute(select(results.c.identity)).scalars())
        by_item: dict[Any, dict[str, Row[Any]]] = {}
        for row in rows:
            assert row.state in STATES
            by_item.setdefault(row.item_id, {})[row.step] = row
            if row.state == "completed":
                assert row.identity in there, "completed means that the result is there"
                assert not row.published
                assert row.former is None
            if row.state == "running":
                assert row.published
                assert row.worker is not None
            if row.state in ("failed", "cancelled", "skipped", "held"):
                assert row.reason, "what did not go well says why"
                assert not row.published
        for item, steps in by_item.items():
            if item is not None:
                self._look_at_item(steps["motion_correction"], steps["fft"])

    def _look_at_item(self, first: Row[Any], second: Row[Any]) -> None:
        if second.state in ("pending", "running", "completed"):
            running_out = second.state == "running"  # it is left to its end when its input is changed under it
            assert first.state == "completed" or running_out, "nothing begins before its input is there"
        if second.state == "skipped":
            assert first.state in ("failed", "cancelled")
        if first.state in ("failed", "cancelled"):
            assert second.state in ("skipped", "failed", "cancelled", "running")
        if first.state == "completed":
            assert second.state != "waiting", "what can begin is due"

    @invariant()
    def the_bus_holds_a_window_at_most(self) -> None:
        if hasattr(self, "book"):
            on_bus = Counter(row.category for row in self.rows() if row.state == "pending" and row.published)
            assert max(on_bus.values(), default=0) <= 3

    @rule()
    def all_comes_to_its_end(self) -> None:
        """From wherever it is now: let go on, try all again, compute all: then all is completed."""
        asyncio.run(self.control.resume(self.job))
        asyncio.run(self.control.retry_failed(self.job, cancelled=True))
        with self.book.ledger.transaction() as connection:
            release_tasks(connection, [row.id for row in self.rows() if row.state in ("pending", "running")])
            connection.execute(update(tasks).values(not_before=0.0))
        for _ in range(10):
            for task in self.publish():
                self.report(started(task), finished(task))
        assert {row.state for row in self.rows()} == {"completed"}


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ledger with its tables, to be copied: migrations take longer than a whole life."""
    path = tmp_path_factory.mktemp("life") / "ledger.sqlite"
    ledger = Ledger.at(path)
    ledger.migrate()
    with ledger.engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    ledger.close()
    return path


def run_machine(template: Path, monkeypatch: pytest.MonkeyPatch, examples: int, steps: int) -> None:
    monkeypatch.setattr(control_module, "read_catalogue", lambda *_: CATALOGUE)
    LifeCycle.template = template
    case = LifeCycle.TestCase
    case.settings = settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    case("runTest").runTest()


def test_the_life_of_tasks_is_in_order_whatever_happens(template: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_machine(template, monkeypatch, examples=3, steps=15)


@pytest.mark.slow
def test_the_life_of_tasks_is_in_order_for_long(template: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_machine(template, monkeypatch, examples=120, steps=50)
