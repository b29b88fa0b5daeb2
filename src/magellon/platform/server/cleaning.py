"""Disk space back: results that no task refers to any more, and what workers left behind. Nothing that is referred to goes."""

import asyncio
import os
import shutil
import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from pydantic import Field
from sqlalchemy import Connection, select

from magellon.contracts import Record
from magellon.platform.server.book import Book, split
from magellon.platform.store.schema import artefacts, results, tasks

SHORTEST_AGE = 3600.0
"""Seconds: what is younger may be on its way into the ledger."""
_TRASH = ".trash"


class CleanRequest(Record):
    """What may go."""

    older_than: float = Field(30 * 86400.0, ge=SHORTEST_AGE)
    """Seconds since it was written."""
    keep_results: bool = False
    """Only what was left behind: folders of work, logs."""
    dry_run: bool = False


class Cleaned(Record):
    """What went, or would go."""

    results: int = 0
    left_over: int = 0
    """Folders of work and logs."""
    bytes: int = 0


@dataclass(frozen=True)
class _Found:
    path: Path
    identity: str | None = None


async def clean_home(book: Book, request: CleanRequest, living: Collection[str]) -> Cleaned:
    """Remove what may go; `living` are the names of workers at work. The ledger is touched between awaits only."""
    before = time.time() - request.older_than
    folder = book.store.folder
    candidates = [] if request.keep_results else await asyncio.to_thread(lambda: list(_find_results(folder, before)))
    gone: list[_Found] = []
    for part in split(candidates):
        with book.ledger.transaction() as connection:
            referred = find_referred(connection, [str(found.identity) for found in part])
            unwanted = [found for found in part if found.identity not in referred]
            gone += unwanted if request.dry_run else _throw_away(connection, folder, unwanted)
        await asyncio.sleep(0)
    left = await asyncio.to_thread(lambda: list(_find_left_over(book.home.root, folder, before, living)))
    with book.ledger.transaction() as connection:
        named = [found.identity for found in left if found.identity]
        referred = {identity for part in split(named) for identity in find_referred(connection, part)}
    left = [found for found in left if found.identity not in referred]
    size = await asyncio.to_thread(lambda: sum(_measure(found.path) for found in (*gone, *left)))
    if not request.dry_run:
        await asyncio.to_thread(_remove, [folder / _TRASH, *(found.path for found in left)])
    return Cleaned(results=len(gone), left_over=len(left), bytes=size)


def find_referred(connection: Connection, identities: list[str]) -> set[str]:
    """Which of these computations some task needs or shows, or some artefact lies in."""
    found = set(connection.execute(select(tasks.c.identity).where(tasks.c.identity.in_(identities))).scalars())
    found.update(connection.execute(select(tasks.c.former).where(tasks.c.former.in_(identities))).scalars())
    for path in connection.execute(select(artefacts.c.path)).scalars():
        found.update(identity for identity in identities if identity in path)
    return {identity for identity in found if identity is not None}


def _throw_away(connection: Connection, folder: Path, unwanted: list[_Found]) -> list[_Found]:
    """Out of the store at once, in the ledger's own transaction; the files go later."""
    (folder / _TRASH).mkdir(exist_ok=True)
    thrown = []
    for found in unwanted:
        target = folder / _TRASH / f"{found.identity}.{time.time_ns()}"
        os.rename(found.path, target)
        thrown.append(_Found(target, found.identity))
    connection.execute(results.delete().where(results.c.identity.in_([str(found.identity) for found in unwanted])))
    return thrown


def _find_results(folder: Path, before: float) -> Iterator[_Found]:
    for place in folder.glob("[0-9a-f][0-9a-f]"):
        yield from (_Found(path, path.name) for path in place.iterdir() if _is_old(path, before))


def _find_left_over(root: Path, folder: Path, before: float, living: Collection[str]) -> Iterator[_Found]:
    for place in (folder / ".work", root / "workers"):
        for path in place.iterdir() if place.is_dir() else ():
            if path.name not in living and _is_old(path, before) and all(_is_old(inner, before) for inner in path.rglob("*")):
                yield _Found(path)
    for path in (*folder.glob(".logs/??/*.log"), *folder.glob(".inputs/*.json")):
        if _is_old(path, before):
            yield _Found(path, path.stem)


def _is_old(path: Path, before: float) -> bool:
    try:
        return path.lstat().st_mtime < before
    except FileNotFoundError:
        return False


def _measure(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.lstat().st_size for file in files if not file.is_dir())


def _remove(paths: list[Path]) -> None:
    for path in paths:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
