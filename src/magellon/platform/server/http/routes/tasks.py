"""Tasks: state, provenance, log, outputs; try again, cancel."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Query, Request, Response
from fastapi.responses import FileResponse
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import select

from magellon.contracts import Record
from magellon.errors import NotThere
from magellon.platform.people.caller import Caller
from magellon.platform.people.roles import Role
from magellon.platform.server.http.acts import note_act
from magellon.platform.server.http.files import FileView, list_result_files, send_result_file
from magellon.platform.server.http.log_tail import follow_log, read_log
from magellon.platform.server.http.paging import LARGEST_PAGE, Page, Paging, send_record
from magellon.platform.server.http.security import require, visible_sessions, visible_task
from magellon.platform.server.http.services import Served, Services
from magellon.platform.server.http.sse import EventStream, read_last_id
from magellon.platform.server.http.states import ShownState
from magellon.platform.server.http.views import tasks as views
from magellon.platform.server.http.views.tasks import TaskDetail, TaskFilter, TaskView
from magellon.platform.store.schema import tasks

router = APIRouter(prefix="/tasks", tags=["tasks"])

Visible = Annotated[frozenset[int] | None, Depends(visible_sessions)]
Viewer = Annotated[Caller, Depends(require(Role.VIEWER))]
Operator = Annotated[Caller, Depends(require(Role.OPERATOR))]
Task = Annotated[int, Depends(visible_task)]


class TaskFiles(Record):
    """Files of a task's result."""

    files: tuple[FileView, ...] = Field(description="Each under `/tasks/{task_id}/files/NAME`.")


class TaskQuery(BaseModel):
    """Which tasks are asked for."""

    model_config = ConfigDict(extra="forbid")

    job: int | None = Field(None, ge=1, le=2**31 - 1)
    session: int | None = Field(None, ge=1, le=2**31 - 1)
    micrograph: int | None = Field(None, ge=1, le=2**31 - 1)
    step: str | None = Field(None, max_length=100, pattern=r"^[^\x00]*$")
    state: list[ShownState] = Field([], max_length=len(ShownState), description="Any of these.")
    limit: int = Field(100, ge=1, le=LARGEST_PAGE, description="Most items of the page.")
    cursor: str | None = Field(None, max_length=2000, description="`next` of the page before, with the same filters.")


@router.get("", response_model=Page[TaskView])
def list_tasks(served: Served, caller: Viewer, visible: Visible, query: Annotated[TaskQuery, Query()]) -> Response:
    """Tasks in the order they were made."""
    wanted = TaskFilter(query.job, query.step, tuple(query.state), query.micrograph, query.session)
    with served.book.ledger.reading() as connection:
        return send_record(views.list_tasks(connection, Paging(query.limit, query.cursor), visible, wanted))


@router.get("/{task_id}")
def get_task(task_id: Task, served: Served, caller: Viewer) -> TaskDetail:
    """One task with its provenance: inputs, backend, version, parameters, host, times, outputs."""
    with served.book.ledger.reading() as connection:
        return views.get_task(connection, task_id)


@router.post("/{task_id}/retry")
async def retry_task(task_id: Task, served: Served, caller: Operator) -> TaskDetail:
    """Try a failed or cancelled task again."""
    await served.control.retry_task(task_id)
    note_act(served, caller, "retry task", task_id)
    with served.book.ledger.reading() as connection:
        return views.get_task(connection, task_id)


@router.post("/{task_id}/cancel")
async def cancel_task(task_id: Task, served: Served, caller: Operator) -> TaskDetail:
    """Cancel a task that has not ended."""
    await served.control.cancel_task(task_id)
    note_act(served, caller, "cancel task", task_id)
    with served.book.ledger.reading() as connection:
        return views.get_task(connection, task_id)


@router.get("/{task_id}/log", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
def get_task_log(
    task_id: Task,
    served: Served,
    caller: Viewer,
    offset: Annotated[int, Query(ge=0, le=2**53, description="Bytes to leave out.")] = 0,
    limit: Annotated[int, Query(ge=1, le=16 << 20, description="Most bytes to send.")] = 4 << 20,
) -> Response:
    """What the backend said, as text. The header `Log-Next` holds the offset at which to go on."""
    content = read_log(_find_log(served, task_id), offset, limit)
    headers = {"Log-Next": str(offset + len(content))}
    return Response(content, media_type="text/plain; charset=utf-8", headers=headers)


@router.get("/{task_id}/log/stream", response_class=EventStream)
async def stream_task_log(
    task_id: Task, request: Request, served: Served, caller: Viewer, last_event_id: Annotated[str | None, Header()] = None
) -> EventStream:
    """Log lines as server-sent events, from the first one or where the last one seen ended, until the task has ended."""

    def find_log() -> tuple[Path, bool]:
        with served.book.ledger.reading() as connection:
            row = connection.execute(select(tasks.c.identity, tasks.c.state).where(tasks.c.id == task_id)).one_or_none()
        if row is None or row.identity is None:
            return served.book.store.log_path("none"), row is None
        return _place_log(served, row.identity), row.state not in ("waiting", "pending", "running")

    def events() -> AsyncIterator[bytes]:
        return follow_log(find_log, read_last_id(last_event_id) or 0)

    return EventStream(events())


@router.get("/{task_id}/files")
def list_task_files(task_id: Task, served: Served, caller: Viewer) -> TaskFiles:
    """The files of its result."""
    return TaskFiles(files=list_result_files(served.book.store, _find_identity(served, task_id)))


@router.get("/{task_id}/files/{name:path}", response_class=FileResponse)
def get_task_file(task_id: Task, name: str, served: Served, caller: Viewer) -> FileResponse:
    """One file of its result: picture, STAR, stack or image. Ranges are served."""
    return send_result_file(served.book.store, _find_identity(served, task_id), name)


def _find_identity(served: Services, task_id: int) -> str:
    with served.book.ledger.reading() as connection:
        query = select(tasks.c.identity).where(tasks.c.id == task_id, tasks.c.state == "completed")
        identity: str | None = connection.execute(query).scalar_one_or_none()
    if identity is None:
        raise NotThere(f"task {task_id} has no result")
    return identity


def _place_log(served: Services, identity: str) -> Path:
    return served.book.store.log_path(identity)


def _find_log(served: Services, task_id: int) -> Path:
    with served.book.ledger.reading() as connection:
        identity = connection.execute(select(tasks.c.identity).where(tasks.c.id == task_id)).scalar_one_or_none()
    return _place_log(served, identity or "none")
