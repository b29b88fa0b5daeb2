"""Cleaning removes what nothing refers to, and nothing else."""

import asyncio
import hashlib
import os
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select, update

from magellon.errors import BadInput
from magellon.platform.clean import clean
from magellon.platform.launch.lock import hold_lock
from magellon.platform.server.book import Book
from magellon.platform.server.cleaning import Cleaned, CleanRequest, clean_home
from magellon.platform.store.inserting import insert_if_absent
from magellon.platform.store.schema import artefacts, items, results, tasks

OLD = 40 * 86400.0
MONTH = CleanRequest()


def age(path: Path, seconds: float) -> None:
    for each in (*(path.rglob("*") if path.is_dir() else ()), path):
        os.utime(each, (time.time() - seconds,) * 2)


def add_result(book: Book, text: str, seconds: float = OLD, entered: bool = True) -> str:
    identity = hashlib.sha256(text.encode()).hexdigest()
    folder = book.store.path(identity)
    folder.mkdir(parents=True)
    (folder / "m.mrc").write_bytes(bytes(1000))
    (folder / "result.json").write_text('{"output": {}, "files": {"m.mrc": 1000}}')
    log = book.store.log_path(identity)
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_text("line\n")
    age(log, seconds)
    age(folder, seconds)
    if entered:
        with book.ledger.transaction() as connection:
            row = {"identity": identity, "output": {}, "provenance": {}, "created_at": time.time() - seconds}
            insert_if_absent(connection, results, [row])
    return identity


def list_entered(book: Book) -> set[str]:
    with book.ledger.transaction() as connection:
        return set(connection.execute(select(results.c.identity)).scalars())


def run(book: Book, request: CleanRequest = MONTH, living: tuple[str, ...] = ()) -> Cleaned:
    return asyncio.run(clean_home(book, request, living))


def test_what_is_referred_to_stays(book: Book, job: int) -> None:
    current, former, shown = (add_result(book, name) for name in ("current", "former", "shown"))
    gone, unknown, young = add_result(book, "gone"), add_result(book, "late", entered=False), add_result(book, "young", 60)
    with book.ledger.transaction() as connection:
        first, second = connection.execute(select(tasks.c.id).where(tasks.c.job_id == job).limit(2)).scalars().all()
        connection.execute(update(tasks).where(tasks.c.id == first).values(identity=current, state="completed"))
        connection.execute(update(tasks).where(tasks.c.id == second).values(former=former))
        session = connection.execute(select(items.c.session_id).limit(1)).scalar_one()
        path = f"home:results/{shown[:2]}/{shown}/m.mrc"
        values = {"session_id": session, "kind": "map", "name": "m", "path": path, "detail": {}}
        connection.execute(artefacts.insert().values(**values, created_at=0.0, created_by="x"))
    tried = run(book, CleanRequest(dry_run=True))
    assert (tried.results, tried.left_over) == (2, 2)
    assert all(book.store.path(identity).exists() for identity in (current, former, shown, gone, unknown, young))
    assert run(book, CleanRequest(keep_results=True)).results == 0
    assert book.store.path(gone).exists()
    done = run(book)
    assert done.results == 2
    assert done.bytes >= 2000
    assert list_entered(book) == {current, former, shown, young}
    for identity in (current, former, shown, young):
        assert book.store.read(identity) is not None
        assert book.store.log_path(identity).exists()
    for identity in (gone, unknown):
        assert not book.store.path(identity).exists()
        assert not book.store.log_path(identity).exists()
    assert run(book) == Cleaned()
    assert sorted(path.name for path in book.store.folder.iterdir() if path.name.startswith(".")) == [".logs", ".work"]


def test_folders_of_work_go_when_their_worker_is_gone(book: Book) -> None:
    for name, seconds in (("dead", OLD), ("alive", OLD), ("fresh", 10)):
        folder = book.home.work / name / "task.1"
        folder.mkdir(parents=True)
        (folder / "part.mrc").write_bytes(bytes(10))
        age(book.home.work / name, seconds)
    busy = book.home.work / "busy"
    (busy / "task.1").mkdir(parents=True)
    age(busy, OLD)
    (busy / "task.1" / "new.mrc").touch()
    assert run(book, living=("alive",)).left_over == 1
    assert sorted(path.name for path in book.home.work.iterdir()) == ["alive", "busy", "fresh"]


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.booleans(), st.booleans(), st.booleans()), max_size=8))
def test_any_mixture(book: Book, job: int, mixture: list[tuple[bool, bool, bool]]) -> None:
    stay, go = set(), set()
    with book.ledger.transaction() as connection:
        free = list(connection.execute(select(tasks.c.id).where(tasks.c.job_id == job)).scalars())
    for number, (referred, old, entered) in enumerate(mixture):
        identity = add_result(book, f"{time.time_ns()} {number}", OLD if old else 60, entered)
        if referred:
            with book.ledger.transaction() as connection:
                connection.execute(update(tasks).where(tasks.c.id == free[number]).values(identity=identity))
        (stay if referred or not old else go).add(identity)
    run(book)
    assert all(book.store.read(identity) is not None for identity in stay)
    assert not any(book.store.path(identity).exists() for identity in go)
    assert not list_entered(book) & go


def test_without_a_server_it_cleans_by_itself_and_with_a_silent_one_says_so(book: Book, tmp_path: Path) -> None:
    gone = add_result(book, "gone")
    book.ledger.close()
    assert clean(book.home.root, None, MONTH).results == 1
    assert not book.store.path(gone).exists()
    with pytest.raises(BadInput, match=r"home\.json"):
        clean(tmp_path / "nothing", None, MONTH)

    async def hold() -> None:
        async with hold_lock(book.home.lock):
            with pytest.raises(BadInput, match="bus"):
                await asyncio.to_thread(clean, book.home.root, None, MONTH)

    asyncio.run(hold())
