"""The web application: every route under /api/v1, described at /openapi.json."""

from importlib.metadata import version
from typing import Any

from fastapi import Depends, FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute

from magellon.platform.people.roles import Role
from magellon.platform.server.http.problems import PROBLEMS, Problem, add_problem_handlers
from magellon.platform.server.http.protection import ProtectionSettings, protect
from magellon.platform.server.http.routes import (
    artefacts,
    backends,
    events,
    health,
    jobs,
    live,
    login,
    micrographs,
    monitoring,
    people,
    plugins,
    sessions,
    tasks,
    tiles,
)
from magellon.platform.server.http.security import require
from magellon.platform.server.http.services import Services

PREFIX = "/api/v1"
DESCRIPTION = """Sessions, jobs, tasks and results of Magellon.

Lists come in pages: give `next` of one page as `cursor` for the next. Errors are problem details (RFC 9457). Every request but
`health` carries a token: `Authorization: Bearer TOKEN`."""
_ROUTERS = (
    *(health, sessions, live, jobs, tasks, micrographs, tiles, artefacts, backends, plugins, events, monitoring),
    *(login, people),
)


def create_app(services: Services, settings: ProtectionSettings | None = None) -> FastAPI:
    """The application over these services, with its protection around it."""
    app = FastAPI(
        title="Magellon",
        version=version("magellon"),
        description=DESCRIPTION,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        generate_unique_id_function=name_operation,
        responses=PROBLEMS,
    )
    app.state.services = services
    for module in _ROUTERS:
        app.include_router(module.router, prefix=PREFIX)
    app.include_router(login.pages)
    add_problem_handlers(app)
    _add_description(app)
    protect(app, settings or ProtectionSettings())
    return app


def name_operation(route: APIRoute) -> str:
    """The name of the function: stable, and what generated clients call it."""
    return route.name


def describe_app(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI document."""
    if app.openapi_schema is None:
        document = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
        schemas = document.setdefault("components", {}).setdefault("schemas", {})
        schema = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
        schemas.update(schema.pop("$defs", {}))
        schemas["Problem"] = schema
        for path in document["paths"].values():
            for operation in path.values():
                operation["responses"].pop("422", None)  # a problem like any other
        for unused in ("HTTPValidationError", "ValidationError"):
            schemas.pop(unused, None)
        app.openapi_schema = document
    return app.openapi_schema


def _add_description(app: FastAPI) -> None:
    @app.get("/openapi.json", include_in_schema=False, dependencies=[Depends(require(Role.VIEWER))])
    def get_openapi_document() -> dict[str, Any]:
        return describe_app(app)
