"""Micrographs: every number about them, and their files."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, HTTPException, Query, Request, Response
from fastapi.responses import FileResponse
from pydantic import BaseModel, ConfigDict, Field, create_model
from sqlalchemy import select

from magellon.contracts import Record
from magellon.platform.people.caller import Caller
from magellon.platform.people.roles import Role
from magellon.platform.server.http.files import find_session_file, send_file
from magellon.platform.server.http.paging import LARGEST_PAGE, Page, Paging, send_record
from magellon.platform.server.http.security import Id, require, visible_session
from magellon.platform.server.http.services import Served, find_services
from magellon.platform.server.http.states import ShownState
from magellon.platform.server.http.views import micrographs as views
from magellon.platform.server.http.views.histograms import MOST_BINS, Histogram, make_histograms
from magellon.platform.server.http.views.micrographs import MicrographFilter, MicrographView
from magellon.platform.server.metrics import METRICS
from magellon.platform.store.schema import items, sessions

router = APIRouter(tags=["micrographs"])

Viewer = Annotated[Caller, Depends(require(Role.VIEWER))]
Session = Annotated[int, Depends(visible_session)]


async def visible_micrograph(request: Request, micrograph_id: Id, caller: Viewer) -> int:
    """The id of a micrograph of a session that the caller may see."""
    services = find_services(request)
    with services.book.ledger.reading() as connection:
        session = connection.execute(select(items.c.session_id).where(items.c.id == micrograph_id)).scalar_one_or_none()
    seen = services.people.list_visible(caller)
    if session is None or (seen is not None and session not in seen):
        raise HTTPException(404, f"no micrograph {micrograph_id}")
    return micrograph_id


Micrograph = Annotated[int, Depends(visible_micrograph)]


class _Wanted(BaseModel):
    """Filters that every micrograph query takes."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    name: str | None = Field(None, max_length=400, pattern=r"^[^\x00]*$", description="Part of the name.")
    place: int | None = Field(None, ge=1, le=2**31 - 1, description="Taken at this place or within it.")
    state: ShownState | None = Field(None, description="A task is in this state.")
    step: str | None = Field(None, max_length=100, pattern=r"^[^\x00]*$", description="That task is of this step.")

    def make_filter(self) -> MicrographFilter:
        limits = {name: (getattr(self, f"{name}_min"), getattr(self, f"{name}_max")) for name in METRICS}
        given = {name: pair for name, pair in limits.items() if pair != (None, None)}
        return MicrographFilter(given, self.name, self.place, self.state, self.step)


def _limits() -> dict[str, Any]:
    """`defocus.min`, `defocus.max` and so on."""
    fields: dict[str, Any] = {}
    for name, (unit, meaning) in METRICS.items():
        for end, word in (("min", "At least"), ("max", "At most")):
            text = f"{word} this {name} ({meaning}{', ' + unit if unit else ''})."
            fields[f"{name}_{end}"] = (float | None, Field(None, alias=f"{name}.{end}", description=text))
    return fields


_Filters: Any = create_model("_Filters", __base__=_Wanted, **_limits())


class _ListQuery(_Filters):
    sort: str = Field("name", max_length=40, description="name or a metric; `-` before it turns the order round.")
    limit: int = Field(100, ge=1, le=LARGEST_PAGE, description="Most items of the page.")
    cursor: str | None = Field(None, max_length=2000, description="`next` of the page before, same filters and sorting.")


class _HistogramQuery(_Filters):
    metric: list[str] = Field([], max_length=len(METRICS), description="Left out: all.")
    bins: int = Field(40, ge=1, le=MOST_BINS)


class Histograms(Record):
    """One for each metric asked for."""

    items: tuple[Histogram, ...]


@router.get("/sessions/{session_id}/micrographs", response_model=Page[MicrographView])
def list_micrographs(session_id: Session, served: Served, caller: Viewer, query: Annotated[_ListQuery, Query()]) -> Response:
    """Micrographs of a session; filters narrow, `sort` orders."""
    with served.book.ledger.reading() as connection:
        paging = Paging(query.limit, query.cursor)
        return send_record(views.list_micrographs(connection, session_id, paging, query.make_filter(), query.sort))


@router.get("/sessions/{session_id}/histograms", response_model=Histograms)
def get_histograms(session_id: Session, served: Served, caller: Viewer, query: Annotated[_HistogramQuery, Query()]) -> Response:
    """How the metrics of a session's micrographs are distributed, with the same filters."""
    unknown = [name for name in query.metric if name not in METRICS]
    if unknown:
        raise HTTPException(422, f"metric = {unknown[0]!r}: must be one of {', '.join(METRICS)}")
    with served.book.ledger.reading() as connection:
        names = query.metric or list(METRICS)
        found = make_histograms(connection, session_id, query.make_filter(), names, query.bins)
    return send_record(Histograms(items=tuple(found)))


@router.get("/micrographs/{micrograph_id}")
def get_micrograph(micrograph_id: Micrograph, served: Served, caller: Viewer) -> MicrographView:
    """One micrograph; the files of each step are at `/tasks/{task}/files`."""
    with served.book.ledger.reading() as connection:
        return views.get_micrograph(connection, micrograph_id)


@router.get("/sessions/{session_id}/files/{name:path}", response_class=FileResponse)
def get_session_file(session_id: Session, name: str, served: Served, caller: Viewer) -> FileResponse:
    """A file as it lies in the session's folder, such as `particles.star` or `ctf_estimation/NAME_ctf.png`."""
    with served.book.ledger.reading() as connection:
        session = connection.execute(select(sessions.c.name).where(sessions.c.id == session_id)).scalar_one()
    return send_file(find_session_file(served.book.home.sessions / session, name), served.book.home.results)
