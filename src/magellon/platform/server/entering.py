"""A submission enters the ledger in parts, so that nobody waits long for the loop: 10,000 movies are 100,000 tasks."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace

from sqlalchemy import select

from magellon.contracts.description import Description
from magellon.platform.pipeline.plan import MOVIE
from magellon.platform.server.advancing import advance_items
from magellon.platform.server.book import Book
from magellon.platform.server.links import link_tasks
from magellon.platform.server.metrics import enter_metrics, renew_metrics
from magellon.platform.server.submitting import Submission, activate_job, add_part, submit_session
from magellon.platform.sessions.found import FoundMovie, FoundSession
from magellon.platform.store.schema import items, sessions

_AT_A_TIME = 10
"""Movies entered in one transaction: some 10 ms."""
_LONGEST_WAY = 0.1
"""Seconds."""


async def enter_session(book: Book, submission: Submission, found: FoundSession, catalogue: Mapping[str, Description]) -> int:
    """Enter or update session, movies, job and tasks; the job's number.

    What the ledger has already is brought up to date at once; new movies follow some at a time, and nothing of a new job is
    published before all are there. If the server dies on the way, the same submission goes on where it ended.

    Raises:
        BadInput: the recipe does not fit; nothing has happened then.
    """
    known, new = _sort_out(book, found)
    first, later = new[:_AT_A_TIME], new[_AT_A_TIME:]
    with book.ledger.transaction() as connection:
        at_first = replace(found, movies=[*known, *first]) if later else found
        job = submit_session(book, connection, submission, at_first, catalogue, whole=not later)
        if known or not later:
            renew_metrics(book, connection, job)
    if later:
        await _enter_later(book, job, found, later)
    return job


def _sort_out(book: Book, found: FoundSession) -> tuple[list[FoundMovie], list[FoundMovie]]:
    """Movies that the ledger has, and those it has not."""
    query = select(items.c.name).join(sessions, sessions.c.id == items.c.session_id)
    with book.ledger.transaction() as connection:
        here = query.where(sessions.c.folder == str(found.folder), items.c.kind == MOVIE)
        names = set(connection.execute(here).scalars())
    known = [entry for entry in found.movies if entry.movie.name in names]
    return known, [entry for entry in found.movies if entry.movie.name not in names]


async def _enter_later(book: Book, job: int, found: FoundSession, later: list[FoundMovie]) -> None:
    parts: list[list[int]] = []
    for start in range(0, len(later), _AT_A_TIME):
        async with _giving_way():
            with book.ledger.transaction() as connection:
                parts.append(add_part(book, connection, job, replace(found, movies=later[start : start + _AT_A_TIME])))
    for numbers in parts:  # only now, as what is decided for all looks at all
        async with _giving_way():
            with book.ledger.transaction() as connection:
                completed = advance_items(book, connection, job, numbers)
                link_tasks(book, connection, completed)
                enter_metrics(book, connection, completed)
    with book.ledger.transaction() as connection:
        activate_job(book, connection, job, found, parts[-1][:1])


@asynccontextmanager
async def _giving_way() -> AsyncIterator[None]:
    """Around a part of long work: after it everybody else has the loop for as long."""
    began = time.monotonic()
    yield
    await asyncio.sleep(min(time.monotonic() - began, _LONGEST_WAY))
