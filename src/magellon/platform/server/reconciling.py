"""Ledger, promoted results, bus and beats brought into agreement. The ledger with the results is enough to go on from."""

import asyncio
import contextlib
from collections.abc import Iterable, Sequence
from typing import Any

from nats.aio.client import Client
from nats.js.errors import NotFoundError
from sqlalchemy import Connection, Row, select, update

from magellon.contracts.task import Finished
from magellon.platform.bus.connection import BUS_ERRORS
from magellon.platform.bus.streams import TASKS
from magellon.platform.server.book import Book
from magellon.platform.server.events import enter_events, enter_lost
from magellon.platform.server.watch import Watch
from magellon.platform.store.schema import tasks

_AT_A_TIME = 50


def message_id(task: int, attempt: int, identity: str) -> str:
    """Of a publication; another one for each attempt, as a server that answers "duplicate" proves nothing."""
    return f"{task}.{attempt}.{identity[:16]}"


def find_underway(connection: Connection) -> Sequence[Row[Any]]:
    """Tasks that the ledger believes on the bus or at a worker."""
    query = select(tasks).where(tasks.c.state.in_(("pending", "running")), tasks.c.published)
    return connection.execute(query).all()


_find_running = select(
    tasks.c.id,
    tasks.c.attempt,
    tasks.c.identity,
    tasks.c.worker,
    tasks.c.incarnation,
    tasks.c.started_at,
    tasks.c.sequence,
    tasks.c.lost,
).where(tasks.c.state == "running")


def adopt_results(book: Book, connection: Connection, rows: Sequence[Row[Any]]) -> list[int]:
    """Complete tasks whose result is promoted though nobody could report it; what `enter_events` returns."""
    found = []
    for row in rows:
        output = book.store.read(row.identity)
        if output is not None:
            found.append(
                Finished(task=row.id, attempt=row.attempt, identity=row.identity, worker=row.worker or "", output=output)
            )
    return enter_events(book, connection, found)


def release_tasks(connection: Connection, numbers: Sequence[int]) -> None:
    """These are on no bus and at no worker: due again, under a new attempt number."""
    query = update(tasks).where(tasks.c.id.in_(numbers), tasks.c.state.in_(("pending", "running")))
    connection.execute(query.values(state="pending", published=False, sequence=None, worker=None, incarnation=None))


async def find_missing(client: Client, rows: Sequence[Row[Any]]) -> list[int]:
    """Which of these published, not yet started tasks the stream no longer holds."""
    stream = client.jetstream(timeout=3)
    missing = []
    for row in rows:
        try:
            message = await stream.get_msg(TASKS, row.sequence) if row.sequence else None
        except NotFoundError:
            message = None
        except BUS_ERRORS:
            return []  # the bus cannot say: ask again later
        wanted = message_id(row.id, row.attempt, row.identity)
        if message is None or (message.headers or {}).get("Nats-Msg-Id") != wanted:
            missing.append(row.id)
    return missing


async def withdraw_tasks(client: Client, rows: Iterable[Row[Any]]) -> None:
    """Take back messages of attempts that no longer count, as far as the bus still has them."""
    await withdraw_messages(client, [row.sequence for row in rows if row.sequence])


async def withdraw_messages(client: Client, sequences: Sequence[int]) -> None:
    """Delete messages of the task stream, some at a time."""
    stream = client.jetstream(timeout=3)

    async def delete(sequence: int) -> None:
        with contextlib.suppress(*BUS_ERRORS):  # gone already, or the bus is away; a stale attempt does no harm
            await stream.delete_msg(TASKS, sequence)

    for start in range(0, len(sequences), _AT_A_TIME):
        await asyncio.gather(*(delete(sequence) for sequence in sequences[start : start + _AT_A_TIME]))


def find_suspects(lost: Iterable[Row[Any]], apart: float) -> list[tuple[Row[Any], float]]:
    """Of the tasks each worker computed when it went away, those that may be what killed it, and the seconds they wait now.

    That is those that lost most workers before; the others go free. Those that lost one already are tried one after the other,
    so that the next loss tells them apart.
    """
    by_worker: dict[tuple[str, str], list[Row[Any]]] = {}
    for row in lost:
        by_worker.setdefault((row.worker, row.incarnation), []).append(row)
    found: list[tuple[Row[Any], float]] = []
    for rows in by_worker.values():
        most = max(row.lost for row in rows)
        suspects = [row for row in rows if row.lost == most]
        found += [(row, rank * apart if most else 0.0) for rank, row in enumerate(suspects)]
    return found


def enter_lost_tasks(book: Book, connection: Connection, watch: Watch) -> tuple[list[int], list[Row[Any]]]:
    """Deal with running tasks whose worker is gone or has forgotten them: (tasks that settled, rows to withdraw)."""
    rows: list[Any] = list(connection.execute(_find_running))
    forgotten = {number for number, _ in watch.find_forgotten((row.id, row.attempt) for row in rows)}
    now = book.now()
    lost = [row for row in rows if watch.is_lost(row.worker, row.incarnation, now - row.started_at)]
    gone = [row for row in rows if row.id in forgotten and row not in lost]
    settled = adopt_results(book, connection, [*lost, *gone]) if lost or gone else []
    for row, delay in find_suspects(lost, book.policy.lost_after):
        enter_lost(book.policy, connection, row.id, row.worker, now, delay)
    release_tasks(connection, [row.id for row in lost])  # those that are not suspected
    if gone:
        release_tasks(connection, [row.id for row in gone])
    return settled + [row.id for row in lost], [*lost, *gone]
