"""Sessions and the places on their grids."""

from typing import Any, Literal

from pydantic import Field
from sqlalchemy import Connection, Select, func, select

from magellon.errors import NotThere
from magellon.platform.pipeline.plan import MOVIE
from magellon.platform.server.http.paging import Page, Paging, make_page, read_cursor
from magellon.platform.server.http.views.view import View
from magellon.platform.store.schema import items, jobs, places, sessions

_SESSIONS, _PLACES = "sessions by id", "places by id"


class SessionView(View):
    """A session: movies taken together."""

    id: int = Field(examples=[1])
    name: str = Field(examples=["grid7"])
    folder: str = Field(examples=["/data/krios1/grid7"])
    movies: int = Field(examples=[1204])
    job: int | None = Field(examples=[1])
    """The job that processes it."""


class SessionDetail(SessionView):
    """With how it was taken."""

    definition: dict[str, Any]
    """Pixel size, voltage, exposure, gain: what `session.json` or the microscope's metadata say."""
    problems: int
    """Movies that cannot be processed."""
    folder_problems: tuple[str, ...] = Field(examples=[["the movies are stored without the gain applied, ..."]])
    """What was wrong with the folder, its metadata, gain and defects when they were read; all else was imported."""


class PlaceView(View):
    """Where on the grid."""

    id: int
    parent: int | None
    kind: str = Field(examples=["square"])
    """atlas, square, hole or exposure."""
    name: str
    detail: dict[str, Any]
    """Stage position, magnification, image."""


def _select_sessions() -> Select[Any]:
    movies = select(func.count()).where(items.c.session_id == sessions.c.id, items.c.kind == MOVIE).scalar_subquery()
    job = select(func.max(jobs.c.id)).where(jobs.c.session_id == sessions.c.id).scalar_subquery()
    return select(sessions, movies.label("movies"), job.label("job"))


def list_sessions(
    connection: Connection, paging: Paging, visible: frozenset[int] | None, name: str | None
) -> Page[SessionView]:
    query = _select_sessions().order_by(sessions.c.id).limit(paging.limit + 1)
    if visible is not None:
        query = query.where(sessions.c.id.in_(visible))
    if name is not None:
        query = query.where(sessions.c.name.contains(name, autoescape=True))
    position = read_cursor(_SESSIONS, paging.cursor, [int])
    if position:
        query = query.where(sessions.c.id > position[0])
    shown = [
        SessionView(id=row.id, name=row.name, folder=row.folder, movies=row.movies, job=row.job)
        for row in connection.execute(query)
    ]
    return make_page(_SESSIONS, shown, paging.limit, lambda session: (session.id,))


def get_session(connection: Connection, session_id: int) -> SessionDetail:
    """Raises NotThere."""
    row = connection.execute(_select_sessions().where(sessions.c.id == session_id)).one_or_none()
    if row is None:
        raise NotThere(f"there is no session {session_id}")
    bad = select(func.count()).where(items.c.session_id == session_id, items.c.kind == MOVIE, items.c.problem.is_not(None))
    return SessionDetail(
        id=row.id, name=row.name, folder=row.folder, movies=row.movies, job=row.job, definition=row.definition,
        problems=connection.execute(bad).scalar_one(), folder_problems=tuple(row.problems or ()),
    )  # fmt: skip


PlaceKind = Literal["atlas", "square", "hole", "exposure"]


def list_places(
    connection: Connection, session_id: int, paging: Paging, kind: PlaceKind | None, parent: int | None
) -> Page[PlaceView]:
    query = select(places).where(places.c.session_id == session_id).order_by(places.c.id).limit(paging.limit + 1)
    if kind is not None:
        query = query.where(places.c.kind == kind)
    if parent is not None:
        query = query.where(places.c.parent_id == parent)
    position = read_cursor(_PLACES, paging.cursor, [int])
    if position:
        query = query.where(places.c.id > position[0])
    shown = [
        PlaceView(id=row.id, parent=row.parent_id, kind=row.kind, name=row.name, detail=row.detail)
        for row in connection.execute(query)
    ]
    return make_page(_PLACES, shown, paging.limit, lambda place: (place.id,))
