"""Micrographs at full resolution, tile by tile. Workers make the tiles; this serves them."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import FileResponse, JSONResponse
from pydantic import Field
from sqlalchemy import select

from magellon.contracts import Record
from magellon.contracts.preview import PreviewOutput
from magellon.errors import BadInput, NotThere
from magellon.platform.people.caller import Caller
from magellon.platform.people.roles import Role
from magellon.platform.server.http.files import send_file
from magellon.platform.server.http.routes.micrographs import Micrograph
from magellon.platform.server.http.security import require
from magellon.platform.server.http.services import Served, Services
from magellon.platform.server.previews import Preview, find_preview
from magellon.platform.store.schema import results

router = APIRouter(prefix="/micrographs/{micrograph_id}/tiles", tags=["micrographs"])

Viewer = Annotated[Caller, Depends(require(Role.VIEWER))]
Place = Annotated[int, Path(ge=0, le=100_000)]


class Pyramid(Record):
    """How a micrograph is cut."""

    width: int
    height: int
    tile_size: int = Field(examples=[512])
    levels: int = Field(description="The last one is the whole micrograph; each before it has half the pixels a side.")
    percentiles: tuple[float, float] = Field(description="Of each level, shown as black and white.")


class Waiting(Record):
    """The tiles are being made: ask again."""

    task: int = Field(description="What makes them.")
    state: str = Field(examples=["pending"])


_WAITS: dict[int | str, dict[str, Any]] = {202: {"model": Waiting, "description": "They are being made: ask again"}}


@router.get("", response_model=Pyramid, responses=_WAITS)
async def get_pyramid(micrograph_id: Micrograph, served: Served, caller: Viewer) -> Pyramid | Response:
    """How the tiles lie. If there are none yet they are made, before anything else that waits."""
    found = await _find_or_request(served, micrograph_id)
    if found.state != "completed":
        return _answer_waiting(found)
    output = await run_in_threadpool(_read_output, served, found)
    return Pyramid.model_validate(output.model_dump(exclude={"tiles"}))


@router.get("/{level}/{x}/{y}", response_class=FileResponse, responses=_WAITS)
async def get_tile(
    micrograph_id: Micrograph, level: Place, x: Place, y: Place, request: Request, served: Served, caller: Viewer
) -> Response:
    """One tile as JPEG: x to the right, y down, from 0."""
    found = await _find_or_request(served, micrograph_id)
    if found.state != "completed":
        return _answer_waiting(found)
    return await run_in_threadpool(_send_tile, served, found, (level, x, y))


async def _find_or_request(served: Services, micrograph_id: int) -> Preview:
    found = await run_in_threadpool(_find, served, micrograph_id)
    if found.state == "failed":
        raise BadInput(f"its tiles cannot be made: {found.reason} (task {found.task})")
    if found.state not in ("pending", "running", "completed"):
        if served.previews is None:
            raise NotThere("this server makes no tiles")
        await served.previews.request(micrograph_id)
        found = await run_in_threadpool(_find, served, micrograph_id)
    return found


def _find(served: Services, micrograph_id: int) -> Preview:
    with served.book.ledger.reading() as connection:
        return find_preview(connection, micrograph_id)


def _answer_waiting(found: Preview) -> Response:
    waiting = Waiting(task=found.task or 0, state=found.state)
    return JSONResponse(waiting.model_dump(), 202, {"Retry-After": "1", "Cache-Control": "no-store"})


def _read_output(served: Services, found: Preview) -> PreviewOutput:
    with served.book.ledger.reading() as connection:
        output = connection.execute(select(results.c.output).where(results.c.identity == found.identity)).scalar_one()
    return PreviewOutput.model_validate(output)


def _send_tile(served: Services, found: Preview, tile: tuple[int, int, int]) -> FileResponse:
    output = _read_output(served, found)
    folder = served.book.store.path(found.identity or "") / output.tiles
    level, x, y = tile
    return send_file(folder / str(level) / f"{x}_{y}.jpg", folder, f'"{(found.identity or "")[:32]}-{level}-{x}-{y}"')
