"""Results made elsewhere: maps, FSC curves, STAR files of other programs, attached to a session where they lie."""

import time
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Depends, status
from fastapi.responses import FileResponse
from pydantic import Field
from sqlalchemy import Row, select

from magellon.contracts import Record
from magellon.errors import BadInput, NotThere
from magellon.platform.people.audit import record_act
from magellon.platform.people.caller import Caller
from magellon.platform.people.roles import Role
from magellon.platform.server.http.files import name_type, send_file
from magellon.platform.server.http.paging import Page, Pages, make_page, read_cursor
from magellon.platform.server.http.security import require, visible_artefact, visible_session
from magellon.platform.server.http.services import Served
from magellon.platform.store.schema import artefacts

router = APIRouter(tags=["artefacts"])

Viewer = Annotated[Caller, Depends(require(Role.VIEWER))]
Operator = Annotated[Caller, Depends(require(Role.OPERATOR))]
Session = Annotated[int, Depends(visible_session)]
Artefact = Annotated[int, Depends(visible_artefact)]
_ORDER = "artefacts by id"
_Text = Annotated[str, Field(max_length=2000, pattern=r"^[^\x00]*$")]


class ArtefactKind(StrEnum):
    MAP = "map"
    FSC = "fsc"
    STAR = "star"


_SUFFIXES = {
    ArtefactKind.MAP: (".mrc", ".map", ".ccp4", ".mrc.gz", ".map.gz"),
    ArtefactKind.FSC: (".star", ".xml", ".txt", ".csv", ".json"),
    ArtefactKind.STAR: (".star",),
}


class NewArtefact(Record):
    """A file to attach. It is not copied."""

    kind: ArtefactKind
    name: Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00/]*$", examples=["refine3d, 2.9 Å"])]
    path: str = Field(min_length=1, max_length=4000, pattern=r"^/[^\x00]*$", examples=["/data/krios1/relion/run_class001.mrc"])
    detail: dict[Annotated[str, Field(max_length=100, pattern=r"^[^\x00]*$")], float | bool | _Text | None] = Field(
        {},
        max_length=100,
        description="Worth keeping: resolution, program, symmetry.",
        examples=[{"resolution": 2.9}],
    )


class ArtefactView(Record):
    """A result made elsewhere."""

    id: int
    session: int
    kind: ArtefactKind
    name: str
    file: str = Field(description="Its file name.")
    type: str = Field(examples=["application/octet-stream"])
    size: int | None = Field(description="Bytes; null when the file is not there any more.")
    detail: dict[str, Any]
    created_at: float
    created_by: str


@router.get("/sessions/{session_id}/artefacts")
def list_artefacts(session_id: Session, served: Served, caller: Viewer, paging: Pages) -> Page[ArtefactView]:
    """Results made elsewhere, in the order they were attached."""
    query = select(artefacts).where(artefacts.c.session_id == session_id).order_by(artefacts.c.id).limit(paging.limit + 1)
    position = read_cursor(_ORDER, paging.cursor, [int])
    if position:
        query = query.where(artefacts.c.id > position[0])
    with served.book.ledger.reading() as connection:
        rows = connection.execute(query).all()
    return make_page(_ORDER, [_describe(row) for row in rows], paging.limit, lambda each: (each.id,))


@router.post("/sessions/{session_id}/artefacts", status_code=status.HTTP_201_CREATED)
async def attach_artefact(session_id: Session, new: NewArtefact, served: Served, caller: Operator) -> ArtefactView:
    """Attach a file that lies in one of the folders this server may read. The same name again replaces it."""
    path = served.confine(new.path)
    if not path.is_file():
        raise BadInput(f"{new.path} is not a file")
    if not path.name.lower().endswith(_SUFFIXES[new.kind]):
        raise BadInput(f"{path.name}: a {new.kind} is one of {', '.join(_SUFFIXES[new.kind])}")
    values: dict[str, Any] = {
        "kind": new.kind.value, "path": str(path), "detail": new.detail, "created_at": time.time(), "created_by": caller.name,
    }  # fmt: skip
    here = (artefacts.c.session_id == session_id) & (artefacts.c.name == new.name)
    with served.book.ledger.transaction() as connection:
        if connection.execute(artefacts.update().where(here).values(**values)).rowcount == 0:
            connection.execute(artefacts.insert().values(session_id=session_id, name=new.name, **values))
        row = connection.execute(select(artefacts).where(here)).one()
        record_act(connection, values["created_at"], caller.name, "attach artefact", f"session {session_id}: {new.name}")
    return _describe(row)


@router.get("/artefacts/{artefact_id}")
def get_artefact(artefact_id: Artefact, served: Served, caller: Viewer) -> ArtefactView:
    """One of them."""
    return _describe(_find(served, artefact_id))


@router.get("/artefacts/{artefact_id}/file", response_class=FileResponse)
def get_artefact_file(artefact_id: Artefact, served: Served, caller: Viewer) -> FileResponse:
    """Its file, if it still lies in one of the folders this server may read."""
    try:
        path = served.confine(_find(served, artefact_id).path)
    except BadInput as error:
        raise NotThere("the file is not there any more") from error
    return send_file(path, path.parent)


def _find(served: Served, artefact_id: int) -> Row[Any]:
    with served.book.ledger.reading() as connection:
        return connection.execute(select(artefacts).where(artefacts.c.id == artefact_id)).one()


def _describe(row: Row[Any]) -> ArtefactView:
    path = Path(row.path)
    try:
        size = path.stat().st_size
    except OSError:
        size = None
    return ArtefactView(
        id=row.id, session=row.session_id, kind=row.kind, name=row.name, file=path.name, type=name_type(path.name), size=size,
        detail=row.detail, created_at=row.created_at, created_by=row.created_by,
    )  # fmt: skip
