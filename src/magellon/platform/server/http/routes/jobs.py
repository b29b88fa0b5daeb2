"""Jobs: follow, pause, cancel, try again, change."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query
from fastapi.concurrency import run_in_threadpool
from pydantic import Field

from magellon.contracts import Record
from magellon.errors import BadInput
from magellon.platform.people.caller import Caller
from magellon.platform.people.roles import Role
from magellon.platform.pipeline.recipe import Recipe, change_recipe
from magellon.platform.server.http.acts import note_act
from magellon.platform.server.http.confinement import check_recipe_paths
from magellon.platform.server.http.paging import Page, Pages
from magellon.platform.server.http.security import require, visible_job, visible_sessions
from magellon.platform.server.http.services import Served, Services
from magellon.platform.server.http.views import jobs as views
from magellon.platform.server.http.views.jobs import JobDetail, JobView

router = APIRouter(prefix="/jobs", tags=["jobs"])

Visible = Annotated[frozenset[int] | None, Depends(visible_sessions)]
Viewer = Annotated[Caller, Depends(require(Role.VIEWER))]
Operator = Annotated[Caller, Depends(require(Role.OPERATOR))]
Job = Annotated[int, Depends(visible_job)]


class Changed(Record):
    """How many tasks a request changed."""

    tasks: int = Field(examples=[12])


class NewPriority(Record):
    priority: int = Field(ge=-1000, le=1000, description="Higher comes first; live sessions have 1.")


class RecipeChange(Record):
    """A whole recipe, or settings applied to the one in force."""

    recipe: Recipe | None = None
    settings: tuple[Annotated[str, Field(max_length=4000)], ...] = Field(
        (), max_length=200, description="`step.param=value`; `filter.max_resolution=8` moves a threshold."
    )


@router.get("")
def list_jobs(
    served: Served,
    caller: Viewer,
    visible: Visible,
    paging: Pages,
    session: Annotated[int | None, Query(ge=1, le=2**31 - 1)] = None,
) -> Page[JobView]:
    """Jobs in the order they were made."""
    with served.book.ledger.reading() as connection:
        return views.list_jobs(connection, paging, visible, session, served.counter)


@router.get("/{job_id}")
def get_job(job_id: Job, served: Served, caller: Viewer) -> JobDetail:
    """One job, with counts per step."""
    return _read_job(served, job_id)


@router.post("/{job_id}/pause")
async def pause_job(job_id: Job, served: Served, caller: Operator) -> JobDetail:
    """Begin nothing more of it; what is being computed comes to its end."""
    await served.control.pause(job_id)
    note_act(served, caller, "pause job", job_id)
    return await run_in_threadpool(_read_job, served, job_id)


@router.post("/{job_id}/resume")
async def resume_job(job_id: Job, served: Served, caller: Operator) -> JobDetail:
    """Go on with a paused job."""
    await served.control.resume(job_id)
    note_act(served, caller, "resume job", job_id)
    return _read_job(served, job_id)


@router.post("/{job_id}/cancel")
async def cancel_job(job_id: Job, served: Served, caller: Operator) -> Changed:
    """Cancel all of it that has not ended. A computation at work ends within seconds."""
    number = await served.control.cancel_job(job_id)
    note_act(served, caller, "cancel job", job_id, {"tasks": number})
    return Changed(tasks=number)


@router.post("/{job_id}/retry-failed")
async def retry_failed_tasks(
    job_id: Job,
    served: Served,
    caller: Operator,
    cancelled: Annotated[bool, Query(description="Also what was cancelled.")] = False,
) -> Changed:
    """Try again all of its tasks that failed."""
    number = await served.control.retry_failed(job_id, cancelled)
    note_act(served, caller, "retry failed tasks", job_id, {"tasks": number})
    return Changed(tasks=number)


@router.post("/{job_id}/priority")
async def set_job_priority(job_id: Job, new: NewPriority, served: Served, caller: Operator) -> JobDetail:
    """Whose tasks come first."""
    await served.control.set_priority(job_id, new.priority)
    note_act(served, caller, "set priority", job_id, {"priority": new.priority})
    return _read_job(served, job_id)


@router.post("/{job_id}/recipe")
async def change_job_recipe(job_id: Job, change: RecipeChange, served: Served, caller: Operator) -> Changed:
    """Change parameters, backends or thresholds: only what depends on them becomes outdated and is made again."""
    recipe = change.recipe
    if recipe is None:
        known = (await run_in_threadpool(_read_job, served, job_id)).recipe
        if known is None:
            raise BadInput(f"job {job_id} is of an earlier version that kept no recipe: give a whole one")
        recipe = Recipe.model_validate(known)
    recipe = change_recipe(recipe, change.settings)
    await check_recipe_paths(served, recipe)
    number = await served.control.change_parameters(job_id, recipe)
    note_act(served, caller, "change recipe", job_id, {"settings": "; ".join(change.settings)[:2000], "tasks": number})
    return Changed(tasks=number)


def _read_job(served: Services, job_id: int) -> JobDetail:
    with served.book.ledger.reading() as connection:
        return views.get_job(connection, job_id, served.counter)
