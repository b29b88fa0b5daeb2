"""`python -m magellon.backends.describe [CATEGORY[/NAME] ...]` prints JSON about installed backends, one per line.

The platform runs this instead of importing backends: an import may cost a second, and a plugin in an environment of its own
cannot be imported at all.
"""

import os
import sys
from collections.abc import Sequence
from typing import Any

from magellon.backends.registry import Installed, find_backends, import_backend
from magellon.contracts import Backend
from magellon.contracts.description import Description


def describe_backend(backend: type[Backend[Any, Any, Any]], distribution: str = "") -> Description:
    """A backend in plain data."""
    schema = backend.Params.model_json_schema()
    optional = [name for name, field in backend.Params.model_fields.items() if not field.is_required()]
    values = backend.Params.model_construct().model_dump(mode="json", include=set(optional))
    return Description(
        category=backend.contract.category,
        name=backend.name,
        version=backend.version,
        summary=(backend.__doc__ or "").strip().split("\n")[0],
        parameters=schema,
        defaults=values,
        ignores=backend.ignores,
        distribution=distribution,
        requirements=tuple(getattr(backend, "requirements", ())),
    )


def describe_installed(installed: Installed) -> Description:
    """The same for an entry point; one that cannot be imported says why instead of taking the others down with it."""
    try:
        return describe_backend(import_backend(installed), installed.distribution)
    except Exception as error:  # noqa: BLE001 - other people's packages: the worker's edge
        return Description(
            category=installed.category,
            name=installed.name,
            distribution=installed.distribution,
            error=f"{type(error).__name__}: {error}",
        )


def main(wanted: Sequence[str]) -> None:
    with os.fdopen(os.dup(1), "w") as output:
        os.dup2(2, 1)  # what imported libraries print must not mix with the JSON
        for installed in find_backends():
            if not wanted or {installed.category, f"{installed.category}/{installed.name}"} & set(wanted):
                output.write(describe_installed(installed).model_dump_json() + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
