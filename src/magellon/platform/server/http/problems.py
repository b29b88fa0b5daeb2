"""Errors as RFC 9457 problem details, those of validation included."""

import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import Field
from starlette.exceptions import HTTPException

from magellon.contracts import Record
from magellon.errors import BadInput, NotThere, Transient

log = logging.getLogger("magellon.http")

MEDIA_TYPE = "application/problem+json"
_MOST_ERRORS = 20
_LONGEST = 2000


class FieldError(Record):
    """What is wrong with one value of a request."""

    where: str = Field(examples=["query.limit"])
    message: str = Field(examples=["Input should be less than or equal to 1000"])


class Problem(Record):
    """Why a request was not served (RFC 9457)."""

    type: str = Field("about:blank", description="The kind of problem; `about:blank`: what the status says.")
    title: str = Field(examples=["Not Found"])
    status: int = Field(examples=[404])
    detail: str = Field("", examples=["no job 12"])
    errors: tuple[FieldError, ...] = Field((), description="One for each value that is not allowed.")


PROBLEMS: dict[int | str, dict[str, Any]] = {
    "default": {
        "description": "A problem",
        "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }
}
"""For `responses` of every route."""


def answer_problem(
    status: int, detail: str, errors: tuple[FieldError, ...] = (), headers: Mapping[str, str] | None = None
) -> JSONResponse:
    title = HTTPStatus(status).phrase
    problem = Problem(title=title, status=status, detail=detail[:_LONGEST], errors=errors)
    return JSONResponse(problem.model_dump(mode="json"), status, headers, MEDIA_TYPE)


def add_problem_handlers(app: FastAPI) -> None:
    """Make every error of an app a problem."""
    app.add_exception_handler(HTTPException, _handle_http)
    app.add_exception_handler(RequestValidationError, _handle_validation)
    app.add_exception_handler(BadInput, lambda request, error: answer_problem(422, str(error)))
    app.add_exception_handler(NotThere, lambda request, error: answer_problem(404, str(error)))
    app.add_exception_handler(Transient, _handle_transient)
    app.add_exception_handler(Exception, _handle_defect)


def _handle_http(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    return answer_problem(error.status_code, str(error.detail), headers=error.headers)


def _handle_validation(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    found = tuple(
        FieldError(where=".".join(map(str, each["loc"])), message=str(each["msg"])[:_LONGEST])
        for each in error.errors()[:_MOST_ERRORS]
    )
    return answer_problem(422, "; ".join(f"{each.where}: {each.message}" for each in found), found)


def _handle_transient(request: Request, error: Exception) -> JSONResponse:
    return answer_problem(503, str(error), headers={"Retry-After": "2"})


def _handle_defect(request: Request, error: Exception) -> JSONResponse:
    log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return answer_problem(500, "the server failed; its log says more")
