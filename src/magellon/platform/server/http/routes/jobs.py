"""Jobs: follow, pause, cancel, try again, change."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query
from pydantic import Field

from magellon.contracts import Record
from magellon.platform.people.caller import Caller
from magellon.platform.people.roles import Role
from magellon.platform.pipeline.recipe import Recipe, change_recipe
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
        return views.list_jobs(connection, paging, visible, session)


@router.get("/{job_id}")
def get_job(job_id: Job, served: Served, caller: Viewer) -> JobDetail:
    """One job, with counts per step."""
    return _read_job(served, job_id)


@router.post("/{job_id}/pause")
async def pause_job(job_id: Job, served: Served, caller: Operator) -> JobDetail:
    """Begin nothing more of it; what is being computed comes to its end."""
    await served.control.pause(job_id)
    return _read_job(served, job_id)


@router.post("/{job_id}/resume")
async def resume_job(job_id: Job, served: Served, caller: Operator) -> JobDetail:
    """Go on with a paused job."""
    await served.control.resume(job_id)
    return _read_job(served, job_id)


@router.post("/{job_id}/cancel")
async def cancel_job(job_id: Job, served: Served, caller: Operator) -> Changed:
    """Cancel all of it that has not ended. A computation at work ends within seconds."""
    return Changed(tasks=await served.control.cancel_job(job_id))


@router.post("/{job_id}/retry-failed")
async def retry_failed_tasks(
    job_id: Job,
    served: Served,
    caller: Operator,
    cancelled: Annotated[bool, Query(description="Also what was cancelled.")] = False,
) -> Changed:
    """Try again all of its tasks that failed."""
    return Changed(tasks=await served.control.retry_failed(job_id, cancelled))


@router.post("/{job_id}/priority")
async def set_job_priority(job_id: Job, new: NewPriority, served: Served, caller: Operator) -> JobDetail:
    """Whose tasks come first."""
    await served.control.set_priority(job_id, new.priority)
    return _read_job(served, job_id)


@router.post("/{job_id}/recipe")
async def change_job_recipe(job_id: Job, change: RecipeChange, served: Served, caller: Operator) -> Changed:
    """Change parameters, backends or thresholds: only what depends on them becomes outdated and is made again."""
    recipe = change.recipe or Recipe.model_validate(_read_job(served, job_id).recipe)
    recipe = change_recipe(recipe, change.settings)
    await check_recipe_paths(served, recipe)
    return Changed(tasks=await served.control.change_parameters(job_id, recipe))


def _read_job(served: Services, job_id: int) -> JobDetail:
    with served.book.ledger.reading() as connection:
        return views.get_job(connection, job_id)
