"""Sessions: what was imported, and where on the grid."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, status
from pydantic import Field

from magellon.contracts import Record
from magellon.platform.people.caller import Caller
from magellon.platform.people.roles import Role
from magellon.platform.pipeline.recipe import Recipe, change_recipe, read_recipe
from magellon.platform.server.http.acts import note_act
from magellon.platform.server.http.confinement import check_submission_paths
from magellon.platform.server.http.paging import Page, Pages
from magellon.platform.server.http.security import require, visible_session, visible_sessions
from magellon.platform.server.http.services import Served
from magellon.platform.server.http.views import sessions as views
from magellon.platform.server.http.views.jobs import JobDetail, get_job
from magellon.platform.server.http.views.sessions import (
    PlaceKind,
    PlaceView,
    SessionDetail,
    SessionView,
)
from magellon.platform.server.submitting import Submission
from magellon.platform.sessions.definition import Acquisition
from magellon.platform.sessions.watch_settings import WatchSettings

router = APIRouter(prefix="/sessions", tags=["sessions"])

Visible = Annotated[frozenset[int] | None, Depends(visible_sessions)]
Viewer = Annotated[Caller, Depends(require(Role.VIEWER))]
Operator = Annotated[Caller, Depends(require(Role.OPERATOR))]
Session = Annotated[int, Depends(visible_session)]


class NewSession(Record):
    """A session's folder to be processed; given again, with movies that came since."""

    folder: str = Field(min_length=1, max_length=4000, pattern=r"^/[^\x00]*$", examples=["/data/krios1/grid7"])
    recipe: Recipe | None = Field(None, description="Steps and parameters; left out, the default recipe.")
    settings: tuple[Annotated[str, Field(max_length=4000)], ...] = Field(
        (),
        max_length=200,
        description="`step.param=value`, applied to the recipe.",
        examples=[["particle_picking.diameter=180"]],
    )
    acquisition: Acquisition | None = Field(None, description="What the folder's own metadata leave out or have wrong.")
    live: bool = Field(False, description="Watch the folder while it grows.")
    watch: WatchSettings = Field(WatchSettings(), description="How, when live.")


@router.get("")
def list_sessions(
    served: Served,
    caller: Viewer,
    visible: Visible,
    paging: Pages,
    name: Annotated[str | None, Query(max_length=200, pattern=r"^[^\x00]*$", description="Part of the name.")] = None,
) -> Page[SessionView]:
    """Sessions in the order they were imported."""
    with served.book.ledger.reading() as connection:
        return views.list_sessions(connection, paging, visible, name)


@router.post("", status_code=status.HTTP_201_CREATED)
async def create_session(new: NewSession, served: Served, caller: Operator) -> JobDetail:
    """Import a folder and process it: answers with its job. Repeated, it adds what is new and repeats nothing.

    Every movie's header is read before this answers, which takes a while for thousands of movies.
    """
    recipe = change_recipe(new.recipe or read_recipe(), new.settings)
    values: dict[str, Any] = {"folder": new.folder, "recipe": recipe, "acquisition": new.acquisition, "alone": False}
    if new.live:
        values |= {"live": True, "watch": new.watch}
    submission = Submission(**values)
    await check_submission_paths(served, submission)
    job = await served.entrance.enter_submission(submission)
    note_act(served, caller, "submit session", new.folder, {"job": job})
    with served.book.ledger.reading() as connection:
        return get_job(connection, job, served.counter)


@router.get("/{session_id}")
def get_session(session_id: Session, served: Served, caller: Viewer) -> SessionDetail:
    """One session."""
    with served.book.ledger.reading() as connection:
        return views.get_session(connection, session_id)


@router.get("/{session_id}/places")
def list_places(
    session_id: Session,
    served: Served,
    caller: Viewer,
    paging: Pages,
    kind: PlaceKind | None = None,
    parent: Annotated[int | None, Query(ge=1, le=2**31 - 1, description="Id of the place they lie in.")] = None,
) -> Page[PlaceView]:
    """The session's hierarchy: atlas > square > hole > exposure."""
    with served.book.ledger.reading() as connection:
        return views.list_places(connection, session_id, paging, kind, parent)
