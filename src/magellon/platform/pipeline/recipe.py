"""A recipe: what to do with a session, as TOML. It is data; a plan is what validation makes of it.

    [steps.ctf_estimation]
    backend = "ctf"
    params = { box = 512 }

A step is its key; its category is that key unless it says another. A step uses what is listed above it.
"""

import tomllib
from collections.abc import Iterable
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, ValidationError

from magellon.contracts import Record
from magellon.errors import BadInput

FILTER_CATEGORY = "filter"
GAIN_CHECK_CATEGORY = "gain_check"


class StepRecipe(Record):
    """One step."""

    category: str | None = None
    """Left out: the step's key."""
    backend: str | None = None
    """Left out: the category's default."""
    inputs: dict[str, str] = Field(default_factory=dict)
    """Input field > `step.output_field` (or `session.movie`), where the usual wiring is not meant; "" leaves it out."""
    params: dict[str, Any] = Field(default_factory=dict)
    sample: Annotated[int, Field(ge=1)] | None = None
    """Of a step that takes many items at once: only the first so many usable ones, so that steps of single items may use it."""
    at_least: Annotated[int, Field(ge=1)] | None = None
    """Of a step that counts what it takes (particles): with less it is left out."""
    live_at_least: Annotated[int, Field(ge=1)] | None = None
    """And in a growing session it waits for so many."""
    live_again: Annotated[float, Field(ge=1.05)] | None = None
    """It is done again when there are so many times as many as the last time."""


SETTINGS = ("sample", "at_least", "live_at_least", "live_again")
"""What a recipe says of a step as a whole; everything else that is set is a parameter of its backend."""


class Recipe(Record):
    """Steps in the order of work."""

    name: str = ""
    steps: dict[str, StepRecipe]


def read_recipe(path: Path | None = None) -> Recipe:
    """Read a recipe file, one of those that Magellon brings, which go by their name alone, or the default recipe.

    Raises:
        BadInput: unreadable, no TOML, or not a recipe.
    """
    source = _find_recipe(path)
    try:
        content = tomllib.loads(source.read_text(encoding="utf-8"))
        return Recipe.model_validate(content)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise BadInput(f"recipe {source}: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        raise BadInput(f"recipe {source}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from error


def _find_recipe(path: Path | None) -> Traversable:
    ours = files("magellon.platform.pipeline")
    if path is None:
        return ours / "default_recipe.toml"
    named = ours / "recipes" / f"{path.name}.toml"
    return named if path.name == str(path) and not path.exists() and named.is_file() else path


def list_wanted(recipe: Recipe) -> tuple[str, ...]:
    """Backends of interest to a recipe, for `read_catalogue`: `category/name`, or all of a category where none is chosen."""
    steps = {key: step for key, step in recipe.steps.items() if (step.category or key) != FILTER_CATEGORY}
    return tuple(
        f"{step.category or key}/{step.backend}" if step.backend else step.category or key for key, step in steps.items()
    )


def add_gain_check(recipe: Recipe) -> Recipe:
    """With a step before all others that tries how the gain reference lies; as it is where nothing would ask for that."""
    categories = {step.category or key for key, step in recipe.steps.items()}
    if GAIN_CHECK_CATEGORY in categories or "motion_correction" not in categories or GAIN_CHECK_CATEGORY in recipe.steps:
        return recipe
    return recipe.model_copy(update={"steps": {GAIN_CHECK_CATEGORY: StepRecipe(backend="orientation"), **recipe.steps}})


def change_recipe(recipe: Recipe, settings: Iterable[str]) -> Recipe:
    """Apply `step.param=value` settings, values as in TOML; `step.backend=NAME` chooses another backend.

    Raises:
        BadInput: a setting of another form, or for a step the recipe has not.
    """
    steps = dict(recipe.steps)
    for setting in settings:
        target, equals, text = setting.partition("=")
        key, dot, name = target.strip().partition(".")
        if not (equals and dot and name):
            raise BadInput(f"--set {setting}: must be step.param=value")
        if key not in steps:
            raise BadInput(f"--set {setting}: the recipe has no step {key!r} (it has {', '.join(steps)})")
        step, value = steps[key], _read_value(text.strip())
        if name == "backend":
            steps[key] = step.model_copy(update={"backend": str(value)})
        elif name in SETTINGS:
            steps[key] = _set(step, name, value, setting)
        else:
            steps[key] = step.model_copy(update={"params": {**step.params, name: value}})
    return recipe.model_copy(update={"steps": steps})


def _set(step: StepRecipe, name: str, value: Any, setting: str) -> StepRecipe:
    try:
        return StepRecipe.model_validate({**step.model_dump(), name: value})
    except ValidationError as error:
        raise BadInput(f"--set {setting}: {error.errors()[0]['msg']}") from error


def _read_value(text: str) -> Any:
    """As TOML where it is TOML, otherwise as plain text: quotes are a nuisance on a command line."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return None if text in ("none", "") else text
