"""What people set of backends: whether one may be used, and which one a category takes where a recipe names none."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from sqlalchemy import Connection, and_, false, func, or_, select, update

from magellon.contracts.description import Description
from magellon.platform.pipeline.advance import OPEN
from magellon.platform.pipeline.plan import Plan
from magellon.platform.pipeline.recipe import FILTER_CATEGORY, Recipe
from magellon.platform.store.schema import jobs, plugins, tasks


@dataclass(frozen=True)
class Setting:
    """Of one backend; what nobody set is enabled and not preferred."""

    enabled: bool = True
    preferred: bool = False


def read_settings(connection: Connection) -> dict[str, Setting]:
    """By `category/name`; backends that nobody set anything of are left out."""
    rows = connection.execute(select(plugins))
    return {f"{row.category}/{row.backend}": Setting(bool(row.enabled), bool(row.preferred)) for row in rows}


def enable_backend(connection: Connection, key: str, enabled: bool) -> None:
    """Allow new recipes to use a backend, or forbid it; jobs that use it already go on. A preferred one is so no longer."""
    _write(connection, key, Setting(enabled, enabled and read_settings(connection).get(key, Setting()).preferred))


def prefer_backend(connection: Connection, key: str) -> None:
    """Make it its category's default, and no other."""
    category = key.partition("/")[0]
    connection.execute(update(plugins).where(plugins.c.category == category).values(preferred=False))
    _write(connection, key, Setting(enabled=True, preferred=True))


def _write(connection: Connection, key: str, setting: Setting) -> None:
    category, _, name = key.partition("/")
    which = (plugins.c.category == category, plugins.c.backend == name)
    values = {"enabled": setting.enabled, "preferred": setting.preferred}
    if connection.execute(select(plugins).where(*which)).first() is None:
        connection.execute(plugins.insert().values(category=category, backend=name, **values))
    else:
        connection.execute(update(plugins).where(*which).values(**values))


def count_open_tasks(connection: Connection, keys: Collection[str]) -> int:
    """Tasks of jobs in work that still need one of these backends."""
    wanted = [and_(tasks.c.category == category, tasks.c.backend == name)
              for category, _, name in (key.partition("/") for key in keys)]  # fmt: skip
    query = (
        select(func.count()).select_from(tasks.join(jobs)).where(tasks.c.state.in_(OPEN), jobs.c.active, or_(false(), *wanted))
    )
    return int(connection.execute(query).scalar_one())


def apply_settings(
    connection: Connection, recipe: Recipe, catalogue: Mapping[str, Description], kept: Collection[str] = ()
) -> tuple[Recipe, dict[str, Description]]:
    """A recipe with the preferred backends written out, and a catalogue that excuses disabled ones.

    `kept`: what the job uses already, and goes on using.
    """
    settings = read_settings(connection)
    preferred = {key.partition("/")[0]: key.partition("/")[2] for key, setting in settings.items() if setting.preferred}
    steps = {}
    for key, step in recipe.steps.items():
        category = step.category or key
        chosen = step.backend or (preferred.get(category) if category != FILTER_CATEGORY else None)
        steps[key] = step if chosen == step.backend else step.model_copy(update={"backend": chosen})
    disabled = {key for key, setting in settings.items() if not setting.enabled} - set(kept)
    excuse = {"error": "it is disabled here; an administrator enables it with `magellon plugin enable`"}
    allowed = {key: each.model_copy(update=excuse) if key in disabled else each for key, each in catalogue.items()}
    return recipe.model_copy(update={"steps": steps}), allowed


def name_backends(recipe: Recipe, plan: Plan) -> Recipe:
    """A recipe that names the backends its plan has chosen, so that a job keeps them whatever comes, goes or is preferred."""
    chosen = {step.key: step.backend for step in plan.steps}
    steps = {
        key: step.model_copy(update={"backend": chosen[key]}) if key in chosen else step for key, step in recipe.steps.items()
    }
    return recipe.model_copy(update={"steps": steps})
