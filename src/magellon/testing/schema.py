"""Are the parameters fit to become a form, command line flags and a reference page?"""

from typing import Any

from magellon.contracts import Backend
from magellon.contracts.backend import Params
from magellon.testing.faults import BackendFault


def check_params(backend: type[Backend[Any, Any, Any]]) -> None:
    """Demand of each parameter a default and a description, and that the defaults are valid and survive JSON.

    Raises:
        BackendFault: the first parameter that breaks a rule.
    """
    model = backend.Params
    if not (isinstance(model, type) and issubclass(model, Params)):
        raise BackendFault(f"{backend.__name__}.Params must be a subclass of magellon.contracts.Params, not {model!r}")
    schema = model.model_json_schema()
    required = schema.get("required", [])
    if required:
        raise BackendFault(f"{backend.__name__}: parameter {required[0]!r} has no default; a backend must run as it is")
    for name, properties in schema.get("properties", {}).items():
        if not str(properties.get("description", "")).strip():
            raise BackendFault(f"{backend.__name__}: parameter {name!r} has no description; write a docstring below the field")
    defaults = model()
    again = model.model_validate_json(defaults.model_dump_json())
    if again != defaults:
        raise BackendFault(f"{backend.__name__}: the defaults change on their way through JSON: {defaults!r} became {again!r}")
