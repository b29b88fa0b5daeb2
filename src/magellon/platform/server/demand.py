"""How much there is to do, for whoever decides how many workers there should be."""

from sqlalchemy import Connection, func, select

from magellon.contracts import Record
from magellon.platform.store.schema import jobs, tasks


class Demand(Record):
    """Tasks of one backend that can be computed now."""

    backend: str
    """`category/name`."""
    pending: int = 0
    running: int = 0


def count_demand(connection: Connection) -> list[Demand]:
    """By backend; tasks that wait for earlier steps, or belong to paused jobs, are nobody's work yet."""
    query = (
        select(tasks.c.category, tasks.c.backend, tasks.c.state, func.count().label("number"))
        .join(jobs, jobs.c.id == tasks.c.job_id)
        .where(tasks.c.state.in_(("pending", "running")), jobs.c.active)
        .where(jobs.c.paused.is_(False) | (tasks.c.state == "running"))
        .group_by(tasks.c.category, tasks.c.backend, tasks.c.state)
    )
    found: dict[str, dict[str, int]] = {}
    for row in connection.execute(query):
        found.setdefault(f"{row.category}/{row.backend}", {})[row.state] = row.number
    return [Demand(backend=backend, **counts) for backend, counts in sorted(found.items())]
