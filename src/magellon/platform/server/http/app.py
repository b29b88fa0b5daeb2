"""The web application: every route under /api/v1, described at /openapi.json."""

from importlib.metadata import version
from typing import Any

from fastapi import APIRouter, Depends, FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute

from magellon.platform.people.roles import Role
from magellon.platform.server.http.problems import PROBLEMS, Problem, add_problem_handlers
from magellon.platform.server.http.routes import artefacts, backends, events, health, jobs, micrographs, sessions, tasks, tiles
from magellon.platform.server.http.security import require
from magellon.platform.server.http.services import Services

PREFIX = "/api/v1"
DESCRIPTION = """Sessions, jobs, tasks and results of Magellon.

Lists come in pages: give `next` of one page as `cursor` for the next. Errors are problem details (RFC 9457). Every request but
`health` carries a token: `Authorization: Bearer TOKEN`."""
_ROUTERS = (health, sessions, jobs, tasks, micrographs, tiles, artefacts, backends, events)


def create_app(services: Services, routers: tuple[APIRouter, ...] = ()) -> FastAPI:
    """The application over these services; `routers` are added to its own."""
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
    for router in (*(module.router for module in _ROUTERS), *routers):
        app.include_router(router, prefix=PREFIX)
    add_problem_handlers(app)
    _add_description(app)
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
