"""What the server keeps at hand while it works on the ledger: plans and session names by job, outputs by identity."""

import time
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Row, Select, bindparam, select

from magellon.platform.pipeline.inputs import root_output
from magellon.platform.pipeline.plan import Plan
from magellon.platform.server.policy import Policy
from magellon.platform.sessions.confining import EVERYWHERE, OpenFolders
from magellon.platform.store.home import Home
from magellon.platform.store.ledger import Ledger
from magellon.platform.store.results import ResultStore
from magellon.platform.store.roots import HOME_ROOT, Root, Roots
from magellon.platform.store.schema import items, jobs, results, roots, sessions

_OUTPUTS_AT_HAND = 10000
_IN_ONE_QUERY = 500
_find_outputs = select(results.c.identity, results.c.output).where(
    results.c.identity.in_(bindparam("identities", expanding=True))
)
_find_items: Select[Any] = select(items.c.id, items.c.name, items.c.movie, items.c.identity).where(
    items.c.id.in_(bindparam("numbers", expanding=True))
)


@dataclass(frozen=True)
class JobFacts:
    """What never changes while a plan is in force."""

    id: int
    plan: Plan
    session: str
    live: bool = False
    """Whether movies still come."""


@dataclass
class Book:
    """The ledger with what is asked of it over and over."""

    ledger: Ledger
    home: Home
    policy: Policy
    store: ResultStore
    open_folders: OpenFolders = EVERYWHERE
    """Where the files of sessions may lie."""
    late_gathers: set[int] = field(default_factory=set)
    """Jobs of live sessions whose gathers were put off."""
    _gathered: dict[int, float] = field(default_factory=dict)
    loosened: set[int] = field(default_factory=set)
    """Jobs whose session may hold links to what is no longer wanted, or lack some: looked through when they are settled."""
    _jobs: dict[int, JobFacts] = field(default_factory=dict)
    _outputs: "OrderedDict[str, dict[str, Any]]" = field(default_factory=OrderedDict)
    _rooted: "OrderedDict[str, dict[str, Any]]" = field(default_factory=OrderedDict)

    def job(self, connection: Connection, job_id: int) -> JobFacts:
        if job_id not in self._jobs:
            query = select(jobs.c.plan, sessions.c.name, sessions.c.live).join(sessions).where(jobs.c.id == job_id)
            row = connection.execute(query).one()
            self._jobs[job_id] = JobFacts(job_id, Plan.model_validate(row.plan), row.name, row.live is not None)
        return self._jobs[job_id]

    def forget_job(self, job_id: int) -> None:
        """Its plan is about to change."""
        self._jobs.pop(job_id, None)

    def forget_jobs(self) -> None:
        self._jobs.clear()

    @contextmanager
    def changing(self, job_id: int) -> Iterator[None]:
        """Around a transaction that gives a job another plan: whether it succeeds or not, the plan is read anew."""
        self.forget_job(job_id)
        try:
            yield
        except BaseException:
            self.forget_job(job_id)
            raise

    def put_off_gathers(self, job_id: int, pause: float) -> bool:
        """Whether less than this pause has passed since the gathers of a live session were looked at; then ask again later."""
        now = time.monotonic()
        early = now - self._gathered.get(job_id, -pause) < pause
        if early:
            self.late_gathers.add(job_id)
        else:
            self._gathered[job_id] = now
            self.late_gathers.discard(job_id)
        return early

    @staticmethod
    def now() -> float:
        """Seconds since 1970, by a clock that a person may set."""
        return time.time()

    def keep_output(self, identity: str, output: dict[str, Any]) -> None:
        self._outputs[identity] = output
        while len(self._outputs) > _OUTPUTS_AT_HAND:
            self._outputs.popitem(last=False)

    def root_output(self, category: str, identity: str) -> Mapping[str, Any]:
        """A finished output that has been fetched, its paths rooted in the home."""
        if identity not in self._rooted:
            self._rooted[identity] = root_output(category, identity, self._outputs[identity])
            while len(self._rooted) > _OUTPUTS_AT_HAND:
                self._rooted.popitem(last=False)
        return self._rooted[identity]

    def fetch_outputs(self, connection: Connection, identities: Iterable[str]) -> dict[str, dict[str, Any]]:
        """Outputs of finished computations, paths relative to their folders; those that are not finished are left out."""
        wanted = set(identities)
        missing = [identity for identity in wanted if identity not in self._outputs]
        found = {identity: self._outputs[identity] for identity in wanted if identity in self._outputs}
        for part in split(missing):
            for row in connection.execute(_find_outputs, {"identities": part}):
                found[row.identity] = row.output
                self.keep_output(row.identity, row.output)
        return found

    def fetch_items(self, connection: Connection, ids: Iterable[int]) -> dict[int, Row[Any]]:
        rows = {}
        for part in split(sorted(set(ids))):
            rows.update({row.id: row for row in connection.execute(_find_items, {"numbers": part})})
        return rows

    def list_roots(self, connection: Connection) -> list[Root]:
        return [Root.model_validate(row.description) for row in connection.execute(select(roots).order_by(roots.c.name))]

    def map_roots(self, connection: Connection) -> Roots:
        """The roots as this machine sees them."""
        return Roots({HOME_ROOT: self.home.root, **{root.name: Path(root.path) for root in self.list_roots(connection)}})


def split(values: list[Any]) -> Iterable[list[Any]]:
    """Parts small enough for one query."""
    return (values[start : start + _IN_ONE_QUERY] for start in range(0, len(values), _IN_ONE_QUERY))
