"""Descriptions of the installed backends, without importing one."""

import subprocess
import sys

from magellon.contracts.description import Description
from magellon.errors import BadInput


def read_descriptions() -> list[Description]:
    """Every installed backend, by category and name.

    Raises:
        BadInput: they cannot be described at all.
    """
    done = subprocess.run([sys.executable, "-m", "magellon.backends.describe"], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise BadInput(f"the installed backends cannot be described: {done.stderr[-2000:]}")
    return [Description.model_validate_json(line) for line in done.stdout.splitlines()]


PREFERRED = {"particle_picking": "dog"}
"""Which backend runs where only the category is named and there are several."""


def choose_backend(target: str, descriptions: list[Description]) -> Description:
    """The backend that CATEGORY or CATEGORY/BACKEND names.

    Raises:
        BadInput: there is none, or it cannot be used here.
    """
    category, _, name = target.partition("/")
    category = category.replace("-", "_")
    fitting = [each for each in descriptions if each.category == category]
    if not fitting:
        known = ", ".join(sorted({each.category for each in descriptions})) or "none"
        raise BadInput(f"no backend is installed for {category!r}; there are backends for {known}")
    if name:
        named = [each for each in fitting if each.name == name]
        if not named:
            raise BadInput(f"{category} has no backend {name!r}; there are {', '.join(each.name for each in fitting)}")
        chosen = named[0]
    else:
        chosen = next((each for each in fitting if each.name == PREFERRED.get(category)), fitting[0])
    if chosen.error:
        raise BadInput(f"{chosen.key} cannot be used: {chosen.error}")
    return chosen
