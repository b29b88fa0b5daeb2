"""What the routes work with."""

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Protocol

from fastapi import Depends, Request

from magellon.platform.people.directory import People
from magellon.platform.pipeline.recipe import Recipe
from magellon.platform.server.book import Book
from magellon.platform.server.http.views.jobs import StepCounter
from magellon.platform.server.plugins import Plugins
from magellon.platform.server.submitting import Submission
from magellon.platform.store.roots import confine_path


class Controls(Protocol):
    """What changes jobs: `magellon.platform.server.control.Control`."""

    async def retry_task(self, task: int) -> None: ...
    async def retry_failed(self, job: int, cancelled: bool = False) -> int: ...
    async def cancel_task(self, task: int) -> None: ...
    async def cancel_job(self, job: int) -> int: ...
    async def pause(self, job: int) -> None: ...
    async def resume(self, job: int) -> None: ...
    async def set_priority(self, job: int, priority: int) -> None: ...
    async def change_parameters(self, job: int, recipe: Recipe) -> int: ...


class Entrance(Protocol):
    """Takes sessions in: `magellon.platform.server.requests.Reception`."""

    async def enter_submission(self, submission: Submission) -> int: ...


class Previews(Protocol):
    """Has pictures of whole micrographs made: `magellon.platform.server.previews.Previewer`."""

    async def request(self, micrograph: int) -> None: ...


class Follows(Protocol):
    """What happens, as it happens: `magellon.platform.server.http.feed.Feed`."""


@dataclass(frozen=True)
class Services:
    """Everything behind the routes; tests put their own in."""

    book: Book
    control: Controls
    entrance: Entrance
    people: People
    feed: Any
    previews: Previews | None = None
    dispatcher: Any = None
    watching: Any = None
    plugins: Plugins | None = None
    data: tuple[Path, ...] = field(default=(Path("/"),))
    """Folders in which sessions, recipes' files and artefacts may lie."""

    @cached_property
    def counter(self) -> StepCounter:
        return StepCounter(self.book.ledger.reading)

    def confine(self, path: str | Path) -> Path:
        """The real path of a file or folder that a request names, if it lies in the open folders and not in our own state.

        Raises:
            BadInput: it does not, is not there, or is no path.
        """
        return confine_path(path, self.data, (self.book.home.state,))


def find_services(request: Request) -> Services:
    services: Services = request.app.state.services
    return services


Served = Annotated[Services, Depends(find_services)]
